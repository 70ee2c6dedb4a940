/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A system call on a stranger's descriptor may wait although it was asked not
 * to: the flags are in the open file, which its owner can change at any moment.
 * The watchdog interrupts it. It is a signal without SA_RESTART, sent every
 * WATCHDOG_MS while watchdog_guard() is called at least that often, and stopped
 * by its own handler when it is not: an idle daemon is not woken.
 *
 * Every call that may be held up must take EINTR for an answer. Once the signal
 * is there, all waits within one call are over.
 */

#include <stdbool.h>

#define WATCHDOG_MS 20
#define WATCHDOG_HELD_UP_MS 2 /* a call that was interrupted, but within this, met the signal by chance */

int watchdog_open(void);
void watchdog_close(void);
/* Call before each system call on a stranger's descriptor that may wait. */
void watchdog_guard(void);
/* Closes under guard. Whether that had to be interrupted. */
bool watchdog_close_descriptor(int fd);
/* For cleanup(): of a socket in which strangers may have queued what lingers. */
static inline void watchdog_closep(int *fd) {
        if (*fd >= 0)
                (void)watchdog_close_descriptor(*fd);
        *fd = -1;
}
