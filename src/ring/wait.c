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

/* Gives the core to whoever waits for it. False: there was, or is, no use in that. */
static bool yield(struct wait *wait) {
        static _Thread_local uint64_t banned_until_ns, ban_ns;
        uint64_t before_ns = now_ns();
        if (wait->yields++ >= WAIT_YIELDS_MAX || before_ns < banned_until_ns)
                return false;
        sched_yield();
        uint64_t after_ns = now_ns();
        if (after_ns - before_ns > WAIT_YIELD_SLOW_NS) {
                ban_ns = ban_ns ? ban_ns * 2 : WAIT_YIELD_BAN_NS;
                if (ban_ns > WAIT_YIELD_BAN_MAX_NS)
                        ban_ns = WAIT_YIELD_BAN_MAX_NS;
                banned_until_ns = after_ns + ban_ns;
        }
        return true;
}

bool wait_again(struct wait *wait, uint32_t peer_cpu, uint32_t limit_ns) {
        if (peer_cpu && peer_cpu == wait_cpu())
                return yield(wait);
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
