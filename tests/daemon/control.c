/* SPDX-License-Identifier: MIT */

/* Control messages as no library sends them. The broker answers or hangs up, loses nothing, and serves everyone else. */

#include "bare_world.h"
#include "base/fd.h"
#include "base/guid.h"
#include "broker/verdict.h"
#include "daemon/clients.h"
#include "test.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>

static struct bare_world world;

static void begin(void) {
        bare_new(&world);
        bare_start(&world);
}

static void send_raw(int client, const void *bytes, size_t length, const int *fds, unsigned count) {
        struct iovec vector = {.iov_base = (void *)bytes, .iov_len = length};
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(16 * sizeof(int))];
        } control = {};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        if (count) {
                control.header = (struct cmsghdr){
                        .cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(count * sizeof(int));
        }
        check_equal(must(sendmsg(client, &message, 0)), length);
}

static size_t hello(uint8_t packet[WIRE_PACKET_MAX]) {
        struct wire_request request = request_of(WIRE_HELLO);
        return wire_encode_request(&request, packet);
}

TEST(hello_says_which_partition_this_is_and_brings_its_revocation_page) {
        static const GUID vm = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        bare_new(&world);
        bare_partition(&world, &vm, "Label=vm\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_start(&world);
        int client = bare_client_of(&world, &vm), page = -1;
        struct wire_request request = request_of(WIRE_HELLO);
        struct wire_reply reply;
        uint8_t packet[WIRE_PACKET_MAX];
        size_t length;
        tell(client, &request, -1);
        check_ok(packet_receive(client, packet, sizeof packet, 0, &length, &page, NULL));
        check_ok(wire_decode_reply(packet, length, &reply));
        check(guid_equal(&reply.vm_id, &vm) && guid_equal(&reply.parent_vm_id, &HOST));
        check_equal(reply.kind, HV_PARTITION_VM);
        check_string(reply.label, "vm");
        check(page >= 0);
        check_equal(fcntl(page, F_GETFL) & O_ACCMODE, O_RDONLY);
        fd_close(page);
        fd_close(client);
        bare_end(&world);
}

TEST(a_packet_that_is_no_message_ends_its_connection_and_no_other) {
        begin();
        int bystander = bare_client(&world);
        uint8_t packet[2 * WIRE_PACKET_MAX] = {};
        size_t length = hello(packet);
        for (unsigned mistake = 0; mistake < 6; mistake++) {
                int client = bare_client(&world);
                uint8_t wrong[2 * WIRE_PACKET_MAX];
                size_t sent = length;
                memcpy(wrong, packet, sizeof wrong);
                switch (mistake) {
                case 0: wrong[0] ^= 1; break;                                /* magic */
                case 1: wrong[4] ^= 2; break;                                /* major */
                case 2: wrong[12] += 1; break;                               /* length */
                case 3: sent = 1; break;
                case 4: sent = WIRE_HEADER_SIZE - 1; break;
                case 5: sent = WIRE_PACKET_MAX + 1; break;                   /* longer than any */
                }
                send_raw(client, wrong, sent, NULL, 0);
                check_closed(client);
                fd_close(client);
        }
        struct wire_request request = request_of(WIRE_HELLO);
        check_equal(ask(bystander, &request, -1), 0);
        fd_close(bystander);
        bare_end(&world);
}

TEST(a_type_nobody_knows_is_answered_enosys_and_the_connection_goes_on) {
        begin();
        int client = bare_client(&world);
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_reply reply;
        size_t length = hello(packet);
        packet[8] = WIRE_TYPE_MAX + 1;
        send_raw(client, packet, length, NULL, 0);
        hear(client, &reply);
        check_equal(reply.error, ENOSYS);
        struct wire_request request = request_of(WIRE_HELLO);
        check_equal(ask(client, &request, -1), 0);
        fd_close(client);
        bare_end(&world);
}

TEST(a_request_without_its_descriptor_is_answered_ebadf) {
        begin();
        int client = bare_client(&world);
        struct wire_request binding = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request connecting = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        check_equal(ask(client, &binding, -1), EBADF);
        check_equal(ask(client, &connecting, -1), EBADF);
        fd_close(client);
        bare_end(&world);
}

TEST(descriptors_nobody_asked_for_are_closed) {
        begin();
        int client = bare_client(&world), ends[2];
        struct wire_request request = request_of(WIRE_HELLO);
        check_equal(ask(client, &request, -1), 0);
        unsigned before = bare_descriptors(&world, client);
        must(pipe2(ends, O_CLOEXEC));
        for (unsigned i = 0; i < 100; i++) {
                struct wire_request again = request_of(WIRE_HELLO);
                check_equal(ask(client, &again, ends[1]), 0);
        }
        until(bare_descriptors(&world, client) == before);

        /* More than one ends the connection; even then none stays, and the pipe's reader sees its end. */
        uint8_t packet[WIRE_PACKET_MAX];
        int many[16];
        for (unsigned i = 0; i < 16; i++)
                many[i] = ends[1];
        for (unsigned count = 2; count <= 16; count++) {
                int other = bare_client(&world);
                send_raw(other, packet, hello(packet), many, count);
                check_closed(other);
                fd_close(other);
        }
        until(bare_descriptors(&world, client) == before);
        fd_close(ends[1]);
        char byte;
        check_equal(must(read(ends[0], &byte, 1)), 0);
        fd_close(ends[0]);
        fd_close(client);
        bare_end(&world);
}

/* A TCP socket with unsent data whose last close waits for an hour; `ret_peer` is the end that does not read. */
static int lingering_socket(int *ret_peer) {
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        struct linger linger = {.l_onoff = 1, .l_linger = 3600};
        socklen_t length = sizeof address;
        char block[65536] = {};
        int listening = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        int fd = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(bind(listening, (struct sockaddr *)&address, sizeof address));
        must(listen(listening, 1));
        must(getsockname(listening, (struct sockaddr *)&address, &length));
        must(connect(fd, (struct sockaddr *)&address, sizeof address));
        *ret_peer = (int)must(accept4(listening, NULL, NULL, SOCK_CLOEXEC));
        while (send(fd, block, sizeof block, MSG_DONTWAIT) > 0)
                ;
        check_equal(errno, EAGAIN);
        must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        fd_close(listening);
        return fd;
}

TEST(a_descriptor_whose_close_waits_holds_nobody_up) {
        begin();
        int client = bare_client(&world), bystander = bare_client(&world), peers[8];
        struct wire_request request = request_of(WIRE_HELLO);
        check_equal(ask(client, &request, -1), 0);
        unsigned before = bare_descriptors(&world, client);
        for (unsigned i = 0; i < 8; i++) {
                struct wire_request binding = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
                int fd = lingering_socket(&peers[i]);
                must(kill(world.broker, SIGSTOP)); /* so that its close is the last */
                tell(client, i % 2 ? &request : &binding, fd);
                fd_close(fd);
                must(kill(world.broker, SIGCONT));
                struct wire_reply reply;
                hear(client, &reply);
                check_equal(reply.error, i % 2 ? 0 : EAFNOSUPPORT);
                check_equal(ask(bystander, &request, -1), 0);
        }
        for (unsigned i = 0; i < 8; i++)
                fd_close(peers[i]); /* a reset: nothing to wait for any more */
        until(bare_descriptors(&world, client) == before);
        fd_close(client);
        fd_close(bystander);
        bare_end(&world);
}

TEST(a_client_that_never_reads_its_answers_is_hung_up_on_and_holds_nobody_up) {
        begin();
        int flood = bare_client(&world), bystander = bare_client(&world), size = 1 << 20;
        uint8_t packet[WIRE_PACKET_MAX];
        size_t length = hello(packet);
        must(setsockopt(flood, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
        ssize_t sent;
        while ((sent = send(flood, packet, length, MSG_NOSIGNAL)) == (ssize_t)length)
                ;
        check(errno == EPIPE || errno == ECONNRESET);
        struct wire_request request = request_of(WIRE_HELLO);
        check_equal(ask(bystander, &request, -1), 0);
        fd_close(flood);
        fd_close(bystander);
        bare_end(&world);
}

TEST(a_connection_inherited_by_another_process_is_hung_up_on) {
        begin();
        int client = bare_client(&world);
        struct wire_request request = request_of(WIRE_HELLO);
        check_equal(ask(client, &request, -1), 0);
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                tell(client, &request, -1);
                _exit(0);
        }
        must(waitpid(pid, NULL, 0));
        check_closed(client);
        fd_close(client);
        bare_end(&world);
}

TEST(clients_past_the_quota_are_told_so) {
        bare_new(&world);
        bare_write(&world, "hvsockd.conf", "Format=1\nClientsPerPartition=3\n");
        bare_start(&world);
        int clients[3], extra;
        struct wire_request request = request_of(WIRE_HELLO);
        struct wire_reply reply;
        for (unsigned i = 0; i < 3; i++) {
                clients[i] = bare_client(&world);
                check_equal(ask(clients[i], &request, -1), 0);
        }
        extra = bare_client(&world);
        tell(extra, &request, -1);
        hear(extra, &reply);
        check_equal(reply.error, ENOBUFS);
        check_equal(reply.rule, RULE_QUOTA);
        check_closed(extra);
        fd_close(extra);
        fd_close(clients[0]);
        until(({
                extra = bare_client(&world);
                uint32_t error = ask(extra, &request, -1);
                fd_close(extra);
                !error;
        }));
        fd_close(clients[1]);
        fd_close(clients[2]);
        bare_end(&world);
}

TEST(clients_that_are_refused_and_silent_do_not_pile_up) {
        bare_new(&world);
        bare_write(&world, "hvsockd.conf", "Format=1\nClientsPerPartition=1\n");
        bare_start(&world);
        int first = bare_client(&world), silent[2 * REFUSED_CLIENTS_MAX];
        struct wire_request request = request_of(WIRE_HELLO);
        check_equal(ask(first, &request, -1), 0);
        unsigned before = bare_descriptors(&world, first);
        for (unsigned i = 0; i < 2 * REFUSED_CLIENTS_MAX; i++)
                silent[i] = bare_client(&world);
        check_closed(silent[2 * REFUSED_CLIENTS_MAX - 1]);
        until(bare_descriptors(&world, first) == before + REFUSED_CLIENTS_MAX); /* those not kept are closed by threads */
        for (unsigned i = 0; i < 2 * REFUSED_CLIENTS_MAX; i++)
                fd_close(silent[i]);
        check_equal(ask(first, &request, -1), 0);
        fd_close(first);
        bare_end(&world);
}

/* Every packet is a valid one with some bytes changed; what comes back is an answer or a hang-up. */
TEST_LIMITED(ten_thousand_damaged_packets_leave_the_broker_as_it_was, 120) {
        static const uint16_t types[] = {WIRE_HELLO, WIRE_BIND,  WIRE_LISTEN,            WIRE_CONNECT,
                                         WIRE_CLOSED, WIRE_CHECK, WIRE_RESOLVE_PARTITION, WIRE_RESOLVE_SERVICE,
                                         WIRE_RESOLVE_CID};
        begin();
        uint64_t random = 88172645463325252u;
        int client = bare_client(&world);
        struct wire_request probe = request_of(WIRE_HELLO);
        check_equal(ask(client, &probe, -1), 0);
        unsigned before = bare_descriptors(&world, client);
        for (unsigned i = 0; i < 10000; i++) {
                struct wire_request request = request_of(types[i % (sizeof types / sizeof *types)]);
                uint8_t packet[WIRE_PACKET_MAX], answer[WIRE_PACKET_MAX];
                request.service_id = SERVICE;
                request.vm_id = HV_GUID_LOOPBACK;
                request.socket_type = SOCK_STREAM;
                size_t length = wire_encode_request(&request, packet);
                for (unsigned damage = 0; damage <= i % 3; damage++) {
                        random ^= random << 13, random ^= random >> 7, random ^= random << 17;
                        packet[random % length] = (uint8_t)(random >> 32);
                }
                int fd = i % 2 ? (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) : -1;
                if (packet_send(client, packet, length, fd, MSG_NOSIGNAL) < 0 ||
                    recv(client, answer, sizeof answer, MSG_DONTWAIT) == 0) {
                        fd_close(client);
                        client = bare_client(&world);
                }
                fd_close(fd);
        }
        fd_close(client);
        client = bare_client(&world);
        check_equal(ask(client, &probe, -1), 0);
        until(bare_descriptors(&world, client) == before);
        fd_close(client);
        bare_check_alive(&world);
        bare_end(&world);
}

TEST(names_resolve_as_the_caller_sees_them) {
        static const GUID vm = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        static const GUID other = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 3}};
        static const GUID inner = {0xcccccccc, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 4}};
        bare_new(&world);
        bare_partition(&world, &vm, "Label=web\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_partition(&world, &other, "Label=mail\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_partition(&world, &inner, "Label=db\nKind=container\nParent=bbbbbbbb-0000-4000-8000-000000000002\n");
        bare_service(&world, "services", &SERVICE, "ElementName=Echo\n");
        bare_start(&world);
        int host = bare_client(&world), web = bare_client_of(&world, &vm);
        struct wire_request request = request_of(WIRE_RESOLVE_PARTITION);
        struct wire_reply reply;
        strcpy(request.name, "web/db");
        tell(host, &request, -1);
        hear(host, &reply);
        check_equal(reply.error, 0);
        check(guid_equal(&reply.vm_id, &inner));
        strcpy(request.name, "db");
        check_equal(ask(web, &request, -1), 0);
        check_equal(ask(host, &request, -1), ENOENT);
        strcpy(request.name, "mail");
        check_equal(ask(host, &request, -1), 0);
        check_equal(ask(web, &request, -1), ENOENT);
        guid_format(&other, request.name);
        check_equal(ask(host, &request, -1), 0);
        check_equal(ask(web, &request, -1), ENOENT);

        request.header.type = WIRE_RESOLVE_SERVICE;
        strcpy(request.name, "Echo");
        tell(web, &request, -1);
        hear(web, &reply);
        check_equal(reply.error, 0);
        check(guid_equal(&reply.service_id, &SERVICE));
        strcpy(request.name, "echo");
        check_equal(ask(web, &request, -1), ENOENT);
        fd_close(host);
        fd_close(web);
        bare_end(&world);
}

