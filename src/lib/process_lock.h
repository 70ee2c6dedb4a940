/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A lock that survives fork.
 *
 * Held for a few instructions, never across a system call that waits. The lock
 * word is the holder's process id: a child that finds its parent's id there was
 * forked while another thread of the parent held it, and that thread does not
 * exist in the child. The child then takes the lock over and is told that what
 * the lock guards may be half-changed, so that it starts anew with it.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <sched.h>
#include <unistd.h>

struct process_lock {
        _Atomic(pid_t) holder;
};

/* Returns whether what the lock guards can be trusted. */
static inline bool process_lock(struct process_lock *lock) {
        pid_t self = getpid();
        for (;;) {
                pid_t holder = 0;
                if (atomic_compare_exchange_weak_explicit(&lock->holder, &holder, self, memory_order_acquire,
                                                          memory_order_relaxed))
                        return true;
                if (holder && holder != self &&
                    atomic_compare_exchange_strong_explicit(&lock->holder, &holder, self, memory_order_acquire,
                                                            memory_order_relaxed))
                        return false;
                sched_yield();
        }
}

static inline void process_unlock(struct process_lock *lock) {
        atomic_store_explicit(&lock->holder, 0, memory_order_release);
}
