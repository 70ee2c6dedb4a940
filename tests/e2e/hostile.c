/* SPDX-License-Identifier: MIT */

/* What a stranger can push on: garbage, floods, descriptors, flags. The broker lives and others are not disturbed. */

#include "pair.h"
#include "program.h"
#include "test.h"
#include "wire/message.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/un.h>
#include <unistd.h>

#define REQUESTS 20000

static uint64_t random_state = 1;

static uint32_t random_below(uint32_t limit) {
        random_state = random_state * 6364136223846793005u + 1442695040888963407u;
        return (uint32_t)(random_state >> 33) % limit;
}

static int connect_to_control(struct world *world, const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char directory[PATH_MAX];
        world_directory(world, path, directory);
        check(strlen(directory) + sizeof "/control" <= sizeof address.sun_path);
        sprintf(address.sun_path, "%s/control", directory);
        int fd = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        must(connect(fd, (struct sockaddr *)&address, sizeof address));
        return fd;
}

/* Its programs are forked at the first call, and would inherit what the test has open: tests call it once before. */
static void check_undisturbed(struct world *world) {
        check(!kill(world->broker, 0));
        check_equal(reach(world, "web02", &HV_GUID_PARENT, "host", world_id(world, "web02"), &ECHO), 0);
}

/* The reply's error; -1: the connection is over. Descriptors are copied. */
static int exchange(int fd, const void *packet, size_t size, const int *descriptors, size_t count) {
        char control[CMSG_SPACE(253 * sizeof(int))] = "";
        uint8_t answer[2048];
        struct iovec vector = {.iov_base = (void *)packet, .iov_len = size};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        if (count) {
                message.msg_control = control;
                message.msg_controllen = CMSG_SPACE(count * sizeof(int));
                struct cmsghdr *header = CMSG_FIRSTHDR(&message);
                header->cmsg_len = CMSG_LEN(count * sizeof(int));
                header->cmsg_level = SOL_SOCKET;
                header->cmsg_type = SCM_RIGHTS;
                memcpy(CMSG_DATA(header), descriptors, count * sizeof(int));
        }
        if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0)
                return -1;
        struct pollfd descriptor = {.fd = fd, .events = POLLIN};
        if (!must(poll(&descriptor, 1, WORLD_WAIT_MS)))
                test_fail(__FILE__, __LINE__, "the broker neither answers nor hangs up");
        ssize_t length = recv(fd, answer, sizeof answer, MSG_DONTWAIT);
        struct wire_reply reply;
        if (length <= 0)
                return -1;
        check_ok(wire_decode_reply(answer, (size_t)length, &reply));
        return (int)reply.error;
}

static size_t encode(uint8_t packet[WIRE_PACKET_MAX], uint16_t type) {
        struct wire_request request = {
                .header = {.major = WIRE_MAJOR, .minor = WIRE_MINOR, .type = type, .serial = 7},
                .vm_id = HV_GUID_LOOPBACK, .service_id = ECHO, .socket_type = SOCK_STREAM};
        strcpy(request.name, "web01");
        return wire_encode_request(&request, packet);
}

TEST(garbage_ends_the_connection_or_is_answered) {
        struct world *world = world_family();
        uint8_t packet[2048];
        int fd = connect_to_control(world, "web01");
        for (unsigned i = 0; i < REQUESTS; i++) {
                size_t size = random_below(sizeof packet) + 1;
                for (size_t j = 0; j < size; j++)
                        packet[j] = (uint8_t)random_below(256);
                if (exchange(fd, packet, size, NULL, 0) < 0) {
                        close(fd);
                        fd = connect_to_control(world, "web01");
                }
        }
        close(fd);
        check_undisturbed(world);
        world_end(world);
}

TEST(requests_with_some_bytes_wrong_end_the_connection_or_are_answered) {
        struct world *world = world_family();
        uint8_t packet[WIRE_PACKET_MAX];
        int fd = connect_to_control(world, "web01");
        const uint16_t types[] = {WIRE_HELLO, WIRE_LISTEN, WIRE_CHECK, WIRE_RESOLVE_PARTITION, WIRE_RESOLVE_SERVICE,
                                  WIRE_RESOLVE_CID};
        for (unsigned i = 0; i < REQUESTS; i++) {
                size_t size = encode(packet, types[random_below(5)]);
                for (unsigned j = random_below(4); j < 4; j++)
                        packet[random_below((uint32_t)size)] = (uint8_t)random_below(256);
                if (packet[8] == WIRE_CLOSED || packet[8] == WIRE_RING)
                        packet[8] = WIRE_HELLO; /* those have no answer */
                if (exchange(fd, packet, size, NULL, 0) < 0) {
                        close(fd);
                        fd = connect_to_control(world, "web01");
                }
        }
        close(fd);
        check_undisturbed(world);
        world_end(world);
}

