/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One run of a task that is long enough to be believed, and how it compares.
 *
 * A run during which the hypervisor took more than a few hundredths of the
 * machine away is made again, a few times at most.
 */

#include "pair.h"
#include "statistics.h"
#include <json-c/json.h>
#include <stdbool.h>

/* The first two cores that this process may use; the second is -1 where there is but one. */
void find_cpus(int ret_cpus[2]);

struct work {
        enum task task;
        size_t size;
        unsigned channels;
};

struct measured {
        double p50_us, p99_us;       /* of TASK_CONNECT and the echoes */
        double gb_per_second;        /* of what moves bytes one way */
        double cpu_seconds_per_gb;   /* the same; both processes, and who is between them */
        double per_second;           /* messages, round trips, connects */
};

/* Of a process, all its threads; of 0 none. */
uint64_t cpu_ns_of(pid_t pid);

/* How many messages (round trips, connects) take about that long. Finding out warms everything up. */
unsigned count_for(struct pair *pair, const struct work *work, double ms);

void measure_once(struct pair *pair, const struct work *work, unsigned count, struct measured *ret);

/* " 17.20 of 16.0 met" or "  9.10 of 16.0 BELOW THE BAR"; a bar of 0 is none. */
#define NO_BAR 0.0
void print_bar(double reached, double bar);
/* The same, and "met, exact" when only the bar for a kernel's poll that stays exact is reached. */
void print_bar_or(double reached, double bar, double exact_bar);
void add_bar(struct json_object *row, const char *key, double reached, double bar);
