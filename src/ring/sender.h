/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The sending end of a ring: where the next bytes go, and how many there is room for.
 *
 * Owns the indices that its holders share and the peer never sees. What the peer
 * wrote, the tail, is read once each time and checked against them: it may only
 * move forward, and not beyond what was sent. The `base` moves back to the
 * beginning of the data when the ring is found empty, so that a channel with
 * little in flight touches few pages of it.
 *
 * On SOCK_STREAM the units that are published are bytes, on SOCK_SEQPACKET
 * messages, each of which begins with its length.
 */

#include "ring/copy.h"
#include "ring/memory.h"
#include <errno.h>
#include <string.h>

#define RING_REWIND_STEP 16384u /* bytes sent between two looks whether the ring is empty */

struct ring_record {
        uint32_t length;
        uint32_t reserved; /* 0 */
};

#define RING_RECORD_ALIGNMENT 8u

struct ring_sender {
        struct ring_memory memory;
        uint64_t head;      /* bytes written, record headers and padding included */
        uint64_t tail;      /* the last that was seen, and checked */
        uint64_t published; /* units */
        uint64_t payload;   /* bytes of the application */
        uint64_t base, rewind_at;
        uint32_t window; /* bytes that may be waiting in the ring */
        uint32_t tokens_counted, cpu;
};

static inline void sender_begin(struct ring_sender *sender, const struct ring_memory *memory, uint32_t window) {
        *sender = (struct ring_sender){
                .memory = *memory, .window = window < memory->capacity ? window : memory->capacity, .rewind_at = RING_REWIND_STEP};
}

/* Reads the tail anew. -ECONNRESET: the peer wrote one that cannot be. */
static inline int sender_look(struct ring_sender *sender) {
        uint64_t tail = atomic_load_explicit(&sender->memory.header->words.tail, memory_order_acquire);
        if (tail - sender->tail > sender->head - sender->tail)
                return -ECONNRESET;
        sender->tail = tail;
        return 0;
}

static inline uint64_t sender_waiting(const struct ring_sender *sender) {
        return sender->head - sender->tail;
}

/* As far as is known: sender_look() may find more. */
static inline size_t sender_room(const struct ring_sender *sender) {
        uint64_t waiting = sender_waiting(sender);
        return waiting < sender->window ? (size_t)(sender->window - waiting) : 0;
}

/* Where the next byte goes. As much as there is room for is contiguous. */
static inline uint8_t *sender_span(const struct ring_sender *sender) {
        return sender->memory.data + ((sender->head - sender->base) & (sender->memory.capacity - 1));
}

/* At the beginning of a send, now and then: starts at the data's beginning again if nothing waits. */
static inline int sender_rewind(struct ring_sender *sender) {
        if (__builtin_expect(sender->head < sender->rewind_at, 1))
                return 0;
        sender->rewind_at = sender->head + RING_REWIND_STEP;
        int r = sender_look(sender);
        if (!r && sender->head == sender->tail) {
                sender->base = sender->head;
                atomic_store_explicit(&sender->memory.header->words.base, sender->base, memory_order_relaxed);
        }
        return r;
}

/* The next bytes need a token. */
static inline bool sender_is_awaited(const struct ring_sender *sender) {
        uint64_t seen = atomic_load_explicit(&sender->memory.header->words.data_wish, memory_order_relaxed);
        return wish_is_due(seen, sender->published + 1);
}

/*
 * Whether `size` bytes are to be copied past the caches. Where the receiver runs it
 * says in its own cache line: for a few bytes that is not worth fetching.
 */
static inline bool sender_goes_past_caches(const struct ring_sender *sender, size_t size) {
        if (__builtin_expect(size < COPY_PAST_CACHES_MIN, 1) || !copy_pays_past_caches())
                return false;
        uint32_t cpu = atomic_load_explicit(&sender->memory.header->words.receiver_cpu, memory_order_relaxed);
        return cpu && cpu != sender->cpu;
}

static inline size_t record_size(size_t length) {
        return sizeof(struct ring_record) + ((length + RING_RECORD_ALIGNMENT - 1) & ~(size_t)(RING_RECORD_ALIGNMENT - 1));
}

/* `size` bytes were written at the span, `payload` of them the application's. The receiver sees them with what is published next. */
static inline void sender_hold(struct ring_sender *sender, size_t size, size_t payload, size_t units) {
        sender->head += size;
        sender->payload += payload;
        sender->published += units;
}

/* The same, and it sees them now. Returns the tokens that have to be sent. */
static inline unsigned sender_publish(struct ring_sender *sender, size_t size, size_t payload, size_t units) {
        struct ring_words *words = &sender->memory.header->words;
        sender_hold(sender, size, payload, units);
        atomic_store_explicit(&words->payload, sender->payload, memory_order_relaxed);
        return wish_publish(words, sender->published);
}
