/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The inside of receiving through a ring, one call of it.
 *
 * Theory of operation. A receive takes what is there. While it waits for more it
 * promises the sender how much it will take, and looks; when looking did not help
 * it sleeps in the receive of one token, so that time-outs, signals and the end of
 * the peer are the kernel's to report. Before it returns it leaves: either bytes
 * stay in the ring, and so does a token in the socket, or neither does. A program
 * that asks the library for readiness (HVSOCKET_READINESS) has no use for that:
 * then nothing is promised and nothing left, and tokens come only to sleepers.
 *
 * One thread at a time sleeps in a way that takes a token out. Others that wait
 * poll the socket, and look again.
 *
 * What comes out of the socket and is no token ends the channel: an abort, bytes
 * that some program wrote natively, or a hostile peer's. What is in the ring by
 * then is still given.
 *
 * All of it is called with the receiving lock held. 0 or -errno where nothing else
 * is said; -ESTALE: the number stands for another socket.
 */

#include "lib/channel.h"

struct receive {
        struct channel *channel;
        struct holder *holder;
        struct ring_receiver *ring;
        struct ring_words *words;
        int fd, flags;
        size_t room;      /* units that this call will still take: none when it peeks */
        uint64_t promise; /* the unit before which the sender need not send a token */
        bool is_exact;
        bool has_taken;   /* something, be it an empty message */
};

/* -EXDEV: the direction is not in a ring. Otherwise the lock is held from here on, to receive_end(). */
int receive_begin(struct receive *ret, struct channel *channel, int fd, int flags);
/* `result` is what the call came to; returns what it comes to in the end. */
ssize_t receive_end(struct receive *receive, ssize_t result);

/* ---- ring_tokens.c ---- */

/* `size` bytes, record headers included, were taken, in `units`. */
int receive_release(struct receive *receive, size_t size, size_t units);
/* Takes out what the sender said it sent, all but `left` of it. */
int receive_drain(struct receive *receive, uint32_t stale, uint32_t left);
/* What the socket said instead of giving a token: 0, it ended, or else `error`. 0 when this is an ending. */
int receive_take_end(struct receive *receive, int error);
/* A byte came that is no token. */
void receive_take_other(struct receive *receive, char byte, bool is_last);
/*
 * Whether there is more to come. A token is left where it is: receive_leave() knows
 * whether it may be taken. But what an ended sender left is all there will ever be,
 * whether it lived to count it or not.
 */
int receive_look_for_end(struct receive *receive);
/*
 * Before the call returns: the socket is readable from here on if, and only if,
 * bytes are left. 1: more came, for which there is room.
 */
int receive_leave(struct receive *receive);

/* ---- ring_wait.c ---- */

/* Waits while another thread sleeps for the next bytes. */
int receive_wait_for_turn(struct receive *receive);
/* Nothing is in the ring. 0: look again. */
int receive_wait(struct receive *receive);
