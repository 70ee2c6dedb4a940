/* SPDX-License-Identifier: MIT */

/* Asking the broker: finding it, trusting it, waiting for it, and not believing what it gets wrong. */

#include "fake.h"
#include "test.h"
#include "wire/message.h"
#include "wire/name.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/sockios.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

static int socket_with_timeout(uint32_t timeout_ms) {
        int fd = fake_socket(SOCK_STREAM);
        must(hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &timeout_ms, sizeof timeout_ms));
        return fd;
}

static int library_descriptor(void) {
        for (int fd = 0; fd < 256; fd++)
                if (test_keeps_descriptor(fd))
                        return fd;
        return -1;
}

static void await_child(pid_t child) {
        int status;
        must(waitpid(child, &status, 0));
        check_equal(status, 0);
}

/* ---- finding and trusting ---- */

TEST(where_the_named_broker_is_not_there_no_other_is_taken) {
        fake_start();
        must(setenv("XDG_RUNTIME_DIR", "/nonexistent", 1));
        static const char *const places[] = {"/nonexistent", "/nonexistent/control", "/tmp"};
        int fd = fake_socket(SOCK_STREAM);
        for (unsigned i = 0; i < 3; i++) {
                must(setenv("HVSOCK_SOCKET", places[i], 1));
                check_errno(fake_connect(fd), ENETDOWN);
        }
        check_equal(fake_connections, 0);
        must(hv_close(fd));
        fake_end();
}

TEST(the_broker_is_named_by_its_directory_or_by_its_socket) {
        fake_start();
        char directory[PATH_MAX - 16], path[PATH_MAX];
        strcpy(directory, getenv("HVSOCK_SOCKET"));
        int listener = fake_listener(SOCK_STREAM);
        close(library_descriptor());
        snprintf(path, sizeof path, "%s/control", directory);
        must(setenv("HVSOCK_SOCKET", path, 1));
        check_works(listener, fake_socket(SOCK_STREAM));
        check_equal(fake_connections, 2);
        must(hv_close(listener));
        fake_end();
}

TEST(a_user_has_the_runtime_directorys_broker_and_deep_paths_are_reached) {
        fake_start();
        char deep[512], here[64];
        check(getcwd(here, sizeof here));
        snprintf(deep, sizeof deep, "%s/%0150d", here, 1);
        must(mkdir(deep, 0700));
        char linked[600];
        snprintf(linked, sizeof linked, "%s/hvsock", deep);
        must(symlink(here, linked));
        must(unsetenv("HVSOCK_SOCKET"));
        must(setenv("XDG_RUNTIME_DIR", deep, 1));
        int listener = fake_listener(SOCK_STREAM);
        check_works(listener, fake_socket(SOCK_STREAM));
        check_equal(fake_connections, 1);
        must(hv_close(listener));
        must(unlink(linked));
        must(rmdir(deep));
        fake_end();
}

/* Listens as somebody else; accepts what comes until it is killed. */
static pid_t start_foreign_broker(const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        strcpy(address.sun_path, path);
        int ready[2];
        must(pipe2(ready, O_CLOEXEC));
        pid_t child = (pid_t)must(fork());
        if (!child) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                must(setresuid(12345, 12345, 12345));
                int fd = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
                must(bind(fd, (struct sockaddr *)&address, sizeof address));
                must(listen(fd, 8));
                must(chmod(path, 0666));
                check_equal(must(write(ready[1], "r", 1)), 1);
                for (;;)
                        pause();
        }
        char byte = 0;
        check_equal(must(read(ready[0], &byte, 1)), 1);
        close(ready[0]);
        close(ready[1]);
        return child;
}

TEST(a_broker_of_another_user_is_trusted_only_when_it_is_named) {
        if (geteuid() != 0)
                test_skip("only root can start another user's broker");
        char directory[] = "/tmp/hvsock-lib-XXXXXX", runtime[64], path[96];
        check(mkdtemp(directory));
        must(chmod(directory, 0777));
        snprintf(runtime, sizeof runtime, "%s/hvsock", directory);
        must(mkdir(runtime, 0777));
        must(chmod(runtime, 0777));
        snprintf(path, sizeof path, "%s/control", runtime);
        pid_t child = start_foreign_broker(path);
        must(unsetenv("HVSOCK_SOCKET"));
        must(setenv("XDG_RUNTIME_DIR", directory, 1));
        pid_t asking = (pid_t)must(fork());
        if (!asking) {
                int fd = socket_with_timeout(50);
                check_errno(fake_connect(fd), ENETDOWN);
                must(setresuid(23456, 23456, 23456));
                check_errno(fake_connect(fd), ENETDOWN);
                must(setenv("HVSOCK_SOCKET", path, 1));
                check_errno(fake_connect(fd), ETIMEDOUT); /* it is asked, and does not answer */
                must(hv_close(fd));
                _exit(0);
        }
        await_child(asking);
        must(kill(child, SIGKILL));
        must(waitpid(child, NULL, 0));
        must(unlink(path));
        must(rmdir(runtime));
        must(rmdir(directory));
}

