/* SPDX-License-Identifier: MIT */

/* 1,000 listeners and 10,000 open channels in one world: the broker stays small, and all are listed, in parts. */

#include "program.h"
#include "test.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define LISTENERS 1000
#define CHANNELS 10000
#define BROKER_MAX_KB (64 * 1024)
#define LISTENERS_A_PROGRAM 250 /* so that no program needs more descriptors than a process may have anywhere */
#define PROGRAMS (LISTENERS / LISTENERS_A_PROGRAM)
#define CHANNELS_A_PROGRAM (CHANNELS / PROGRAMS)
#define CHANNELS_A_LISTENER (CHANNELS / LISTENERS)

static int descriptors[LISTENERS_A_PROGRAM + CHANNELS_A_PROGRAM]; /* in each program */
static int descriptor_count;

static long call_serve_many(struct call *call) {
        for (int i = 0; i < LISTENERS_A_PROGRAM; i++) {
                int fd = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
                call->address.ServiceId = service_numbered((unsigned)(call->value + i));
                if (fd < 0 || hv_bind(fd, (struct sockaddr *)&call->address, sizeof call->address) < 0 ||
                    hv_listen(fd, CHANNELS_A_LISTENER) < 0)
                        return -1;
                descriptors[descriptor_count++] = fd;
        }
        return 0;
}

static long call_dial_many(struct call *call) {
        for (int i = 0; i < CHANNELS_A_PROGRAM; i++) {
                int fd = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
                call->address.ServiceId = service_numbered((unsigned)(call->value + i % LISTENERS_A_PROGRAM));
                if (fd < 0 || hv_connect(fd, (struct sockaddr *)&call->address, sizeof call->address) < 0)
                        return -1;
                descriptors[descriptor_count++] = fd;
        }
        return 0;
}

static long call_accept_many(struct call *call) {
        for (int i = 0; i < LISTENERS_A_PROGRAM; i++)
                for (int j = 0; j < CHANNELS_A_LISTENER; j++) {
                        int fd = hv_accept(descriptors[i], NULL, NULL);
                        if (fd < 0)
                                return -1;
                        descriptors[descriptor_count++] = fd;
                }
        return 0;
}

static long call_close_many(struct call *call) {
        while (descriptor_count)
                if (hv_close(descriptors[--descriptor_count]) < 0)
                        return -1;
        return 0;
}

static void do_many(struct program **programs, long (*function)(struct call *), const GUID *vm_id) {
        static struct call call;
        for (int i = 0; i < PROGRAMS; i++) {
                call = (struct call){.function = function,
                                     .value = 1 + i * LISTENERS_A_PROGRAM,
                                     .address = {.Family = AF_HYPERV, .VmId = *vm_id}};
                must(program_do(programs[i], &call));
        }
}

static long status_kb(pid_t pid, const char *key) {
        char path[64], line[256];
        long value = -1;
        snprintf(path, sizeof path, "/proc/%d/status", pid);
        FILE *file = fopen(path, "re");
        check(file);
        while (fgets(line, sizeof line, file))
                if (!strncmp(line, key, strlen(key)))
                        value = atol(line + strlen(key));
        fclose(file);
        check(value >= 0);
        return value;
}

static void check_small(struct world *world, const char *when) {
        long peak = status_kb(world->broker, "VmHWM:");
        printf("%s: %ld KiB, at most %ld KiB\n", when, status_kb(world->broker, "VmRSS:"), peak);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        if (peak >= BROKER_MAX_KB)
                test_fail(__FILE__, __LINE__, "%s the broker had %ld KiB", when, peak);
#endif
}

static size_t count_lines(const char *text) {
        size_t count = 0;
        while ((text = strchr(text, '\n'))) {
                count++;
                text++;
        }
        return count;
}

