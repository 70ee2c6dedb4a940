/* SPDX-License-Identifier: MIT */

/*
 * An open channel between a program of the host and one of a guest, through hvsockd,
 * each way, beside AF_UNIX between two programs of the host. The guest is a process
 * that has the driver (guest.h); hvsockd runs on the host program's core.
 */

#include "bench.h"
#include "measure.h"
#include "world.h"

#include <stdio.h>
#include <time.h>

#define RUN_MS 80.0
#define RUN_QUICK_MS 15.0
#define VERIFIED_BYTES (1u << 20)
#define TRIP_BAR 0.5 /* a round trip at most twice as long as AF_UNIX's */
#define GUEST_SECONDS 10

enum { UNIX, TO_GUEST, FROM_GUEST, WAYS };
static const char *const way_names[] = {"AF_UNIX", "host to guest", "guest to host"};
static const char *const way_json[] = {"unix", "toGuest", "fromGuest"};

static const struct {
        const char *name;
        size_t size;
        double bar; /* how many times AF_UNIX's throughput */
} sizes[] = {{"64 B", 64, 8}, {"4 KiB", 4096, 2}, {"64 KiB", 65536, 1}};
#define SIZES (sizeof sizes / sizeof sizes[0])

struct runs {
        double p50_us[RUNS_MAX], p99_us[RUNS_MAX], gb_per_second[RUNS_MAX], cpu_seconds_per_gb[RUNS_MAX];
};

static void report(const struct bench *bench, const char *placement, unsigned s, const struct runs runs[WAYS],
                   struct json_object *rows) {
        double trip_of_unix = spread_of(runs[UNIX].p50_us, bench->runs).median;
        double rate_of_unix = spread_of(runs[UNIX].gb_per_second, bench->runs).median;

        for (unsigned way = 0; way < WAYS; way++) {
                struct spread p50 = spread_of(runs[way].p50_us, bench->runs);
                struct spread p99 = spread_of(runs[way].p99_us, bench->runs);
                struct spread rate = spread_of(runs[way].gb_per_second, bench->runs);
                struct spread cpu = spread_of(runs[way].cpu_seconds_per_gb, bench->runs);
                struct json_object *row = json_object_new_object();
                double trip_bar = way == UNIX ? NO_BAR : TRIP_BAR, rate_bar = way == UNIX ? NO_BAR : sizes[s].bar;

                printf("  %-7s %-14s %9.2f %9.2f %9.3f [%6.3f-%6.3f] %7.3f ", way == UNIX ? sizes[s].name : "",
                       way_names[way], p50.median, p99.median, rate.median, rate.minimum, rate.maximum, cpu.median);
                print_bar(trip_of_unix / p50.median, trip_bar);
                print_bar(rate.median / rate_of_unix, rate_bar);
                putchar('\n');
                json_object_object_add(row, "placement", json_object_new_string(placement));
                json_object_object_add(row, "size", json_object_new_int64((int64_t)sizes[s].size));
                json_object_object_add(row, "way", json_object_new_string(way_json[way]));
                json_object_object_add(row, "p50Us", json_of_spread(&p50));
                json_object_object_add(row, "p99Us", json_of_spread(&p99));
                json_object_object_add(row, "gbPerSecond", json_of_spread(&rate));
                json_object_object_add(row, "cpuSecondsPerGb", json_of_spread(&cpu));
                add_bar(row, "roundTrip", trip_of_unix / p50.median, trip_bar);
                add_bar(row, "throughput", rate.median / rate_of_unix, rate_bar);
                json_object_array_add(rows, row);
        }
}

