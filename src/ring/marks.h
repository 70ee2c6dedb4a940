/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What two ends of a channel tell each other beside the data: how a direction of
 * it moves into a ring, and out again. Both kinds of end, a program's in the
 * library and a VM's in the broker, speak this (lib/carrier.h has the theory).
 */

#include "ring/memory.h"
#include <errno.h>

#define CARRIER_MESSAGES_BEFORE 64u  /* when a ring has paid for itself, measured: see bench/ */
#define CARRIER_BYTES_BEFORE 262144u

#define PACKET_OVERHEAD 32u /* how much smaller than the send buffer AF_UNIX wants a message to be; in a ring, too */

/*
 * The option of a socket that says that its end sends through a ring, for whoever else holds the end. AF_UNIX has no
 * other use for it.
 */
#define CARRIER_SENDS_THROUGH_RING SO_DONTROUTE

#define CARRIER_TOKEN 'T'
#define CARRIER_MARK 'R' /* with a descriptor that is no ring; an abort's is another */
#define CARRIER_END 'E'  /* among tokens, where the sender said in the header that the ring ended: the stream goes on */

/*
 * A sender that is about to write into the ring says so in its header. 1: the
 * receiver has left; -EAGAIN: it is making up its mind.
 */
static inline int carrier_enter_ring(struct ring_header *header) {
        /* Who leaves the ring makes sure that either this store is seen, or the next load sees that it leaves. */
        atomic_store_explicit(&header->words.is_sending, true, memory_order_relaxed);
        atomic_signal_fence(memory_order_seq_cst);
        uint32_t leaving = atomic_load_explicit(&header->leaving, memory_order_relaxed);
        if (__builtin_expect(leaving == RING_NOT_LEFT, 1))
                return 0;
        atomic_store_explicit(&header->words.is_sending, false, memory_order_release);
        return leaving == RING_LEFT ? 1 : -EAGAIN;
}

static inline void carrier_leave_ring(struct ring_header *header) {
        atomic_store_explicit(&header->words.is_sending, false, memory_order_release);
}
