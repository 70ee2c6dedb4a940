/* SPDX-License-Identifier: MIT */

/* The broker dies and comes back: it knows the channels that its predecessor opened, and believes no stranger about them. */

#include "program.h"
#include "test.h"
#include "wire/name.h"

#include <dirent.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static void restart(struct world *world) {
        world_kill(world);
        world_start(world);
}

/* The channel in the books whose paths are these; the caller puts what it borrows from. */
static struct json_object *channel_between(struct json_object *reply, const char *from, const char *to) {
        for (size_t i = 0; i < length_at(reply, "/channels"); i++) {
                struct json_object *channel;
                char pointer[32];
                snprintf(pointer, sizeof pointer, "/channels/%zu", i);
                must(json_pointer_get(reply, pointer, &channel));
                if (!strcmp(text_at(channel, "/fromPath"), from) && !strcmp(text_at(channel, "/toPath"), to))
                        return channel;
        }
        test_fail(__FILE__, __LINE__, "no channel from %s to %s: %s", from, to, json_object_to_json_string(reply));
        return NULL;
}

static size_t count_channels(struct world *world) {
        struct json_object *reply = manage(world, "ListChannels", "{}");
        size_t count = length_at(reply, "/channels");
        json_object_put(reply);
        return count;
}

TEST(channels_are_back_after_a_restart_with_both_ends_and_go_as_ever) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01"),
                       *db = program_in(world, "web01/db"), *proxy = program_in(world, "web01/proxy");
        int in_host = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int in_web01 = (int)must(serve_typed(web01, &HV_GUID_WILDCARD, &ECHO, SOCK_SEQPACKET, false));
        int up = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int up_accepted = check_meets(web01, up, host, in_host);
        int packets = (int)must(dial_typed(db, &HV_GUID_PARENT, &ECHO, SOCK_SEQPACKET, false));
        int packets_accepted = check_meets(db, packets, web01, in_web01);
        int within = (int)must(dial(host, &HV_GUID_LOOPBACK, &ECHO)); /* waits to be accepted */
        int passing = (int)must(dial_typed(proxy, &HV_GUID_PARENT, &ECHO, SOCK_STREAM, true));

        restart(world);

        struct json_object *reply = manage(world, "ListChannels", "{}");
        check_equal(length_at(reply, "/channels"), 4);
        struct json_object *channel = channel_between(reply, "web01", "host");
        check_string(text_at(channel, "/serviceName"), ECHO_NAME);
        check_string(text_at(channel, "/type"), "stream");
        check_string(text_at(channel, "/state"), "open");
        check_equal(number_at(channel, "/fromPid"), program_pid(web01));
        check_equal(number_at(channel, "/toPid"), program_pid(host));
        check_equal(number_at(channel, "/sinceMs"), 0);
        channel = channel_between(reply, "web01/db", "web01");
        check_string(text_at(channel, "/type"), "seqpacket");
        channel_between(reply, "host", "host");
        channel_between(reply, "web01/proxy", "host");
        json_object_put(reply);
        char listing[4096], since_the_epoch[32];
        snprintf(since_the_epoch, sizeof since_the_epoch, "%lldd", (long long)time(NULL) / 86400);
        check_equal(cli(world, listing, sizeof listing, "ls", NULL), 0);
        check(strstr(listing, "open/seqpacket") && !strstr(listing, since_the_epoch));
        check_equal(service_counter(world, &ECHO, "channelsNow"), 4);
        check_equal(service_counter(world, &ECHO, "channelsTotal"), 0);
        check_equal(partition_counter(world, "web01", "channelsNow"), 2);
        check_equal(partition_counter(world, "host", "channelsNow"), 3);
        reply = manage(world, "ListListeners", "{}");
        check_equal(number_at(reply, "/listeners/0/channels") + number_at(reply, "/listeners/1/channels"), 4);
        json_object_put(reply);

        must(close_in(web01, up));
        check_equal(count_channels(world), 3);
        int again = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        check_equal(service_counter(world, &ECHO, "channelsNow"), 4);
        check_equal(service_counter(world, &ECHO, "channelsTotal"), 1);
        must(close_in(web01, again));
        must(close_in(host, within));
        must(close_in(proxy, passing));
        must(close_in(db, packets));
        must(close_in(web01, packets_accepted));
        must(close_in(host, up_accepted));
        must(close_in(web01, in_web01));
        must(close_in(host, in_host));
        world_end(world);
}

