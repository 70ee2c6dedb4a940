/* SPDX-License-Identifier: MIT */

/* What a socket is: a descriptor that goes wherever descriptors go, and that every loop waits for. */

#include "preload_test.h"

#include <fcntl.h>
#include <linux/sockios.h>
#include <linux/un.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>

/* ---- waiting ---- */

static bool is_readable(int fd) {
        struct pollfd one = {.fd = fd, .events = POLLIN};
        return poll(&one, 1, 0) == 1 && one.revents & POLLIN;
}

static void await_poll(int fd, short events) {
        struct pollfd one = {.fd = fd, .events = events};
        check_equal(poll(&one, 1, 20000), 1);
        check(one.revents & events);
}

TEST(a_nonblocking_connect_is_in_progress_then_writable_then_tells_its_result_once) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), fd = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
        check_errno(connect(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), EINPROGRESS);
        await_poll(fd, POLLOUT);
        check_equal(option_of(fd, SOL_SOCKET, SO_ERROR), 0);
        check_errno(connect(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), EISCONN);
        int acceptor = accepted(listener);
        check_talk(fd, acceptor);
        must(close(fd));
        must(close(acceptor));
        must(close(listener));

        fd = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
        check_errno(connect(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), EINPROGRESS);
        await_poll(fd, POLLOUT);
        check_equal(option_of(fd, SOL_SOCKET, SO_ERROR), ECONNRESET);
        check_equal(option_of(fd, SOL_SOCKET, SO_ERROR), 0);
        check_errno(connect(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), EINPROGRESS);
        check_errno(connect(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), ECONNRESET);
        check_equal(option_of(fd, SOL_SOCKET, SO_ERROR), 0);
        check_errno(connect(fd, ADDRESS(99, PORT), ADDRESS_SIZE), ENODEV); /* which the kernel knows at once, too */
        must(close(fd));
}

TEST(a_socket_that_an_epoll_set_holds_from_the_start_tells_it_of_its_connect) {
        struct epoll_event wanted = {.events = EPOLLOUT | EPOLLET}, event;
        for (int is_there = 0; is_there < 2; is_there++) {
                int listener = is_there ? listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM) : -1;
                int set = (int)must(epoll_create1(0)), fd = new_socket(SOCK_STREAM | SOCK_NONBLOCK);
                must(epoll_ctl(set, EPOLL_CTL_ADD, fd, &wanted));
                while (must(epoll_wait(set, &event, 1, 0)))
                        ; /* what it says of a new socket */
                check_errno(connect(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), EINPROGRESS);
                check_equal(epoll_wait(set, &event, 1, 20000), 1);
                check(event.events & EPOLLOUT);
                check_equal(option_of(fd, SOL_SOCKET, SO_ERROR), is_there ? 0 : ECONNRESET);
                must(close(fd));
                must(close(set));
                if (is_there)
                        must(close(listener));
        }
}

TEST(a_listener_is_readable_when_somebody_waits_and_accept4_sets_the_flags) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM | SOCK_NONBLOCK);
        check(!is_readable(listener));
        check_errno(accept(listener, NULL, NULL), EAGAIN);
        int connector = connected(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
        await_poll(listener, POLLIN);
        int fd = accepted(listener);
        check(!(fcntl(fd, F_GETFL) & O_NONBLOCK) && !fcntl(fd, F_GETFD));
        must(close(fd));
        must(close(connector));
        connector = connected(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
        fd = (int)must(accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC));
        check(fcntl(fd, F_GETFL) & O_NONBLOCK && fcntl(fd, F_GETFD) == FD_CLOEXEC);
        check_errno(read(fd, &(char){0}, 1), EAGAIN);
        check_errno(accept4(listener, NULL, NULL, 1), EINVAL);
        must(close(fd));
        must(close(connector));
        must(close(listener));
}

static void on_signal(int signal) {
}

TEST(a_signal_interrupts_an_accept_and_a_time_out_ends_it) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
        const struct sigaction action = {.sa_handler = on_signal};
        must(sigaction(SIGALRM, &action, NULL));
        struct itimerval often = {.it_interval.tv_usec = 10000, .it_value.tv_usec = 10000};
        must(setitimer(ITIMER_REAL, &often, NULL));
        check_errno(accept(listener, NULL, NULL), EINTR);
        must(setitimer(ITIMER_REAL, &(struct itimerval){}, NULL));
        must(setsockopt(listener, SOL_SOCKET, SO_RCVTIMEO, &(struct timeval){.tv_usec = 1000}, sizeof(struct timeval)));
        check_errno(accept(listener, NULL, NULL), EAGAIN);
        must(close(listener));
}

/* ---- data ---- */

#define MEBIBYTE (1u << 20)

