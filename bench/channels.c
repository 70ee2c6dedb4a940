/* SPDX-License-Identifier: MIT */

/*
 * Data on an open channel: round trips and one-way throughput by size, on two
 * cores, on one, and beside busy neighbours.
 */

#include "bench.h"
#include "chart.h"
#include "machine.h"
#include "measure.h"
#include "neighbour.h"
#include "world.h"

#include <stdio.h>

static const struct transport *const transports[] = {&transport_unix,       &transport_hvsock_unix,
                                                     &transport_hvsock_shm, &transport_hvsock_library,
                                                     &transport_pipe,       &transport_tcp};
enum { UNIX, HVSOCK_UNIX, HVSOCK_SHM, HVSOCK_LIBRARY, PIPE, TCP, TRANSPORTS };

#define RUN_MS 80.0
#define RUN_QUICK_MS 10.0
#define BUSY_RUN_MS 50.0 /* some ten turns of the scheduler's */
#define VERIFIED_BYTES (1u << 20)
#define CPU_BAR 2.0        /* how many times less of it than AF_UNIX, from CPU_SIZE on */
#define CPU_SIZE 4096u
#define EXACT_BAR 9.0      /* throughput at 64 B, with a kernel's poll that stays exact */

static const struct {
        const char *name;
        size_t size;
        double two_cores, one_core; /* how many times AF_UNIX's throughput shared memory is meant to reach */
} sizes[] = {
        {"64 B", 64, 25, 30},      {"1 KiB", 1024, 9, 12},     {"4 KiB", 4096, 6, 6},
        {"16 KiB", 16384, 2.5, 3}, {"64 KiB", 65536, 2.1, 1.7}, {"1 MiB", 1048576, 1.8, 1.4},
};
#define SIZES (sizeof sizes / sizeof sizes[0])

static const struct placement {
        const char *name, *chart;
        bool is_apart;                 /* the two ends on a core each */
        bool is_busy[2];               /* a neighbour, on the first core, on the second */
        double round_trip, exact_trip; /* bars at 64 B, as times shorter than AF_UNIX's; exact: see EXACT_BAR */
} placements[] = {
        {"two cores", "two-cores", true, {false, false}, 16, 3},
        {"one core", "one-core", false, {false, false}, 2, 1},
        {"two cores, a busy neighbour on one", NULL, true, {false, true}, 1, NO_BAR},
        {"two cores, a busy neighbour on each", NULL, true, {true, true}, 1, NO_BAR},
        {"one core, a busy neighbour on it", NULL, false, {true, false}, 1, NO_BAR},
};

/* Of one transport, at one size, in one placement. */
struct runs {
        unsigned trips, messages; /* in each */
        double p50_us[RUNS_MAX], p99_us[RUNS_MAX], gb_per_second[RUNS_MAX], cpu_seconds_per_gb[RUNS_MAX];
};

static struct work trips_of(unsigned s) {
        return (struct work){TASK_ECHO, sizes[s].size, 1};
}

static struct work transfer_of(unsigned s) {
        return (struct work){TASK_TRANSFER, sizes[s].size, 1};
}

static void warm_up(const struct bench *bench, struct pair *pair, unsigned s, bool is_disturbed, struct runs *runs) {
        double ms = bench->quick ? RUN_QUICK_MS : is_disturbed ? BUSY_RUN_MS : RUN_MS;
        struct work trips = trips_of(s), transfer = transfer_of(s);
        unsigned verified = VERIFIED_BYTES / (unsigned)sizes[s].size;

        pair_run(pair, TASK_VERIFY, is_disturbed ? 2 : verified > 1000 ? 1000 : verified, sizes[s].size);
        runs->trips = count_for(pair, &trips, ms);
        runs->messages = count_for(pair, &transfer, ms);
}

static void run_once(struct pair *pair, unsigned s, struct runs *runs, unsigned run) {
        struct work trips = trips_of(s), transfer = transfer_of(s);
        struct measured measured;

        measure_once(pair, &trips, runs->trips, &measured);
        runs->p50_us[run] = measured.p50_us;
        runs->p99_us[run] = measured.p99_us;
        measure_once(pair, &transfer, runs->messages, &measured);
        runs->gb_per_second[run] = measured.gb_per_second;
        runs->cpu_seconds_per_gb[run] = measured.cpu_seconds_per_gb;
}

