/* SPDX-License-Identifier: MIT */

/* A service is disabled: what is open ends at the next call, and only what must. */

#include "fake.h"
#include "test.h"

#include "wire/message.h"
#include "wire/name.h"
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void check_ended(int fd) {
        char byte = 0;
        for (unsigned i = 0; i < 2; i++) {
                check_errno(hv_recv(fd, &byte, 1, 0), ECONNRESET);
                check_errno(hv_send(fd, &byte, 1, 0), ECONNRESET);
        }
}

static void disable(void) {
        atomic_store(&fake_revoked, true);
        fake_revoke();
}

TEST(both_ends_and_the_listener_end_at_the_next_call) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        disable();
        check_ended(pair.connector);
        check_ended(pair.acceptor);
        check_errno(hv_accept(pair.listener, NULL, NULL), EINVAL);
        fake_pair_close(&pair);
        fake_end();
}

TEST(each_call_notices_by_itself) {
        enum { CALLS = 8 };
        for (unsigned call = 0; call < CALLS; call++) {
                pid_t child = (pid_t)must(fork());
                if (!child) {
                        fake_start();
                        struct fake_pair pair = fake_pair(SOCK_STREAM);
                        struct iovec vector = {.iov_base = (char[1]){}, .iov_len = 1};
                        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
                        struct pollfd one = {.fd = pair.connector, .events = POLLIN};
                        struct timeval now = {};
                        fd_set readable;
                        FD_ZERO(&readable);
                        FD_SET(pair.connector, &readable);
                        disable();
                        switch (call) {
                        case 0:
                                check_errno(hv_send(pair.connector, "x", 1, 0), ECONNRESET);
                                break;
                        case 1:
                                check_errno(hv_recv(pair.connector, vector.iov_base, 1, 0), ECONNRESET);
                                break;
                        case 2:
                                check_errno(hv_sendmsg(pair.connector, &message, 0), ECONNRESET);
                                break;
                        case 3:
                                check_errno(hv_writev(pair.connector, &vector, 1), ECONNRESET);
                                break;
                        case 4:
                                check_equal(hv_poll(&one, 1, 0), 1);
                                check(one.revents & POLLHUP);
                                break;
                        case 5:
                                check_equal(hv_select(pair.connector + 1, &readable, NULL, NULL, &now), 1);
                                break;
                        case 6:
                                check_errno(hv_accept(pair.listener, NULL, NULL), EINVAL);
                                break;
                        case 7:
                                check_errno(hv_readv(pair.connector, &vector, 1), ECONNRESET);
                                break;
                        }
                        fake_pair_close(&pair);
                        fake_end();
                        _exit(0);
                }
                int status;
                must(waitpid(child, &status, 0));
                check_equal(status, 0);
        }
}

TEST(data_that_had_arrived_is_given_before_the_reset) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        char text[8] = "";
        check_equal(must(hv_send(pair.connector, "last", 4, 0)), 4);
        disable();
        check_equal(must(hv_recv(pair.acceptor, text, sizeof text, 0)), 4);
        check_ended(pair.acceptor);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_change_that_concerns_another_service_ends_nothing) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        char byte = 0;
        unsigned asked = fake_requests[WIRE_CHECK];
        fake_revoke();
        for (unsigned i = 0; i < 10; i++) {
                check_equal(must(hv_send(pair.connector, "x", 1, 0)), 1);
                check_equal(must(hv_recv(pair.acceptor, &byte, 1, 0)), 1);
        }
        check_equal(fake_requests[WIRE_CHECK], asked + 1); /* three sockets of one address, asked for once */
        fake_pair_close(&pair);
        fake_end();
}

TEST(sockets_and_files_that_are_none_of_ours_are_left_alone) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), ends[2], fresh = fake_socket(SOCK_STREAM);
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        disable();
        check_errno(hv_accept(listener, NULL, NULL), EINVAL);
        check_equal(must(write(ends[0], "x", 1)), 1);
        char byte = 0;
        check_equal(must(read(ends[1], &byte, 1)), 1);
        atomic_store(&fake_revoked, false);
        must(hv_close(listener));
        listener = fake_listener(SOCK_STREAM);
        must(fake_connect(fresh));
        must(hv_close(fresh));
        must(hv_close(listener));
        close(ends[0]);
        close(ends[1]);
        fake_end();
}

static void *receive_forever(void *fd) {
        char byte = 0;
        check_errno(hv_recv(*(int *)fd, &byte, 1, 0), ECONNRESET);
        return NULL;
}