/* ---- answers that are none ---- */

TEST(an_answer_that_is_none_is_an_error_at_once_and_the_next_request_is_fine) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        static const struct {
                enum misdeed misdeed;
                int error;
        } lies[] = {{WRONG_SERIAL, EPROTO}, {WRONG_TYPE, EPROTO}, {CUT_SHORT, EPROTO}, {GARBAGE, EPROTO},
                    {NO_ERRNO, EPROTO},     {WRONG_MAJOR, EPROTONOSUPPORT}};
        for (unsigned i = 0; i < sizeof lies / sizeof *lies; i++) {
                struct hv_refusal refusal = {.struct_size = sizeof refusal};
                GUID guid;
                fake_misbehave(lies[i].misdeed, 1);
                check_errno(hv_partition_by_name("known", &guid), lies[i].error);
                must(hv_partition_by_name("known", &guid));
                int fd = fake_socket(SOCK_STREAM);
                fake_misbehave(lies[i].misdeed, 1);
                check_errno(fake_connect(fd), lies[i].error);
                check_errno(hv_last_refusal(&refusal), ENOENT);
                must(hv_close(fd));
        }
        fake_misbehave(HONEST, 0);
        /* What was connected in spite of its answer is still in the backlog. */
        for (struct pollfd waiting = {.fd = listener, .events = POLLIN}; poll(&waiting, 1, 0) == 1;) {
                int accepted = (int)must(hv_accept(listener, NULL, NULL));
                must(hv_close(accepted));
        }
        check_works(listener, fake_socket(SOCK_STREAM));
        must(hv_close(listener));
        fake_end();
}

TEST(descriptors_that_nobody_asked_for_are_closed) {
        fake_start();
        GUID guid;
        must(hv_partition_by_name("known", &guid));
        int lowest = (int)must(dup(0));
        close(lowest);
        for (unsigned i = 0; i < 20; i++) {
                fake_misbehave(i % 2 ? TWO_DESCRIPTORS : EXTRA_DESCRIPTOR, 1);
                must(hv_partition_by_name("known", &guid));
        }
        check_equal(must(dup(0)), lowest);
        close(lowest);
        fake_end();
}

/* ---- waiting ---- */

TEST(a_silent_broker_is_a_timeout_and_the_socket_can_connect_later) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), fd = socket_with_timeout(20);
        fake_misbehave(SILENT, UINT_MAX);
        for (unsigned i = 0; i < 3; i++)
                check_errno(fake_connect(fd), ETIMEDOUT);
        fake_misbehave(HONEST, 0);
        check_works(listener, fd);
        must(hv_close(listener));
        fake_end();
}

TEST(a_broker_that_is_silent_from_the_start_is_a_timeout_too) {
        fake_start();
        fake_misbehave(SILENT_AT_HELLO, UINT_MAX);
        int fd = socket_with_timeout(20);
        check_errno(fake_connect(fd), ETIMEDOUT);
        check_errno(hv_bind(fd, (const struct sockaddr *)&FAKE_ADDRESS, sizeof FAKE_ADDRESS), ETIMEDOUT);
        must(hv_close(fd));
        fake_end();
}

static void nothing(int signal) {
}

static void *send_signals(void *thread) {
        for (unsigned i = 0; i < 50; i++) {
                pthread_kill(*(pthread_t *)thread, SIGUSR1);
                usleep(500);
        }
        fake_misbehave(HONEST, 0);
        return NULL;
}

TEST(signals_do_not_interrupt_the_wait_for_an_answer) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), fd = socket_with_timeout(300);
        struct sigaction action = {.sa_handler = nothing};
        must(sigaction(SIGUSR1, &action, NULL));
        pthread_t self = pthread_self(), sender;
        fake_misbehave(SILENT, UINT_MAX);
        check_ok(pthread_create(&sender, NULL, send_signals, &self));
        check_errno(fake_connect(fd), ETIMEDOUT);
        check_ok(pthread_join(sender, NULL));
        must(hv_close(fd));
        must(hv_close(listener));
        fake_end();
}

