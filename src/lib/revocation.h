/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Ending channels and listeners whose service was disabled.
 *
 * Theory of operation. The broker keeps no descriptor of a channel, so it cannot
 * end one. It changes a counter in a page that its libraries map, and each call
 * on a channel looks at the counter first: one load. When it has changed, the
 * process's descriptors are gone through, the broker is asked about the service
 * of each, and those that must end are shut down and remembered as reset. The
 * next call of any thread waits for that, so that none slips through. A broker
 * that does not answer, since it restarts, is asked again by later calls until it
 * does: until then the channels go on.
 *
 * A process that has inherited a channel, and never talked to the broker, says
 * hello in its first call, for the sake of the page; where there is no broker,
 * once and never again.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define REVOCATION_WAIT_MS 200u  /* a data call is held up no longer by a broker that does not answer */
#define REVOCATION_RETRY_MS 1000 /* and then asks about the same change no sooner than this */

extern const _Atomic uint64_t *_Atomic revocation_page; /* NULL: not looked for yet */
extern _Atomic uint64_t revocation_seen;

void revocation_look(void);
/* Maps the page that a broker gave with its hello. Does not take the descriptor. */
void revocation_map(int fd);

/* Nothing is to be looked at. */
static inline bool revocation_is_quiet(void) {
        const _Atomic uint64_t *page = atomic_load_explicit(&revocation_page, memory_order_acquire);
        return __builtin_expect(page != NULL, 1) &&
               __builtin_expect(atomic_load_explicit(page, memory_order_relaxed) ==
                                        atomic_load_explicit(&revocation_seen, memory_order_relaxed), 1);
}

static inline void revocation_check(void) {
        if (!revocation_is_quiet())
                revocation_look();
}
