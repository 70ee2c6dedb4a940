/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The holder: a small process that outlives hvsockd, and has duplicates of what must.
 *
 * Theory of operation. hvsockd connects to it (holder_packet.h) and gives it, for
 * each VM, the set of descriptors that its thread says, and the host's ends of the
 * VMs' channels. While the connection stands it does nothing with them. When it
 * ends, hvsockd is dead or about to be, and with it all that moved data: at once each
 * end gets the mark of an abort, is shut down and closed, so that applications see a
 * reset. The VMs' sets are kept for HOLDER_KEEP_MS. The next hvsockd connects, says HELLO, and
 * is given them; the holder has them still, should that one die soon after.
 *
 * A set goes when the VMM does. A holder without a set and without hvsockd ends, as
 * does one whose time is over; who comes later begins with another one.
 *
 * It trusts hvsockd, which is of the same user, as to what is held; a packet that
 * cannot be ends the connection like a death. A later connection replaces the one
 * there is: two hvsockd on one world there cannot be, so the first one is dead.
 *
 * What it holds is strangers', and to close that may wait: for a file of somebody's
 * FUSE server, or for what an application queued in its channel. The next hvsockd is
 * not to wait along, so all of that is closed by whoever runs the holder.
 */

#include "base/guid.h"

#define HOLDER_LISTEN_FD 3     /* of `hvsockd --hold`: a listening socket of SOCK_SEQPACKET */
#define HOLDER_KEEP_MS 60000   /* without hvsockd */
#define HOLDER_SETS_MAX 4096u  /* VMs; what comes beyond is not held */
#define HOLDER_ENDS_MAX 262144u

struct holder_limits {
        int keep_ms;
        unsigned sets_max, ends_max;
};
#define HOLDER_LIMITS ((struct holder_limits){HOLDER_KEEP_MS, HOLDER_SETS_MAX, HOLDER_ENDS_MAX})

/* Closes a descriptor, by and by, without waiting. `vm_id`: of the VM whose VMM sent it; NULL: it is a channel's end. */
typedef void (*holder_discard)(int fd, const GUID *vm_id);

/* Serves until there is nothing to hold, or -errno. */
int holder_run(int listen_fd, const struct holder_limits *limits, holder_discard discard);
