/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The memory of a ring, which carries one direction of one channel: a header page
 * and the data, in one memfd that the sender makes and the receiver checks.
 *
 * The data is mapped twice, one after the other, so that what wraps around its end
 * is contiguous all the same. The memfd is sealed: neither end can shrink it under
 * the other. Beyond that the two ends trust nothing that the other one wrote: the
 * fields before `words` are read once, from a copy, when the ring is accepted; what
 * may be done with the words is said in wish.h, sender.h and receiver.h.
 */

#include "ring/wish.h"
#include <stddef.h>

#define RING_MAGIC 0x676e6972u /* "ring" */
#define RING_VERSION 1u
#define RING_HEADER_SIZE 4096u
#define RING_CAPACITY_MIN 65536u   /* each a power of two */
#define RING_CAPACITY_MAX 1048576u

enum ring_leaving {
        RING_NOT_LEFT,
        RING_MAY_BE_LEFT, /* the receiver looks whether the ring is empty, and no send under way: a sender waits for it */
        RING_LEFT,        /* it reads the socket again: nothing more may go into the ring */
};

struct ring_header {
        uint32_t magic;
        uint32_t version;
        uint32_t features;    /* none yet: a receiver refuses a ring with one that it does not know */
        uint32_t capacity;    /* bytes of data */
        uint32_t socket_type; /* SOCK_STREAM, or SOCK_SEQPACKET: then each message begins with its length */
        /* The receiver's: 0 until it took the ring; then the most bytes that it wants to have waiting. */
        _Alignas(128) _Atomic uint32_t accepted;
        _Atomic uint32_t leaving; /* the receiver's, enum ring_leaving */
        struct ring_words words;
};

_Static_assert(sizeof(struct ring_header) <= RING_HEADER_SIZE, "the header is one page");

struct ring_memory {
        struct ring_header *header; /* NULL: no ring */
        uint8_t *data;              /* mapped twice: 2 * capacity bytes may be addressed */
        uint32_t capacity;          /* this end's own copy */
};

/*
 * The sender's. `capacity` is rounded up to a power of two within the limits.
 * *ret_fd is to be passed to the receiver and closed. -ENOMEM, -EMFILE, -ENFILE; -EFBIG beyond RLIMIT_FSIZE; -ENOSYS on a
 * machine whose pages are larger than the header: its channels stay on unix.
 */
int ring_create(int socket_type, size_t capacity, struct ring_memory *ret, int *ret_fd);
/*
 * The receiver's: its data can be read alone. `fd` stays the caller's. -EPROTO for
 * what is no ring for this type of socket: no memfd, not sealed, not to be written,
 * of another size than its header says, of another version. -ENOMEM.
 */
int ring_accept(int fd, int socket_type, struct ring_memory *ret);
/* Whether a descriptor that came with data is a memfd, and so meant as a ring; other marks come with other files. */
bool ring_is_offer(int fd);
/* Nothing happens to one that is not mapped. */
void ring_unmap(struct ring_memory *memory);

/*
 * For who only counts: maps the header alone, read-only, into *ret. As ring_accept(),
 * for either type of socket.
 */
int ring_observe(int fd, const struct ring_header **ret);
void ring_unobserve(const struct ring_header *header);
