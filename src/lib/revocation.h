/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Channels that must end because their service was disabled.
 *
 * The broker raises a counter in a page that this process maps, read-only. Every
 * call on a socket compares it with the value last seen: one load. When it has
 * risen, the process goes through its descriptors once, asks the broker about
 * the service of each channel and listener, and shuts down what must end.
 */

#include <stdatomic.h>
#include <stdint.h>

/* Maps the page behind `fd` (-1: none), unless it is mapped already. Does not keep `fd`. */
void revocation_map(int fd);

void revocation_sweep(void);

extern _Atomic(const _Atomic(uint64_t) *) revocation_page;
extern _Atomic(uint64_t) revocation_seen;

static inline void revocation_look(void) {
        const _Atomic(uint64_t) *page = atomic_load_explicit(&revocation_page, memory_order_acquire);
        if (page && __builtin_expect(atomic_load_explicit(page, memory_order_relaxed) !=
                                             atomic_load_explicit(&revocation_seen, memory_order_relaxed), 0))
                revocation_sweep();
}
