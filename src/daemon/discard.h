/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Closing descriptors that strangers sent.
 *
 * Closing a Unix socket never waits. Closing anything else may: a file of a FUSE
 * server that does not answer holds up its closer for as long as it likes, and
 * no signal helps. So such descriptors are closed by threads of their own. Each
 * is charged to the user who sent it; a user with DISCARD_PER_USER of them
 * unclosed is not served until they are.
 */

#include <stdbool.h>
#include <stdint.h>

#define DISCARD_THREADS_MAX 32  /* closing at once */
#define DISCARD_PER_USER 256    /* waiting or being closed */
#define DISCARD_WAITING_MAX 16384

/* -1 is fine. Keeps errno. */
void discard(int fd, uint32_t uid);
bool discard_is_clogged(uint32_t uid);