TEST(streams_carry_what_any_call_moves_and_lose_nothing) {
        struct ends ends = connect_here(PORT, SOCK_STREAM);
        static unsigned char sent[MEBIBYTE], got[MEBIBYTE];
        for (unsigned i = 0; i < MEBIBYTE; i++)
                sent[i] = (unsigned char)(i * 2654435761u >> 24);
        pid_t sender = (pid_t)must(fork());
        if (!sender) {
                struct iovec vector[2] = {{sent, 1000}, {sent + 1000, 2000}};
                struct msghdr message = {.msg_iov = vector, .msg_iovlen = 2};
                check_equal(writev(ends.connector, vector, 2), 3000);
                vector[0] = (struct iovec){sent + 3000, 3000};
                message.msg_iovlen = 1;
                check_equal(sendmsg(ends.connector, &message, 0), 3000);
                for (size_t at = 6000; at < MEBIBYTE;)
                        at += (size_t)must(send(ends.connector, sent + at, MEBIBYTE - at, MSG_NOSIGNAL));
                _exit(0);
        }
        must(close(ends.connector));
        check_equal(recv(ends.acceptor, got, 10, MSG_PEEK | MSG_WAITALL), 10);
        check_equal(recv(ends.acceptor, got, MEBIBYTE / 2, MSG_WAITALL), MEBIBYTE / 2);
        for (size_t at = MEBIBYTE / 2; at < MEBIBYTE;)
                at += (size_t)must(read(ends.acceptor, got + at, MEBIBYTE - at));
        check(!memcmp(sent, got, MEBIBYTE));
        finish(sender);
        check_end(ends.acceptor);
        check_errno(send(ends.acceptor, "x", 1, MSG_NOSIGNAL), EPIPE);
        must(close(ends.acceptor));
}

TEST(seqpackets_keep_their_bounds_up_to_the_buffers_size) {
        struct ends ends = connect_here(PORT, SOCK_SEQPACKET);
        char got[16], *large = calloc(1, 262145);
        check(large);
        check_equal(send(ends.connector, "one", 3, 0), 3);
        check_equal(send(ends.connector, "three", 5, 0), 5);
        check_equal(recv(ends.acceptor, got, sizeof got, MSG_PEEK), 3);
        check_equal(recv(ends.acceptor, got, sizeof got, 0), 3);
        check_equal(recv(ends.acceptor, got, 2, MSG_TRUNC), 5);
        check(!memcmp(got, "th", 2));
        for (int i = 0; i < 2; i++) {
                int from = i ? ends.acceptor : ends.connector, to = i ? ends.connector : ends.acceptor;
                check_errno(send(from, large, 262145, 0), EMSGSIZE);
                check_equal(send(from, large, 262144, 0), 262144);
                check_equal(recv(to, large, 262145, 0), 262144);
        }
        check_equal(option_of(ends.acceptor, SOL_SOCKET, SO_TYPE), SOCK_SEQPACKET);
        must(shutdown(ends.connector, SHUT_WR));
        check_end(ends.acceptor);
        free(large);
        ends_close(&ends);
}

TEST(a_socket_tells_how_much_can_be_read_and_knows_no_other_familys_ioctls) {
        struct ends ends = connect_here(PORT, SOCK_STREAM);
        int count = -1, yes = 1;
        give(ends.connector, "twelve bytes");
        must(ioctl(ends.acceptor, FIONREAD, &count));
        check_equal(count, 12);
        must(ioctl(ends.connector, SIOCOUTQ, &count));
        check(count > 0);
        must(ioctl(ends.connector, FIONBIO, &yes));
        check(fcntl(ends.connector, F_GETFL) & O_NONBLOCK);
        check_errno(ioctl(ends.connector, SIOCUNIXFILE, 0), EINVAL);
        check_errno(ioctl(ends.connector, SIOCATMARK, &count), EINVAL);
        check_errno(ioctl(ends.connector, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &count), EINVAL);
        ends_close(&ends);
}

/* ---- going elsewhere ---- */

TEST(duplicates_are_the_same_socket) {
        int listener = new_socket(SOCK_STREAM), other = (int)must(dup(listener));
        must(bind(listener, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE));
        must(listen(other, 1));
        must(close(listener));
        check_name(own_name(other), VMADDR_CID_LOCAL, PORT);
        int fd = new_socket(SOCK_STREAM), high = (int)must(fcntl(fd, F_DUPFD_CLOEXEC, 100));
        must(connect(high, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE));
        int acceptor = accepted(other);
        must(dup2(acceptor, fd)); /* which takes another socket's number */
        check_name(own_name(fd), VMADDR_CID_LOCAL, PORT);
        must(close(acceptor));
        check_talk(high, fd);
        must(close(fd));
        must(close(high));
        must(close(other));
}

