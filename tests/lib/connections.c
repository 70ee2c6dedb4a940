/* SPDX-License-Identifier: MIT */

/* The library's own connections: few, its own process's and user's, and safe from what programs do to descriptors. */

#include "fake.h"
#include "test.h"
#include "wire/message.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int library_descriptor(void) {
        for (int fd = 0; fd < 256; fd++)
                if (test_keeps_descriptor(fd))
                        return fd;
        return -1;
}

static unsigned library_descriptors(void) {
        unsigned count = 0;
        for (int fd = 0; fd < 256; fd++)
                count += test_keeps_descriptor(fd);
        return count;
}

static void await_child(pid_t child) {
        int status;
        must(waitpid(child, &status, 0));
        check_equal(status, 0);
}

TEST(one_connection_serves_one_thread) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        for (unsigned i = 0; i < 20; i++)
                check_works(listener, fake_socket(SOCK_STREAM));
        check_equal(fake_connections, 1);
        check_equal(fake_requests[WIRE_HELLO], 1);
        check(must(fcntl(library_descriptor(), F_GETFD)) & FD_CLOEXEC);
        must(hv_close(listener));
        fake_end();
}

TEST(an_idle_connection_that_a_program_closed_is_opened_again) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        close(library_descriptor());
        check_works(listener, fake_socket(SOCK_STREAM));
        check_equal(fake_connections, 2);
        must(hv_close(listener));
        fake_end();
}

TEST(what_a_program_opened_in_its_place_is_neither_written_to_nor_closed) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), ends[2], old = library_descriptor();
        must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
        must(dup3(ends[0], old, O_CLOEXEC));
        check_works(listener, fake_socket(SOCK_STREAM));
        struct pollfd other = {.fd = ends[1], .events = POLLIN};
        check_equal(poll(&other, 1, 0), 0);
        check(must(fcntl(old, F_GETFD)) & FD_CLOEXEC);
        close(old);
        close(ends[0]);
        close(ends[1]);
        must(hv_close(listener));
        fake_end();
}

TEST(with_standard_descriptors_closed_the_library_takes_none_of_their_numbers) {
        fake_start();
        pid_t child = (pid_t)must(fork());
        if (!child) {
                GUID guid;
                for (int i = 0; i < 3; i++)
                        close(i);
                if (hv_partition_by_name("known", &guid) < 0)
                        _exit(2);
                _exit(library_descriptor() < 3 || library_descriptors() != 1);
        }
        await_child(child);
        fake_end();
}

TEST(a_child_talks_to_the_broker_on_a_connection_of_its_own) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        pid_t child = (pid_t)must(fork());
        if (!child) {
                check_works(listener, fake_socket(SOCK_STREAM));
                check_equal(library_descriptors(), 1); /* its copy of its parent's is closed */
                _exit(0);
        }
        await_child(child);
        check_equal(fake_connections, 2);
        check_works(listener, fake_socket(SOCK_STREAM));
        check_equal(fake_connections, 2);
        must(hv_close(listener));
        fake_end();
}

TEST(another_effective_user_talks_on_another_connection) {
        if (geteuid() != 0)
                test_skip("only root can change its user");
        fake_start();
        GUID guid;
        must(hv_partition_by_name("known", &guid));
        must(chmod(".", 0755));
        must(chmod("control", 0666));
        must(seteuid(12345));
        must(hv_partition_by_name("known", &guid));
        check_equal(fake_connections, 2);
        must(seteuid(0));
        must(hv_partition_by_name("known", &guid));
        check_equal(fake_connections, 3);
        fake_end();
}

enum { THREADS = 40, EACH = 50 };

static void *connect_often(void *unused) {
        for (unsigned i = 0; i < EACH; i++) {
                int fd = fake_socket(SOCK_STREAM);
                char byte = 0;
                must(fake_connect(fd));
                check_equal(must(hv_recv(fd, &byte, 1, 0)), 1);
                must(hv_close(fd));
        }
        return NULL;
}

