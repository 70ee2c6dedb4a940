/* SPDX-License-Identifier: MIT */

/* The lock excludes threads, and a fork that falls into the middle of it blocks nobody. */

#include "lib/lock.h"

#include "test.h"
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

static struct lock lock;
static unsigned long counted; /* guarded */

enum { THREADS = 8, EACH = 20000 };

static void *count(void *unused) {
        for (unsigned i = 0; i < EACH; i++) {
                lock_take(&lock);
                counted++;
                lock_release(&lock);
        }
        return NULL;
}

static void check_excludes(void) {
        pthread_t threads[THREADS];
        counted = 0;
        for (unsigned i = 0; i < THREADS; i++)
                check_ok(pthread_create(&threads[i], NULL, count, NULL));
        for (unsigned i = 0; i < THREADS; i++)
                check_ok(pthread_join(threads[i], NULL));
        check_equal(counted, THREADS * EACH);
}

TEST(threads_exclude_each_other) {
        check_excludes();
}

static pthread_barrier_t taken, done;

static void *hold(void *unused) {
        lock_take(&lock);
        pthread_barrier_wait(&taken);
        pthread_barrier_wait(&done);
        lock_release(&lock);
        return NULL;
}

TEST(a_child_takes_over_what_a_thread_that_it_does_not_have_was_holding) {
        pthread_t holder;
        check_ok(pthread_barrier_init(&taken, NULL, 2));
        check_ok(pthread_barrier_init(&done, NULL, 2));
        check_ok(pthread_create(&holder, NULL, hold, NULL));
        pthread_barrier_wait(&taken);
        pid_t child = (pid_t)must(fork());
        if (!child) {
                count(NULL);
                _exit(0);
        }
        int status;
        must(waitpid(child, &status, 0));
        check_equal(status, 0);
        pthread_barrier_wait(&done);
        check_ok(pthread_join(holder, NULL));
        check_excludes();
}

TEST(children_forked_while_threads_take_and_release_are_never_blocked) {
        for (unsigned round = 0; round < 20; round++) {
                pthread_t threads[2];
                for (unsigned i = 0; i < 2; i++)
                        check_ok(pthread_create(&threads[i], NULL, count, NULL));
                for (unsigned i = 0; i < 5; i++) {
                        pid_t child = (pid_t)must(fork());
                        if (!child) {
                                count(NULL);
                                _exit(0);
                        }
                        int status;
                        must(waitpid(child, &status, 0));
                        check_equal(status, 0);
                }
                for (unsigned i = 0; i < 2; i++)
                        check_ok(pthread_join(threads[i], NULL));
        }
}