TEST(a_thread_that_is_blocked_is_woken_by_anothers_call) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        pthread_t thread;
        check_ok(pthread_create(&thread, NULL, receive_forever, &pair.acceptor));
        disable();
        check_errno(hv_send(pair.connector, "x", 1, 0), ECONNRESET);
        check_ok(pthread_join(thread, NULL));
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_peer_that_ended_its_side_first_does_not_make_it_look_like_an_orderly_end) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        int go[2];
        must(pipe2(go, O_CLOEXEC));
        pid_t child = (pid_t)must(fork());
        if (!child) {
                char byte = 0;
                check_equal(must(write(go[1], "x", 1)), 1);
                check_errno(hv_recv(pair.acceptor, &byte, 1, 0), ECONNRESET);
                _exit(0);
        }
        char byte = 0;
        check_equal(must(read(go[0], &byte, 1)), 1);
        usleep(10000); /* it is most likely blocked by now; in either case it must see a reset */
        disable();
        check_ended(pair.connector);
        int status;
        must(waitpid(child, &status, 0));
        check_equal(status, 0);
        close(go[0]);
        close(go[1]);
        fake_pair_close(&pair);
        fake_end();
}

static void *send_once(void *fd) {
        check_errno(hv_send(*(int *)fd, "x", 1, 0), ECONNRESET);
        return NULL;
}

TEST(of_many_threads_none_slips_through) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        pthread_t threads[16];
        disable();
        for (unsigned i = 0; i < 16; i++)
                check_ok(pthread_create(&threads[i], NULL, send_once, &pair.connector));
        for (unsigned i = 0; i < 16; i++)
                check_ok(pthread_join(threads[i], NULL));
        check_equal(fake_requests[WIRE_CHECK], 1);
        fake_pair_close(&pair);
        fake_end();
}

/* Sends, again and again, until it fails. */
static void send_until_ended(int fd) {
        while (hv_send(fd, "x", 1, MSG_DONTWAIT) >= 0 || errno == EAGAIN)
                usleep(1000);
        check_equal(errno, ECONNRESET);
}

TEST(a_broker_that_does_not_answer_is_asked_until_it_does) {
        static const enum misdeed misdeeds[] = {SILENT, HANGS_UP, GARBAGE, REFUSES};
        fake_start();
        for (unsigned i = 0; i < sizeof misdeeds / sizeof *misdeeds; i++) {
                struct fake_pair pair = fake_pair(SOCK_STREAM);
                fake_misbehave(misdeeds[i], UINT_MAX);
                disable();
                check_equal(must(hv_send(pair.connector, "x", 1, 0)), 1);
                fake_misbehave(HONEST, 0);
                send_until_ended(pair.connector);
                check_ended(pair.connector);
                atomic_store(&fake_revoked, false);
                fake_pair_close(&pair);
        }
        fake_end();
}

TEST(a_broker_that_restarts_has_forgotten_no_revocation) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        disable();
        fake_die();
        check_equal(must(hv_send(pair.connector, "x", 1, 0)), 1);
        fake_start();
        send_until_ended(pair.connector);
        fake_pair_close(&pair);
        fake_end();
}

TEST(calls_are_not_each_held_up_by_a_broker_that_does_not_answer) {
        enum { CALLS = 100000 };
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM), other = fake_pair(SOCK_SEQPACKET);
        char byte = 0;
        fake_misbehave(SILENT, UINT_MAX);
        fake_revoke();
        for (unsigned i = 0; i < CALLS; i++) {
                check_equal(must(hv_send(pair.connector, "x", 1, 0)), 1);
                check_equal(must(hv_recv(pair.acceptor, &byte, 1, 0)), 1);
        }
        check(fake_requests[WIRE_CHECK] >= 1 && fake_requests[WIRE_CHECK] < CALLS / 100);
        fake_misbehave(HONEST, 0);
        disable(); /* a new change is asked about at once */
        check_errno(hv_send(pair.connector, "x", 1, 0), ECONNRESET);
        fake_pair_close(&other);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_child_notices_too) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        int go[2];
        must(pipe2(go, O_CLOEXEC));
        pid_t child = (pid_t)must(fork());
        if (!child) {
                char byte = 0;
                check_equal(must(read(go[0], &byte, 1)), 1);
                check_ended(pair.acceptor);
                _exit(0);
        }
        disable();
        check_equal(must(write(go[1], "x", 1)), 1);
        int status;
        must(waitpid(child, &status, 0));
        check_equal(status, 0);
        check_ended(pair.connector);
        close(go[0]);
        close(go[1]);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_listener_that_the_broker_ends_by_a_connection_says_so_for_ever) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        struct sockaddr_un address, file;
        socklen_t file_length = sizeof file;
        struct connector_name name = {.flags = CONNECTOR_ENDED, .ephemeral_id = {1, 2, 3, {4}}};
        must(getsockname(listener, (struct sockaddr *)&file, &file_length));
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        socklen_t length = connector_name_encode(&name, &address);
        must(bind(fd, (struct sockaddr *)&address, length));
        must(connect(fd, (struct sockaddr *)&file, file_length));
        for (unsigned i = 0; i < 3; i++)
                check_errno(hv_accept(listener, NULL, NULL), EINVAL);
        close(fd);
        must(hv_close(listener));
        fake_end();
}

