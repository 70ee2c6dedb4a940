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
        bool is_for_ring; /* what is written there is to be copied into the ring */
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

/*
 * Most channels end after a few messages. What this process has just connected or
 * accepted is nobody else's, and in no ring: its first calls do without a channel,
 * and ask the kernel nothing but to do what they are for.
 */
#define CHANNEL_NEW_CALLS 16u
#define CHANNEL_NEW_NUMBERS 1024

struct channel_new {
        _Atomic pid_t process;
        _Atomic uint32_t calls; /* still to be done without */
        _Atomic uint32_t busy;  /* threads in such a call: as long, no direction moves into a ring */
};
extern struct channel_new channel_new[CHANNEL_NEW_NUMBERS];

/* After channel_forget(). */
void channel_begins(int fd);

/* Such a call begins: channel_new_ended() follows if it may. */
static inline bool channel_new_begins(int fd) {
        if ((unsigned)fd >= CHANNEL_NEW_NUMBERS)
                return false;
        uint32_t calls = atomic_load_explicit(&channel_new[fd].calls, memory_order_relaxed);
        if (!calls || channel_new[fd].process != process_id())
                return false;
        atomic_fetch_add(&channel_new[fd].busy, 1);
        atomic_store_explicit(&channel_new[fd].calls, calls - 1, memory_order_relaxed);
        if (!channel_known(fd))
                return true;
        atomic_fetch_sub(&channel_new[fd].busy, 1); /* another thread made it one just now */
        return false;
}

static inline void channel_new_ended(int fd) {
        atomic_fetch_sub(&channel_new[fd].busy, 1);
}

static inline bool channel_new_is_busy(int fd) {
        return (unsigned)fd < CHANNEL_NEW_NUMBERS && atomic_load(&channel_new[fd].busy);
}

/* Finds it by its cookie, or makes one. NULL: no connected socket, or no memory: then it is served as a plain one. */
struct channel *channel_find_slowly(int fd);
static inline struct channel *channel_find(int fd) {
        struct channel *channel = channel_known(fd);
        return __builtin_expect(channel != NULL, 1) ? channel : channel_find_slowly(fd);
}

/* At least `size` bytes, which keep nothing of what was in it. 0 or -ENOMEM. */
int channel_buffer_make(struct channel_buffer *buffer, size_t size);
/* Whether this number still is the channel's. Asks the kernel. */
bool channel_is_at(const struct channel *channel, int fd);
/* The number stands for nothing that is known. The last number's channel gives back its memory. */
void channel_forget(int fd);
