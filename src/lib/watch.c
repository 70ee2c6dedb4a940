/* SPDX-License-Identifier: MIT */

/* Those who look at rings, counted. */

#include "lib/watch.h"

#include "lib/ring_call.h"
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

void watch_take_token(struct channel *channel, int fd) {
        struct receive receive;
        if (receive_begin(&receive, channel, fd, MSG_DONTWAIT) < 0)
                return;
        if (!receive.is_exact && !receiver_look(receive.ring) && !receiver_waiting(receive.ring))
                (void)receive_drain(&receive, 1, 0);
        holder_release(&receive.holder->receiving.lock);
}
