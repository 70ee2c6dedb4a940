/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A lock that survives fork. Whoever holds it is named in it, so a child finds
 * that a thread which was holding it while another one forked does not exist,
 * and takes it over. What it guards must therefore be whole after each store.
 * Zero is unlocked. Not recursive.
 */

#include <stdatomic.h>
#include <stdint.h>

struct lock {
        _Atomic uint32_t holder; /* thread id, and LOCK_WAITED_FOR */
};

void lock_take(struct lock *lock);
void lock_release(struct lock *lock);
