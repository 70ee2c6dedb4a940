/* SPDX-License-Identifier: MIT */

/* Closing what strangers sent: see discard.h. */

#include "daemon/discard.h"
#include "base/fd.h"
#include "base/log.h"
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define DISCARD_STACK_SIZE 65536

struct unclosed {
        int fd;
        uint32_t uid;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static unsigned waiting_count, closing_count;
static struct unclosed waiting[DISCARD_WAITING_MAX]; /* the first came first */
static struct unclosed closing[DISCARD_THREADS_MAX]; /* one a thread; fd -1 where there is no thread */

static void take_first(struct unclosed *ret) {
        *ret = waiting[0];
        memmove(waiting, waiting + 1, --waiting_count * sizeof waiting[0]);
}

/* Closes until none waits. `argument` is the thread's place in `closing`. */
static void *close_waiting(void *argument) {
        struct unclosed *own = argument;
        pthread_mutex_lock(&mutex);
        while (waiting_count) {
                take_first(own);
                pthread_mutex_unlock(&mutex);
                fd_close(own->fd);
                pthread_mutex_lock(&mutex);
        }
        own->fd = -1;
        closing_count--;
        pthread_mutex_unlock(&mutex);
        return NULL;
}

static struct unclosed *free_place(void) {
        static bool initialized;
        for (unsigned i = 0; !initialized && i < DISCARD_THREADS_MAX; i++)
                closing[i].fd = -1;
        initialized = true;
        for (unsigned i = 0; i < DISCARD_THREADS_MAX; i++)
                if (closing[i].fd < 0)
                        return &closing[i];
        return NULL;
}

/* The threads take no signals: the daemon's are for its loop. */
static void start_thread(void) {
        pthread_attr_t attributes;
        pthread_t thread;
        sigset_t all, old;
        struct unclosed *place = free_place();
        if (!place || pthread_attr_init(&attributes))
                return;
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, DISCARD_STACK_SIZE);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        *place = (struct unclosed){.fd = INT32_MAX, .uid = UINT32_MAX}; /* taken; the thread waits for the mutex */
        if (pthread_create(&thread, &attributes, close_waiting, place) == 0)
                closing_count++;
        else
                place->fd = -1;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attributes);
}

static bool is_unix_socket(int fd) {
        int domain;
        socklen_t size = sizeof domain;
        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

void discard(int fd, uint32_t uid) {
        if (fd < 0)
                return;
        if (is_unix_socket(fd)) {
                fd_close(fd);
                return;
        }
        pthread_mutex_lock(&mutex);
        bool queued = waiting_count < DISCARD_WAITING_MAX;
        if (queued) {
                waiting[waiting_count++] = (struct unclosed){.fd = fd, .uid = uid};
                start_thread();
        }
        pthread_mutex_unlock(&mutex);
        if (!queued)
                log_stranger(LOG_LEVEL_ERROR, "more descriptors than can be closed: one stays open");
}

bool discard_is_clogged(uint32_t uid) {
        unsigned count = 0;
        pthread_mutex_lock(&mutex);
        for (unsigned i = 0; closing_count && i < DISCARD_THREADS_MAX; i++)
                count += closing[i].fd >= 0 && closing[i].uid == uid;
        for (unsigned i = 0; i < waiting_count; i++)
                count += waiting[i].uid == uid;
        pthread_mutex_unlock(&mutex);
        return count >= DISCARD_PER_USER;
}