TEST_LIMITED(a_thousand_listeners_and_ten_thousand_channels_fit_in_64_mib, 120) {
        struct rlimit limit;
        must(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        must(setrlimit(RLIMIT_NOFILE, &limit));
        if (limit.rlim_cur < LISTENERS_A_PROGRAM + CHANNELS_A_PROGRAM + 64)
                test_skip("a process may have only %llu descriptors", (unsigned long long)limit.rlim_cur);

        struct world *world = world_new();
        world_define(world, "web01", "vm", "");
        for (unsigned i = 1; i <= LISTENERS; i++) {
                GUID service_id = service_numbered(i);
                char name[32];
                snprintf(name, sizeof name, "Service %u", i);
                world_write_service(world, &service_id, name, "");
        }
        world_start(world);
        check_small(world, "with a thousand services");

        struct program *servers[PROGRAMS], *clients[PROGRAMS];
        for (int i = 0; i < PROGRAMS; i++) {
                servers[i] = program_new(world, "host");
                clients[i] = program_new(world, "web01");
        }
        do_many(servers, call_serve_many, &HV_GUID_WILDCARD);
        do_many(clients, call_dial_many, &HV_GUID_PARENT);
        do_many(servers, call_accept_many, &HV_GUID_WILDCARD);
        check_small(world, "with all channels open");

        struct json_object *reply = manage(world, "GetWorld", "{}");
        check_equal(number_at(reply, "/listeners"), LISTENERS);
        check_equal(number_at(reply, "/channels"), CHANNELS);
        json_object_put(reply);
        static char output[16 << 20];
        check_equal(cli(world, output, sizeof output, "ls", NULL), 0);
        check(count_lines(output) >= LISTENERS + CHANNELS);
        check_equal(cli(world, output, sizeof output, "ls", "--json", NULL), 0);
        reply = json_tokener_parse(output);
        check_equal(length_at(reply, "/listeners"), LISTENERS);
        check_equal(length_at(reply, "/channels"), CHANNELS);
        json_object_put(reply);
        check_small(world, "after listing them all");

        world_kill(world);
        world_start(world);
        check_small(world, "after a restart");
        reply = manage(world, "GetWorld", "{}");
        check_equal(number_at(reply, "/listeners"), LISTENERS);
        check_equal(number_at(reply, "/channels"), CHANNELS);
        json_object_put(reply);

        do_many(clients, call_close_many, &HV_GUID_ZERO);
        do_many(servers, call_close_many, &HV_GUID_ZERO);
        for (int i = 0; i < PROGRAMS; i++) {
                program_end(servers[i]);
                program_end(clients[i]);
        }
        world_end(world);
}

#define LISTED 2000
#define PART_MAX 256 /* src/daemon/manage_lists.c */

static long call_dial_oneself(struct call *call) {
        struct rlimit limit;
        must(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        must(setrlimit(RLIMIT_NOFILE, &limit));
        for (int i = 0; i <= LISTED; i++) {
                int fd = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
                int r = fd < 0 ? -1
                        : i    ? hv_connect(fd, (struct sockaddr *)&call->address, sizeof call->address)
                               : hv_bind(fd, (struct sockaddr *)&call->address, sizeof call->address);
                if (r < 0 || (!i && hv_listen(fd, LISTED) < 0))
                        return -1;
                descriptors[descriptor_count++] = fd;
        }
        return 0;
}

TEST(a_list_comes_in_parts_of_what_is_still_there) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        static struct call call;
        call = (struct call){.function = call_dial_oneself,
                             .address = {.Family = AF_HYPERV, .VmId = HV_GUID_LOOPBACK, .ServiceId = ECHO}};
        must(program_do(host, &call));

        int leaves = manage_begin(world, "ListChannels"), stays = manage_begin(world, "ListChannels");
        struct json_object *part = manage_next(stays);
        size_t listed = length_at(part, "/parameters/channels");
        check_equal(listed, PART_MAX);
        call = (struct call){.function = call_close_many};
        must(program_do(host, &call));
        must(close(leaves));
        struct json_object *reply = manage(world, "GetWorld", "{}");
        check_equal(number_at(reply, "/channels"), 0);
        json_object_put(reply);
        while (json_object_object_get(part, "continues")) {
                json_object_put(part);
                part = manage_next(stays);
                listed += length_at(part, "/parameters/channels");
        }
        json_object_put(part);
        check(listed >= PART_MAX && listed < LISTED);

        const char *request = "{\"method\":\"io.hvsock.GetWorld\"}";
        must(write(stays, request, strlen(request) + 1));
        reply = manage_next(stays);
        check_equal(number_at(reply, "/parameters/listeners"), 0);
        json_object_put(reply);
        must(close(stays));
        world_end(world);
}
