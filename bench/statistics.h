/* SPDX-License-Identifier: MIT */
#pragma once

/* Medians, percentiles, and how far runs lie apart. */

#include <stddef.h>
#include <stdint.h>

#define RUNS_MAX 15

/* Over the runs of one measurement. */
struct spread {
        double median, minimum, maximum;
};

struct spread spread_of(const double *runs, unsigned count);

/* Sorts `samples`; `fraction` of 0.5 is the median. */
double percentile(uint32_t *samples, size_t count, double fraction);