TEST(many_threads_connect_at_once_and_few_connections_stay) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        must(hv_listen(listener, 4096));
        pthread_t threads[THREADS];
        for (unsigned i = 0; i < THREADS; i++)
                check_ok(pthread_create(&threads[i], NULL, connect_often, NULL));
        for (unsigned i = 0; i < THREADS * EACH; i++) {
                int fd = (int)must(hv_accept(listener, NULL, NULL));
                check_equal(must(hv_send(fd, "x", 1, 0)), 1);
                must(hv_close(fd));
        }
        for (unsigned i = 0; i < THREADS; i++)
                check_ok(pthread_join(threads[i], NULL));
        check(library_descriptors() <= 16);
        must(hv_close(listener));
        fake_end();
}

static _Atomic int connects_won;

static void *connect_shared(void *fd) {
        if (fake_connect(*(int *)fd) == 0)
                atomic_fetch_add(&connects_won, 1);
        else
                check_equal(errno, EISCONN);
        return NULL;
}

TEST(of_threads_that_connect_the_same_socket_one_succeeds) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM);
        for (unsigned round = 0; round < 50; round++) {
                int fd = fake_socket(SOCK_STREAM);
                pthread_t threads[3];
                connects_won = 0;
                for (unsigned i = 0; i < 3; i++)
                        check_ok(pthread_create(&threads[i], NULL, connect_shared, &fd));
                for (unsigned i = 0; i < 3; i++)
                        check_ok(pthread_join(threads[i], NULL));
                check_equal(connects_won, 1);
                int accepted = (int)must(hv_accept(listener, NULL, NULL));
                must(hv_close(accepted));
                must(hv_close(fd));
        }
        must(hv_close(listener));
        fake_end();
}

TEST(closed_channels_are_told_with_the_next_connect_or_sixteen_at_a_time) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), fds[40];
        must(hv_listen(listener, 100));
        for (unsigned i = 0; i < 40; i++) {
                fds[i] = fake_socket(SOCK_STREAM);
                must(fake_connect(fds[i]));
        }
        for (unsigned i = 0; i < 40; i++)
                must(hv_close(fds[i]));
        int last = fake_socket(SOCK_STREAM);
        must(fake_connect(last));
        check_equal(fake_closed_told, 40);
        check_equal(fake_requests[WIRE_CLOSED], 2);
        must(hv_close(last));
        must(hv_close(listener));
        fake_end();
}

TEST(closed_channels_that_were_told_in_vain_are_told_again) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        uint32_t brief_ms = 20;
        int fd = fake_socket(SOCK_STREAM);
        must(hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &brief_ms, sizeof brief_ms));
        must(hv_close(pair.connector));
        pair.connector = -1;
        fake_misbehave(SILENT, 1);
        check_errno(fake_connect(fd), ETIMEDOUT);
        check_equal(fake_closed_told, 1);
        must(fake_connect(fd));
        check_equal(fake_closed_told, 2);
        must(hv_close(fd));
        fake_pair_close(&pair);
        fake_end();
}

TEST(closed_channels_are_kept_for_a_broker_that_refuses_even_a_hello) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        int fd = fake_socket(SOCK_STREAM);
        must(hv_close(pair.connector));
        pair.connector = -1;
        fake_die();
        fake_start();
        fake_misbehave(REFUSES_HELLO, 1);
        check_errno(fake_connect(fd), ENOBUFS);
        check_equal(fake_closed_told, 0);
        must(fake_connect(fd));
        check_equal(fake_closed_told, 1);
        must(hv_close(fd));
        fake_pair_close(&pair);
        fake_end();
}

/* Ephemeral ServiceIds that were told so far, those included that wait for the next connect. */
static unsigned told(int listener) {
        check_works(listener, fake_socket(SOCK_STREAM));
        check_works(listener, fake_socket(SOCK_STREAM)); /* tells of the one before, too */
        static unsigned own;
        return fake_closed_told - (own += 2) + 1;
}

