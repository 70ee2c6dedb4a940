/* SPDX-License-Identifier: MIT */
#include "machine.h"
#include "exchange.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <string.h>

#define RING_BYTES (256u << 10)
#define COPIED_BYTES (32u << 20)
#define HAND_OVERS 2000u
#define BLOCKS 30u

static char ring[RING_BYTES], there[RING_BYTES], back[RING_BYTES];
static _Alignas(128) atomic_uint turn;

static void place_thread(int cpu) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET((size_t)cpu, &set);
        if (sched_setaffinity(0, sizeof set, &set) < 0)
                die("cannot pin a thread to a core");
}

static double copy_twice(void) {
        unsigned rounds = COPIED_BYTES / RING_BYTES;
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
static double take_turns(int cpu, unsigned turns, bool reads) {
        struct peer peer = {cpu, turns, reads};
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

void limits_once(const int cpus[2], bool is_apart, struct limits *ret) {
        cpu_set_t before;

        sched_getaffinity(0, sizeof before, &before);
        place_thread(cpus[0]);
        if (is_apart)
                *ret = (struct limits){.cache_line_us = take_turns(cpus[1], HAND_OVERS, false) / 1e3,
                                       .gb_per_second = (double)RING_BYTES / take_turns(cpus[1], BLOCKS, true)};
        else
                *ret = (struct limits){.gb_per_second = copy_twice()};
        sched_setaffinity(0, sizeof before, &before);
}
