/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the parts of the benchmark share: the options, the machine, and the
 * places where results go. Each part prints its table, adds its results to the
 * JSON and writes its charts.
 *
 * Within a part the transports take turns, run by run, so that whatever else
 * the machine does hits all of them alike.
 */

#include "statistics.h"
#include "transport.h"
#include <json-c/json.h>
#include <stdbool.h>

enum {
        BENCH_CONNECTS = 1,
        BENCH_CURVE = 2,
        BENCH_CHANNELS = 4,
        BENCH_COMPARISONS = 8,
        BENCH_GUESTS = 16,
        BENCH_CROWD = 32,
};

struct bench {
        bool quick;
        unsigned parts;
        unsigned runs;
        char hvsockd[PATH_MAX];
        char scratch[PATH_MAX]; /* a temporary directory, removed at the end */
        char charts[PATH_MAX];
        int cpus[2];            /* the two cores; the second is -1 on a machine with one */
        struct json_object *results;
};

/* 1: connections per second and the latency of one, against AF_UNIX and TCP. */
void bench_connects(const struct bench *bench);
/* 2 and 3: a connect's cost with 1 to 10,000 open channels; the broker's memory then. */
void bench_curve(const struct bench *bench);
/* 4: round trips and throughput on an open channel, of each carrier, wherever its ends run. */
void bench_channels(const struct bench *bench);
/* 5: single questions about shared memory: waiting, cold memory, no copies, short channels. */
void bench_comparisons(const struct bench *bench);
/* 6: an open channel to and from a VM's guest. */
void bench_guests(const struct bench *bench);
/* 7: many VMs at once: what they cost while they do nothing, and what connects to them cost. */
void bench_crowd(const struct bench *bench);

/* An empty directory of that name in the scratch directory. */
void bench_directory(const struct bench *bench, const char *name, char ret_path[PATH_MAX]);
void bench_chart_path(const struct bench *bench, const char *name, char ret_path[PATH_MAX]);
struct json_object *json_of_spread(const struct spread *spread);
