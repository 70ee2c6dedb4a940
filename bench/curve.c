/* SPDX-License-Identifier: MIT */
#include "bench.h"
#include "chart.h"
#include "pair.h"
#include "world.h"

#include <stdio.h>

#define CONNECTS 2000u
#define CONNECTS_QUICK 500u
#define LISTENERS 1000u
#define MEMORY_BAR_MIB 64.0

static const unsigned levels[] = {1, 10, 100, 1000, 10000};
static const char *const level_names[] = {"1", "10", "100", "1,000", "10,000"};
#define LEVELS (sizeof levels / sizeof levels[0])

static const struct {
        const char *name;
        const struct transport *transport;
        unsigned listeners;
} series[] = {
        {"AF_UNIX, 1 listener", &transport_unix, 1},
        {"hvsock, 1 listener", &transport_hvsock, 1},
        {"hvsock, 1000 listeners", &transport_hvsock, LISTENERS},
};
enum { UNIX, ONE_LISTENER, MANY_LISTENERS, SERIES };

static void report_memory(const struct bench *bench, const struct world *world, unsigned long empty_kib) {
        struct json_object *object = json_object_new_object();
        unsigned long kib = world_memory_kib(world);
        long channels, listeners;

        world_books(world, &channels, &listeners);
        printf("\n3. The broker's memory\n\n"
               "  %.1f MiB resident with %ld channels and %ld listeners in its books, %.1f MiB before\n"
               "  (the bar: under %.0f MiB)%s\n",
               (double)kib / 1024, channels, listeners, (double)empty_kib / 1024, MEMORY_BAR_MIB,
               (double)kib / 1024 >= MEMORY_BAR_MIB ? "  ABOVE THE BAR" : "");
        json_object_object_add(object, "residentKib", json_object_new_int64((int64_t)kib));
        json_object_object_add(object, "residentEmptyKib", json_object_new_int64((int64_t)empty_kib));
        json_object_object_add(object, "channels", json_object_new_int64(channels));
        json_object_object_add(object, "listeners", json_object_new_int64(listeners));
        json_object_object_add(bench->results, "memory", object);
}

static void report_level(const struct bench *bench, unsigned level, const struct chart *chart) {
        struct json_object *object = json_object_new_object(), *rows = json_object_new_array();

        printf("  %8s", level_names[level]);
        json_object_object_add(object, "openChannels", json_object_new_int64(levels[level]));
        json_object_object_add(object, "connects", rows);
        for (unsigned s = 0; s < SERIES; s++) {
                const struct spread *value = &chart->values[s][level];
                struct json_object *row = json_object_new_object();

                printf("   %7.1f [%5.1f-%6.1f]", value->median, value->minimum, value->maximum);
                json_object_object_add(row, "transport", json_object_new_string(series[s].transport->name));
                json_object_object_add(row, "listeners", json_object_new_int64(series[s].listeners));
                json_object_object_add(row, "p50Us", json_of_spread(value));
                json_object_array_add(rows, row);
        }
        putchar('\n');
        json_object_array_add(json_object_object_get(bench->results, "curve"), object);
}

void bench_curve(const struct bench *bench) {
        unsigned connects = bench->quick ? CONNECTS_QUICK : CONNECTS, held = 0;
        struct endpoint endpoint = {0};
        struct world worlds[SERIES];
        struct pair pairs[SERIES];
        char path[PATH_MAX], name[32];
        struct chart chart = {
                .title = "What a connect costs when many channels are open",
                .subtitle = "microseconds (p50 of a run) over open channels; whiskers: least and most of the runs",
                .series_count = SERIES,
        };

        printf("\n2. A connect's cost (p50 in us, [min-max] of %u runs) over open channels\n\n  %8s", bench->runs, "open");
        json_object_object_add(bench->results, "curve", json_object_new_array());
        bench_directory(bench, "curve-unix", endpoint.directory);
        for (unsigned s = 0; s < SERIES; s++) {
                printf("   %23s", series[s].name);
                chart.series[s] = series[s].name;
                if (s != UNIX) {
                        snprintf(name, sizeof name, "curve-%u", s);
                        bench_directory(bench, name, path);
                        world_start(&worlds[s], bench->hvsockd, path, series[s].listeners);
                        endpoint.vm_id = worlds[s].vm_id;
                }
                pair_start(&pairs[s], series[s].transport, &endpoint, series[s].listeners, s == UNIX ? NULL : worlds[s].vm,
                           s == UNIX ? NULL : worlds[s].host);
                if (bench->cpus[1] >= 0)
                        pair_place(&pairs[s], bench->cpus[0], bench->cpus[1]);
        }
        putchar('\n');
        unsigned long empty_kib = world_memory_kib(&worlds[MANY_LISTENERS]);

        for (unsigned level = 0; level < LEVELS; level++) {
                double p50_us[SERIES][RUNS_MAX];

                for (unsigned s = 0; s < SERIES; s++)
                        pair_run(&pairs[s], TASK_HOLD, levels[level] - held, 0);
                held = levels[level];
                for (unsigned run = 0; run < bench->runs; run++)
                        for (unsigned s = 0; s < SERIES; s++) {
                                pair_run(&pairs[s], TASK_CONNECT, connects, 0);
                                p50_us[s][run] = percentile(pairs[s].findings->samples, connects, 0.5) / 1e3;
                        }
                for (unsigned s = 0; s < SERIES; s++)
                        chart.values[s][level] = spread_of(p50_us[s], bench->runs);
                chart.points[chart.point_count++] = level_names[level];
                report_level(bench, level, &chart);
        }
        report_memory(bench, &worlds[MANY_LISTENERS], empty_kib);

        for (unsigned s = 0; s < SERIES; s++) {
                pair_end(&pairs[s]);
                if (s != UNIX)
                        world_end(&worlds[s]);
        }
        bench_chart_path(bench, "connect-curve.svg", path);
        chart_write_lines(path, &chart);
}
