/* SPDX-License-Identifier: MIT */

/*
 * Single questions about shared memory, each one thing beside another in the
 * same run: waiting in the kernel's epoll and in libhvsock's wait set, memory
 * that no cache holds, sending and receiving without copies, what a channel costs
 * that is closed again at once; and preloaded programs' sockets, which are AF_UNIX's.
 */

#include "bench.h"
#include "measure.h"
#include "world.h"

#include <stdio.h>

#define RUN_MS 100.0
#define RUN_QUICK_MS 15.0

struct side {
        const struct transport *transport;
        enum task task;
};

static const struct comparison {
        const char *question, *json_name;
        size_t size;
        unsigned channels;
        struct side side, reference;
        double two_cores, one_core; /* bars: how many times better than the reference */
} comparisons[] = {
#define UNIX(task) {&transport_unix, task}
#define SHM(task) {&transport_hvsock_shm, task}
#define PRELOADED(task) {&transport_preloaded, task}
#define SAME 0.95 /* but for the noise of a run */
        {"kernel's epoll, 64 B", "epoll", 64, 1, SHM(TASK_ECHO_EPOLL), UNIX(TASK_ECHO_EPOLL), 1 / 1.2, 1 / 1.2},
        {"hv_epoll, 1 channel, 64 B", "waitSet1", 64, 1, SHM(TASK_ECHO_SET), UNIX(TASK_ECHO_EPOLL), 15, NO_BAR},
        {"hv_epoll, 100 channels, 64 B", "waitSet100", 64, 100, SHM(TASK_ECHO_SET), UNIX(TASK_ECHO_EPOLL), 8, NO_BAR},
        {"hv_poll, 1 channel, 64 B", "poll1", 64, 1, {&transport_hvsock_library, TASK_ECHO_POLL}, UNIX(TASK_ECHO_POLL), 15, NO_BAR},
        {"hv_poll, 100 channels, 64 B", "poll100", 64, 100, {&transport_hvsock_library, TASK_ECHO_POLL}, UNIX(TASK_ECHO_POLL), 8,
         NO_BAR},
        {"cold memory, 64 B", "cold64", 64, 1, SHM(TASK_COLD), UNIX(TASK_COLD), 1, 1},
        {"cold memory, 1 KiB", "cold1K", 1024, 1, SHM(TASK_COLD), UNIX(TASK_COLD), 1, 1},
        {"cold memory, 4 KiB", "cold4K", 4096, 1, SHM(TASK_COLD), UNIX(TASK_COLD), 1, 1},
        {"cold memory, 16 KiB", "cold16K", 16384, 1, SHM(TASK_COLD), UNIX(TASK_COLD), 1, 1},
        {"cold memory, 64 KiB", "cold64K", 65536, 1, SHM(TASK_COLD), UNIX(TASK_COLD), 1, 1},
        {"cold memory, 1 MiB", "cold1M", 1048576, 1, SHM(TASK_COLD), UNIX(TASK_COLD), 1, 1},
        {"no copies, 64 KiB", "inPlace64K", 65536, 1, SHM(TASK_IN_PLACE), SHM(TASK_FILL), 1.5, 1.5},
        {"no copies, 1 MiB", "inPlace1M", 1048576, 1, SHM(TASK_IN_PLACE), SHM(TASK_FILL), 1.5, 1.5},
        {"preloaded, round trip, 64 B", "preloadedTrip64", 64, 1, PRELOADED(TASK_ECHO), UNIX(TASK_ECHO), SAME, SAME},
        {"preloaded, round trip, 64 KiB", "preloadedTrip64K", 65536, 1, PRELOADED(TASK_ECHO), UNIX(TASK_ECHO), SAME, SAME},
        {"preloaded, 64 B", "preloaded64", 64, 1, PRELOADED(TASK_TRANSFER), UNIX(TASK_TRANSFER), SAME, SAME},
        {"preloaded, 4 KiB", "preloaded4K", 4096, 1, PRELOADED(TASK_TRANSFER), UNIX(TASK_TRANSFER), SAME, SAME},
        {"preloaded, 64 KiB", "preloaded64K", 65536, 1, PRELOADED(TASK_TRANSFER), UNIX(TASK_TRANSFER), SAME, SAME},
        {"connects, shm asked for", "connectShm", 1, 0, SHM(TASK_CONNECT), {&transport_hvsock_unix, TASK_CONNECT}, 0.8, 0.8},
        {"connects, neither asked for", "connectAuto", 1, 0, {&transport_hvsock, TASK_CONNECT},
         {&transport_hvsock_unix, TASK_CONNECT}, 0.8, 0.8},
#undef UNIX
#undef SHM
#undef PRELOADED
#undef SAME
};
#define COMPARISONS (sizeof comparisons / sizeof comparisons[0])

