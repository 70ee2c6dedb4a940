/* SPDX-License-Identifier: MIT */

/* Closing what strangers sent: see discard.h. */

#include "daemon/discard.h"
#include "base/fd.h"
#include "base/log.h"
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <time.h>

#ifndef sigev_notify_thread_id
#define sigev_notify_thread_id _sigev_un._tid
#endif

#define DISCARD_STACK_SIZE 65536
#define LINGER_SIGNAL SIGUSR1 /* does nothing but end a wait */

enum { LANE_UNIX_SOCKETS, LANE_REST, LANES };

struct unclosed {
        struct list link;
        int fd;
};

/* Whose descriptors are unclosed in a lane. Goes when none is. */
struct debtor {
        struct list link;
        struct stranger stranger;
        unsigned unclosed_count, closing_count;
        struct list waiting; /* of unclosed.link, the first came first */
};

struct lane {
        struct list debtors; /* of debtor.link: who was served last is last */
        unsigned thread_count, idle_count;
        pthread_cond_t work;
};

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct lane lanes[LANES] = {
        {.debtors = LIST_INIT(lanes[0].debtors), .work = PTHREAD_COND_INITIALIZER},
        {.debtors = LIST_INIT(lanes[1].debtors), .work = PTHREAD_COND_INITIALIZER},
};

static struct debtor *find_debtor(const struct lane *lane, const struct stranger *stranger) {
        list_for_each(link, &lane->debtors) {
                struct debtor *debtor = container_of(link, struct debtor, link);
                if (stranger_equal(&debtor->stranger, stranger))
                        return debtor;
        }
        return NULL;
}

static struct debtor *debtor_of(struct lane *lane, const struct stranger *stranger) {
        struct debtor *debtor = find_debtor(lane, stranger);
        if (debtor || !(debtor = calloc(1, sizeof *debtor)))
                return debtor;
        debtor->stranger = *stranger;
        list_init(&debtor->waiting);
        list_append(&lane->debtors, &debtor->link);
        return debtor;
}

/* Whose turn it is, or NULL. */
static struct debtor *next_debtor(struct lane *lane) {
        list_for_each(link, &lane->debtors) {
                struct debtor *debtor = container_of(link, struct debtor, link);
                if (!list_is_empty(&debtor->waiting) && debtor->closing_count < DISCARD_THREADS_PER_STRANGER)
                        return debtor;
        }
        return NULL;
}

/* Called with the mutex, which is given up for as long as the close takes. */
static void close_one(struct lane *lane, struct debtor *debtor, timer_t timer) {
        const struct itimerspec often = {.it_interval.tv_nsec = DISCARD_LINGER_MS * 1000000,
                                         .it_value.tv_nsec = DISCARD_LINGER_MS * 1000000};
        struct unclosed *unclosed = container_of(debtor->waiting.next, struct unclosed, link);
        list_unlink(&unclosed->link);
        list_unlink(&debtor->link);
        list_append(&lane->debtors, &debtor->link);
        debtor->closing_count++;
        pthread_mutex_unlock(&mutex);
        timer_settime(timer, 0, &often, NULL);
        fd_close(unclosed->fd);
        timer_settime(timer, 0, &(struct itimerspec){}, NULL);
        free(unclosed);
        pthread_mutex_lock(&mutex);
        debtor->closing_count--;
        if (--debtor->unclosed_count == 0) {
                list_unlink(&debtor->link);
                free(debtor);
        }
}

static void do_nothing(int signal_number) {}

static int make_timer(timer_t *ret_timer) {
        struct sigaction action = {.sa_handler = do_nothing};
        struct sigevent event = {.sigev_notify = SIGEV_THREAD_ID, .sigev_signo = LINGER_SIGNAL};
        sigset_t own;
        event.sigev_notify_thread_id = gettid();
        if (sigaction(LINGER_SIGNAL, &action, NULL) < 0 || timer_create(CLOCK_MONOTONIC, &event, ret_timer) < 0)
                return -errno;
        sigemptyset(&own);
        sigaddset(&own, LINGER_SIGNAL);
        pthread_sigmask(SIG_UNBLOCK, &own, NULL);
        return 0;
}

static void *close_waiting(void *argument) {
        struct lane *lane = argument;
        timer_t timer;
        int r = make_timer(&timer);
        pthread_mutex_lock(&mutex);
        while (r == 0) {
                struct debtor *debtor = next_debtor(lane);
                if (debtor) {
                        close_one(lane, debtor, timer);
                        continue;
                }
                struct timespec until;
                clock_gettime(CLOCK_REALTIME, &until);
                until.tv_sec += DISCARD_IDLE_SECONDS;
                lane->idle_count++;
                r = pthread_cond_timedwait(&lane->work, &mutex, &until);
                lane->idle_count--;
                if (next_debtor(lane))
                        r = 0;
        }
        lane->thread_count--;
        pthread_mutex_unlock(&mutex);
        if (r >= 0)
                timer_delete(timer);
        return NULL;
}

/* The threads take no signals but their own: the daemon's are for its loop. */
static void start_thread(struct lane *lane) {
        pthread_attr_t attributes;
        pthread_t thread;
        sigset_t all, old;
        if (lane->thread_count >= DISCARD_THREADS_MAX || pthread_attr_init(&attributes))
                return;
        pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
        pthread_attr_setstacksize(&attributes, DISCARD_STACK_SIZE);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        if (pthread_create(&thread, &attributes, close_waiting, lane) == 0)
                lane->thread_count++;
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        pthread_attr_destroy(&attributes);
}

static bool is_unix_socket(int fd) {
        int domain;
        socklen_t size = sizeof domain;
        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX;
}

void discard(int fd, const struct stranger *stranger) {
        int saved = errno;
        if (fd < 0)
                return;
        struct unclosed *unclosed = calloc(1, sizeof *unclosed);
        struct lane *lane = &lanes[is_unix_socket(fd) ? LANE_UNIX_SOCKETS : LANE_REST];
        pthread_mutex_lock(&mutex);
        struct debtor *debtor = unclosed ? debtor_of(lane, stranger) : NULL;
        if (debtor) {
                unclosed->fd = fd;
                list_append(&debtor->waiting, &unclosed->link);
                debtor->unclosed_count++;
                if (lane->idle_count)
                        pthread_cond_signal(&lane->work);
                else if (debtor->closing_count < DISCARD_THREADS_PER_STRANGER)
                        start_thread(lane);
        }
        pthread_mutex_unlock(&mutex);
        if (!debtor) {
                free(unclosed);
                log_stranger(LOG_LEVEL_ERROR, "out of memory: a descriptor of a client stays open");
        }
        errno = saved;
}

bool discard_is_clogged(const struct stranger *stranger) {
        unsigned count = 0;
        pthread_mutex_lock(&mutex);
        for (unsigned i = 0; i < LANES; i++) {
                const struct debtor *debtor = find_debtor(&lanes[i], stranger);
                count += debtor ? debtor->unclosed_count : 0;
        }
        pthread_mutex_unlock(&mutex);
        return count >= DISCARD_PER_STRANGER;
}
