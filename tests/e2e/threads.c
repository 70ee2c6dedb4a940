/* SPDX-License-Identifier: MIT */

/* Many threads at once, forks in the middle of them, and signals all the time. */

#include "pair.h"
#include "test.h"

#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/time.h>
#include <unistd.h>

#define THREADS 4
#define CONNECTS 100

static struct world *enter_new_world(void) {
        struct world *world = world_new();
        world_start(world);
        world_enter(world, "host");
        return world;
}

#define LAST (-1) /* ends the thread that answers it */

static atomic_bool enough;

/* Each channel carries a number of its own there and back. */
static void exchange(int number) {
        int fd = new_socket(SOCK_STREAM), answer = 0;
        must(connect_loopback(fd));
        check_equal(must(hv_send(fd, &number, sizeof number, 0)), sizeof number);
        check_equal(must(hv_recv(fd, &answer, sizeof answer, MSG_WAITALL)), sizeof answer);
        check_equal(answer, ~number);
        must(hv_close(fd));
}

static long connect_many(void *first) {
        for (int i = 0; i < CONNECTS || !enough; i++)
                exchange(*(int *)first + i);
        exchange(LAST);
        return 0;
}

static long answer_many(void *listener) {
        int number;
        do {
                int fd = (int)must(hv_accept(*(int *)listener, NULL, NULL));
                check_equal(must(hv_recv(fd, &number, sizeof number, MSG_WAITALL)), sizeof number);
                int answer = ~number;
                check_equal(must(hv_send(fd, &answer, sizeof answer, 0)), sizeof answer);
                must(hv_close(fd));
        } while (number != LAST);
        return 0;
}

static void connect_and_answer(int listener, void (*meanwhile)(void)) {
        struct thread *threads[2 * THREADS];
        int first[THREADS];
        for (int i = 0; i < THREADS; i++) {
                first[i] = i << 24;
                threads[2 * i] = thread_start(answer_many, &listener);
                threads[2 * i + 1] = thread_start(connect_many, &first[i]);
        }
        if (meanwhile)
                meanwhile();
        enough = true;
        for (int i = 0; i < 2 * THREADS; i++)
                check_equal(thread_join(threads[i]), 0);
}

TEST(threads_connect_and_accept_at_the_same_time) {
        struct world *world = enter_new_world();
        int listener = new_listener(SOCK_STREAM);
        connect_and_answer(listener, NULL);
        must(hv_close(listener));
        world_end(world);
}

/* Each child finds whatever lock a thread of its parent held at the fork. */
static void fork_many(void) {
        for (int i = 0; i < 20; i++) {
                pid_t child = (pid_t)must(fork());
                if (!child) {
                        int fd = new_socket(SOCK_STREAM);
                        SOCKADDR_HV address = LOOPBACK_ECHO;
                        address.ServiceId = service_numbered(1);
                        check_errno(hv_connect(fd, (struct sockaddr *)&address, sizeof address), ECONNREFUSED);
                        must(hv_close(fd));
                        _exit(0);
                }
                await_checker(child);
        }
}

TEST(children_forked_among_connecting_threads_can_connect_too) {
        struct world *world = enter_new_world();
        int listener = new_listener(SOCK_STREAM);
        connect_and_answer(listener, fork_many);
        must(hv_close(listener));
        world_end(world);
}

static atomic_uint signals_seen;

static void see_signal(int number) {
        atomic_fetch_add(&signals_seen, 1);
}

TEST(a_storm_of_signals_breaks_no_connect) {
        struct world *world = enter_new_world();
        int listener = new_listener(SOCK_STREAM);
        struct sigaction action = {.sa_handler = see_signal, .sa_flags = SA_RESTART};
        must(sigaction(SIGALRM, &action, NULL));
        must(setitimer(ITIMER_REAL, &(struct itimerval){{0, 300}, {0, 300}}, NULL));
        connect_and_answer(listener, NULL);
        while (atomic_load(&signals_seen) < 100) {
                int fd = new_socket(SOCK_STREAM);
                must(connect_loopback(fd));
                int accepted = (int)must(hv_accept(listener, NULL, NULL));
                must(hv_close(accepted));
                must(hv_close(fd));
        }
        must(setitimer(ITIMER_REAL, &(struct itimerval){}, NULL));
        must(hv_close(listener));
        world_end(world);
}

TEST(options_are_kept_while_any_duplicate_is_open) {
        struct world *world = enter_new_world();
        int fd = new_socket(SOCK_STREAM), duplicate = (int)must(dup(fd));
        uint32_t timeout = 1234, got = 0;
        socklen_t length = sizeof got;
        must(hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &timeout, sizeof timeout));
        must(hv_getsockopt(duplicate, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &got, &length));
        check_equal(got, 1234);
        must(hv_close(fd));
        must(hv_getsockopt(duplicate, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &got, &length));
        check_equal(got, 1234);
        must(hv_close(duplicate));
        world_end(world);
}

TEST(a_descriptor_number_used_again_has_nothing_of_the_socket_before) {
        struct world *world = enter_new_world();
        uint32_t timeout = 1234, got = 0;
        socklen_t length = sizeof got;
        int first = new_socket(SOCK_STREAM);
        must(hv_setsockopt(first, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &timeout, sizeof timeout));
        must(close(first)); /* behind the library's back */
        int second = new_socket(SOCK_STREAM);
        check_equal(second, first);
        must(hv_getsockopt(second, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &got, &length));
        check_equal(got, 2000);
        must(hv_close(second));
        world_end(world);
}
