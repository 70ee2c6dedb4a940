/* SPDX-License-Identifier: MIT */

/*
 * Closing what strangers sent. Closing a Unix socket never waits. Closing
 * anything else may: a file of a FUSE server that does not answer holds up its
 * last closer for as long as it likes, and no signal helps. So such descriptors
 * are closed by threads of their own, and when DISCARD_THREADS_MAX of them hang,
 * further ones wait, open, until one comes back.
 */

#include "daemon/discard.h"
#include "base/fd.h"
#include "daemon/watchdog.h"
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define DISCARD_THREADS_MAX 32
#define DISCARD_STACK_SIZE 65536
#define DISCARD_WAITING_MAX 256 /* beyond, they are closed at once, whatever that takes */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned thread_count, waiting_count;
static int waiting[DISCARD_WAITING_MAX];

/* Closes until none waits. */
static void *close_waiting(void *nothing) {
        pthread_mutex_lock(&mutex);
        while (waiting_count) {
                int fd = waiting[--waiting_count];
                pthread_mutex_unlock(&mutex);
                fd_close(fd);
                pthread_mutex_lock(&mutex);
        }
        thread_count--;
        pthread_mutex_unlock(&mutex);
        return NULL;
}

/* The threads take no signals: the daemon's are for its loop. */
static bool start_thread(void) {
        pthread_attr_t attributes;
        pthread_t thread;
        sigset_t all, old;
        sigfillset(&all);
        if (pthread_attr_init(&attributes))
                return false;
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, DISCARD_STACK_SIZE);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        bool started = pthread_create(&thread, &attributes, close_waiting, NULL) == 0;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attributes);
        return started;
}

static bool is_unix_socket(int fd) {
        int domain;
        socklen_t size = sizeof domain;
        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

void discard(int fd) {
        if (fd < 0)
                return;
        if (is_unix_socket(fd)) {
                fd_close(fd);
                return;
        }
        pthread_mutex_lock(&mutex);
        bool queued = waiting_count < DISCARD_WAITING_MAX;
        if (queued) {
                waiting[waiting_count++] = fd;
                if (thread_count < DISCARD_THREADS_MAX && start_thread())
                        thread_count++;
                queued = thread_count > 0;
                if (!queued)
                        waiting_count--;
        }
        pthread_mutex_unlock(&mutex);
        if (!queued) {
                watchdog_guard();
                fd_close(fd);
        }
}
