/* SPDX-License-Identifier: MIT */
#include "statistics.h"

#include <stdlib.h>
#include <string.h>

static int compare_doubles(const void *a, const void *b) {
        double left = *(const double *)a, right = *(const double *)b;

        return (left > right) - (left < right);
}

static int compare_samples(const void *a, const void *b) {
        uint32_t left = *(const uint32_t *)a, right = *(const uint32_t *)b;

        return (left > right) - (left < right);
}

struct spread spread_of(const double *runs, unsigned count) {
        double sorted[RUNS_MAX];

        memcpy(sorted, runs, count * sizeof *runs);
        qsort(sorted, count, sizeof *sorted, compare_doubles);
        return (struct spread){
                .median = count % 2 ? sorted[count / 2] : (sorted[count / 2 - 1] + sorted[count / 2]) / 2,
                .minimum = sorted[0],
                .maximum = sorted[count - 1],
        };
}

double percentile(uint32_t *samples, size_t count, double fraction) {
        size_t rank = (size_t)(fraction * (double)count);

        qsort(samples, count, sizeof *samples, compare_samples);
        return samples[rank < count ? rank : count - 1];
}
