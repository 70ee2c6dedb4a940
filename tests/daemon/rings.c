/* SPDX-License-Identifier: MIT */

/* WIRE_RING by hand: what the broker takes for a ring, from whom, and that it lets go of it. */

#include "bare_world.h"

#include "base/fd.h"
#include "ring/memory.h"
#include "test.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct bare_world world;
static int client, connector, acceptor, listener;
static GUID channel;
static const GUID VM = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};

/* Headers of rings that the broker has mapped, once it has done what was asked before. */
static unsigned observed(void) {
        char path[64], line[512];
        struct wire_request request = request_of(WIRE_HELLO);
        (void)ask(client, &request, -1);
        snprintf(path, sizeof path, "/proc/%d/maps", (int)world.broker);
        FILE *file = fopen(path, "re");
        unsigned count = 0;
        check(file);
        while (fgets(line, sizeof line, file))
                count += strstr(line, "hvsock-ring") != NULL;
        fclose(file);
        return count;
}

static void begin(void) {
        bare_new(&world);
        bare_partition(&world, &VM, "Label=vm\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_start(&world);
        client = bare_client(&world);
        listener = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request request = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_reply reply;
        connector = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
        tell(client, &request, connector);
        hear(client, &reply);
        check_equal(reply.error, 0);
        channel = reply.service_id;
        acceptor = (int)must(accept4(listener, NULL, NULL, SOCK_CLOEXEC));
}

static void end(void) {
        close(connector);
        close(acceptor);
        close(listener);
        close(client);
        bare_end(&world);
}

static struct wire_request ring_request(uint32_t flags) {
        struct wire_request request = request_of(WIRE_RING);
        request.service_id = channel;
        request.socket_type = SOCK_STREAM;
        request.flags = flags;
        return request;
}

static void tell_ring(const struct wire_request *request, struct ring_memory *ret_ring) {
        cleanup(fd_closep) int fd = -1;
        check_ok(ring_create(SOCK_STREAM, 65536, ret_ring, &fd));
        tell(client, request, fd);
}

TEST(a_ring_is_observed_until_its_channel_is_closed) {
        begin();
        struct ring_memory rings[3];
        struct wire_request from_connector = ring_request(0), from_acceptor = ring_request(WIRE_RING_FROM_ACCEPTOR);
        tell_ring(&from_connector, &rings[0]);
        check_equal(observed(), 1);
        tell_ring(&from_acceptor, &rings[1]);
        check_equal(observed(), 2);
        tell_ring(&from_connector, &rings[2]); /* takes the first one's place */
        check_equal(observed(), 2);
        close(connector);
        close(acceptor);
        connector = acceptor = -1;
        struct wire_request closed = request_of(WIRE_CLOSED);
        closed.closed_count = 1;
        closed.closed[0] = channel;
        tell(client, &closed, -1);
        until(observed() == 0);
        for (unsigned i = 0; i < 3; i++)
                ring_unmap(&rings[i]);
        end();
}

TEST(a_ring_that_is_told_again_or_followed_by_what_is_none_stays) {
        begin();
        struct wire_request request = ring_request(0);
        struct ring_memory ring;
        int fd, ends[2];
        must(pipe(ends));
        check_ok(ring_create(SOCK_STREAM, 65536, &ring, &fd));
        tell(client, &request, fd);
        tell(client, &request, fd);
        check_equal(observed(), 1);
        tell(client, &request, ends[0]);
        check_equal(observed(), 1);
        ring_unmap(&ring);
        close(fd);
        close(ends[0]);
        close(ends[1]);
        end();
}

TEST(no_more_rings_than_the_limit_are_observed) {
        enum { CHANNELS = 16384 / 2 + 2 };
        static int fds[CHANNELS];
        struct rlimit limit;
        must(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        must(setrlimit(RLIMIT_NOFILE, &limit));
        if (limit.rlim_max < CHANNELS + 100)
                test_skip("it needs %u descriptors", CHANNELS + 100);
        bare_new(&world);
        bare_write(&world, "hvsockd.conf", "Format=1\nChannelsPerPartition=100000\nChannelsPerUser=100000\n");
        bare_start(&world);
        client = bare_client(&world);
        listener = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct ring_memory ring;
        int ring_fd;
        check_ok(ring_create(SOCK_STREAM, 65536, &ring, &ring_fd));
        for (unsigned i = 0; i < CHANNELS; i++) {
                struct wire_request request = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
                struct wire_reply reply;
                fds[i] = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
                tell(client, &request, fds[i]);
                hear(client, &reply);
                check_equal(reply.error, 0);
                close((int)must(accept4(listener, NULL, NULL, SOCK_CLOEXEC)));
                channel = reply.service_id;
                for (uint32_t flags = 0; flags < 2; flags++) {
                        struct wire_request told = ring_request(flags);
                        tell(client, &told, ring_fd);
                }
                if (i == CHANNELS - 3)
                        check_equal(observed(), 16384);
        }
        check_equal(observed(), 16384);
        for (unsigned i = 0; i < CHANNELS; i++)
                close(fds[i]);
        ring_unmap(&ring);
        close(ring_fd);
        close(listener);
        close(client);
        bare_end(&world);
}

TEST(what_is_no_ring_is_not_observed_and_closed) {
        begin();
        struct wire_request request = ring_request(0);
        unsigned descriptors = bare_descriptors(&world, client);
        int ends[2], unsealed = (int)must(memfd_create("hvsock-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        must(ftruncate(unsealed, 69632));
        must(pipe(ends));
        tell(client, &request, unsealed);
        tell(client, &request, ends[0]);
        tell(client, &request, connector);
        check_equal(observed(), 0);
        until(bare_descriptors(&world, client) == descriptors);
        struct ring_memory packets;
        int fd;
        check_ok(ring_create(SOCK_SEQPACKET, 65536, &packets, &fd)); /* right in itself */
        request.socket_type = SOCK_SEQPACKET;                        /* but the channel is a stream */
        tell(client, &request, fd);
        check_equal(observed(), 0);
        ring_unmap(&packets);
        close(fd);
        close(unsealed);
        close(ends[0]);
        close(ends[1]);
        bare_check_alive(&world);
        end();
}

TEST(who_has_no_part_in_a_channel_is_not_heard) {
        begin();
        int stranger = bare_client_of(&world, &VM);
        struct wire_request request = ring_request(0), unknown = ring_request(0);
        struct ring_memory ring, other;
        unknown.service_id = OTHER_SERVICE;
        tell_ring(&unknown, &ring);
        check_equal(observed(), 0);
        cleanup(fd_closep) int fd = -1;
        check_ok(ring_create(SOCK_STREAM, 65536, &other, &fd));
        struct wire_request hello = request_of(WIRE_HELLO);
        tell(stranger, &request, fd);
        check_equal(ask(stranger, &hello, -1), 0);
        check_equal(observed(), 0);
        tell(client, &request, fd);
        check_equal(observed(), 1);
        close(stranger);
        ring_unmap(&ring);
        ring_unmap(&other);
        end();
}

/* Tells of a ring each way as another user in the host's own partition; returns when the broker has read it. */
static void tell_as(uid_t uid) {
        pid_t pid = (pid_t)must(fork());
        int status;
        if (!pid) {
                struct wire_request hello = request_of(WIRE_HELLO);
                struct ring_memory ring;
                must(setresuid(uid, uid, uid));
                client = bare_client(&world);
                for (uint32_t flags = 0; flags < 2; flags++) {
                        struct wire_request request = ring_request(flags);
                        tell_ring(&request, &ring);
                }
                _exit(ask(client, &hello, -1) ? 1 : 0);
        }
        must(waitpid(pid, &status, 0));
        check_equal(status, 0);
}

TEST(another_user_in_the_right_partition_is_not_heard_and_root_is) {
        if (geteuid() != 0)
                test_skip("only root can become another user");
        begin();
        must(chmod(world.root, 0755));
        tell_as(12345);
        check_equal(observed(), 0);
        tell_as(0);
        check_equal(observed(), 2);
        end();
}