TEST(a_connection_that_no_broker_named_is_dropped_and_the_next_one_accepted) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), fd = fake_socket(SOCK_STREAM);
        struct sockaddr_un file;
        socklen_t file_length = sizeof file;
        must(getsockname(listener, (struct sockaddr *)&file, &file_length));
        int stranger = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(stranger, (struct sockaddr *)&file, file_length));
        must(fake_connect(fd));
        int accepted = (int)must(hv_accept(listener, NULL, NULL));
        char byte = 0;
        check_equal(must(hv_send(fd, "x", 1, 0)), 1);
        check_equal(must(hv_recv(accepted, &byte, 1, 0)), 1);
        check_equal(must(read(stranger, &byte, 1)), 0);
        close(stranger);
        must(hv_close(accepted));
        must(hv_close(fd));
        must(hv_close(listener));
        fake_end();
}

/* ---- a program that was started with a channel, and never opened one ---- */

#define EXIT_RESET 3

static pid_t start_heir(int fd) {
        char path[PATH_MAX] = "";
        must(readlink("/proc/self/exe", path, sizeof path - 1));
        pid_t child = (pid_t)must(fork());
        if (!child) {
                char number[16];
                snprintf(number, sizeof number, "%d", fd);
                must(fcntl(fd, F_SETFD, 0));
                execl(path, "heir", number, NULL);
                _exit(127);
        }
        return child;
}

/* What is executed: gives back what it gets. */
__attribute__((constructor)) static void be_heir(int count, char **arguments) {
        char bytes[8] = "";
        ssize_t length;
        if (count != 2 || strcmp(arguments[0], "heir"))
                return;
        int fd = atoi(arguments[1]);
        while ((length = hv_recv(fd, bytes, sizeof bytes, 0)) > 0)
                if (hv_send(fd, bytes, (size_t)length, 0) < 0)
                        _exit(errno == ECONNRESET ? EXIT_RESET : 1);
        _exit(length ? 1 : 0);
}

static int exit_code(pid_t child) {
        int status;
        must(waitpid(child, &status, 0));
        check(WIFEXITED(status));
        return WEXITSTATUS(status);
}

static void check_echo(int fd) {
        char text[8] = "";
        check_equal(must(hv_send(fd, "ping", 4, 0)), 4);
        check_equal(must(hv_recv(fd, text, sizeof text, 0)), 4);
}

static int asked_about, stranger;

static void put_stranger_in_its_place(void) {
        fake_at_check = NULL;
        must(dup2(stranger, asked_about));
}

TEST(what_took_a_listeners_number_while_the_broker_was_asked_is_left_alone) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        stranger = ends[0];
        asked_about = pair.listener; /* the lowest number, which is looked at first */
        fake_at_check = put_stranger_in_its_place;
        disable();
        check_ended(pair.connector);
        check_equal(must(send(ends[1], "x", 1, MSG_NOSIGNAL)), 1);
        check_equal(must(send(ends[0], "x", 1, MSG_NOSIGNAL)), 1);
        close(ends[0]);
        close(ends[1]);
        fake_pair_close(&pair);
        fake_end();
}

TEST(without_a_broker_an_inherited_channel_works) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        must(setenv("HVSOCK_SOCKET", "/nonexistent", 1));
        pid_t child = start_heir(pair.acceptor);
        check_echo(pair.connector);
        must(hv_shutdown(pair.connector, SHUT_WR));
        check_equal(exit_code(child), 0);
        fake_pair_close(&pair);
        fake_end();
}

TEST(with_a_broker_that_does_not_answer_it_works_too) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        fake_misbehave(SILENT_AT_HELLO, UINT_MAX);
        pid_t child = start_heir(pair.acceptor);
        check_echo(pair.connector);
        must(hv_shutdown(pair.connector, SHUT_WR));
        check_equal(exit_code(child), 0);
        fake_pair_close(&pair);
        fake_end();
}

TEST(an_inherited_channel_ends_like_any_other) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        pid_t child = start_heir(pair.acceptor);
        check_echo(pair.connector);
        disable();
        check_equal(must(write(pair.connector, "x", 1)), 1); /* past this process's own look at the counter */
        check_equal(exit_code(child), EXIT_RESET);
        fake_pair_close(&pair);
        fake_end();
}
