/* SPDX-License-Identifier: MIT */

/* Looking before sleeping. */

#include "ring/wait.h"

#include <sched.h>
#include <time.h>

#define LOOKS_BETWEEN_CLOCKS 16u /* a look with its pause takes some 40 ns, to ask the clock as long */

static uint64_t now_ns(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint32_t wait_cpu_slowly(void) {
        int cpu = sched_getcpu();
        return cpu < 0 ? 0 : (uint32_t)cpu + 1;
}

/*
 * Gives the core to whoever waits for it. False: there was, or is, no use in that. `ret_ns`: how long others had it.
 * `is_lenient`: to have given it to a stranger once, for a long time, does not count.
 */
static bool yield(bool is_lenient, uint64_t *ret_ns) {
        static _Thread_local uint64_t banned_until_ns, ban_ns, slow_ns;
        uint64_t before_ns = now_ns();
        if (before_ns < banned_until_ns)
                return false;
        sched_yield();
        uint64_t after_ns = now_ns();
        *ret_ns = after_ns - before_ns;
        if (after_ns - before_ns <= WAIT_YIELD_SLOW_NS)
                return true;
        uint64_t limit_ns = is_lenient ? WAIT_ANY_BAN_MAX_NS : WAIT_YIELD_BAN_MAX_NS, since_ns = before_ns - slow_ns;
        if (is_lenient && since_ns > ban_ns + WAIT_YIELD_BAN_NS) {
                ban_ns = 0;
        } else {
                ban_ns = ban_ns && since_ns < 2 * ban_ns ? 2 * ban_ns : WAIT_YIELD_BAN_NS;
                ban_ns = ban_ns < limit_ns ? ban_ns : limit_ns;
                banned_until_ns = after_ns + ban_ns;
        }
        slow_ns = after_ns;
        return true;
}

bool wait_again(struct wait *wait, uint32_t peer_cpu, uint32_t limit_ns) {
        if (peer_cpu && peer_cpu == wait_cpu())
                return wait->yields++ < WAIT_YIELDS_MAX && yield(false, &(uint64_t){0});
        if (wait->looks++ % LOOKS_BETWEEN_CLOCKS == 0) {
                uint64_t now = now_ns();
                if (!wait->begun_ns)
                        wait->begun_ns = now;
                else if (now - wait->begun_ns > limit_ns)
                        return false;
        }
        wait_a_little();
        return true;
}

bool wait_for_any(struct wait *wait, uint32_t limit_ns) {
        if (wait->looks++ % WAIT_LOOKS_BETWEEN_YIELDS) {
                wait_a_little();
                return true;
        }
        uint64_t now = now_ns();
        if (!wait->begun_ns)
                wait->begun_ns = now;
        uint64_t others_ns;
        if (now - wait->begun_ns > limit_ns || !yield(true, &others_ns))
                return false;
        return others_ns < WAIT_YIELD_TAKEN_NS || wait->yields++ < WAIT_OFFERS_MAX;
}
