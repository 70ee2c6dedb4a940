/* SPDX-License-Identifier: MIT */

/* The event loop: see loop.h for what it promises. */

#include "daemon/loop.h"
#include "base/fd.h"
#include "base/list.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/pidfd.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define LOOP_EVENTS_MAX 64 /* fetched at once */

struct loop {
        int epoll_fd;
        bool stopped;
        struct timer *timers; /* by deadline */
        struct source alarm;  /* a timerfd: a time-out of epoll_wait(2) would be set and cancelled at each turn */
        int64_t alarm_ms;     /* when it goes off, at the first deadline or before; 0: never */
        int event_count, event_index;
        struct epoll_event events[LOOP_EVENTS_MAX];
};

static int alarm_dispatch(struct source *source, uint32_t events) {
        struct loop *loop = container_of(source, struct loop, alarm);
        uint64_t times;
        if (read(source->fd, &times, sizeof times) > 0)
                loop->alarm_ms = 0;
        return 0;
}

/* Called before the loop waits. A first deadline that is later than it was is found out when the alarm goes off. */
static void set_alarm(struct loop *loop) {
        if (!loop->timers || (loop->alarm_ms && loop->alarm_ms <= loop->timers->deadline_ms))
                return;
        loop->alarm_ms = loop->timers->deadline_ms;
        struct itimerspec setting = {
                .it_value = {.tv_sec = loop->alarm_ms / 1000, .tv_nsec = loop->alarm_ms % 1000 * 1000000}};
        timerfd_settime(loop->alarm.fd, TFD_TIMER_ABSTIME, &setting, NULL);
}

int loop_new(struct loop **ret_loop) {
        struct loop *loop = calloc(1, sizeof *loop);
        if (!loop)
                return -ENOMEM;
        loop->alarm = (struct source){.dispatch = alarm_dispatch, .fd = -1};
        loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        int fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
        int r = loop->epoll_fd < 0 || fd < 0 ? -errno : loop_add(loop, &loop->alarm, fd, EPOLLIN);
        if (r < 0) {
                fd_close(fd);
                loop_free(loop);
                return r;
        }
        *ret_loop = loop;
        return 0;
}

struct loop *loop_free(struct loop *loop) {
        if (loop) {
                fd_close(loop->alarm.fd);
                fd_close(loop->epoll_fd);
                free(loop);
        }
        return NULL;
}

int loop_add(struct loop *loop, struct source *source, int fd, uint32_t events) {
        struct epoll_event event = {.events = events, .data.ptr = source};
        if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0)
                return -errno;
        source->fd = fd;
        return 0;
}

int loop_modify(struct loop *loop, struct source *source, uint32_t events) {
        struct epoll_event event = {.events = events, .data.ptr = source};
        return epoll_ctl(loop->epoll_fd, EPOLL_CTL_MOD, source->fd, &event) < 0 ? -errno : 0;
}

void loop_remove(struct loop *loop, struct source *source) {
        if (source->fd < 0)
                return;
        epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, source->fd, NULL);
        source->fd = -1;
        for (int i = loop->event_index; i < loop->event_count; i++)
                if (loop->events[i].data.ptr == source)
                        loop->events[i].data.ptr = NULL;
}

void loop_arm(struct loop *loop, struct timer *timer, int64_t delay_ms) {
        loop_disarm(loop, timer);
        timer->deadline_ms = loop_now_ms() + delay_ms;
        struct timer **at = &loop->timers;
        while (*at && (*at)->deadline_ms <= timer->deadline_ms)
                at = &(*at)->next;
        timer->next = *at;
        *at = timer;
}

void loop_disarm(struct loop *loop, struct timer *timer) {
        if (!timer->deadline_ms)
                return;
        for (struct timer **at = &loop->timers; *at; at = &(*at)->next)
                if (*at == timer) {
                        *at = timer->next;
                        break;
                }
        timer->deadline_ms = 0;
        timer->next = NULL;
}

/* A timer that arms itself again without delay waits for the next turn: each gets one go. */
static int expire_timers(struct loop *loop) {
        int64_t now = loop_now_ms();
        unsigned due = 0;
        for (struct timer *timer = loop->timers; timer && timer->deadline_ms <= now; timer = timer->next)
                due++;
        while (due-- > 0 && loop->timers && loop->timers->deadline_ms <= now) {
                struct timer *timer = loop->timers;
                loop_disarm(loop, timer);
                int r = timer->expire(timer);
                if (r < 0)
                        return r;
        }
        return 0;
}

static int child_dispatch(struct source *source, uint32_t events) {
        struct child *child = container_of(source, struct child, source);
        siginfo_t info = {};
        if (waitid(P_PIDFD, (id_t)source->fd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
                return 0;
        loop_forget_child(child->loop, child);
        /* As waitpid() gives it, so that WIFEXITED and its like work. */
        child->exited(child, info.si_code == CLD_EXITED ? (info.si_status & 0xff) << 8 : info.si_status);
        return 0;
}

int loop_watch_child(struct loop *loop, struct child *child, pid_t pid) {
        cleanup(fd_closep) int fd = pidfd_open(pid, 0);
        if (fd < 0)
                return -errno;
        child->source.dispatch = child_dispatch;
        int r = loop_add(loop, &child->source, fd, EPOLLIN);
        if (r < 0)
                return r;
        fd = -1;
        child->loop = loop;
        child->pid = pid;
        return 0;
}

void loop_forget_child(struct loop *loop, struct child *child) {
        if (!child->pid)
                return;
        int fd = child->source.fd;
        loop_remove(loop, &child->source);
        fd_close(fd);
        child->pid = 0;
}

static int64_t milliseconds(clockid_t clock) {
        struct timespec time;
        clock_gettime(clock, &time);
        return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Every connect asks several times; a turn is too short for the difference to matter. */
static int64_t turn_ms;

int64_t loop_now_ms(void) {
        if (!turn_ms)
                turn_ms = milliseconds(CLOCK_MONOTONIC);
        return turn_ms;
}

int64_t loop_wall_ms(void) {
        return milliseconds(CLOCK_REALTIME);
}

int loop_run(struct loop *loop) {
        loop->stopped = false;
        while (!loop->stopped) {
                set_alarm(loop);
                int count = epoll_wait(loop->epoll_fd, loop->events, LOOP_EVENTS_MAX, -1);
                turn_ms = 0;
                if (count < 0 && errno != EINTR)
                        return -errno;
                loop->event_count = count < 0 ? 0 : count;
                for (loop->event_index = 0; loop->event_index < loop->event_count;) {
                        struct epoll_event *event = &loop->events[loop->event_index++];
                        struct source *source = event->data.ptr;
                        int r = source ? source->dispatch(source, event->events) : 0;
                        if (r < 0)
                                return r;
                }
                loop->event_count = 0;
                int r = expire_timers(loop);
                if (r < 0)
                        return r;
        }
        return 0;
}

void loop_stop(struct loop *loop) {
        loop->stopped = true;
}