TEST(signals_do_not_lengthen_the_wait_for_a_broker_that_takes_no_connections) {
        fake_start();
        struct sigaction action = {.sa_handler = nothing}, ignored = {.sa_handler = SIG_IGN};
        struct itimerval interval = {{.tv_usec = 10000}, {.tv_usec = 10000}}, none = {};
        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "full"};
        int full = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0)), fd = socket_with_timeout(100);
        int first = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        must(bind(full, (struct sockaddr *)&address, sizeof address));
        must(listen(full, 0));
        must(connect(first, (struct sockaddr *)&address, sizeof address));
        must(setenv("HVSOCK_SOCKET", "full", 1));
        must(sigaction(SIGALRM, &action, NULL));
        must(setitimer(ITIMER_REAL, &interval, NULL));
        check_errno(fake_connect(fd), ETIMEDOUT); /* at all */
        must(setitimer(ITIMER_REAL, &none, NULL));
        must(sigaction(SIGALRM, &ignored, NULL));
        close(first);
        close(full);
        must(hv_close(fd));
        fake_end();
}

/* Tells a broker that reads nothing of closed channels, until there is no room for more. */
static void fill_connection(int connection) {
        struct connector_name name = {.dial_back_vm_id = HV_GUID_LOOPBACK, .dialled_vm_id = HV_GUID_LOOPBACK};
        int least = 0, size = 0, queued = 0;
        socklen_t length = sizeof size;
        must(setsockopt(connection, SOL_SOCKET, SO_SNDBUF, &least, sizeof least));
        must(getsockopt(connection, SOL_SOCKET, SO_SNDBUF, &size, &length));
        while (queued < size) {
                struct sockaddr_un address;
                name.ephemeral_id.Data1++;
                length = connector_name_encode(&name, &address);
                int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
                must(bind(fd, (struct sockaddr *)&address, length));
                must(hv_close(fd));
                must(ioctl(connection, SIOCOUTQ, &queued));
        }
}

TEST(signals_do_not_lengthen_the_wait_for_a_broker_that_reads_nothing) {
        fake_start();
        fake_die();
        pid_t broker = (pid_t)must(fork());
        if (!broker) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                fake_start();
                for (;;)
                        pause();
        }
        struct sigaction action = {.sa_handler = nothing}, ignored = {.sa_handler = SIG_IGN};
        struct itimerval interval = {{.tv_usec = 10000}, {.tv_usec = 10000}}, none = {};
        GUID guid;
        while (hv_partition_by_name("known", &guid) < 0)
                usleep(1000);
        must(kill(broker, SIGSTOP));
        must(waitpid(broker, NULL, WUNTRACED));
        fill_connection(library_descriptor());
        int fd = socket_with_timeout(100);
        must(sigaction(SIGALRM, &action, NULL));
        must(setitimer(ITIMER_REAL, &interval, NULL));
        check_errno(fake_connect(fd), ETIMEDOUT); /* at all */
        must(setitimer(ITIMER_REAL, &none, NULL));
        must(sigaction(SIGALRM, &ignored, NULL));
        must(kill(broker, SIGKILL));
        must(waitpid(broker, NULL, 0));
        must(hv_close(fd));
        fake_start();
        fake_end();
}

TEST(a_broker_that_hangs_up_is_asked_again) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        fake_misbehave(HANGS_UP, 5);
        check_works(listener, fake_socket(SOCK_STREAM));
        check(fake_connections >= 6);
        fake_misbehave(HANGS_UP, UINT_MAX);
        int fd = socket_with_timeout(50);
        check_errno(fake_connect(fd), ETIMEDOUT);
        must(hv_close(fd));
        must(hv_close(listener));
        fake_end();
}

TEST(a_connect_that_was_done_but_not_answered_is_done) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        fake_misbehave(CONNECTS_AND_HANGS_UP, 1);
        check_works(listener, fake_socket(SOCK_STREAM));
        must(hv_close(listener));
        fake_end();
}

static void *start_again(void *unused) {
        usleep(30000);
        fake_start();
        return NULL;
}

TEST(a_broker_that_is_restarted_is_waited_for) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), fd = socket_with_timeout(20000);
        fake_die();
        pthread_t starter;
        check_ok(pthread_create(&starter, NULL, start_again, NULL));
        check_works(listener, fd);
        check_ok(pthread_join(starter, NULL));
        must(hv_close(listener));
        fake_end();
}

