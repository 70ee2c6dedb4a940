/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A split virtqueue, from the device's side.
 *
 * Theory of operation. The driver publishes chains of descriptors in the available
 * ring, the device gives each back in the used ring. Both are memory that a hostile
 * driver writes at any time, so every index and descriptor is copied once, then
 * checked. What cannot be makes the queue broken: -EPROTO from then on, until it is
 * begun anew. That is the driver's own loss, and better than to guess.
 *
 * Chains may be taken in batches: used entries are the driver's to see at
 * virtqueue_flush(). Notifications are wished for and suppressed by EVENT_IDX if it
 * was negotiated, else by flags. Who is about to sleep calls virtqueue_arm(), which
 * tells if something came meanwhile: then there is no kick for it.
 *
 * Does no system call: kicks and calls are the owner's to receive and make.
 */

#include "vm/guest_memory.h"

#define VIRTQUEUE_SIZE_MAX 1024u /* descriptors; a power of two */
#define CHAIN_PIECES_MAX 256u    /* of all its descriptors, split at the regions' ends */

#define VIRTQUEUE_USED_ALIGNMENT 4u /* of the rings' addresses */
#define VIRTQUEUE_AVAILABLE_ALIGNMENT 2u
#define VIRTQUEUE_DESCRIPTOR_ALIGNMENT 16u

/* How large each part is, for who looks where it lies; with the words of EVENT_IDX. */
static inline size_t virtqueue_descriptors_bytes(unsigned size) {
        return 16 * (size_t)size;
}
static inline size_t virtqueue_available_bytes(unsigned size) {
        return 6 + 2 * (size_t)size;
}
static inline size_t virtqueue_used_bytes(unsigned size) {
        return 6 + 8 * (size_t)size;
}

struct virtqueue_descriptor;
struct virtqueue_available;
struct virtqueue_used;

struct virtqueue {
        struct guest_memory *memory;
        const struct virtqueue_descriptor *descriptors;
        const struct virtqueue_available *available;
        struct virtqueue_used *used;
        uint16_t size;
        uint16_t next_available;  /* the index of the chain that is taken next */
        uint16_t available_count; /* the driver's index as last seen */
        uint16_t next_used;       /* where the next used entry goes */
        uint16_t flushed;         /* up to where the driver sees them */
        bool has_event_index, has_indirect;
        bool must_call;           /* nobody knows what the driver was told before */
        bool is_broken;
};

/* What the driver gave: readable pieces, then writable ones. */
struct chain {
        uint16_t head;
        unsigned readable_count, writable_count; /* pieces */
        size_t readable_size, writable_size;     /* bytes */
        struct iovec pieces[CHAIN_PIECES_MAX];
};

static inline struct iovec *chain_writable(struct chain *chain) {
        return chain->pieces + chain->readable_count;
}

/*
 * Where the queue lies: host pointers to memory of that size, aligned. `index` is
 * where to begin in both rings' indices.
 */
struct virtqueue_place {
        const void *descriptors, *available;
        void *used;
        uint16_t size, index;
        bool has_event_index, has_indirect;
};
/* -EINVAL: the size, or an alignment. */
int virtqueue_begin(struct virtqueue *queue, struct guest_memory *memory, const struct virtqueue_place *place);
/* The used ring's index as it stands in memory: where to go on for who does not know. */
uint16_t virtqueue_used_index(const struct virtqueue_place *place);
/* It lies elsewhere from now on, as large as before. -EINVAL: an alignment; nothing is changed. */
int virtqueue_move(struct virtqueue *queue, const struct virtqueue_place *place);

/* The driver's index as it stands: it counts what was ever given. */
uint16_t virtqueue_given(const struct virtqueue *queue);

/* 1: a chain; 0: none is there now; -EPROTO: broken. Each is to be pushed, in the order in which they were popped. */
int virtqueue_pop(struct virtqueue *queue, struct chain *ret);
/* The chain that was popped last is not used after all: it will be popped again. Only before any push of it. */
void virtqueue_unpop(struct virtqueue *queue);
/* Gives a chain back, with `written` bytes in its writable pieces. */
void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written);
/* The driver may see what was pushed. Whether it wants to be called for that. */
bool virtqueue_flush(struct virtqueue *queue);

/* No kick is needed until virtqueue_arm(). */
void virtqueue_disarm(struct virtqueue *queue);
/*
 * Nobody ever wrote anything here. That somebody kicked all the same, and that it
 * stays so, shows that the driver writes elsewhere: the VMM's mapping is private.
 */
bool virtqueue_is_blank(const struct virtqueue *queue);

/* The next chain comes with a kick. False: one is there already, or the queue is broken. */
bool virtqueue_arm(struct virtqueue *queue);

/* Copies between the pieces and memory, from `offset` bytes into them. Returns how many bytes there were. */
size_t pieces_read(const struct iovec *pieces, unsigned count, size_t offset, void *ret_bytes, size_t size);
size_t pieces_write(const struct iovec *pieces, unsigned count, size_t offset, const void *bytes, size_t size);
/* The part of the pieces from `offset`, of at most `size` bytes: how many pieces. `ret` has room for `count`. */
unsigned pieces_slice(const struct iovec *pieces, unsigned count, size_t offset, size_t size, struct iovec *ret);