TEST(disabling_a_service_after_a_restart_ends_the_channels_of_before) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        char id[HV_GUID_TEXT_SIZE], text[8];
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = check_meets(web01, connected, host, listener);
        restart(world);
        struct json_object *reply = manage(world, "SetServiceEnabled", "{\"service\":\"%s\",\"enabled\":false}",
                                           hv_guid_format(&ECHO, id));
        check_equal(number_at(reply, "/listenersEnded"), 1);
        check_equal(number_at(reply, "/channelsRemaining"), 1);
        json_object_put(reply);
        check_errno(receive_text(web01, connected, text, sizeof text), ECONNRESET);
        check_errno(receive_text(host, accepted, text, sizeof text), ECONNRESET);
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        check_equal(count_channels(world), 0);
        world_end(world);
}

TEST(channels_of_a_service_disabled_or_removed_during_the_outage_are_back_as_what_they_are) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        const GUID removed = service_numbered(1), disabled = service_numbered(2);
        char path[PATH_MAX + HV_GUID_TEXT_SIZE + 8], id[HV_GUID_TEXT_SIZE], text[8];
        world_write_service(world, &removed, "Removed", "");
        world_write_service(world, &disabled, "Disabled", "");
        world_await_service(world, &disabled, "/name", "Disabled");
        world_await_service(world, &removed, "/name", "Removed");
        int listeners[2], connected[2], accepted[2];
        for (unsigned i = 0; i < 2; i++) {
                listeners[i] = (int)must(serve(host, &HV_GUID_WILDCARD, i ? &disabled : &removed));
                connected[i] = (int)must(dial(web01, &HV_GUID_PARENT, i ? &disabled : &removed));
                accepted[i] = check_meets(web01, connected[i], host, listeners[i]);
        }
        world_kill(world);
        snprintf(path, sizeof path, "%s/%s.conf", world->services, hv_guid_format(&removed, id));
        must(unlink(path));
        world_write_service(world, &disabled, "Disabled", "Enabled=no\n");
        world_start(world);

        struct json_object *reply = manage(world, "ListChannels", "{}");
        check_equal(length_at(reply, "/channels"), 2);
        for (unsigned i = 0; i < 2; i++) {
                char pointer[32];
                snprintf(pointer, sizeof pointer, "/channels/%u/serviceName", i);
                bool is_removed = !*text_at(reply, pointer);
                snprintf(pointer, sizeof pointer, "/channels/%u/state", i);
                check_string(text_at(reply, pointer), is_removed ? "open" : "remaining");
        }
        json_object_put(reply);
        must(send_text(web01, connected[0], "go on"));
        check_equal(must(receive_text(host, accepted[0], text, sizeof text)), 5);
        check_errno(send_text(web01, connected[1], "no"), ECONNRESET);
        for (unsigned i = 0; i < 2; i++) {
                must(close_in(web01, connected[i]));
                must(close_in(host, accepted[i]));
                must(close_in(host, listeners[i]));
        }
        world_end(world);
}

TEST(a_channel_outlives_its_listener_and_the_broker) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = check_meets(web01, connected, host, listener);
        must(close_in(host, listener));
        listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO)); /* of the same name */
        restart(world);
        struct json_object *reply = manage(world, "ListChannels", "{}");
        channel_between(reply, "web01", "host");
        json_object_put(reply);
        reply = manage(world, "ListListeners", "{}");
        check_equal(number_at(reply, "/listeners/0/channels"), 0);
        json_object_put(reply);
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

static long call_peer_name(struct call *call) {
        call->length = sizeof(struct sockaddr_un);
        return getpeername(call->fd, (struct sockaddr *)call->bytes, &call->length);
}