TEST(every_connector_that_is_closed_is_told_whatever_its_number_was_before_and_nothing_else_is) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        check_equal(told(pair.listener), 0);
        must(hv_close(pair.acceptor));
        check_equal(told(pair.listener), 0);
        struct rlimit limit; /* softly 1024 for most: the other number is to be beyond that */
        must(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        must(setrlimit(RLIMIT_NOFILE, &limit));
        int copy = (int)must(dup(pair.connector)), high = (int)must(fcntl(pair.connector, F_DUPFD_CLOEXEC, 1100));
        must(hv_close(copy));
        check_equal(told(pair.listener), 1);
        must(hv_close(high));
        check_equal(told(pair.listener), 2);
        int reused = fake_socket(SOCK_STREAM);
        must(fake_connect(reused));
        int accepted = (int)must(hv_accept(pair.listener, NULL, NULL));
        close(accepted);
        check_equal(must(dup(pair.listener)), accepted);
        must(hv_close(accepted));
        check_equal(told(pair.listener), 2);
        must(hv_close(reused));
        check_equal(told(pair.listener), 3);
        pair.acceptor = -1;
        fake_pair_close(&pair);
        fake_end();
}

/* Both directions move into rings. The broker has read all that came before the last request. */
static void move_into_rings(struct fake_pair *pair) {
        const int ends[] = {pair->connector, pair->acceptor};
        uint32_t carrier = HV_CARRIER_SHM;
        int state;
        socklen_t length = sizeof state;
        GUID guid;
        for (unsigned i = 0; i < 2; i++)
                must(hv_setsockopt(ends[i], SOL_HVSOCKET, HVSOCKET_CARRIER, &carrier, sizeof carrier));
        for (unsigned i = 0; i < 6; i++) {
                check_equal(must(hv_send(ends[i % 2], "moved", 5, 0)), 5);
                check_receives(ends[1 - i % 2], "moved");
        }
        must(hv_getsockopt(pair->connector, SOL_HVSOCKET, HVSOCKET_CARRIER_STATE, &state, &length));
        check_equal(state, HV_SENDS_SHM | HV_RECEIVES_SHM);
        must(hv_partition_by_name("known", &guid));
}

TEST(a_broker_is_told_of_each_ring) {
        fake_start();
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        move_into_rings(&pair);
        check_equal(fake_requests[WIRE_RING], 2);
        check_equal(fake_connections, 1);
        fake_pair_close(&pair);
        fake_end();
}

TEST(a_broker_older_than_rings_is_told_of_none_and_they_work) {
        fake_start();
        fake_minor = WIRE_MINOR_OF_RING - 1;
        struct fake_pair pair = fake_pair(SOCK_STREAM);
        move_into_rings(&pair);
        check_equal(fake_requests[WIRE_RING], 0);
        check_equal(fake_connections, 1);
        fake_pair_close(&pair);
        fake_end();
}

TEST(only_a_non_blocking_connect_may_be_parked_and_only_by_a_broker_that_knows_how) {
        fake_start();
        int listener = fake_listener(SOCK_STREAM), blocking = fake_socket(SOCK_STREAM);
        must(fake_connect(blocking));
        check_equal(fake_last_flags, 0);
        for (uint16_t minor = WIRE_MINOR_OF_PARKING - 1; minor <= WIRE_MINOR_OF_PARKING; minor++) {
                fake_minor = minor;
                must(hv_close(blocking)); /* the minor is learnt with each answer */
                blocking = fake_socket(SOCK_STREAM);
                must(fake_connect(blocking));
                int fd = fake_socket(SOCK_STREAM | SOCK_NONBLOCK);
                must(fake_connect(fd));
                check_equal(fake_last_flags, minor < WIRE_MINOR_OF_PARKING ? 0 : WIRE_CONNECT_MAY_PARK);
                must(hv_close(fd));
        }
        must(hv_close(blocking));
        must(hv_close(listener));
        fake_minor = WIRE_MINOR;
        fake_end();
}

TEST(a_broker_that_became_newer_is_told_of_the_next_ring) {
        fake_start();
        fake_minor = WIRE_MINOR_OF_RING - 1;
        struct fake_pair before = fake_pair(SOCK_STREAM);
        move_into_rings(&before);
        fake_die();
        fake_minor = WIRE_MINOR;
        fake_start();
        struct fake_pair after = {.listener = -1, .connector = fake_socket(SOCK_STREAM)};
        must(fake_connect(after.connector));
        after.acceptor = (int)must(hv_accept(before.listener, NULL, NULL));
        move_into_rings(&after);
        check_equal(fake_requests[WIRE_RING], 2);
        fake_pair_close(&before);
        fake_pair_close(&after);
        fake_end();
}
