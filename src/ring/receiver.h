/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The receiving end of a ring: what is there to be taken.
 *
 * Owns the indices that its holders share and the peer never sees. The head that
 * the peer published is read once each time and checked: it may only move forward,
 * and no farther than the ring is large. The length of a record is copied out,
 * then checked. The `base` needs no check: any value is a place within the data.
 *
 * Units as in sender.h.
 */

#include "ring/sender.h"
#include <stdbool.h>

struct ring_receiver {
        struct ring_memory memory;
        uint64_t tail;      /* bytes taken, record headers and padding included */
        uint64_t taken;     /* units */
        _Atomic uint64_t taken_so_far; /* the same, for who looks without the lock */
        uint64_t published; /* units: the last that was seen, and checked */
        uint64_t base;
        uint64_t units_max; /* how many the ring can hold */
        uint32_t tokens_taken, cpu;
        bool is_granted;    /* a token for what is in the ring is in the socket, or on its way: nothing was wished since */
        bool is_packets;
};

static inline void receiver_begin(struct ring_receiver *receiver, const struct ring_memory *memory, bool is_packets) {
        *receiver = (struct ring_receiver){
                .memory = *memory,
                .is_packets = is_packets,
                .units_max = is_packets ? memory->capacity / sizeof(struct ring_record) : memory->capacity,
        };
}

/* Bytes of a stream, or messages. As far as is known: receiver_look() may find more. */
static inline size_t receiver_waiting(const struct ring_receiver *receiver) {
        return (size_t)(receiver->published - receiver->taken);
}

/* Reads the head anew. -ECONNRESET: the peer wrote one that cannot be. */
static inline int receiver_look(struct ring_receiver *receiver) {
        const struct ring_words *words = &receiver->memory.header->words;
        uint64_t published = atomic_load_explicit(&words->head, memory_order_acquire);
        uint64_t waiting = published - receiver->taken;
        if (waiting > receiver->units_max || waiting < receiver_waiting(receiver))
                return -ECONNRESET;
        if (receiver->published == receiver->taken && waiting) /* only now may the base have moved */
                receiver->base = atomic_load_explicit(&words->base, memory_order_relaxed);
        receiver->published = published;
        return 0;
}

/* Where the next byte is. What waits in a stream is contiguous. */
static inline const uint8_t *receiver_span(const struct ring_receiver *receiver) {
        return receiver->memory.data + ((receiver->tail - receiver->base) & (receiver->memory.capacity - 1));
}

/* The message that is next, of those that wait. -ECONNRESET: its length cannot be. */
static inline int receiver_record(const struct ring_receiver *receiver, const uint8_t **ret_bytes, size_t *ret_length) {
        struct ring_record record;
        const uint8_t *span = receiver_span(receiver);
        memcpy(&record, span, sizeof record);
        __asm__("" : "+m"(record)); /* the copy is what is checked, and what is used */
        if (record.length > receiver->memory.capacity - sizeof record)
                return -ECONNRESET;
        *ret_bytes = span + sizeof record;
        *ret_length = record.length;
        return 0;
}

/* `size` bytes, record headers included, were taken. Whether the sender waits for room: then all tokens but one go. */
static inline bool receiver_release(struct ring_receiver *receiver, size_t size, size_t units) {
        receiver->tail += size;
        receiver->taken += units;
        atomic_store_explicit(&receiver->taken_so_far, receiver->taken, memory_order_relaxed);
        return wish_release(&receiver->memory.header->words, receiver->tail);
}