/* Sockets of these names, connected, where a stranger could do it. */
static void connect_strangers(const struct sockaddr_un *connector, socklen_t length, const char *listener, int type,
                              int ret_fds[2]) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strncpy(address.sun_path, listener, LISTENER_NAME_MAX);
        for (unsigned i = 0; i < 2; i++)
                ret_fds[i] = (int)must(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
        must(bind(ret_fds[0], (struct sockaddr *)&address, sizeof address));
        must(listen(ret_fds[0], 1));
        must(bind(ret_fds[1], (const struct sockaddr *)connector, length));
        must(connect(ret_fds[1], (struct sockaddr *)&address, sizeof address));
}

TEST(names_that_strangers_made_up_or_stole_bring_nothing_into_the_books) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = check_meets(web01, connected, host, listener);
        static struct call call;
        call = (struct call){.function = call_peer_name, .fd = accepted};
        must(program_do(host, &call));
        struct sockaddr_un stolen;
        memcpy(&stolen, call.bytes, sizeof stolen);

        char path[PATH_MAX + 16], name[NAME_MAX + 1] = "";
        snprintf(path, sizeof path, "%s/listeners", world->runtime);
        DIR *directory = opendir(path);
        check(directory);
        for (struct dirent *entry; (entry = readdir(directory));)
                if (*entry->d_name != '.')
                        snprintf(name, sizeof name, "%s", entry->d_name);
        closedir(directory);
        must(chdir(world->root));
        int made_up_fds[2], stolen_fds[2];
        struct sockaddr_un made_up = stolen;
        made_up.sun_path[CONNECTOR_NAME_SIZE - 8] ^= 1; /* in the tag */
        connect_strangers(&made_up, call.length, name, SOCK_STREAM, made_up_fds);
        *(strrchr(name, '.') + 1) = 'q'; /* the kernel keeps the names of each type apart */
        connect_strangers(&stolen, call.length, name, SOCK_SEQPACKET, stolen_fds);

        restart(world);

        struct json_object *reply = manage(world, "ListChannels", "{}");
        check_equal(length_at(reply, "/channels"), 1);
        check_string(text_at(reply, "/channels/0/type"), "stream");
        check_equal(number_at(reply, "/channels/0/fromPid"), program_pid(web01));
        json_object_put(reply);
        for (unsigned i = 0; i < 2; i++) {
                must(close(made_up_fds[i]));
                must(close(stolen_fds[i]));
        }
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

/* From here on this process and what it starts, which is the broker, opens no netlink socket. */
static void forbid_netlink(void) {
        struct sock_filter filter[] = {
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3),
                BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[0])),
                BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AF_NETLINK, 0, 1),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
                BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
        };
        must(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
        must(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER,
                   &(struct sock_fprog){.len = sizeof filter / sizeof *filter, .filter = filter}));
}

TEST(a_broker_that_may_not_ask_the_kernel_starts_without_the_channels) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        char text[16];
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = check_meets(web01, connected, host, listener);
        world_kill(world);
        forbid_netlink();
        check_errno(socket(AF_NETLINK, SOCK_RAW, 0), EPERM);
        world_start(world);
        check_equal(count_channels(world), 0);
        must(send_text(web01, connected, "hello"));
        check_equal(must(receive_text(host, accepted, text, sizeof text)), 5);
        int second = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        must(close_in(host, check_meets(web01, second, host, listener)));
        must(close_in(web01, second));
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

TEST(a_channel_of_a_partition_that_is_gone_is_in_no_book_and_goes_on) {
        struct world *world = world_family();
        struct program *db = program_in(world, "web01/db"), *web01 = program_in(world, "web01");
        char path[PATH_MAX + HV_GUID_TEXT_SIZE + 32], id[HV_GUID_TEXT_SIZE], text[8];
        int listener = (int)must(serve(web01, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(db, &HV_GUID_PARENT, &ECHO));
        int accepted = check_meets(db, connected, web01, listener);
        world_kill(world);
        snprintf(path, sizeof path, "%s/partitions/%s.conf", world->state, hv_guid_format(world_id(world, "web01/db"), id));
        must(unlink(path));
        world_start(world);
        check_equal(count_channels(world), 0);
        check_equal(service_counter(world, &ECHO, "channelsNow"), 0);
        must(send_text(db, connected, "hello"));
        check_equal(must(receive_text(web01, accepted, text, sizeof text)), 5);
        must(close_in(db, connected));
        must(close_in(web01, accepted));
        must(close_in(web01, listener));
        world_end(world);
}
