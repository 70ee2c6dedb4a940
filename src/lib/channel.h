/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The channels that this process moves data through: which one a descriptor's
 * number stands for, found without asking the kernel.
 *
 * A channel is found by its socket's cookie when a number is first used for data,
 * so duplicates share it; hv_socket(), hv_accept() and hv_close() make the library
 * forget a number. A number that was closed behind its back and reused for another
 * socket is noticed wherever the kernel is asked anyway (channel_is_at()).
 *
 * The memory of a channel is never unmapped, only used for another one: who comes
 * late finds that it is not the one that the number stands for any more.
 */

#include "lib/holder.h"
#include "lib/lock.h"
#include <hvsock.h>
#include <stdbool.h>

#define CHANNEL_NUMBERS_CHUNK 1024
#define CHANNEL_NUMBERS_CHUNKS 1024 /* numbers from their product on are served as plain sockets */

/* Stands in for a ring in the calls that copy nothing. */
struct channel_buffer {
        void *bytes;
        size_t size, reserved;
        int flags;
};

struct channel {
        _Atomic uint64_t cookie; /* 0: free */
        int type;
        _Atomic uint32_t carrier;     /* enum hv_carrier: what was asked for */
        _Atomic bool asks_library;    /* for readiness: it is in a wait set, or was told to */
        bool was_told;                /* HVSOCKET_READINESS */
        struct holder *_Atomic holder; /* NULL: both directions are plain, as far as this process knows */
        struct lock lock;             /* held while a direction changes what it is, and for what follows */
        _Atomic uint32_t senders, receivers; /* threads in the middle of a plain call */
        _Atomic bool is_switching;
        _Atomic pid_t owner; /* the process that found the socket to be its own: a child has to find out by itself */
        _Atomic uint32_t messages; /* sent so far, until a ring is offered: threads that lose a count delay it, no more */
        _Atomic uint64_t bytes;
        struct channel_buffer outgoing, incoming;
        unsigned numbers; /* that stand for it */
        struct channel *next;
};

extern struct channel *_Atomic *_Atomic channel_numbers[CHANNEL_NUMBERS_CHUNKS];

/* NULL: not known to be one. */
static inline struct channel *channel_known(int fd) {
        if (__builtin_expect((unsigned)fd >= CHANNEL_NUMBERS_CHUNK * CHANNEL_NUMBERS_CHUNKS, 0))
                return NULL;
        struct channel *_Atomic *chunk =
                atomic_load_explicit(&channel_numbers[fd / CHANNEL_NUMBERS_CHUNK], memory_order_acquire);
        return chunk ? atomic_load_explicit(&chunk[fd % CHANNEL_NUMBERS_CHUNK], memory_order_acquire) : NULL;
}

/* Finds it by its cookie, or makes one. NULL: no connected socket, or no memory: then it is served as a plain one. */
struct channel *channel_find_slowly(int fd);
static inline struct channel *channel_find(int fd) {
        struct channel *channel = channel_known(fd);
        return __builtin_expect(channel != NULL, 1) ? channel : channel_find_slowly(fd);
}

/* Whether this number still is the channel's. Asks the kernel. */
bool channel_is_at(const struct channel *channel, int fd);
/* The number stands for nothing that is known. The last number's channel gives back its memory. */
void channel_forget(int fd);
