/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Which way a channel's data goes, and how a direction moves into a ring.
 *
 * Theory of operation. Every channel begins on its socket. When it pays, the
 * sender makes a ring and attaches it to data that it sends anyway: a program that
 * reads the socket by itself never notices. A peer that receives through this
 * library finds it, maps it, and says so in the ring's header. That is the proof
 * that the sender waits for: at a later send it puts a mark into the stream, after
 * which everything goes through the ring, and what comes through the socket is
 * tokens. The two directions know nothing of each other, and the broker nothing of
 * either until it is told for its statistics.
 *
 * Before the mark the kernel orders what several threads send and receive; after
 * it, the ring's lock does. So that none is still in the one while others are in
 * the other, threads in plain calls are counted: a sender puts the mark only while
 * there is none, and a receiver accepts a ring only then. From there to the mark
 * one thread receives at a time.
 *
 * What every holder of the socket must know of this is kept in the socket: holders.h.
 */

#include "lib/channel.h"
#include "ring/marks.h"
#include <sys/uio.h>

#define CARRIER_ASKED_BYTES_BEFORE 4096u /* in the first message already, when shared memory was asked for */

/*
 * Rings that a process maps, its own and its peers'. One that lies idle costs 20 KiB on all sides, and each end up to
 * four of the 65530 mappings that the kernel allows a process, which strangers shall not use up. Directions beyond
 * that stay in their sockets.
 */
#define CARRIER_RINGS_MAX 2048u

/* This process made the socket, and has it to itself; or is about to close it. */
void carrier_own(int fd);
void carrier_disown(int fd);
/* Whether this process has it to itself, or had when it asked first: then no other one takes it into a ring. */
bool carrier_is_own(struct channel *channel, int fd);

/* What is asked of a new channel, and whether it was pinned. */
void carrier_begin(struct channel *channel, int fd);
/* Gives back the rings. */
void carrier_end(struct channel *channel);

enum carrier_way {
        CARRIER_IS_PLAIN, /* the call below ends it */
        CARRIER_IS_RING,
};

/*
 * Around a plain send of `size` bytes. CARRIER_IS_PLAIN: *ret_ring_fd is to go with
 * it, or -1. -ECONNRESET: another process sends through a ring. -ESTALE: the number
 * stands for another socket.
 */
int carrier_send_begins(struct channel *channel, int fd, size_t size, int *ret_ring_fd);
/* The ring that was to go with it does not, after all. */
void carrier_withdraw(struct channel *channel);
/* `result` is what the kernel said. Closes the ring's descriptor. */
void carrier_send_ended(struct channel *channel, int fd, int ring_fd, ssize_t result);

/* Around a plain receive. -EAGAIN: another thread receives, and has to be waited for. */
int carrier_receive_begins(struct channel *channel);
/*
 * `ring_fd` is a descriptor that came with the data and is an offer, or -1. With
 * the mark (`is_marked`) the ring begins. -ECONNRESET: another process receives
 * through a ring, or the mark came before it was accepted.
 */
int carrier_receive_ended(struct channel *channel, int fd, int ring_fd, bool is_marked, bool is_peeking);

/* A direction goes through the socket again; its lock is held. */
void carrier_leave_sending(struct holder *holder, int fd);
void carrier_leave_receiving(struct holder *holder, int fd);
/* No direction moves into a ring any more: hv_detach(). */
void carrier_pin(struct channel *channel, int fd);

/* HVSOCKET_CARRIER, HVSOCKET_CARRIER_STATE, HVSOCKET_READINESS. */
int carrier_set_option(int fd, int option, uint32_t value);
int carrier_get_option(int fd, int option, int *ret);
