/* SPDX-License-Identifier: MIT */

/*
 * hvsock bench: what a channel does on this machine, on each carrier, beside
 * AF_UNIX. Client and server are in this shell's partition and meet by LOOPBACK,
 * so that nothing has to be registered, and nothing stays behind.
 */

#include "../bench/measure.h"
#include "cli/listing.h"
#include "cli/names.h"
#include "cli/report.h"
#include "cli/verb.h"
#include <errno.h>
#include <hvsock.h>
#include <string.h>
#include <unistd.h>

#define RUNS 5u
#define RUN_MS 20.0
#define VERIFIED 16u

static const struct {
        const struct transport *transport;
        const char *name;
} carriers[] = {
        {&transport_unix, "AF_UNIX"},
        {&transport_hvsock_unix, "unix"},
        {&transport_hvsock_shm, "shm"},
        {&transport_hvsock_library, "shm, library"},
};
#define CARRIERS (sizeof carriers / sizeof carriers[0])

static const struct {
        const char *name;
        size_t size;
} sizes[] = {{"64 B", 64}, {"4 KiB", 4096}, {"64 KiB", 65536}, {"1 MiB", 1048576}};

struct figures {
        unsigned trips, messages;
        double p50_us[RUNS], p99_us[RUNS], gb_per_second[RUNS], cpu_seconds_per_gb[RUNS];
};

static void measure_carriers(struct pair *pairs, size_t size, struct figures *figures) {
        const struct work trips = {TASK_ECHO, size, 1}, transfer = {TASK_TRANSFER, size, 1};
        struct measured measured;

        for (unsigned c = 0; c < CARRIERS; c++) {
                pair_run(&pairs[c], TASK_VERIFY, VERIFIED, size);
                figures[c].trips = count_for(&pairs[c], &trips, RUN_MS);
                figures[c].messages = count_for(&pairs[c], &transfer, RUN_MS);
        }
        for (unsigned run = 0; run < RUNS; run++)
                for (unsigned c = 0; c < CARRIERS; c++) {
                        measure_once(&pairs[c], &trips, figures[c].trips, &measured);
                        figures[c].p50_us[run] = measured.p50_us;
                        figures[c].p99_us[run] = measured.p99_us;
                        measure_once(&pairs[c], &transfer, figures[c].messages, &measured);
                        figures[c].gb_per_second[run] = measured.gb_per_second;
                        figures[c].cpu_seconds_per_gb[run] = measured.cpu_seconds_per_gb;
                }
}

static double median(const double *runs) {
        return spread_of(runs, RUNS).median;
}

static void put_carrier(struct libscols_table *listing, struct json_object *rows, const char *placement, unsigned s,
                        unsigned c, const struct figures *figures) {
        const struct figures *here = &figures[c], *reference = &figures[0];
        double p50 = median(here->p50_us), rate = median(here->gb_per_second);

        if (rows) {
                struct json_object *row = json_object_new_object();
                json_object_object_add(row, "placement", json_object_new_string(placement));
                json_object_object_add(row, "bytes", json_object_new_int64((int64_t)sizes[s].size));
                json_object_object_add(row, "carrier", json_object_new_string(carriers[c].name));
                json_object_object_add(row, "roundTripP50Us", json_object_new_double(p50));
                json_object_object_add(row, "roundTripP99Us", json_object_new_double(median(here->p99_us)));
                json_object_object_add(row, "gbPerSecond", json_object_new_double(rate));
                json_object_object_add(row, "cpuSecondsPerGb", json_object_new_double(median(here->cpu_seconds_per_gb)));
                json_object_array_add(rows, row);
                return;
        }
        struct libscols_line *line = listing_line(listing, NULL);
        listing_cell(line, 0, "%s", placement);
        listing_cell(line, 1, "%s", sizes[s].name);
        listing_cell(line, 2, "%s", carriers[c].name);
        listing_cell(line, 3, "%.2f", p50);
        listing_cell(line, 4, "%.2f", median(here->p99_us));
        listing_cell(line, 5, "%.1f", median(reference->p50_us) / p50);
        listing_cell(line, 6, "%.3f", rate);
        listing_cell(line, 7, "%.1f", rate / median(reference->gb_per_second));
        listing_cell(line, 8, "%.3f", median(here->cpu_seconds_per_gb));
}

static int run_bench(const struct invocation *invocation) {
        struct hv_partition self = {.struct_size = sizeof self};
        struct endpoint endpoint = {.vm_id = HV_GUID_LOOPBACK, .is_loopback = true, .salt = (uint32_t)getpid()};
        struct pair pairs[CARRIERS];
        int cpus[2];

        if (hv_self(&self) < 0)
                return fail(exit_code_of(errno), "this partition", errno == ENETDOWN ? "no hvsockd was found" : strerror(errno),
                            "hvsock doctor");
        struct json_object *rows = is_given(invocation, "json") ? json_object_new_array() : NULL;
        struct libscols_table *listing = rows ? NULL
                                              : listing_new((const char *const[]){
                                                        "ENDS ON", ">SIZE", "CARRIER", ">TRIP-P50-US", ">P99-US",
                                                        ">TIMES-SHORTER", ">GB/S", ">TIMES-MORE", ">CPU-S/GB", NULL});
        find_cpus(cpus);
        for (unsigned c = 0; c < CARRIERS; c++) {
                endpoint.first_listener = c;
                pair_start(&pairs[c], carriers[c].transport, &endpoint, 1, NULL, NULL);
        }
        for (unsigned apart = cpus[1] >= 0 ? 2 : 1; apart-- > 0;)
                for (unsigned s = 0; s < sizeof sizes / sizeof *sizes; s++) {
                        struct figures figures[CARRIERS];
                        for (unsigned c = 0; c < CARRIERS; c++)
                                pair_place(&pairs[c], cpus[0], cpus[apart]);
                        measure_carriers(pairs, sizes[s].size, figures);
                        for (unsigned c = 0; c < CARRIERS; c++)
                                put_carrier(listing, rows, apart ? "two cores" : "one core", s, c, figures);
                }
        for (unsigned c = 0; c < CARRIERS; c++)
                pair_end(&pairs[c]);
        if (listing)
                return listing_print(listing, "figures", NULL);
        struct json_object *object = json_object_new_object();
        json_object_object_add(object, "figures", rows);
        int r = print_json(object);
        json_object_put(object);
        return r;
}

static const struct verb_option options[] = {
        {"json", 0, NULL, "print JSON"},
        OPTIONS_END,
};

const struct verb verb_bench = {.name = "bench",
                                .synopsis = "",
                                .summary = "measure each carrier on this machine, beside AF_UNIX; ten seconds",
                                .details = "Round trips in microseconds and one-way throughput, medians of five runs. TIMES: beside\n"
                                           "AF_UNIX in the same runs. \"shm, library\" is shm with readiness asked of the library.",
                                .options = options,
                                .run = run_bench};
