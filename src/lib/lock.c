/* SPDX-License-Identifier: MIT */

/* The lock that survives fork: a futex that bears its holder's thread id. */

#include "lib/lock.h"

#include "lib/process.h"
#include <errno.h>
#include <linux/futex.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOCK_WAITED_FOR 0x80000000u /* no thread id is as large */

/* A thread of this process, other than the one that asks. */
static bool thread_exists(uint32_t thread, uint32_t self) {
        return thread != self && (syscall(SYS_tgkill, getpid(), thread, 0) == 0 || errno != ESRCH);
}

void lock_take(struct lock *lock) {
        uint32_t self = process_thread_id(), seen = 0;
        if (atomic_compare_exchange_strong(&lock->holder, &seen, self))
                return;
        for (;;) {
                uint32_t waited_for = seen | LOCK_WAITED_FOR;
                if (!seen || !thread_exists(seen & ~LOCK_WAITED_FOR, self)) {
                        /* Others may be waiting too: they are woken at release, needlessly at worst. */
                        if (atomic_compare_exchange_strong(&lock->holder, &seen, self | LOCK_WAITED_FOR))
                                return;
                } else if (seen == waited_for || atomic_compare_exchange_strong(&lock->holder, &seen, waited_for)) {
                        syscall(SYS_futex, &lock->holder, FUTEX_WAIT_PRIVATE, waited_for, NULL);
                        seen = atomic_load(&lock->holder);
                }
        }
}

void lock_release(struct lock *lock) {
        if (atomic_exchange(&lock->holder, 0) & LOCK_WAITED_FOR)
                syscall(SYS_futex, &lock->holder, FUTEX_WAKE_PRIVATE, 1);
}
