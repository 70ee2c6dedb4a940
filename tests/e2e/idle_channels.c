/* SPDX-License-Identifier: MIT */

/*
 * 10,000 channels between two programs that then leave them alone: what they cost on all sides, and that they use no
 * processor time.
 *
 * Counted are the pages of both programs and of the broker, each shared one once (Pss:
 * the rings' memory too, of which only touched pages exist), their page tables, and
 * what the kernel's slabs grew by. The slabs are the whole machine's, and others use
 * them at the same time: of a few attempts the best counts.
 */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#define CHANNELS 10000
#define OTHER_DESCRIPTORS 64 /* a program's */
#define AT_ONCE 100 /* wait to be accepted */
#define BYTES_MAX (16 * 1024)
#define ATTEMPTS 3
#define IDLE_MS 1000
#define TICKS_MAX 2
#define SETTLING_MAX 10 /* times as long */
#define RINGS_MAX 2048 /* src/lib/carrier.h */

static int descriptors[CHANNELS]; /* in each program */
static int descriptor_count, listener = -1;

/* ---- in the programs ---- */

static long call_serve(struct call *call) {
        listener = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
        return listener < 0 || hv_bind(listener, (struct sockaddr *)&call->address, sizeof call->address) < 0
                       ? -1
                       : hv_listen(listener, AT_ONCE);
}

static long call_dial(struct call *call) {
        for (int i = 0; i < call->value; i++) {
                int fd = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
                if (fd < 0 || hv_connect(fd, (struct sockaddr *)&call->address, sizeof call->address) < 0)
                        return -1;
                descriptors[descriptor_count++] = fd;
        }
        return 0;
}

static long call_accept(struct call *call) {
        for (int i = 0; i < call->value; i++) {
                int fd = hv_accept(listener, NULL, NULL);
                if (fd < 0)
                        return -1;
                descriptors[descriptor_count++] = fd;
        }
        return 0;
}

static long call_send(struct call *call) {
        for (int i = 0; i < descriptor_count; i++)
                if (hv_send(descriptors[i], call->bytes, (size_t)call->value, 0) != call->value)
                        return -1;
        return 0;
}

static long call_receive(struct call *call) {
        for (int i = 0; i < descriptor_count; i++)
                if (hv_recv(descriptors[i], call->bytes, (size_t)call->value, MSG_WAITALL) != call->value)
                        return -1;
        return 0;
}

static long call_count_rings(struct call *) {
        long count = 0;
        for (int i = 0; i < descriptor_count; i++) {
                int state = carrier_state(descriptors[i]);
                count += (state & HV_SENDS_SHM ? 1 : 0) + (state & HV_RECEIVES_SHM ? 1 : 0);
        }
        return count;
}

/* The first one: the others keep their order. */
static long call_close_one(struct call *) {
        int fd = descriptors[0];
        memmove(descriptors, descriptors + 1, (size_t)--descriptor_count * sizeof *descriptors);
        return hv_close(fd);
}

static long call_close(struct call *) {
        while (descriptor_count)
                if (hv_close(descriptors[--descriptor_count]) < 0)
                        return -1;
        return listener < 0 ? 0 : hv_close(listener);
}

/* ---- what they cost ---- */

struct cost {
        long pages, tables, slabs; /* KiB */
};

/* A file's line "Key:   number ...". */
static long number_in(const char *path, const char *key) {
        char line[512];
        long value = -1;
        FILE *file = fopen(path, "re");
        check(file);
        while (value < 0 && fgets(line, sizeof line, file))
                if (!strncmp(line, key, strlen(key)))
                        value = atol(line + strlen(key));
        fclose(file);
        check(value >= 0);
        return value;
}

