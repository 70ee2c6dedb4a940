/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What everyone who holds a socket must know, in whatever process.
 *
 * It is kept in the socket, in options that mean nothing to AF_UNIX. SO_MAX_PACING_RATE
 * names the process that has it to itself: another one that moves data through it,
 * a child for instance, finds a strange name there, and from then on no direction
 * moves into a ring any more. (Rings that were there before the fork are the
 * child's, too.) Should a process have been quicker, SO_DONTROUTE says that the
 * socket sends through a ring, SO_BROADCAST that it receives through one: set before
 * the peer can send the first token, so that a holder without the ring gets
 * ECONNRESET, never a token for data. SO_NOFCS says that it never may: hv_detach().
 *
 * A socket of libhvsock-preload has a mark of that library's in the place of its owner,
 * which stays there: it is several holders', always.
 */

#include "ring/marks.h"
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#define SENDS_THROUGH_RING CARRIER_SENDS_THROUGH_RING
#define RECEIVES_THROUGH_RING SO_BROADCAST
#define IS_PINNED SO_NOFCS

/* No process's name: ids of processes have 22 bits. */
#define HOLDERS_FOREIGN (UINT64_C(0xa5f1) << 48)
static inline bool holders_is_foreign(uint64_t owner) {
        return owner >> 48 == HOLDERS_FOREIGN >> 48;
}

bool holders_flag(int fd, int flag);
void holders_set_flag(int fd, int flag, int value);

/* This process made the socket, and has it to itself; or is about to close it. */
void holders_own(int fd);
void holders_disown(int fd);
/* Whether no other process was seen to use it, so far; this one is seen now. */
bool holders_are_one(int fd);
