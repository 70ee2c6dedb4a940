/* SPDX-License-Identifier: MIT */

/*
 * Data on an open channel: round trips and one-way throughput by size, on two
 * cores, on one, and beside busy neighbours.
 */

#include "bench.h"
#include "chart.h"
#include "pair.h"
#include "world.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const struct transport *const transports[] = {
        &transport_unix, &transport_hvsock_unix, &transport_hvsock_shm, &transport_hvsock_library, &transport_tcp};
enum { UNIX, HVSOCK_UNIX, HVSOCK_SHM, HVSOCK_LIBRARY, TCP, TRANSPORTS };

#define QUICK_DIVISOR 10u
#define WARM_UP 200u
#define NO_BAR 0.0

static const struct {
        const char *name;
        size_t size;
        unsigned round_trips, messages; /* in one run; shared memory moves more of the small ones */
        unsigned factor;
        double two_cores, one_core; /* how many times AF_UNIX's throughput shared memory is meant to reach */
} sizes[] = {
        {"64 B", 64, 10000, 200000, 16, 25, 30},   {"1 KiB", 1024, 10000, 100000, 8, 9, 12},
        {"4 KiB", 4096, 10000, 50000, 4, 6, 6},    {"16 KiB", 16384, 5000, 20000, 2, 2.5, 3},
        {"64 KiB", 65536, 4000, 8000, 2, 2.1, 1.7}, {"1 MiB", 1048576, 400, 800, 1, 1.8, 1.4},
};
#define SIZES (sizeof sizes / sizeof sizes[0])

static const struct placement {
        const char *name, *chart;
        bool is_apart;               /* the two ends on a core each */
        bool is_busy[2];             /* a neighbour, on the first core, on the second */
        double round_trip, throughput; /* bars where it has one for all sizes, as times AF_UNIX */
} placements[] = {
        {"two cores", "two-cores", true, {false, false}, 16, NO_BAR},
        {"one core", "one-core", false, {false, false}, 2, NO_BAR},
        {"two cores, a busy neighbour on one", NULL, true, {false, true}, 1, NO_BAR},
        {"two cores, a busy neighbour on each", NULL, true, {true, true}, 1, NO_BAR},
        {"one core, a busy neighbour on it", NULL, false, {true, false}, 1, NO_BAR},
};

struct runs {
        double p50_us[RUNS_MAX], p99_us[RUNS_MAX], gb_per_second[RUNS_MAX];
};

static pid_t start_neighbour(int cpu) {
        pid_t pid = fork();

        if (pid < 0)
                die("cannot fork: %s", strerror(errno));
        if (!pid) {
                cpu_set_t set;
                CPU_ZERO(&set);
                CPU_SET((size_t)cpu, &set);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                sched_setaffinity(0, sizeof set, &set);
                for (;;)
                        ;
        }
        return pid;
}

static void end_neighbour(pid_t pid) {
        kill(pid, SIGKILL);
        waitpid(pid, NULL, 0);
}

static void run_once(const struct bench *bench, struct pair *pair, unsigned t, unsigned s, bool is_disturbed, struct runs *runs,
                     unsigned run) {
        unsigned divisor = (bench->quick ? QUICK_DIVISOR : 1) * (is_disturbed ? QUICK_DIVISOR : 1);
        bool is_shm = t == HVSOCK_SHM || t == HVSOCK_LIBRARY;
        unsigned round_trips = sizes[s].round_trips / divisor, messages = sizes[s].messages / divisor * (is_shm ? sizes[s].factor : 1);

        pair_run(pair, TASK_ECHO, WARM_UP / (is_disturbed ? 4 : 1), sizes[s].size);
        pair_run(pair, TASK_ECHO, round_trips, sizes[s].size);
        runs->p50_us[run] = percentile(pair->samples, round_trips, 0.5) / 1e3;
        runs->p99_us[run] = percentile(pair->samples, round_trips, 0.99) / 1e3;
        uint64_t ns = pair_run(pair, TASK_TRANSFER, messages, sizes[s].size);
        runs->gb_per_second[run] = (double)messages * (double)sizes[s].size / (double)ns;
}

static void print_bar(double reached, double bar) {
        if (bar > NO_BAR)
                printf(" %6.2f of %4.1f%s", reached, bar, reached >= bar ? "" : " BELOW");
        else
                printf(" %6.2f%8s", reached, "");
}

