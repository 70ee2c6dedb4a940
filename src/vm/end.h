/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The host's end of a VM's channel: a socket whose other end an application holds.
 *
 * Theory of operation. To the application this is a peer like any other: it takes
 * the ring that is offered to it, offers one when that pays, and goes back to the
 * socket when the application's end is detached (lib/carrier.h, ring/wish.h). It is
 * simpler than an end in the library: it has one owner, which never blocks, and asks
 * the kernel for nothing but edges (EPOLLET). It wishes for tokens only before its
 * owner sleeps, see end_arm().
 *
 * Payload goes between the guest's memory and the ring, or the socket, in one copy.
 * What the guest's memory holds afterwards decides nothing that is not the guest's
 * own affair. The application is a stranger, too: what it wrote into a ring is
 * checked as the library checks it, and what cannot be resets the channel.
 *
 * Errors: -EAGAIN: nothing now, an edge or end_arm() tells when; -ENODATA: the
 * application sends no more; -ECONNRESET: the channel is over.
 */

#include "ring/marks.h"
#include "ring/receiver.h"
#include "ring/sender.h"
#include <stdbool.h>
#include <sys/uio.h>

#define END_MESSAGE_MAX 65537u /* of SOCK_SEQPACKET: a guest's longest, and what bridge.c puts behind it */
#define END_HELD_MAX 32768u    /* bytes held back: the application can begin with them, while the rest is copied */
#define END_TOKENS_MAX 64u     /* sent or taken at once */

enum end_way {
        END_PLAIN,
        END_OFFERED,  /* out: a ring went out with data. in: the application's was taken, and its mark is to come */
        END_RING,
};

struct end {
        int fd, type;
        struct {
                enum end_way way;
                struct ring_receiver ring;
                bool is_past_caches; /* the owner's: who reads runs on another core, and is told after copy_fence() */
                bool is_armed;    /* the next bytes in the ring come with a token */
                bool goes_on;     /* in the socket, when the ring is empty */
                int ending;       /* 0, -ENODATA, -ECONNRESET */
                uint8_t *message; /* a message from the socket that is being given; END_MESSAGE_MAX bytes, or NULL */
                uint32_t length, given; /* of it, or of the one that is next in the ring */
                bool is_amid;
        } in;
        struct {
                enum end_way way;
                struct ring_sender ring;
                uint32_t buffer_size; /* the socket's */
                bool is_cramped;      /* the socket was made so small that tokens fill it: it is writable when there is room */
                bool is_pinned;       /* the application left a ring: it is offered no other */
                bool is_shut;
                uint32_t held;        /* bytes in the ring that the application does not see yet: see end_flush() */
                bool is_deciding;     /* the application is about to leave the ring, or not: try again in a millisecond */
                uint32_t messages;
                uint64_t bytes;
        } out;
};

/* A connected socket, which becomes the end's, and non-blocking. 0 or -errno, then it stays the caller's. */
int end_begin(struct end *ret, int fd);
/* In order: what was sent is received, then the end of the stream. */
void end_close(struct end *end);
/* The application sees a reset. */
void end_abort(struct end *end);

/*
 * From the application into the pieces, which hold `room` bytes: how many. Of SOCK_SEQPACKET one message, or a part:
 * *ret_is_whole with the last one, which may be empty. *ret_has_more: it is worth asking again.
 */
ssize_t end_give(struct end *end, const struct iovec *pieces, unsigned count, size_t room, bool *ret_is_whole,
                 bool *ret_has_more);
/* Bytes of a stream, or messages in a ring, that end_give() would find. */
size_t end_waiting(struct end *end);
/* To the application: how many of `size` bytes; of SOCK_SEQPACKET a whole message or nothing. */
ssize_t end_take(struct end *end, const struct iovec *pieces, unsigned count, size_t size);
/* The same, but more follows: in a ring it may be held back, so that nobody is woken for the first of many. */
ssize_t end_take_some(struct end *end, const struct iovec *pieces, unsigned count, size_t size);
/* What was held back arrives: soon, before the owner does what takes long. 0; -ECONNRESET. */
int end_flush(struct end *end);
/* What was taken arrives, then the end of the stream. */
void end_shut_sending(struct end *end);
/* The application's sends fail from now on. */
void end_shut_receiving(struct end *end);

/* Before the owner sleeps: false: there is something to give. */
bool end_arm(struct end *end);

/* ---- between end.c, end_give.c and end_take.c ---- */

/* What the socket has for a direction that comes through a ring: tokens are taken, an end is remembered. */
void end_hear(struct end *end);
void end_leave_ring_in(struct end *end);
