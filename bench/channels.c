/* SPDX-License-Identifier: MIT */
#include "bench.h"
#include "chart.h"
#include "pair.h"
#include "world.h"

#include <stdio.h>

static const struct transport *const transports[] = {&transport_unix, &transport_hvsock, &transport_tcp};
enum { UNIX, HVSOCK, TCP, TRANSPORTS };

static const struct {
        const char *name;
        size_t size;
        unsigned round_trips, messages; /* in one run */
} sizes[] = {
        {"64 B", 64, 10000, 200000},
        {"4 KiB", 4096, 10000, 50000},
        {"64 KiB", 65536, 4000, 10000},
};
#define SIZES (sizeof sizes / sizeof sizes[0])
#define QUICK_DIVISOR 10u
#define WARM_UP 200u

struct runs {
        double p50_us[RUNS_MAX], p99_us[RUNS_MAX], mib_per_second[RUNS_MAX];
};

static void run_once(const struct bench *bench, struct pair *pair, unsigned s, struct runs *runs, unsigned run) {
        unsigned divisor = bench->quick ? QUICK_DIVISOR : 1;
        unsigned round_trips = sizes[s].round_trips / divisor, messages = sizes[s].messages / divisor;

        pair_run(pair, TASK_ECHO, WARM_UP, sizes[s].size);
        pair_run(pair, TASK_ECHO, round_trips, sizes[s].size);
        runs->p50_us[run] = percentile(pair->samples, round_trips, 0.5) / 1e3;
        runs->p99_us[run] = percentile(pair->samples, round_trips, 0.99) / 1e3;
        uint64_t ns = pair_run(pair, TASK_TRANSFER, messages, sizes[s].size);
        runs->mib_per_second[run] = (double)messages * (double)sizes[s].size / 1048576 * 1e9 / (double)ns;
}

static void report(const struct bench *bench, unsigned s, const struct runs *runs, struct chart *latency,
                   struct chart *throughput) {
        struct json_object *object = json_object_new_object(), *rows = json_object_new_array();

        json_object_object_add(object, "bytes", json_object_new_int64((int64_t)sizes[s].size));
        json_object_object_add(object, "transports", rows);
        for (unsigned t = 0; t < TRANSPORTS; t++) {
                struct spread p50 = spread_of(runs[t].p50_us, bench->runs), p99 = spread_of(runs[t].p99_us, bench->runs);
                struct spread rate = spread_of(runs[t].mib_per_second, bench->runs);
                struct json_object *row = json_object_new_object();

                printf("  %-7s %-8s %8.1f [%5.1f-%5.1f] %8.1f [%6.1f-%6.1f] %9.0f [%5.0f-%5.0f]\n", t ? "" : sizes[s].name,
                       transports[t]->name, p50.median, p50.minimum, p50.maximum, p99.median, p99.minimum, p99.maximum,
                       rate.median, rate.minimum, rate.maximum);
                json_object_object_add(row, "transport", json_object_new_string(transports[t]->name));
                json_object_object_add(row, "roundTripP50Us", json_of_spread(&p50));
                json_object_object_add(row, "roundTripP99Us", json_of_spread(&p99));
                json_object_object_add(row, "mibPerSecond", json_of_spread(&rate));
                json_object_array_add(rows, row);
                latency->values[t][s] = p50;
                throughput->values[t][s] = rate;
        }
        latency->points[s] = throughput->points[s] = sizes[s].name;
        json_object_array_add(json_object_object_get(bench->results, "channels"), object);
}

void bench_channels(const struct bench *bench) {
        struct endpoint endpoint = {0};
        struct pair pairs[TRANSPORTS];
        struct world world;
        char path[PATH_MAX];
        struct chart latency = {
                .title = "Round trip on an open channel",
                .subtitle = "microseconds (p50), there and back; two processes; less is better",
                .series_count = TRANSPORTS,
                .point_count = SIZES,
        };
        struct chart throughput = {
                .title = "One-way throughput of an open channel",
                .subtitle = "MiB a second, by size of a send; two processes; more is better",
                .series_count = TRANSPORTS,
                .point_count = SIZES,
        };

        printf("\n4. An open channel: round trip and one-way throughput; two processes on %s\n\n"
               "  %-7s %-8s %22s %24s %23s\n", bench->cpus[1] >= 0 ? "two cores" : "one core", "", "", "p50 us  [min-max]",
               "p99 us  [min-max]", "MiB/s  [min-max]");
        json_object_object_add(bench->results, "channels", json_object_new_array());
        bench_directory(bench, "channels-world", path);
        world_start(&world, bench->hvsockd, path, 1);
        endpoint.vm_id = world.vm_id;
        bench_directory(bench, "channels-unix", endpoint.directory);
        for (unsigned t = 0; t < TRANSPORTS; t++) {
                pair_start(&pairs[t], transports[t], &endpoint, 1, world.vm, world.host);
                pair_place(&pairs[t], bench->cpus[0], bench->cpus[bench->cpus[1] >= 0]);
                latency.series[t] = throughput.series[t] = transports[t]->name;
        }

        for (unsigned s = 0; s < SIZES; s++) {
                struct runs runs[TRANSPORTS];

                for (unsigned run = 0; run < bench->runs; run++)
                        for (unsigned t = 0; t < TRANSPORTS; t++)
                                run_once(bench, &pairs[t], s, &runs[t], run);
                report(bench, s, runs, &latency, &throughput);
        }

        for (unsigned t = 0; t < TRANSPORTS; t++)
                pair_end(&pairs[t]);
        world_end(&world);
        bench_chart_path(bench, "round-trip.svg", path);
        chart_write_bars(path, &latency);
        bench_chart_path(bench, "throughput.svg", path);
        chart_write_bars(path, &throughput);
}
