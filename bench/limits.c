/* SPDX-License-Identifier: MIT */

/*
 * What the machine can do, whatever is between two processes: copying twice
 * through a buffer of a ring's size on one core, the hand-over of a cache line
 * from one core to the other, and reading what the other core wrote.
 */

#include "bench.h"
#include "exchange.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define RING_BYTES (256u << 10)
#define COPIED_BYTES (512u << 20)
#define HAND_OVERS 200000u
#define BLOCKS 1000u

static char ring[RING_BYTES], there[RING_BYTES], back[RING_BYTES];
static _Alignas(128) atomic_uint turn;

static void place_thread(int cpu) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET((size_t)cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0)
                die("cannot pin a thread to a core");
}

static double copy_twice(bool is_quick) {
        unsigned rounds = COPIED_BYTES / RING_BYTES / (is_quick ? 8 : 1);
        uint64_t before = now_ns();

        for (unsigned i = 0; i < rounds; i++) {
                memcpy(ring, there, RING_BYTES);
                __asm__ volatile("" : : "r"(ring), "r"(back) : "memory");
                memcpy(back, ring, RING_BYTES);
                __asm__ volatile("" : : "r"(ring), "r"(back) : "memory");
        }
        return (double)rounds * RING_BYTES / (double)(now_ns() - before);
}

struct peer {
        int cpu;
        unsigned turns;
        bool reads;
};

static void wait_for_turn(unsigned wanted) {
        while (atomic_load_explicit(&turn, memory_order_acquire) != wanted)
                continue;
}

/* Turn 2i is the benchmark's, 2i + 1 the other core's. */
static void *answer_turns(void *argument) {
        const struct peer *peer = argument;

        place_thread(peer->cpu);
        for (unsigned i = 0; i < peer->turns; i++) {
                wait_for_turn(2 * i + 1);
                if (peer->reads)
                        memcpy(back, ring, RING_BYTES);
                atomic_store_explicit(&turn, 2 * i + 2, memory_order_release);
        }
        return NULL;
}

/* Nanoseconds that a turn there and back takes; what the reader copies is written by this core before. */
static double take_turns(const struct bench *bench, unsigned turns, bool reads) {
        struct peer peer = {bench->cpus[1], turns, reads};
        uint64_t spent = 0;
        pthread_t thread;

        atomic_store(&turn, 0);
        if (pthread_create(&thread, NULL, answer_turns, &peer) != 0)
                die("cannot make a thread");
        for (unsigned i = 0; i < turns; i++) {
                if (reads)
                        memset(ring, (int)i, RING_BYTES);
                uint64_t before = now_ns();
                atomic_store_explicit(&turn, 2 * i + 1, memory_order_release);
                wait_for_turn(2 * i + 2);
                if (i > 0) /* the first one waits for the thread to start */
                        spent += now_ns() - before;
        }
        pthread_join(thread, NULL);
        return (double)spent / (turns - 1);
}

static void report(const struct bench *bench, struct json_object *object, const char *key, const char *text, const double *runs) {
        struct spread value = spread_of(runs, bench->runs);

        printf("  %-62s %9.2f [%7.2f-%7.2f]\n", text, value.median, value.minimum, value.maximum);
        json_object_object_add(object, key, json_of_spread(&value));
}

void bench_limits(const struct bench *bench) {
        struct json_object *object = json_object_new_object();
        double copies[RUNS_MAX], turns[RUNS_MAX], reads[RUNS_MAX];
        unsigned divisor = bench->quick ? 10 : 1;
        cpu_set_t before;

        puts("\n4. What the machine can do");
        json_object_object_add(bench->results, "limits", object);
        sched_getaffinity(0, sizeof before, &before);
        place_thread(bench->cpus[0]);
        copy_twice(true);
        for (unsigned run = 0; run < bench->runs; run++) {
                copies[run] = copy_twice(bench->quick);
                if (bench->cpus[1] < 0)
                        continue;
                turns[run] = take_turns(bench, HAND_OVERS / divisor, false);
                reads[run] = (double)RING_BYTES / take_turns(bench, BLOCKS / divisor, true);
        }
        report(bench, object, "copyTwiceGbPerSecond", "one core: into and out of 256 KiB, GB/s", copies);
        if (bench->cpus[1] >= 0) {
                report(bench, object, "cacheLineRoundTripNs", "two cores: a cache line there and back, ns", turns);
                report(bench, object, "readOtherCoreGbPerSecond", "two cores: reading 256 KiB that the other wrote, GB/s", reads);
        }
        sched_setaffinity(0, sizeof before, &before);
}