/* What is asked for, and what is answered: a VmId and a CID, or ENOENT where the CID is 0. */
static void check_cid(int client, const GUID *vm_id, uint32_t cid, const GUID *expected_vm_id, uint32_t expected_cid) {
        struct wire_request request = request_of(WIRE_RESOLVE_CID);
        struct wire_reply reply;
        request.vm_id = *vm_id;
        request.cid = cid;
        tell(client, &request, -1);
        hear(client, &reply);
        check_equal(reply.error, expected_cid ? 0 : ENOENT);
        check_equal(reply.cid, expected_cid);
        check(guid_equal(&reply.vm_id, expected_cid ? expected_vm_id : &HV_GUID_ZERO));
}

TEST(cids_and_partitions_are_found_by_each_other_as_the_caller_sees_them) {
        static const GUID vm = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        static const GUID other = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 3}};
        static const GUID third = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 4}};
        static const GUID inner = {0xcccccccc, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 5}};
        bare_new(&world);
        bare_partition(&world, &vm, "Label=web\nKind=vm\nSiblings=yes\nCid=10\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_partition(&world, &other, "Label=mail\nKind=vm\nCid=11\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_partition(&world, &third, "Label=dns\nKind=vm\nSiblings=yes\nCid=12\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_partition(&world, &inner, "Label=db\nKind=container\nCid=13\nParent=bbbbbbbb-0000-4000-8000-000000000002\n");
        bare_start(&world);
        int host = bare_client(&world), web = bare_client_of(&world, &vm), db = bare_client_of(&world, &inner);
        check_cid(host, &HV_GUID_ZERO, 10, &vm, 10);
        check_cid(host, &HV_GUID_ZERO, 13, &inner, 13);
        check_cid(host, &inner, 99, &inner, 13);
        check_cid(host, &HV_GUID_ZERO, 99, NULL, 0);
        check_cid(host, &HV_GUID_ZERO, 0, NULL, 0);
        check_cid(host, &HV_GUID_ZERO, 0xffffffff, NULL, 0);
        for (unsigned i = 0; i < 2; i++)
                check_cid(host, i ? &HV_GUID_LOOPBACK : &HV_GUID_ZERO, 2, &HOST, 2);
        check_cid(host, &HV_GUID_PARENT, 0, NULL, 0);
        check_cid(host, &HV_GUID_CHILDREN, 0, NULL, 0);

        check_cid(web, &HV_GUID_LOOPBACK, 0, &vm, 10);
        check_cid(web, &HV_GUID_ZERO, 1, &vm, 10);
        check_cid(web, &HV_GUID_ZERO, 10, &vm, 10);
        check_cid(web, &HV_GUID_ZERO, 2, &HOST, 2);
        check_cid(web, &HV_GUID_PARENT, 0, &HOST, 2);
        check_cid(web, &HV_GUID_SILOHOST, 0, NULL, 0);
        check_cid(web, &HV_GUID_ZERO, 12, &third, 12);
        check_cid(web, &HV_GUID_ZERO, 11, NULL, 0);
        check_cid(web, &other, 0, NULL, 0);

        check_cid(db, &HV_GUID_PARENT, 0, &vm, 2);
        check_cid(db, &HV_GUID_SILOHOST, 0, &vm, 2);
        check_cid(db, &HV_GUID_ZERO, 2, &vm, 2);
        check_cid(db, &HV_GUID_ZERO, 10, &vm, 2);
        check_cid(db, &HOST, 0, NULL, 0);
        check_cid(db, &HV_GUID_ZERO, 12, NULL, 0);
        fd_close(host);
        fd_close(web);
        fd_close(db);
        bare_end(&world);
}

TEST(an_id_of_a_channel_that_is_somebody_elses_closes_nothing) {
        static const GUID vm = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        bare_new(&world);
        bare_partition(&world, &vm, "Label=vm\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_write(&world, "hvsockd.conf", "Format=1\nChannelsPerPartition=1\n");
        bare_start(&world);
        int client = bare_client(&world), stranger = bare_client_of(&world, &vm), fd;
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request request = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request closed = request_of(WIRE_CLOSED), hi = request_of(WIRE_HELLO);
        struct wire_reply reply;
        fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        tell(client, &request, fd);
        hear(client, &reply);
        check_equal(reply.error, 0);
        closed.closed_count = 1;
        closed.closed[0] = reply.service_id;
        tell(stranger, &closed, -1);
        check_equal(ask(stranger, &hi, -1), 0);
        tell(client, &closed, -1); /* a lie: the kernel says it is open */
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), ENOBUFS);
        fd_close(fd);
        tell(client, &closed, -1);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), 0);
        fd_close(listening);
        fd_close(stranger);
        fd_close(client);
        bare_end(&world);
}
