/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What hvsockd and its holder say to each other, in packets with descriptors
 * (holder.h has the theory). A packet comes whole, or not at all.
 *
 *   to the holder: HELLO, first of all: `generation` is HOLDER_VERSION. The answer is a SET
 *                  for each VM, and DONE
 *                  SET, which replaces this VM's; DROP_SET
 *                  ENDS: as many numbers as descriptors; DROP_ENDS: numbers
 *   from it:       SET, DONE
 */

#include "base/guid.h"
#include "vm/held.h"

#define HOLDER_VERSION 1u
#define HOLDER_BATCH_MAX 64u           /* numbers in a packet */
#define HOLDER_FDS_MAX VM_HELD_MAX     /* descriptors; more than HOLDER_BATCH_MAX */

enum holder_kind { HOLDER_HELLO = 1, HOLDER_SET, HOLDER_DROP_SET, HOLDER_ENDS, HOLDER_DROP_ENDS, HOLDER_DONE };

struct holder_packet {
        uint32_t kind, count; /* of numbers */
        GUID vm_id;
        uint64_t generation;
        uint64_t numbers[HOLDER_BATCH_MAX];
};

/* With MSG_DONTWAIT or 0. The descriptors stay the caller's. -EAGAIN, -ETOOMANYREFS: not now. */
int holder_send(int socket, const struct holder_packet *packet, const int *fds, unsigned fd_count, int flags);
/*
 * The next packet, with its descriptors. -EAGAIN; -ECONNRESET: the other one is gone; -EPROTO: it cannot be, and every
 * descriptor that came is closed.
 */
int holder_receive(int socket, struct holder_packet *ret, int ret_fds[HOLDER_FDS_MAX], unsigned *ret_fd_count);
