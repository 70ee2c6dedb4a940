/* SPDX-License-Identifier: MIT */
#include "measure.h"

#include <errno.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define STEAL_MAX 0.03
#define ATTEMPTS 4u
#define COUNT_MAX 20000000u

/* What /proc/stat says of all cores, in ticks. Without it nothing is ever stolen. */
static void read_ticks(unsigned long long *ret_stolen, unsigned long long *ret_all) {
        unsigned long long ticks[8] = {0};
        FILE *file = fopen("/proc/stat", "re");

        *ret_stolen = *ret_all = 0;
        if (!file)
                return;
        if (fscanf(file, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &ticks[0], &ticks[1], &ticks[2], &ticks[3],
                   &ticks[4], &ticks[5], &ticks[6], &ticks[7]) == 8) {
                *ret_stolen = ticks[7];
                for (unsigned i = 0; i < 8; i++)
                        *ret_all += ticks[i];
        }
        fclose(file);
}

void find_cpus(int ret_cpus[2]) {
        cpu_set_t set;
        unsigned found = 0;

        ret_cpus[0] = ret_cpus[1] = -1;
        if (sched_getaffinity(0, sizeof set, &set) < 0)
                die("cannot read the cores: %s", strerror(errno));
        for (int cpu = 0; cpu < CPU_SETSIZE && found < 2; cpu++)
                if (CPU_ISSET(cpu, &set))
                        ret_cpus[found++] = cpu;
}

static bool has_samples(enum task task) {
        return task == TASK_CONNECT || task_is_echo(task);
}

static uint64_t run(struct pair *pair, const struct work *work, unsigned count) {
        return work->task == TASK_CONNECT ? pair_run(pair, work->task, count, 0)
                                          : pair_run_over(pair, work->task, count, work->size, work->channels);
}

unsigned count_for(struct pair *pair, const struct work *work, double ms) {
        unsigned limit = has_samples(work->task) ? SAMPLES_MAX : COUNT_MAX;
        unsigned count = work->channels > 1 ? 2 * work->channels : 16;

        (void)run(pair, work, count); /* what happens once is no part of it */
        for (;;) {
                double took_ms = (double)run(pair, work, count) / 1e6;
                if (took_ms >= ms / 4 || count == limit) {
                        double wanted = count * ms / took_ms;
                        return wanted >= limit ? limit : wanted < 8 ? 8 : (unsigned)wanted;
                }
                count = count > limit / 4 ? limit : count * 4;
        }
}

uint64_t cpu_ns_of(pid_t pid) {
        struct timespec used;
        clockid_t clock;

        if (!pid)
                return 0;
        if (clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &used) < 0)
                die("cannot read how much of the processor a process used");
        return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

void measure_once(struct pair *pair, const struct work *work, unsigned count, struct measured *ret) {
        double gb = (double)count * (double)work->size / 1e9;
        struct findings *findings = pair->findings;
        uint64_t ns = 0, between_ns = 0;

        for (unsigned attempt = 0; attempt < ATTEMPTS; attempt++) {
                unsigned long long stolen, all, stolen_after, all_after;
                read_ticks(&stolen, &all);
                between_ns = cpu_ns_of(pair->between);
                ns = run(pair, work, count);
                between_ns = cpu_ns_of(pair->between) - between_ns;
                read_ticks(&stolen_after, &all_after);
                /* One tick is no evidence in a short run. */
                if (stolen_after - stolen <= 1 || (double)(stolen_after - stolen) <= STEAL_MAX * (double)(all_after - all))
                        break;
        }
        *ret = (struct measured){.per_second = count * 1e9 / (double)ns};
        if (has_samples(work->task)) {
                ret->p50_us = percentile(findings->samples, count, 0.5) / 1e3;
                ret->p99_us = percentile(findings->samples, count, 0.99) / 1e3;
        } else {
                ret->gb_per_second = gb * 1e9 / (double)ns;
                ret->cpu_seconds_per_gb = (double)(findings->cpu_ns[0] + findings->cpu_ns[1] + between_ns) / 1e9 / gb;
        }
}

void print_bar_or(double reached, double bar, double exact_bar) {
        if (bar <= NO_BAR)
                printf(" %6.2f%27s", reached, "");
        else
                printf(" %6.2f of %4.1f %-18s", reached, bar,
                       reached >= bar                               ? "met"
                       : exact_bar > NO_BAR && reached >= exact_bar ? "met, exact"
                                                                    : "BELOW THE BAR");
}

void print_bar(double reached, double bar) {
        print_bar_or(reached, bar, NO_BAR);
}

void add_bar(struct json_object *row, const char *key, double reached, double bar) {
        struct json_object *object = json_object_new_object();

        json_object_object_add(object, "timesReference", json_object_new_double(reached));
        if (bar > NO_BAR) {
                json_object_object_add(object, "bar", json_object_new_double(bar));
                json_object_object_add(object, "met", json_object_new_boolean(reached >= bar));
        }
        json_object_object_add(row, key, object);
}