/* One size in one placement: a line a transport, and what shared memory makes of it beside AF_UNIX. */
static void report(const struct bench *bench, const struct placement *placement, unsigned s, const struct runs *runs,
                   struct chart *latency, struct chart *throughput, struct json_object *rows) {
        double trip_of_unix = spread_of(runs[UNIX].p50_us, bench->runs).median;
        double rate_of_unix = spread_of(runs[UNIX].gb_per_second, bench->runs).median;
        double rate_bar = placement->is_busy[0] || placement->is_busy[1] ? NO_BAR
                        : placement->is_apart                             ? sizes[s].two_cores
                                                                          : sizes[s].one_core;

        for (unsigned t = 0; t < TRANSPORTS; t++) {
                struct spread p50 = spread_of(runs[t].p50_us, bench->runs), p99 = spread_of(runs[t].p99_us, bench->runs);
                struct spread rate = spread_of(runs[t].gb_per_second, bench->runs);
                struct json_object *row = json_object_new_object();
                bool is_shm = t == HVSOCK_SHM || t == HVSOCK_LIBRARY;

                printf("  %-7s %-20s %9.2f [%7.2f-%7.2f] %9.2f %8.3f [%6.3f-%6.3f] ", t ? "" : sizes[s].name, transports[t]->name,
                       p50.median, p50.minimum, p50.maximum, p99.median, rate.median, rate.minimum, rate.maximum);
                print_bar(trip_of_unix / p50.median, is_shm && !s ? placement->round_trip : NO_BAR);
                print_bar(rate.median / rate_of_unix, is_shm ? rate_bar : NO_BAR);
                putchar('\n');
                json_object_object_add(row, "placement", json_object_new_string(placement->name));
                json_object_object_add(row, "bytes", json_object_new_int64((int64_t)sizes[s].size));
                json_object_object_add(row, "transport", json_object_new_string(transports[t]->name));
                json_object_object_add(row, "roundTripP50Us", json_of_spread(&p50));
                json_object_object_add(row, "roundTripP99Us", json_of_spread(&p99));
                json_object_object_add(row, "gbPerSecond", json_of_spread(&rate));
                json_object_array_add(rows, row);
                latency->values[t][s] = p50;
                throughput->values[t][s] = rate;
        }
        latency->points[s] = throughput->points[s] = sizes[s].name;
}

static void write_charts(const struct bench *bench, const struct placement *placement, struct chart *latency,
                         struct chart *throughput) {
        char name[64], path[PATH_MAX];

        if (!placement->chart)
                return;
        snprintf(name, sizeof name, "round-trip-%s.svg", placement->chart);
        bench_chart_path(bench, name, path);
        chart_write_bars(path, latency);
        snprintf(name, sizeof name, "throughput-%s.svg", placement->chart);
        bench_chart_path(bench, name, path);
        chart_write_bars(path, throughput);
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

        printf("\n  %s\n  %-7s %-20s %31s %9s %24s %20s %20s\n", placement->name, "", "", "p50 us [min-max]", "p99 us", "GB/s [min-max]",
               "round trip x AF_UNIX", "GB/s x AF_UNIX");
        for (unsigned t = 0; t < TRANSPORTS; t++) {
                pair_place(&pairs[t], bench->cpus[0], bench->cpus[placement->is_apart]);
                latency.series[t] = throughput.series[t] = transports[t]->name;
        }
        for (unsigned i = 0; i < 2; i++)
                if (placement->is_busy[i])
                        neighbours[i] = start_neighbour(bench->cpus[i]);
        for (unsigned s = 0; s < SIZES; s++) {
                struct runs runs[TRANSPORTS];

                for (unsigned run = 0; run < bench->runs; run++)
                        for (unsigned t = 0; t < TRANSPORTS; t++)
                                run_once(bench, &pairs[t], t, s, is_disturbed, &runs[t], run);
                report(bench, placement, s, runs, &latency, &throughput, rows);
        }
        for (unsigned i = 0; i < 2; i++)
                if (neighbours[i] > 0)
                        end_neighbour(neighbours[i]);
        write_charts(bench, placement, &latency, &throughput);
}

void bench_channels(const struct bench *bench) {
        struct endpoint endpoint = {0};
        struct pair pairs[TRANSPORTS];
        struct world world;
        char path[PATH_MAX];
        struct json_object *rows = json_object_new_array();

        printf("\n4. An open channel: round trip and one-way throughput; two processes\n");
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