/* One size in one placement: a line a transport, and what shared memory makes of it beside AF_UNIX. */
static void report(const struct bench *bench, const struct placement *placement, unsigned s, const struct runs *runs,
                   struct chart *latency, struct chart *throughput, struct json_object *rows) {
        double trip_of_unix = spread_of(runs[UNIX].p50_us, bench->runs).median;
        double rate_of_unix = spread_of(runs[UNIX].gb_per_second, bench->runs).median;
        double cpu_of_unix = spread_of(runs[UNIX].cpu_seconds_per_gb, bench->runs).median;
        bool is_disturbed = placement->is_busy[0] || placement->is_busy[1];

        for (unsigned t = 0; t < TRANSPORTS; t++) {
                struct spread p50 = spread_of(runs[t].p50_us, bench->runs), p99 = spread_of(runs[t].p99_us, bench->runs);
                struct spread rate = spread_of(runs[t].gb_per_second, bench->runs);
                struct spread cpu = spread_of(runs[t].cpu_seconds_per_gb, bench->runs);
                struct json_object *row = json_object_new_object();
                bool is_shm = t == HVSOCK_SHM || t == HVSOCK_LIBRARY, is_exact = t == HVSOCK_SHM;
                double trip_bar = is_shm && s == 0 ? placement->round_trip : NO_BAR;
                double rate_bar = !is_shm || is_disturbed ? NO_BAR : placement->is_apart ? sizes[s].two_cores : sizes[s].one_core;
                double cpu_bar = is_shm && !is_disturbed && sizes[s].size >= CPU_SIZE ? CPU_BAR : NO_BAR;

                printf("  %-7s %-20s %9.2f %9.2f %9.3f [%6.3f-%6.3f] %7.3f ", t ? "" : sizes[s].name, transports[t]->name,
                       p50.median, p99.median, rate.median, rate.minimum, rate.maximum, cpu.median);
                print_bar_or(trip_of_unix / p50.median, trip_bar, is_exact ? placement->exact_trip : NO_BAR);
                print_bar_or(rate.median / rate_of_unix, rate_bar, is_exact && s == 0 ? EXACT_BAR : NO_BAR);
                print_bar(cpu_of_unix / cpu.median, cpu_bar);
                putchar('\n');
                json_object_object_add(row, "placement", json_object_new_string(placement->name));
                json_object_object_add(row, "bytes", json_object_new_int64((int64_t)sizes[s].size));
                json_object_object_add(row, "transport", json_object_new_string(transports[t]->name));
                json_object_object_add(row, "roundTripP50Us", json_of_spread(&p50));
                json_object_object_add(row, "roundTripP99Us", json_of_spread(&p99));
                json_object_object_add(row, "gbPerSecond", json_of_spread(&rate));
                json_object_object_add(row, "cpuSecondsPerGb", json_of_spread(&cpu));
                add_bar(row, "roundTrip", trip_of_unix / p50.median, trip_bar);
                add_bar(row, "throughput", rate.median / rate_of_unix, rate_bar);
                add_bar(row, "cpu", cpu_of_unix / cpu.median, cpu_bar);
                json_object_array_add(rows, row);
                latency->values[t][s] = p50;
                throughput->values[t][s] = rate;
        }
        latency->points[s] = throughput->points[s] = sizes[s].name;
}

/* What no transport between these two places can surpass. */
static void report_limits(const struct bench *bench, const struct placement *placement, unsigned s, const double *line_us,
                          const double *gb_per_second, struct json_object *rows) {
        struct spread line = spread_of(line_us, bench->runs), rate = spread_of(gb_per_second, bench->runs);
        struct json_object *row = json_object_new_object();

        printf("  %-7s %-20s %9.2f %9s %9.3f [%6.3f-%6.3f]\n", "", "(the machine)", line.median, "", rate.median, rate.minimum,
               rate.maximum);
        json_object_object_add(row, "placement", json_object_new_string(placement->name));
        json_object_object_add(row, "bytes", json_object_new_int64((int64_t)sizes[s].size));
        json_object_object_add(row, "transport", json_object_new_string("machine"));
        if (placement->is_apart)
                json_object_object_add(row, "cacheLineRoundTripUs", json_of_spread(&line));
        json_object_object_add(row, "gbPerSecond", json_of_spread(&rate));
        json_object_array_add(rows, row);
}

