/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Surviving a guest memory file that shrinks under its mapping.
 *
 * Theory of operation. An access behind the end of a mapped file raises SIGBUS in
 * the thread that made it. The handler looks whether the address lies in memory
 * that this thread guards. If so, it maps empty memory over the whole region and
 * returns: the access is made again and succeeds, no code is left in the middle, and
 * the thread finds afterwards that guest_memory_is_torn(). Any other SIGBUS does what
 * it did before.
 */

#include "vm/guest_memory.h"

/* Once, before any thread guards something. 0 or -errno. */
int memory_guard_open(void);
/* From here on this thread touches this memory, and no other; NULL: none. */
void memory_guard_watch(struct guest_memory *memory);