TEST(a_broker_whose_socket_is_gone_was_there_and_is_waited_for) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), fd = socket_with_timeout(30);
        fake_die();
        must(unlink("control"));
        check_errno(fake_connect(fd), ETIMEDOUT);
        must(hv_close(fd));
        fake_start();
        must(hv_close(listener));
        fake_end();
}

/* ---- what becomes of the socket ---- */

TEST(however_a_connect_ends_the_socket_was_lent_non_blocking_and_has_its_flags_back) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        static const enum misdeed ends[] = {HONEST, SILENT, HANGS_UP, CONNECTS_AND_HANGS_UP, GARBAGE, REFUSES};
        for (unsigned i = 0; i < 2 * sizeof ends / sizeof *ends; i++) {
                int fd = socket_with_timeout(20);
                must(fcntl(fd, F_SETFL, i % 2 ? O_NONBLOCK | O_APPEND : O_APPEND));
                int before = (int)must(fcntl(fd, F_GETFL));
                fake_misbehave(ends[i / 2], UINT_MAX);
                bool is_done = ends[i / 2] == HONEST || ends[i / 2] == CONNECTS_AND_HANGS_UP;
                check_equal(fake_connect(fd), is_done ? 0 : -1);
                check_equal(must(fcntl(fd, F_GETFL)), before);
                must(hv_close(fd));
        }
        check_equal(fake_lent_blocking, 0);
        fake_misbehave(HONEST, 0);
        must(hv_close(listener));
        fake_end();
}

/* Neither is it asked, when it restarts or when it hangs up in the middle. */
TEST(a_socket_that_was_connected_is_so_while_the_broker_is_away) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM), packets = fake_pair(SOCK_SEQPACKET);
        int all[] = {pair.connector, pair.acceptor, packets.connector, packets.acceptor, (int)must(dup(pair.connector))};
        fake_misbehave(HANGS_UP, UINT_MAX);
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
                check_errno(fake_connect(all[i]), EISCONN);
        fake_misbehave(HONEST, 0);
        fake_die();
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
                check_errno(fake_connect(all[i]), EISCONN);
        fake_start();
        must(hv_close(all[4]));
        fake_pair_close(&packets);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_reset_that_waits_is_still_told_after_a_connect_in_vain) {
        fake_start();
        for (int type = SOCK_STREAM; type; type = type == SOCK_STREAM ? SOCK_SEQPACKET : 0) {
                struct fake_pair pair = fake_pair(type);
                char byte = 0;
                must(hv_send(pair.connector, "x", 1, 0));
                must(hv_close(pair.acceptor)); /* with data that it did not receive */
                pair.acceptor = -1;
                check_errno(fake_connect(pair.connector), EISCONN);
                for (unsigned i = 0; i < 2; i++)
                        check_errno(hv_recv(pair.connector, &byte, 1, 0), ECONNRESET);
                fake_pair_close(&pair);
        }
        fake_end();
}

TEST(only_streams_and_packets_are_lent) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), ends[2];
        int datagrams = (int)must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        must(pipe2(ends, O_CLOEXEC));
        check_errno(fake_connect(datagrams), ESOCKTNOSUPPORT);
        check_errno(fake_connect(ends[0]), ENOTSOCK);
        check_errno(fake_connect(-1), EBADF);
        check_equal(fake_requests[WIRE_CONNECT], 0);
        int packets = fake_socket(SOCK_SEQPACKET);
        check_errno(fake_connect(packets), EPROTOTYPE);
        must(hv_close(packets));
        close(datagrams);
        close(ends[0]);
        close(ends[1]);
        must(hv_close(listener));
        fake_end();
}

/* ---- sockets that do not wait ---- */

static void *connect_blocking(void *fd) {
        must(fake_connect(*(int *)fd));
        return NULL;
}

/* Both may wait longer than a test may last: one gives up by itself, the other when the broker is back. */
TEST(a_non_blocking_connect_gives_a_silent_broker_up_while_a_blocking_one_waits_on) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), blocking = socket_with_timeout(300000), fd = socket_with_timeout(300000);
        must(fcntl(fd, F_SETFL, O_NONBLOCK));
        fake_misbehave(SILENT, UINT_MAX);
        pthread_t thread;
        check_ok(pthread_create(&thread, NULL, connect_blocking, &blocking));
        check_errno(fake_connect(fd), ETIMEDOUT);
        fake_die();
        fake_misbehave(HONEST, 0);
        fake_start();
        check_ok(pthread_join(thread, NULL));
        must(hv_close(fd));
        must(hv_close(blocking));
        must(hv_close(listener));
        fake_end();
}