static void write_charts(const struct bench *bench, const struct placement *placement, struct chart *latency,
                         struct chart *throughput) {
        char name[64], path[PATH_MAX];

        if (!placement->chart)
                return;
        snprintf(name, sizeof name, "round-trip-%s.svg", placement->chart);
        bench_chart_path(bench, name, path);
        chart_write_log(path, latency);
        snprintf(name, sizeof name, "throughput-%s.svg", placement->chart);
        bench_chart_path(bench, name, path);
        chart_write_log(path, throughput);
}

static void measure(const struct bench *bench, struct pair pairs[TRANSPORTS], const struct placement *placement,
                    struct json_object *rows) {
        struct chart latency = {
                .title = "Round trip on an open channel",
                .subtitle = "microseconds (p50), there and back; two processes; less is better",
                .series_count = TRANSPORTS,
                .point_count = SIZES,
        };
        struct chart throughput = {
                .title = "One-way throughput of an open channel",
                .subtitle = "GB a second, by size of a send; two processes; more is better",
                .series_count = TRANSPORTS,
                .point_count = SIZES,
        };
        pid_t neighbours[2] = {-1, -1};
        bool is_disturbed = placement->is_busy[0] || placement->is_busy[1];

        printf("\n  %s\n  %-7s %-20s %9s %9s %25s %7s  %-33s %-33s %s\n", placement->name, "", "", "p50 us", "p99 us",
               "GB/s [min-max]", "CPU s/GB", "round trip, times shorter", "GB/s, times AF_UNIX", "CPU, times less");
        for (unsigned t = 0; t < TRANSPORTS; t++) {
                pair_place(&pairs[t], bench->cpus[0], bench->cpus[placement->is_apart]);
                latency.series[t] = throughput.series[t] = transports[t]->name;
        }
        for (unsigned i = 0; i < 2; i++)
                if (placement->is_busy[i])
                        neighbours[i] = neighbour_start(bench->cpus[i]);
        for (unsigned s = 0; s < SIZES; s++) {
                struct runs runs[TRANSPORTS];

                for (unsigned t = 0; t < TRANSPORTS; t++)
                        warm_up(bench, &pairs[t], s, is_disturbed, &runs[t]);
                double line_us[RUNS_MAX], limit[RUNS_MAX];
                for (unsigned run = 0; run < bench->runs; run++) {
                        struct limits limits;
                        for (unsigned t = 0; t < TRANSPORTS; t++)
                                run_once(&pairs[t], s, &runs[t], run);
                        limits_once(bench->cpus, placement->is_apart, &limits);
                        line_us[run] = limits.cache_line_us;
                        limit[run] = limits.gb_per_second;
                }
                report(bench, placement, s, runs, &latency, &throughput, rows);
                report_limits(bench, placement, s, line_us, limit, rows);
        }
        for (unsigned i = 0; i < 2; i++)
                if (neighbours[i] > 0)
                        neighbour_end(neighbours[i]);
        write_charts(bench, placement, &latency, &throughput);
}

void bench_channels(const struct bench *bench) {
        struct endpoint endpoint = {0};
        struct pair pairs[TRANSPORTS];
        struct world world;
        char path[PATH_MAX];
        struct json_object *rows = json_object_new_array();

        printf("\n4. An open channel: round trip and one-way throughput; two processes. (the machine): a cache line to the other\n"
               "   core and back, and reading what the other core wrote; on one core, copying into 256 KiB and out\n");
        json_object_object_add(bench->results, "channels", rows);
        bench_directory(bench, "channels-world", path);
        world_start(&world, bench->hvsockd, path, TRANSPORTS);
        endpoint.vm_id = world.vm_id;
        bench_directory(bench, "channels-unix", endpoint.directory);
        for (unsigned t = 0; t < TRANSPORTS; t++) {
                endpoint.first_listener = t;
                pair_start(&pairs[t], transports[t], &endpoint, 1, world.vm, world.host);
        }
        for (unsigned i = 0; i < sizeof placements / sizeof *placements; i++)
                if (bench->cpus[1] >= 0 || (!placements[i].is_apart && !placements[i].is_busy[1]))
                        measure(bench, pairs, &placements[i], rows);
        for (unsigned t = 0; t < TRANSPORTS; t++)
                pair_end(&pairs[t]);
        world_end(&world);
}