TEST(requests_of_every_wrong_length_end_the_connection) {
        struct world *world = world_family();
        for (uint16_t type = 1; type <= WIRE_TYPE_MAX; type++) {
                uint8_t packet[WIRE_PACKET_MAX + 1] = {};
                size_t whole = encode(packet, type);
                for (size_t size = 1; size <= sizeof packet; size += size < whole + 8 ? 1 : 37) {
                        if (size == whole)
                                continue;
                        int fd = connect_to_control(world, "web01");
                        check_equal(exchange(fd, packet, size, NULL, 0), -1);
                        close(fd);
                }
        }
        check_undisturbed(world);
        world_end(world);
}

TEST(descriptors_that_do_not_belong_are_closed_and_refused) {
        struct world *world = world_family();
        uint8_t packet[WIRE_PACKET_MAX];
        int pipes[2], many[253];
        must(pipe2(pipes, O_CLOEXEC));
        int listening = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(bind(listening, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)));
        must(listen(listening, 1));
        int pairs[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pairs));
        const int strange[] = {
                pipes[0],
                (int)must(open("/dev/null", O_RDWR | O_CLOEXEC)),
                (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)),
                (int)must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0)),
                (int)must(epoll_create1(EPOLL_CLOEXEC)),
                listening,
                pairs[0],
                (int)must(open("/", O_PATH | O_CLOEXEC)),
        };
        const unsigned count = sizeof strange / sizeof *strange;
        for (unsigned i = 0; i < 253; i++)
                many[i] = pipes[0];

        struct program *host = program_in(world, "host");
        int listener = (int)must(serve(host, &HV_GUID_LOOPBACK, &ECHO));
        const uint16_t types[] = {WIRE_BIND, WIRE_CONNECT};
        for (unsigned t = 0; t < 2; t++) {
                size_t size = encode(packet, types[t]);
                for (unsigned i = 0; i < count; i++) {
                        int fd = connect_to_control(world, "host");
                        exchange(fd, packet, size, &strange[i], 1);
                        exchange(fd, packet, size, &fd, 1); /* the control connection itself */
                        close(fd);
                }
        }
        check_equal(service_counter(world, &ECHO, "channelsTotal"), 0);
        check_equal(service_counter(world, &ECHO, "listenersTotal"), 1);
        for (uint16_t type = 1; type <= WIRE_TYPE_MAX; type++) {
                size_t size = encode(packet, type), wrong[] = {1, 2, 253};
                if (type == WIRE_BIND || type == WIRE_CONNECT)
                        wrong[0] = 0;
                for (unsigned i = type == WIRE_RING; i < 3; i++) { /* with one it is right, and has no answer */
                        int fd = connect_to_control(world, "web01");
                        exchange(fd, packet, size, many, wrong[i]);
                        close(fd);
                }
        }
        for (unsigned i = 1; i < count; i++)
                close(strange[i]);
        close(pipes[0]);
        close(pipes[1]);
        close(pairs[1]);
        must(close_in(host, listener));
        check_undisturbed(world);
        world_end(world); /* the broker has as many descriptors as before */
}

TEST(a_client_that_never_reads_its_answers_stops_nobody_else) {
        struct world *world = world_family();
        uint8_t packet[WIRE_PACKET_MAX];
        check_undisturbed(world);
        int flooding[8];
        size_t size = encode(packet, WIRE_RESOLVE_PARTITION);
        for (unsigned i = 0; i < 8; i++)
                flooding[i] = connect_to_control(world, "web01");
        for (unsigned round = 0; round < 20; round++) {
                for (unsigned i = 0; i < 8 * 5000; i++)
                        (void)send(flooding[i % 8], packet, size, MSG_DONTWAIT | MSG_NOSIGNAL);
                check_undisturbed(world);
        }
        for (unsigned i = 0; i < 8; i++)
                close(flooding[i]);
        check_undisturbed(world);
        world_end(world);
}

TEST(one_partitions_connections_are_limited_and_another_has_its_own) {
        enum { MANY = 64 };
        struct world *world = world_new();
        world_define(world, "web01", "vm", "");
        world_define(world, "web02", "vm", "");
        world_write_service(world, &ECHO, ECHO_NAME, "");
        world_configure(world, "ClientsPerPartition=16\n");
        world_start(world);
        check_undisturbed(world);
        int held[MANY];
        uint8_t packet[WIRE_PACKET_MAX];
        size_t size = encode(packet, WIRE_RESOLVE_PARTITION);
        for (unsigned i = 0; i < MANY; i++) {
                held[i] = connect_to_control(world, "web01");
                int error = exchange(held[i], packet, size, NULL, 0);
                check_equal(error == ENOBUFS, i >= 16);
        }
        check_undisturbed(world);
        for (unsigned i = 0; i < MANY; i++)
                close(held[i]);
        check(await(!reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &ECHO))); /* once it saw that */
        world_end(world);
}

/* ---- a client that plays with the descriptor that it lent ---- */

