/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Closing descriptors that strangers sent, and their connections.
 *
 * Theory of operation. Closing may wait. A file of a FUSE server that does not
 * answer holds up its closer for as long as it likes, and no signal helps. A
 * socket that lingers does too, and closing a Unix socket closes what is queued
 * in it; but a signal ends that. So all of these are closed by threads, in two
 * lanes: Unix sockets, whose threads are sent a signal every DISCARD_LINGER_MS
 * and so are never stuck, and the rest. Each descriptor is charged to the
 * stranger who sent it. No stranger has more than DISCARD_THREADS_PER_STRANGER
 * threads of a lane, and one with DISCARD_PER_STRANGER descriptors unclosed is
 * not served until they are: it may only be that the threads had no processor yet.
 */

#include "daemon/stranger.h"

#define DISCARD_THREADS_MAX 32u /* of a lane */
#define DISCARD_THREADS_PER_STRANGER 4u
#define DISCARD_PER_STRANGER 256u /* waiting or being closed */
#define DISCARD_LINGER_MS 1
#define DISCARD_IDLE_SECONDS 1 /* a thread without work ends after this */

/* -1 is fine. Keeps errno. */
void discard(int fd, const struct stranger *stranger);
bool discard_is_clogged(const struct stranger *stranger);
