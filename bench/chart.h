/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Charts, written as SVG: grouped bars with whiskers from minimum to maximum,
 * and lines over a logarithmic axis. Values are spreads, since a
 * benchmark that shows no spread shows half of what it found.
 */

#include "statistics.h"

#define CHART_SERIES_MAX 6u
#define CHART_POINTS_MAX 8u

struct chart {
        const char *title, *subtitle;
        unsigned series_count, point_count;
        const char *series[CHART_SERIES_MAX];
        const char *points[CHART_POINTS_MAX]; /* the groups, or the places on the axis */
        struct spread values[CHART_SERIES_MAX][CHART_POINTS_MAX];
};

/* Each ends the process when the file cannot be written. */
void chart_write_bars(const char *path, const struct chart *chart);
void chart_write_lines(const char *path, const struct chart *chart);
/* Lines over two logarithmic axes. */
void chart_write_log(const char *path, const struct chart *chart);
