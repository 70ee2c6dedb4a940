/* SPDX-License-Identifier: MIT */
#include "bench.h"
#include "chart.h"
#include "pair.h"
#include "world.h"

#include <stdio.h>

#define CONNECTS 20000u
#define CONNECTS_QUICK 2000u
#define WARM_UP 500u
#define RATIO_BAR 2.0

static const struct transport *const transports[] = {&transport_unix, &transport_hvsock, &transport_tcp};
enum { UNIX, HVSOCK, TCP, TRANSPORTS };

struct runs {
        double per_second[RUNS_MAX], p50_us[RUNS_MAX], p99_us[RUNS_MAX];
};

static void run_once(struct pair *pair, unsigned count, struct runs *runs, unsigned run) {
        pair_run(pair, TASK_CONNECT, WARM_UP, 0);
        uint64_t ns = pair_run(pair, TASK_CONNECT, count, 0);
        runs->per_second[run] = count * 1e9 / (double)ns;
        runs->p50_us[run] = percentile(pair->findings->samples, count, 0.5) / 1e3;
        runs->p99_us[run] = percentile(pair->findings->samples, count, 0.99) / 1e3;
}

static void report(const struct bench *bench, const char *placement, const struct runs *runs, struct chart *chart,
                   unsigned point) {
        struct json_object *object = json_object_new_object(), *rows = json_object_new_array();
        double rate_ratios[RUNS_MAX], p50_ratios[RUNS_MAX];

        json_object_object_add(object, "placement", json_object_new_string(placement));
        json_object_object_add(object, "transports", rows);
        printf("\n  %s\n  %-10s %26s %22s %24s\n", placement, "", "connects/s  [min-max]", "p50 us  [min-max]",
               "p99 us  [min-max]");
        for (unsigned t = 0; t < TRANSPORTS; t++) {
                struct spread rate = spread_of(runs[t].per_second, bench->runs);
                struct spread p50 = spread_of(runs[t].p50_us, bench->runs), p99 = spread_of(runs[t].p99_us, bench->runs);
                struct json_object *row = json_object_new_object();

                printf("  %-10s %8.0f [%6.0f-%6.0f] %8.1f [%5.1f-%5.1f] %8.1f [%6.1f-%6.1f]\n", transports[t]->name,
                       rate.median, rate.minimum, rate.maximum, p50.median, p50.minimum, p50.maximum, p99.median,
                       p99.minimum, p99.maximum);
                json_object_object_add(row, "transport", json_object_new_string(transports[t]->name));
                json_object_object_add(row, "perSecond", json_of_spread(&rate));
                json_object_object_add(row, "p50Us", json_of_spread(&p50));
                json_object_object_add(row, "p99Us", json_of_spread(&p99));
                json_object_array_add(rows, row);
                chart->values[t][point] = rate;
        }
        chart->points[point] = placement;

        /* Run by run: the two of one run met the same machine. */
        for (unsigned run = 0; run < bench->runs; run++) {
                rate_ratios[run] = runs[UNIX].per_second[run] / runs[HVSOCK].per_second[run];
                p50_ratios[run] = runs[HVSOCK].p50_us[run] / runs[UNIX].p50_us[run];
        }
        struct spread ratio = spread_of(rate_ratios, bench->runs), p50_ratio = spread_of(p50_ratios, bench->runs);
        printf("  cost of a connect, hvsock / AF_UNIX: %.2f [%.2f-%.2f] on average, %.2f [%.2f-%.2f] by p50\n"
               "  (the bar: at most %.1f)%s\n",
               ratio.median, ratio.minimum, ratio.maximum, p50_ratio.median, p50_ratio.minimum, p50_ratio.maximum,
               RATIO_BAR, ratio.median > RATIO_BAR ? "  ABOVE THE BAR" : "");
        json_object_object_add(object, "costRatio", json_of_spread(&ratio));
        json_object_object_add(object, "costRatioP50", json_of_spread(&p50_ratio));
        json_object_array_add(json_object_object_get(bench->results, "connects"), object);
}

static void measure(const struct bench *bench, struct pair *pairs, const char *placement, struct chart *chart,
                    unsigned point) {
        struct runs runs[TRANSPORTS];

        for (unsigned run = 0; run < bench->runs; run++)
                for (unsigned t = 0; t < TRANSPORTS; t++)
                        run_once(&pairs[t], bench->quick ? CONNECTS_QUICK : CONNECTS, &runs[t], run);
        report(bench, placement, runs, chart, point);
}

void bench_connects(const struct bench *bench) {
        struct endpoint endpoint = {0};
        struct pair pairs[TRANSPORTS];
        struct world world;
        char path[PATH_MAX];
        struct chart chart = {
                .title = "Connections per second",
                .subtitle = "socket, connect, accept, 1 byte, close; two processes; more is better",
                .series_count = TRANSPORTS,
        };

        puts("1. Connecting: socket, connect, accept, 1 byte, close; two processes, one connection at a time");
        json_object_object_add(bench->results, "connects", json_object_new_array());
        bench_directory(bench, "connects-world", path);
        world_start(&world, bench->hvsockd, path, 1);
        endpoint.vm_id = world.vm_id;
        bench_directory(bench, "connects-unix", endpoint.directory);
        for (unsigned t = 0; t < TRANSPORTS; t++) {
                pair_start(&pairs[t], transports[t], &endpoint, 1, world.vm, world.host);
                chart.series[t] = transports[t]->name;
        }

        if (bench->cpus[1] >= 0) {
                for (unsigned t = 0; t < TRANSPORTS; t++)
                        pair_place(&pairs[t], bench->cpus[0], bench->cpus[1]);
                measure(bench, pairs, "two cores", &chart, chart.point_count++);
        }
        for (unsigned t = 0; t < TRANSPORTS; t++)
                pair_place(&pairs[t], bench->cpus[0], bench->cpus[0]);
        world_place(&world, bench->cpus[0]);
        measure(bench, pairs, "one core", &chart, chart.point_count++);

        for (unsigned t = 0; t < TRANSPORTS; t++)
                pair_end(&pairs[t]);
        world_end(&world);
        bench_chart_path(bench, "connects.svg", path);
        chart_write_bars(path, &chart);
}