static void measure(const struct bench *bench, struct pair pairs[WAYS], unsigned s, struct runs runs[WAYS]) {
        struct work trips = {TASK_ECHO, sizes[s].size, 1}, transfer = {TASK_TRANSFER, sizes[s].size, 1};
        double ms = bench->quick ? RUN_QUICK_MS : RUN_MS;
        unsigned verified = VERIFIED_BYTES / (unsigned)sizes[s].size, trip_counts[WAYS], counts[WAYS];

        for (unsigned way = 0; way < WAYS; way++) {
                pair_run(&pairs[way], TASK_VERIFY, verified > 1000 ? 1000 : verified, sizes[s].size);
                trip_counts[way] = count_for(&pairs[way], &trips, ms);
                counts[way] = count_for(&pairs[way], &transfer, ms);
        }
        for (unsigned run = 0; run < bench->runs; run++)
                for (unsigned way = 0; way < WAYS; way++) {
                        struct measured measured;
                        measure_once(&pairs[way], &trips, trip_counts[way], &measured);
                        runs[way].p50_us[run] = measured.p50_us;
                        runs[way].p99_us[run] = measured.p99_us;
                        measure_once(&pairs[way], &transfer, counts[way], &measured);
                        runs[way].gb_per_second[run] = measured.gb_per_second;
                        runs[way].cpu_seconds_per_gb[run] = measured.cpu_seconds_per_gb;
                }
}

static void await_guest(const struct world *world, unsigned guest) {
        for (unsigned waited_ms = 0; !world_guest_runs(world, guest); waited_ms++) {
                if (waited_ms == GUEST_SECONDS * 1000)
                        die("a guest's driver did not start");
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
}

static void start(const struct bench *bench, const struct world *world, struct pair pairs[WAYS]) {
        struct endpoint endpoint = {0};

        bench_directory(bench, "guests-unix", endpoint.directory);
        pair_start(&pairs[UNIX], &transport_unix, &endpoint, 1, NULL, NULL);
        endpoint.vm_id = world_guest(world, 0, endpoint.vhost_user);
        pair_start_between(&pairs[TO_GUEST], &transport_hvsock_shm, &transport_guest, &endpoint, NULL, world->host);
        await_guest(world, 0);
        endpoint.vm_id = world_guest(world, 1, endpoint.vhost_user);
        pair_start_between(&pairs[FROM_GUEST], &transport_guest, &transport_hvsock_shm, &endpoint, world->host, NULL);
        pairs[TO_GUEST].between = pairs[FROM_GUEST].between = world->broker;
}

void bench_guests(const struct bench *bench) {
        struct json_object *rows = json_object_new_array();
        struct pair pairs[WAYS];
        struct world world;
        char path[PATH_MAX];

        printf("\n6. A VM: an open channel between a program of the host, on shm, and one of a guest, whose virtual\n"
               "   processor is a process here. hvsockd is on the host program's core, and its CPU is counted\n");
        json_object_object_add(bench->results, "guests", rows);
        bench_directory(bench, "guests-world", path);
        world_start_with_guests(&world, bench->hvsockd, path, 1, 2);
        start(bench, &world, pairs);
        for (unsigned apart = bench->cpus[1] >= 0 ? 2 : 1; apart-- > 0;) {
                const char *placement = apart ? "two cores" : "one core";

                printf("\n  %s\n  %-7s %-14s %9s %9s %25s %7s  %-33s %s\n", placement, "", "", "p50 us", "p99 us",
                       "GB/s [min-max]", "CPU s/GB", "round trip, times shorter", "GB/s, times AF_UNIX");
                pair_place(&pairs[UNIX], bench->cpus[0], bench->cpus[apart]);
                pair_place(&pairs[TO_GUEST], bench->cpus[apart], bench->cpus[0]);
                pair_place(&pairs[FROM_GUEST], bench->cpus[0], bench->cpus[apart]);
                world_place(&world, bench->cpus[apart]);
                for (unsigned s = 0; s < SIZES; s++) {
                        struct runs runs[WAYS];
                        measure(bench, pairs, s, runs);
                        report(bench, placement, s, runs, rows);
                }
        }
        for (unsigned way = 0; way < WAYS; way++)
                pair_end(&pairs[way]);
        world_end(&world);
}
