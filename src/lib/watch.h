/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Looking at the rings of many channels, for hv_poll() and the wait sets: without
 * their locks, since only two words of each matter.
 *
 * Theory of operation. A ring may be unmapped by another thread at any time. Who
 * looks says so in one of two counters, and who is about to unmap makes the other
 * one count, and waits until the first is 0: those who look from then on find that
 * the ring is gone. Twice, for one who read which counter counts before the change
 * and counted after it.
 */

#include "lib/channel.h"

#define WATCH_KERNEL_EVERY 16u /* times that something was found: then the kernel is asked, too, for what it alone knows */

/* Around any number of looks, short ones. */
unsigned watch_begins(void);
void watch_ended(unsigned begun);
/* A ring that nobody can find any more is about to be unmapped: waits for those who may have found it. */
void watch_wait(void);

struct watched {
        uint64_t published;  /* units that came so far */
        uint32_t sender_cpu;
        bool is_ready;       /* a receive would give some of it */
        bool has_ended;      /* as the kernel knows, too */
};

/* False: what it receives does not come through a ring. Between watch_begins() and watch_ended(). */
static inline bool watch_look(const struct channel *channel, struct watched *ret) {
        struct holder *holder = atomic_load_explicit(&channel->holder, memory_order_acquire);
        if (!holder || atomic_load_explicit(&holder->receiving.state, memory_order_acquire) != RECEIVING_RING)
                return false;
        const struct ring_header *header = holder->receiving.ring.memory.header;
        ret->published = atomic_load_explicit(&header->words.head, memory_order_acquire);
        ret->sender_cpu = atomic_load_explicit(&header->words.sender_cpu, memory_order_relaxed);
        ret->is_ready = ret->published != atomic_load_explicit(&holder->receiving.ring.taken_so_far, memory_order_relaxed);
        ret->has_ended = atomic_load_explicit(&holder->receiving.ending, memory_order_relaxed);
        return true;
}

/*
 * Before sleeping in the kernel: the next bytes come with a token. Whether there
 * already is something; if `is_edge`, something that came since this looked. Of an
 * end the kernel tells.
 */
bool ring_arm(struct channel *channel, int fd, bool is_edge);
/*
 * The kernel says readable of a ring in which there is nothing. Tokens that were counted ring_arm() takes; one that
 * was not, be it on its way to be counted, or a hostile peer's, would keep it so: takes one, if the ring still is empty.
 */
void watch_take_token(struct channel *channel, int fd);
