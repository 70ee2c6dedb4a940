/* SPDX-License-Identifier: MIT */
#pragma once

/* Finding the broker's socket, and whom to trust there. */

/*
 * A connected SOCK_SEQPACKET descriptor, CLOEXEC, never 0, 1 or 2. -ENETDOWN:
 * none of the places exists. -ECONNREFUSED: one exists, nobody serves it (the
 * broker is restarting). -EACCES: it may not be opened, or a stranger serves it.
 */
int broker_open(int *ret_fd);
