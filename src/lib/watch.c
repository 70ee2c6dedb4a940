/* SPDX-License-Identifier: MIT */

/* Those who look at rings, counted. */

#include "lib/watch.h"

#include <sched.h>

static struct {
        _Alignas(128) _Atomic unsigned now;
        _Alignas(128) _Atomic unsigned counts[2];
} watchers;

static struct lock lock; /* of who waits */

unsigned watch_begins(void) {
        unsigned which = atomic_load(&watchers.now) & 1;
        atomic_fetch_add(&watchers.counts[which], 1);
        return which;
}

void watch_ended(unsigned begun) {
        atomic_fetch_sub(&watchers.counts[begun], 1);
}

void watch_wait(void) {
        lock_take(&lock);
        for (unsigned i = 0; i < 2; i++) {
                unsigned before = atomic_fetch_add(&watchers.now, 1) & 1;
                while (atomic_load(&watchers.counts[before]))
                        sched_yield();
        }
        lock_release(&lock);
}
