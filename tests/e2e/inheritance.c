/* SPDX-License-Identifier: MIT */

/* dup, fork, exec and passing: a descriptor is all there is to a socket. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void check_carries(int from, int to, const char *text) {
        char heard[64] = "";
        check_equal(must(hv_send(from, text, strlen(text), 0)), strlen(text));
        check_equal(must(hv_recv(to, heard, sizeof heard - 1, 0)), strlen(text));
        check_string(heard, text);
}

TEST(a_duplicate_is_the_same_channel) {
        struct pair pair = pair_open(SOCK_STREAM);
        SOCKADDR_HV name, other;
        socklen_t length = sizeof name;
        int duplicate = (int)must(dup(pair.connector));
        must(hv_getsockname(pair.connector, (struct sockaddr *)&name, &length));
        must(hv_getsockname(duplicate, (struct sockaddr *)&other, &length));
        check(!memcmp(&name, &other, sizeof name));
        must(hv_close(pair.connector));
        pair.connector = duplicate;
        check_carries(pair.acceptor, duplicate, "to the duplicate");
        check_carries(duplicate, pair.acceptor, "from the duplicate");
        pair_close(&pair);
}

TEST(a_channel_is_open_until_its_last_descriptor_is_closed) {
        struct pair pair = pair_open(SOCK_STREAM);
        int duplicate = (int)must(dup(pair.connector));
        char byte;
        must(hv_close(pair.connector));
        check_errno(hv_recv(pair.acceptor, &byte, 1, MSG_DONTWAIT), EAGAIN);
        must(hv_close(duplicate));
        pair.connector = -1;
        check_equal(must(hv_recv(pair.acceptor, &byte, 1, 0)), 0);
        pair_close(&pair);
}

TEST(after_fork_either_side_goes_on) {
        struct pair pair = pair_open(SOCK_STREAM);
        pid_t child = (pid_t)must(fork());
        if (!child) {
                check_carries(pair.connector, pair.acceptor, "from the child");
                must(hv_close(pair.connector));
                must(hv_close(pair.acceptor));
                must(hv_close(pair.listener));
                _exit(0);
        }
        await_checker(child);
        check_carries(pair.connector, pair.acceptor, "from the parent");
        check_carries(pair.acceptor, pair.connector, "to the parent");
        pair_close(&pair);
}

TEST(a_forked_server_serves_after_its_parent_closed) {
        struct pair pair = pair_open(SOCK_STREAM);
        pid_t child = (pid_t)must(fork());
        if (!child) {
                char text[16];
                must(hv_close(pair.connector));
                must(hv_close(pair.listener));
                for (ssize_t length; (length = must(hv_recv(pair.acceptor, text, sizeof text, 0)));)
                        must(hv_send(pair.acceptor, text, (size_t)length, 0));
                must(hv_close(pair.acceptor));
                _exit(0);
        }
        must(hv_close(pair.acceptor));
        pair.acceptor = -1;
        check_carries(pair.connector, pair.connector, "there and back");
        must(hv_shutdown(pair.connector, SHUT_WR));
        char byte;
        check_equal(must(hv_recv(pair.connector, &byte, 1, 0)), 0);
        await_checker(child);
        pair_close(&pair);
}

TEST(a_child_makes_its_own_connections) {
        struct pair pair = pair_open(SOCK_STREAM);
        pid_t child = (pid_t)must(fork());
        if (!child) {
                int connector = new_socket(SOCK_STREAM);
                must(connect_loopback(connector));
                int acceptor = (int)must(hv_accept(pair.listener, NULL, NULL));
                check_carries(connector, acceptor, "a child's own");
                must(hv_close(connector));
                must(hv_close(acceptor));
                _exit(0);
        }
        await_checker(child);
        int connector = new_socket(SOCK_STREAM);
        must(connect_loopback(connector));
        int acceptor = (int)must(hv_accept(pair.listener, NULL, NULL));
        check_carries(connector, acceptor, "and its parent's");
        must(hv_close(connector));
        must(hv_close(acceptor));
        pair_close(&pair);
}

TEST(children_and_parent_connect_at_the_same_time) {
        enum { CHILDREN = 4, EACH = 50 };
        struct pair pair = pair_open(SOCK_STREAM);
        pid_t children[CHILDREN];
        for (unsigned i = 0; i < CHILDREN; i++) {
                children[i] = (pid_t)must(fork());
                if (children[i])
                        continue;
                for (unsigned j = 0; j < EACH; j++) {
                        int connector = new_socket(SOCK_STREAM);
                        must(connect_loopback(connector));
                        check_carries(connector, connector, "ping");
                        must(hv_close(connector));
                }
                _exit(0);
        }
        for (unsigned i = 0; i < CHILDREN * EACH; i++) {
                char text[8];
                int acceptor = (int)must(hv_accept(pair.listener, NULL, NULL));
                check_equal(must(hv_recv(acceptor, text, sizeof text, 0)), 4);
                must(hv_send(acceptor, text, 4, 0));
                must(hv_close(acceptor));
        }
        for (unsigned i = 0; i < CHILDREN; i++)
                await_checker(children[i]);
        pair_close(&pair);
}

static void format_address(int fd, int (*name)(int, struct sockaddr *, socklen_t *), char *ret_text, size_t size) {
        SOCKADDR_HV address;
        socklen_t length = sizeof address;
        char vm_id[HV_GUID_TEXT_SIZE], service_id[HV_GUID_TEXT_SIZE];
        must(name(fd, (struct sockaddr *)&address, &length));
        snprintf(ret_text, size, "%s %s", hv_guid_format(&address.VmId, vm_id),
                 hv_guid_format(&address.ServiceId, service_id));
}

TEST(after_exec_an_inherited_descriptor_still_knows_its_names) {
        struct pair pair = pair_open(SOCK_STREAM);
        char own[96], peer[96], expected[200], heard[200] = "", helper[PATH_MAX], number[16];
        format_address(pair.acceptor, hv_getsockname, own, sizeof own);
        format_address(pair.acceptor, hv_getpeername, peer, sizeof peer);
        snprintf(expected, sizeof expected, "%s %s\n", own, peer);

        world_executable("tests/e2e/helper", helper);
        snprintf(number, sizeof number, "%d", pair.acceptor);
        pid_t child = (pid_t)must(fork());
        if (!child) {
                must(fcntl(pair.acceptor, F_SETFD, 0));
                must(fcntl(pair.connector, F_SETFD, FD_CLOEXEC));
                must(fcntl(pair.listener, F_SETFD, FD_CLOEXEC));
                execl(helper, helper, "names", number, NULL);
                test_fail(__FILE__, __LINE__, "%s: %s", helper, strerror(errno));
        }
        must(hv_close(pair.acceptor));
        pair.acceptor = -1;
        for (size_t length = 0; length < strlen(expected);) {
                ssize_t got = must(hv_recv(pair.connector, heard + length, sizeof heard - 1 - length, 0));
                check(got > 0);
                length += (size_t)got;
        }
        check_string(heard, expected);
        check_carries(pair.connector, pair.connector, "and works");
        must(hv_shutdown(pair.connector, SHUT_WR));
        check_equal(await_child(child), 0);
        pair_close(&pair);
}

static int pass(int socket, int fd_or_receive) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        char byte = 'x';
        struct iovec vector = {.iov_base = &byte, .iov_len = 1};
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        int fd = fd_or_receive;
        memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
        if (fd >= 0)
                check_equal(must(sendmsg(socket, &message, 0)), 1);
        else
                check_equal(must(recvmsg(socket, &message, MSG_CMSG_CLOEXEC)), 1);
        memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
        return fd;
}

TEST(a_channel_can_be_passed_to_another_process) {
        struct pair pair = pair_open(SOCK_STREAM);
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0, ends));
        pid_t child = (pid_t)must(fork());
        if (!child) {
                SOCKADDR_HV peer;
                socklen_t length = sizeof peer;
                int passed = pass(ends[1], -1);
                must(hv_getpeername(passed, (struct sockaddr *)&peer, &length));
                check(!memcmp(&peer, &LOOPBACK_ECHO, sizeof peer));
                check_equal(must(hv_send(passed, "passed", 6, 0)), 6);
                _exit(0);
        }
        int connector = new_socket(SOCK_STREAM);
        must(connect_loopback(connector));
        int acceptor = (int)must(hv_accept(pair.listener, NULL, NULL));
        pass(ends[0], connector);
        must(hv_close(connector));
        char text[16] = "";
        check_equal(must(hv_recv(acceptor, text, sizeof text, 0)), 6);
        check_string(text, "passed");
        await_checker(child);
        check_equal(must(hv_recv(acceptor, text, sizeof text, 0)), 0);
        must(hv_close(acceptor));
        close(ends[0]);
        close(ends[1]);
        pair_close(&pair);
}
