/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * How long to look at a ring before sleeping.
 *
 * Theory of operation. To sleep and be woken costs microseconds, a peer that runs
 * on another core answers in less than one: so a receiver looks for a while. But
 * a peer that is to run on the same core cannot answer while one looks: then the
 * core is given up for it, twice at most, and no longer at all for a while once a
 * third program was seen to take it. Each end publishes on which core it last ran,
 * which the kernel keeps in the thread's own memory (rseq).
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/rseq.h>

#define WAIT_LOOK_NS 20000u        /* longer than it takes to wake a sleeper, else two ends stay in the slow way */
#define WAIT_GLANCE_NS 1000u       /* before it is known whether the socket blocks at all */
#define WAIT_YIELDS_MAX 2u
#define WAIT_YIELD_TAKEN_NS 1000u  /* a yield that took as long gave the core to somebody */
#define WAIT_YIELD_SLOW_NS 300000u /* a yield that took as long gave the core to a stranger */
#define WAIT_YIELD_BAN_NS 20000000u
#define WAIT_YIELD_BAN_MAX_NS 2000000000u
#define WAIT_ANY_BAN_MAX_NS 100000000u /* of wait_for_any() */
#define WAIT_LOOKS_BETWEEN_YIELDS 4u /* of wait_for_any() */
#define WAIT_OFFERS_MAX 4u           /* of its, that somebody took */

/* Where the kernel keeps no rseq. */
uint32_t wait_cpu_slowly(void);

/* The core this thread runs on, plus one; 0: not known. Of no use but as a hint. */
static inline uint32_t wait_cpu(void) {
        if (__builtin_expect(__rseq_size > 0, 1)) {
                const volatile struct rseq *rseq = (const void *)((const char *)__builtin_thread_pointer() + __rseq_offset);
                uint32_t cpu = rseq->cpu_id;
                if (__builtin_expect((int32_t)cpu >= 0, 1))
                        return cpu + 1;
        }
        return wait_cpu_slowly();
}

static inline void wait_a_little(void) {
#if defined __x86_64__ || defined __i386__
        __builtin_ia32_pause();
#elif defined __aarch64__
        __asm__ volatile("isb" ::: "memory");
#endif
}

struct wait {
        uint64_t begun_ns;
        unsigned looks, yields;
};

/*
 * Between two looks. `peer_cpu` is what the peer published, 0 if nothing. False:
 * enough, `limit_ns` have passed or looking does not help.
 */
bool wait_again(struct wait *wait, uint32_t peer_cpu, uint32_t limit_ns);
/*
 * The same for who waits for several, and knows of none where it runs: now and then the
 * core is offered to whoever wants it, and while nobody does, that costs nothing. One of
 * those it waits for may well keep it for long, once.
 */
bool wait_for_any(struct wait *wait, uint32_t limit_ns);