TEST(a_number_that_another_familys_socket_gets_is_that_sockets) {
        int fd = new_socket(SOCK_STREAM);
        must(close(fd));
        check_equal(socket(AF_INET, SOCK_STREAM, 0), fd);
        check_equal(option_of(fd, SOL_SOCKET, SO_DOMAIN), AF_INET);
        check_errno(bind(fd, ADDRESS(VMADDR_CID_LOCAL, PORT), ADDRESS_SIZE), EAFNOSUPPORT);
        must(close(fd));
}

/* This very program, started anew with a socket as its standard input: see main_of_another(). */
static pid_t start(const char *what, int fd) {
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                dup2(fd, STDIN_FILENO);
                setenv("HVSOCK_TEST_BECOMES", what, 1);
                execl("/proc/self/exe", what, NULL);
                _exit(127);
        }
        return pid;
}

static void talk_as_a_server(int fd) {
        check_given(fd, "ping");
        give(fd, "pong");
}

/* In a program that was never told what its standard input is. */
__attribute__((constructor)) static void main_of_another(void) {
        const char *what = getenv("HVSOCK_TEST_BECOMES");
        int fd = STDIN_FILENO;
        if (!what)
                return;
        if (!strcmp(what, "receiver"))
                fd = pass(STDIN_FILENO, -1);
        if (option_of(fd, SOL_SOCKET, SO_DOMAIN) != AF_VSOCK)
                _exit(2);
        if (!strcmp(what, "chosen") && listen(fd, 1) < 0)
                _exit(3);
        if (option_of(fd, SOL_SOCKET, SO_ACCEPTCONN)) {
                fd = accepted(fd);
                if (option_of(fd, SOL_SOCKET, SO_DOMAIN) != AF_VSOCK)
                        _exit(4);
        }
        check_name(own_name(fd), VMADDR_CID_LOCAL, own_name(fd).svm_port);
        check_name(peer_name(fd), VMADDR_CID_LOCAL, peer_name(fd).svm_port);
        talk_as_a_server(fd);
        _exit(0);
}

static void talk_as_a_client(int fd) {
        give(fd, "ping");
        check_given(fd, "pong");
        must(close(fd));
}

TEST(listeners_and_channels_are_inherited_over_fork_and_exec) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
        pid_t pid = start("listener", listener);
        talk_as_a_client(connected(VMADDR_CID_LOCAL, PORT, SOCK_STREAM));
        finish(pid);

        int fd = connected(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), acceptor = accepted(listener);
        pid = start("acceptor", acceptor);
        must(close(acceptor));
        talk_as_a_client(fd);
        finish(pid);
        must(close(listener));
}

TEST(a_port_that_was_chosen_is_kept_over_exec) {
        int fd = new_socket(SOCK_STREAM);
        must(bind(fd, ADDRESS(VMADDR_CID_LOCAL, VMADDR_PORT_ANY), ADDRESS_SIZE));
        unsigned port = own_name(fd).svm_port;
        pid_t pid = start("chosen", fd);
        int client = new_socket(SOCK_STREAM);
        while (connect(client, ADDRESS(VMADDR_CID_LOCAL, port), ADDRESS_SIZE) < 0) {
                check_equal(errno, ECONNRESET);
                usleep(1000);
        }
        talk_as_a_client(client);
        finish(pid);
        must(close(fd));
}

TEST(sockets_are_passed_to_other_programs) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), ways[2];
        for (int i = 0; i < 2; i++) {
                must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ways));
                pid_t pid = start("receiver", ways[1]);
                must(close(ways[1]));
                int fd = connected(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), passed = i ? accepted(listener) : listener;
                pass(ways[0], passed);
                if (i)
                        must(close(passed));
                talk_as_a_client(fd);
                finish(pid);
                must(close(ways[0]));
        }
        must(close(listener));
}

static void *connect_often(void *unused) {
        for (int i = 0; i < 50; i++) {
                int fd = connected(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
                unsigned port = own_name(fd).svm_port, got;
                check_equal(write(fd, &port, sizeof port), sizeof port);
                check_equal(recv(fd, &got, sizeof got, MSG_WAITALL), sizeof got);
                check_equal(got, port);
                must(close(fd));
        }
        return NULL;
}

static void *accept_often(void *argument) {
        int *listener = argument;
        for (int i = 0; i < 50; i++) {
                unsigned port;
                struct sockaddr_vm peer;
                socklen_t length = sizeof peer;
                int fd = (int)must(accept(*listener, (struct sockaddr *)&peer, &length));
                check_equal(recv(fd, &port, sizeof port, MSG_WAITALL), sizeof port);
                check_name(peer, VMADDR_CID_LOCAL, port);
                check_equal(write(fd, &port, sizeof port), sizeof port);
                must(close(fd));
        }
        return NULL;
}

TEST(many_threads_connect_and_accept_at_one_listener) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
        pthread_t threads[8];
        for (unsigned i = 0; i < count_of(threads); i++)
                check_ok(pthread_create(&threads[i], NULL, i % 2 ? connect_often : accept_often, &listener));
        for (unsigned i = 0; i < count_of(threads); i++)
                check_ok(pthread_join(threads[i], NULL));
        must(close(listener));
}

