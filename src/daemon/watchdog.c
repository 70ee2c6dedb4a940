/* SPDX-License-Identifier: MIT */

/*
 * The watchdog's signal. `used` tells the handler whether anyone asked for
 * guard since the last signal, `fired` the loop that there was one. A signal that arrives between watchdog_guard()
 * and the guarded call finds it set, leaves the timer running, and so the next
 * one interrupts the call.
 */

#include "daemon/watchdog.h"
#include "base/fd.h"
#include <errno.h>
#include <signal.h>
#include <time.h>

static timer_t timer;
static volatile sig_atomic_t exists, running, used, fired;

static void set_interval(long milliseconds) {
        struct timespec interval = {.tv_nsec = milliseconds * 1000000};
        struct itimerspec setting = {.it_interval = interval, .it_value = interval};
        running = milliseconds != 0;
        timer_settime(timer, 0, &setting, NULL);
}

static void on_signal(int signal_number) {
        int saved = errno;
        if (!used && exists)
                set_interval(0);
        used = 0;
        fired = 1;
        errno = saved;
}

int watchdog_open(void) {
        struct sigaction action = {.sa_handler = on_signal};
        struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
        if (sigaction(SIGALRM, &action, NULL) < 0 || timer_create(CLOCK_MONOTONIC, &event, &timer) < 0)
                return -errno;
        exists = true;
        return 0;
}

void watchdog_close(void) {
        if (!exists)
                return;
        exists = running = false;
        timer_delete(timer);
}

void watchdog_guard(void) {
        used = 1;
        if (exists && !running)
                set_interval(WATCHDOG_MS);
}

static int64_t now_ms(void) {
        struct timespec time;
        clock_gettime(CLOCK_MONOTONIC, &time);
        return (int64_t)time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

bool watchdog_close_descriptor(int fd) {
        int64_t before = now_ms();
        fired = 0;
        watchdog_guard();
        fd_close(fd);
        return fired && now_ms() - before >= WATCHDOG_HELD_UP_MS;
}