/* Microseconds of a round trip, GB or connects a second. */
static double figure_of(enum task task, const struct measured *measured) {
        return task == TASK_CONNECT ? measured->per_second : task_is_echo(task) ? measured->p50_us : measured->gb_per_second;
}

static void compare(const struct bench *bench, struct pair pairs[2], const struct comparison *comparison,
                    const char *placement, double bar, struct json_object *rows) {
        const struct side *sides[] = {&comparison->side, &comparison->reference};
        double figures[2][RUNS_MAX];
        unsigned counts[2];
        bool is_trip = task_is_echo(comparison->side.task);
        struct json_object *row = json_object_new_object();

        for (unsigned i = 0; i < 2; i++) {
                struct work work = {sides[i]->task, comparison->size, comparison->channels};
                counts[i] = count_for(&pairs[i], &work, bench->quick ? RUN_QUICK_MS : RUN_MS);
        }
        for (unsigned run = 0; run < bench->runs; run++)
                for (unsigned i = 0; i < 2; i++) {
                        struct work work = {sides[i]->task, comparison->size, comparison->channels};
                        struct measured measured;
                        measure_once(&pairs[i], &work, counts[i], &measured);
                        figures[i][run] = figure_of(sides[i]->task, &measured);
                }
        struct spread here = spread_of(figures[0], bench->runs), there = spread_of(figures[1], bench->runs);
        double reached = is_trip ? there.median / here.median : here.median / there.median;

        printf("  %-30s %-10s %10.3f %12.3f %-4s ", comparison->question, placement, here.median, there.median,
               is_trip ? "us" : comparison->side.task == TASK_CONNECT ? "/s" : "GB/s");
        print_bar(reached, bar);
        putchar('\n');
        json_object_object_add(row, "question", json_object_new_string(comparison->json_name));
        json_object_object_add(row, "placement", json_object_new_string(placement));
        json_object_object_add(row, "unit", json_object_new_string(is_trip ? "us" : comparison->side.task == TASK_CONNECT ? "perSecond" : "gbPerSecond"));
        json_object_object_add(row, "figure", json_of_spread(&here));
        json_object_object_add(row, "reference", json_of_spread(&there));
        add_bar(row, "comparison", reached, bar);
        json_object_array_add(rows, row);
}

void bench_comparisons(const struct bench *bench) {
        struct endpoint endpoint = {0};
        struct json_object *rows = json_object_new_array();
        struct world world;
        char path[PATH_MAX];

        printf("\n5. Shared memory in particular: against AF_UNIX's epoll and AF_UNIX; no copies against copies, each byte\n"
               "   written and read either way; connects against hvsock-unix\n\n  %-30s %-10s %10s %12s %4s  %s\n",
               "", "", "hvsock-shm", "against", "", "times better");
        json_object_object_add(bench->results, "comparisons", rows);
        bench_directory(bench, "comparisons-world", path);
        world_start(&world, bench->hvsockd, path, 2 * COMPARISONS);
        endpoint.vm_id = world.vm_id;
        bench_directory(bench, "comparisons-unix", endpoint.directory);
        for (unsigned c = 0; c < COMPARISONS; c++) {
                const struct comparison *comparison = &comparisons[c];
                struct pair pairs[2];

                for (unsigned i = 0; i < 2; i++) {
                        endpoint.first_listener = 2 * c + i;
                        pair_start(&pairs[i], i ? comparison->reference.transport : comparison->side.transport, &endpoint, 1,
                                   world.vm, world.host);
                }
                for (unsigned apart = bench->cpus[1] >= 0 ? 2 : 1; apart-- > 0;) {
                        for (unsigned i = 0; i < 2; i++)
                                pair_place(&pairs[i], bench->cpus[0], bench->cpus[apart]);
                        compare(bench, pairs, comparison, apart ? "two cores" : "one core",
                                apart ? comparison->two_cores : comparison->one_core, rows);
                }
                for (unsigned i = 0; i < 2; i++)
                        pair_end(&pairs[i]);
        }
        world_end(&world);
}