static void *accept_one(void *argument) {
        accepted(*(int *)argument);
        return NULL;
}

TEST(a_thread_that_waits_in_accept_can_be_cancelled) {
#ifdef __SANITIZE_ADDRESS__
        test_skip("AddressSanitizer takes the stack of a cancelled thread for what was there before");
#endif
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
        pthread_t thread;
        void *result;
        check_ok(pthread_create(&thread, NULL, accept_one, &listener));
        check_ok(pthread_cancel(thread));
        check_ok(pthread_join(thread, &result));
        check(result == PTHREAD_CANCELED);
        int fd = connected(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), acceptor = accepted(listener);
        check_talk(fd, acceptor);
        must(close(fd));
        must(close(acceptor));
        must(close(listener));
}

struct call {
        void (*make)(struct call *call);
        int fd, result;
};

static void accept_and_name(struct call *call) {
        struct sockaddr_vm peer;
        socklen_t length = sizeof peer;
        call->result = accept(call->fd, (struct sockaddr *)&peer, &length);
}

static void tell_cid(struct call *call) {
        unsigned cid;
        call->result = ioctl(call->fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid);
}

static void *make_call(void *argument) {
        struct call *call = argument;
        call->make(call);
        pthread_testcancel();
        return NULL;
}

/* A child has no connection of its own yet: what it asks, it asks the silent one. */
static void check_cancel_waits(void (*make)(struct call *call), int fd) {
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                char directory[] = "/tmp/hvsock-preload-XXXXXX";
                struct call call = {.make = make, .fd = fd, .result = -1};
                pthread_t thread;
                void *result;
                int silent = listen_in_silence(directory);
                check_ok(pthread_create(&thread, NULL, make_call, &call));
                await_poll(silent, POLLIN);
                check_ok(pthread_cancel(thread));
                check_ok(pthread_join(thread, &result));
                check(result == PTHREAD_CANCELED);
                check_equal(run("rm -r %s", directory), 0);
                _exit(call.result < 0);
        }
        finish(pid);
}

static void connect_to_the_host(void) {
        ready();
        check_end(connected(VMADDR_CID_HOST, PORT, SOCK_STREAM));
}

TEST(a_thread_that_asks_the_broker_is_cancelled_after_the_call) {
#ifdef __SANITIZE_ADDRESS__
        test_skip("AddressSanitizer takes the stack of a cancelled thread for what was there before");
#endif
        int listener = listening(VMADDR_CID_ANY, PORT, SOCK_STREAM), device = (int)must(open("/dev/null", O_RDONLY));
        pid_t connector = begin_in(WEB01, connect_to_the_host);
        check_cancel_waits(accept_and_name, listener);
        finish(connector);
        check_cancel_waits(tell_cid, device);
        must(close(device));
        must(close(listener));
}

/* ---- what is left alone ---- */

TEST(sockets_of_other_families_are_the_kernels_and_errno_stays) {
        int ways[2], fd = (int)must(socket(AF_UNIX, SOCK_STREAM, 0));
        struct sockaddr name;
        socklen_t length = sizeof name;
        errno = 0;
        must(getsockname(fd, &name, &length));
        check_equal(name.sa_family, AF_UNIX);
        check_equal(option_of(fd, SOL_SOCKET, SO_DOMAIN), AF_UNIX);
        check_equal(errno, 0);
        uint64_t rate = 12345, got;
        socklen_t size = sizeof got;
        must(setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate));
        must(getsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &got, &size));
        check_equal(got, rate);
        must(close(fd));
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, ways));
        check_talk(ways[0], ways[1]);
        must(close(ways[0]));
        must(close(ways[1]));
        check_errno(getpeername(STDIN_FILENO, &name, &length), ENOTSOCK);
        check_errno(listen(-1, 1), EBADF);
        check_errno(ioctl(-1, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &size), EBADF);
}

TEST(what_asks_the_kernel_itself_does_not_survive_these_tests) {
        static const int domains[] = {AF_VSOCK, 34};
        for (size_t i = 0; i < count_of(domains); i++) {
                int status;
                pid_t pid = (pid_t)must(fork());
                if (!pid) {
                        syscall(SYS_socket, domains[i], SOCK_STREAM, 0);
                        _exit(0);
                }
                must(waitpid(pid, &status, 0));
                check(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
        }
}