static long processor_ticks(pid_t pid) {
        char path[64], text[1024];
        long user, system;
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "re");
        check(file && fgets(text, sizeof text, file));
        fclose(file);
        check(sscanf(strrchr(text, ')'), ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %ld %ld", &user, &system) == 2);
        return user + system;
}

struct sides {
        struct world *world;
        struct program *client, *server;
};

#define PROCESSES 3

static pid_t process(const struct sides *sides, int i) {
        return i == 0 ? sides->world->broker : program_pid(i == 1 ? sides->client : sides->server);
}

static struct cost cost_of(const struct sides *sides) {
        struct cost cost = {.slabs = number_in("/proc/meminfo", "Slab:")};
        for (int i = 0; i < PROCESSES; i++) {
                char path[64];
                snprintf(path, sizeof path, "/proc/%d/smaps_rollup", process(sides, i));
                cost.pages += number_in(path, "Pss:");
                snprintf(path, sizeof path, "/proc/%d/status", process(sides, i));
                cost.tables += number_in(path, "VmPTE:");
        }
        return cost;
}

static long ticks_of(const struct sides *sides) {
        long ticks = 0;
        for (int i = 0; i < PROCESSES; i++)
                ticks += processor_ticks(process(sides, i));
        return ticks;
}

/* ---- the story ---- */

static long do_in(struct program *program, long (*function)(struct call *), int value) {
        static struct call call;
        call = (struct call){.function = function, .value = value,
                             .address = {.Family = AF_HYPERV, .ServiceId = ECHO,
                                         .VmId = function == call_dial ? HV_GUID_PARENT : HV_GUID_WILDCARD}};
        return must(program_do(program, &call));
}

static struct sides sides_new(void) {
        struct sides sides = {.world = world_family()};
        sides.server = program_new(sides.world, "host");
        sides.client = program_new(sides.world, "web01");
        do_in(sides.server, call_serve, 0);
        return sides;
}

static void open_channels(const struct sides *sides, int channels) {
        for (int left = channels; left > 0; left -= AT_ONCE) {
                do_in(sides->client, call_dial, left < AT_ONCE ? left : AT_ONCE);
                do_in(sides->server, call_accept, left < AT_ONCE ? left : AT_ONCE);
        }
}

/* A question and an answer on each channel, several times. */
static void move(const struct sides *sides, int times) {
        for (int i = 0; i < times; i++) {
                do_in(sides->client, call_send, 100);
                do_in(sides->server, call_receive, 100);
                do_in(sides->server, call_send, 1000);
                do_in(sides->client, call_receive, 1000);
        }
}

static void sides_end(struct sides *sides) {
        do_in(sides->client, call_close, 0);
        do_in(sides->server, call_close, 0);
        program_end(sides->client);
        program_end(sides->server);
        world_end(sides->world);
}

static int allowed_channels(void) {
        struct rlimit limit;
        must(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        must(setrlimit(RLIMIT_NOFILE, &limit));
        return limit.rlim_cur >= CHANNELS + OTHER_DESCRIPTORS ? CHANNELS : (int)limit.rlim_cur - OTHER_DESCRIPTORS;
}

/* Bytes a channel. */
static long cost_of_idle_channels(int channels, int times) {
        struct sides sides = sides_new();
        struct cost before = cost_of(&sides);
        open_channels(&sides, channels);
        move(&sides, times);
        struct cost after = cost_of(&sides);
        long ticks, used = LONG_MAX; /* the broker may still be reading what it was told of rings */
        for (int i = 0; i < SETTLING_MAX && used > TICKS_MAX; i++) {
                ticks = ticks_of(&sides);
                world_pause_ms(IDLE_MS);
                used = ticks_of(&sides) - ticks;
        }
        check(used <= TICKS_MAX);

        long pages = (after.pages - before.pages) * 1024 / channels;
        long tables = (after.tables - before.tables) * 1024 / channels;
        long slabs = (after.slabs - before.slabs) * 1024 / channels, bytes = pages + tables + slabs;
        printf("%d idle channels, %ld rings: %ld bytes each: %ld in pages, %ld in page tables, %ld in slabs\n", channels,
               do_in(sides.client, call_count_rings, 0), bytes, pages, tables, slabs);
        sides_end(&sides);
        return bytes;
}

static void check_cheap(int times) {
        int channels = allowed_channels();
        long bytes = LONG_MAX;
        if (channels < CHANNELS)
                test_skip("a process may not have %d descriptors", CHANNELS + OTHER_DESCRIPTORS);
        for (int i = 0; i < ATTEMPTS && bytes >= BYTES_MAX; i++)
                bytes = cost_of_idle_channels(channels, times);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
        if (bytes >= BYTES_MAX)
                test_fail(__FILE__, __LINE__, "an idle channel costs %ld bytes", bytes);
#endif
}

TEST_LIMITED(an_idle_channel_that_never_moved_data_costs_less_than_16_kib_and_no_processor_time, 120) {
        check_cheap(0);
}

TEST_LIMITED(an_idle_channel_that_moved_a_little_costs_less_than_16_kib_and_no_processor_time, 120) {
        check_cheap(5);
}

TEST_LIMITED(many_idle_channels_that_use_shared_memory_cost_less_than_16_kib_each_and_no_processor_time, 120) {
        must(setenv("HVSOCK_CARRIER", "shm", 1));
        check_cheap(3);
}

TEST(a_process_has_so_many_rings_and_what_is_beyond_stays_in_its_socket) {
        if (allowed_channels() <= RINGS_MAX / 2 + AT_ONCE)
                test_skip("a process may not have %d descriptors", RINGS_MAX / 2 + AT_ONCE);
        must(setenv("HVSOCK_CARRIER", "shm", 1));
        struct sides sides = sides_new();
        open_channels(&sides, RINGS_MAX / 2);
        move(&sides, 3);
        check_equal(do_in(sides.client, call_count_rings, 0), RINGS_MAX);
        check_equal(do_in(sides.server, call_count_rings, 0), RINGS_MAX);
        open_channels(&sides, AT_ONCE);
        move(&sides, 3);
        check_equal(do_in(sides.client, call_count_rings, 0), RINGS_MAX);
        check_equal(do_in(sides.server, call_count_rings, 0), RINGS_MAX);
        do_in(sides.client, call_close_one, 0);
        do_in(sides.server, call_close_one, 0);
        move(&sides, 3);
        check_equal(do_in(sides.client, call_count_rings, 0), RINGS_MAX);
        check_equal(do_in(sides.server, call_count_rings, 0), RINGS_MAX);
        sides_end(&sides);
}