static atomic_bool playing;

static long clear_nonblocking(void *fd) {
        while (atomic_load(&playing))
                set_nonblocking(*(int *)fd, false);
        return 0;
}

static long call_play_with_flags(struct call *call) {
        int fd = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW), refused = 0;
        check(fd >= 0);
        atomic_store(&playing, true);
        struct thread *thread = thread_start(clear_nonblocking, &fd);
        for (int i = 0; i < call->value; i++)
                if (hv_connect(fd, (struct sockaddr *)&call->address, sizeof call->address) < 0)
                        refused++;
        atomic_store(&playing, false);
        thread_join(thread);
        must(hv_close(fd));
        return refused;
}

TEST(a_client_that_clears_o_nonblock_cannot_block_the_broker_on_a_full_backlog) {
        struct world *world = world_family();
        struct program *box = program_in(world, "box"), *host = program_in(world, "host");
        static struct call call;
        GUID service_id = service_numbered(40);
        world_write_service(world, &service_id, "Full", "");
        world_await_service(world, &service_id, "/name", "Full");
        int listener = (int)must(open_socket(host, SOCK_STREAM)), connected[16], count = 0;
        must(bind_to(host, listener, &HV_GUID_WILDCARD, &service_id));
        must(listen_with(host, listener, 1));
        while ((connected[count] = dial(box, &HV_GUID_PARENT, &service_id)) >= 0)
                check(++count < 16);
        call = (struct call){.function = call_play_with_flags,
                             .value = 100,
                             .address = {.Family = AF_HYPERV, .VmId = HV_GUID_PARENT, .ServiceId = service_id}};
        program_begin(box, &call);
        for (unsigned i = 0; i < 5; i++)
                check_undisturbed(world);
        check_equal(program_finish(box, &call), 100);
        for (int i = 0; i < count; i++)
                must(close_in(box, connected[i]));
        must(close_in(host, listener));
        world_end(world);
}

/* ---- the management socket ---- */

static int connect_to_management(struct world *world) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        check(strlen(world->runtime) + sizeof "/manage" <= sizeof address.sun_path);
        sprintf(address.sun_path, "%s/manage", world->runtime);
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(fd, (struct sockaddr *)&address, sizeof address));
        return fd;
}

TEST(garbage_on_the_management_socket_is_answered_or_ends_the_connection) {
        struct world *world = world_family();
        static const char *const messages[] = {
                "", "{", "[]", "null", "\"text\"", "{}", "{\"method\":1}", "{\"method\":\"\"}",
                "{\"method\":\"io.hvsock.\"}",
                "{\"method\":\"io.hvsock.Nothing\"}", "{\"method\":\"io.hvsock.GetService\"}",
                "{\"method\":\"io.hvsock.GetService\",\"parameters\":{\"service\":7}}",
                "{\"method\":\"io.hvsock.GetService\",\"parameters\":[]}",
                "{\"method\":\"io.hvsock.AddPartition\",\"parameters\":{\"label\":\"../..\",\"kind\":\"vm\"}}",
                "{\"method\":\"io.hvsock.AddPartition\",\"parameters\":{\"label\":\"parent\",\"kind\":\"vm\"}}",
                "{\"method\":\"io.hvsock.AddService\",\"parameters\":{\"name\":\"a\\nExec=/bin/sh\"}}",
                "\xff\xfe\xfd",
        };
        for (unsigned i = 0; i < sizeof messages / sizeof *messages; i++) {
                int fd = connect_to_management(world);
                char answer[4096];
                check(send(fd, messages[i], strlen(messages[i]) + 1, MSG_NOSIGNAL) > 0);
                must(shutdown(fd, SHUT_WR));
                ssize_t got = recv(fd, answer, sizeof answer, 0);
                if (got > 0 && !memmem(answer, (size_t)got, "error", 5))
                        test_fail(__FILE__, __LINE__, "%s was answered with %.*s", messages[i], (int)got, answer);
                close(fd);
        }
        for (unsigned i = 0; i < 200; i++) {
                int fd = connect_to_management(world);
                uint8_t bytes[512];
                for (size_t j = 0; j < sizeof bytes; j++)
                        bytes[j] = (uint8_t)random_below(256);
                send(fd, bytes, sizeof bytes, MSG_NOSIGNAL);
                close(fd);
        }
        check_undisturbed(world);
        world_end(world);
}

TEST(a_management_request_without_end_is_cut_off) {
        struct world *world = world_family();
        int fd = connect_to_management(world);
        static char bytes[65536];
        memset(bytes, ' ', sizeof bytes);
        unsigned long sent = 0;
        for (ssize_t done; sent < 64u << 20 && (done = send(fd, bytes, sizeof bytes, MSG_NOSIGNAL)) > 0;)
                sent += (unsigned long)done;
        check(sent < 64u << 20);
        close(fd);
        check_undisturbed(world);
        world_end(world);
}