TEST(a_non_blocking_connect_waits_for_a_restart_no_longer_either) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), fd = socket_with_timeout(300000);
        must(fcntl(fd, F_SETFL, O_NONBLOCK));
        fake_die();
        check_errno(fake_connect(fd), ETIMEDOUT);
        fake_start();
        must(fcntl(fd, F_SETFL, 0));
        check_works(listener, fd);
        must(hv_close(listener));
        fake_end();
}

TEST(an_edge_triggered_waiter_gets_its_edge_and_a_send_buffer_of_the_same_size) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), epoll = (int)must(epoll_create1(EPOLL_CLOEXEC));
        for (unsigned i = 0; i < 2; i++) {
                int fd = fake_socket(SOCK_STREAM | SOCK_NONBLOCK), before, after, error = -1;
                struct epoll_event event = {.events = EPOLLOUT | EPOLLIN | EPOLLET};
                socklen_t size = sizeof before;
                must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event));
                check_equal(must(epoll_wait(epoll, &event, 1, 0)), 1);
                check_equal(must(epoll_wait(epoll, &event, 1, 0)), 0);
                must(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &before, &size));
                fake_misbehave(i ? CONNECTS_AND_HANGS_UP : HONEST, 1);
                must(fake_connect(fd));
                check_equal(must(epoll_wait(epoll, &event, 1, 0)), 1);
                check_equal(event.events, EPOLLOUT);
                must(getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &after, &size));
                check_equal(after, before);
                must(hv_getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
                check_equal(error, 0);
                must(hv_close(fd));
        }
        close(epoll);
        must(hv_close(listener));
        fake_end();
}

/* ---- refusals ---- */

TEST(a_refusal_is_told_with_its_rule_until_the_next_call) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), fd = fake_socket(SOCK_STREAM);
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        check_errno(hv_last_refusal(&refusal), ENOENT);
        fake_misbehave(REFUSES, 1);
        check_errno(fake_connect(fd), EACCES);
        must(hv_last_refusal(&refusal));
        check_equal(refusal.error, EACCES);
        check_string(refusal.rule_name, "connect-denied");
        check_string(refusal.text, "because");
        must(hv_last_refusal(&refusal));
        refusal.struct_size = 8;
        check_errno(hv_last_refusal(&refusal), EINVAL);
        refusal.struct_size = sizeof refusal;
        must(fake_connect(fd));
        check_errno(hv_last_refusal(&refusal), ENOENT);
        must(hv_close(fd));
        must(hv_close(listener));
        fake_end();
}

static void *look_for_refusal(void *unused) {
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        check_errno(hv_last_refusal(&refusal), ENOENT);
        return NULL;
}

TEST(a_refusal_is_the_threads_that_was_refused) {
        fake_start();
        int fd = fake_socket(SOCK_STREAM);
        pthread_t other;
        fake_misbehave(REFUSES, 1);
        check_errno(fake_connect(fd), EACCES);
        check_ok(pthread_create(&other, NULL, look_for_refusal, NULL));
        check_ok(pthread_join(other, NULL));
        must(hv_close(fd));
        fake_end();
}

TEST(one_client_too_many_is_told_so_at_its_hello) {
        fake_start();
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        int fd = fake_socket(SOCK_STREAM);
        fake_misbehave(REFUSES_HELLO, 1);
        check_errno(hv_bind(fd, (const struct sockaddr *)&FAKE_ADDRESS, sizeof FAKE_ADDRESS), ENOBUFS);
        must(hv_last_refusal(&refusal));
        check_string(refusal.rule_name, "quota");
        check_string(refusal.text, "too many");
        must(hv_bind(fd, (const struct sockaddr *)&FAKE_ADDRESS, sizeof FAKE_ADDRESS));
        must(hv_close(fd));
        fake_end();
}

TEST(a_connected_socket_is_connected_whatever_the_broker_says_of_the_address) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        check_errno(fake_connect(pair.connector), EISCONN);
        fake_misbehave(REFUSES, UINT_MAX);
        check_errno(fake_connect(pair.connector), EISCONN);
        check_errno(fake_connect(pair.acceptor), EISCONN);
        check_errno(hv_last_refusal(&refusal), ENOENT);
        fake_misbehave(HONEST, 0);
        must(hv_close(pair.acceptor));
        pair.acceptor = -1;
        check_errno(fake_connect(pair.connector), EISCONN);
        fake_pair_close(&pair);
        fake_end();
}
