/* SPDX-License-Identifier: MIT */
#include "chart.h"
#include "transport.h"

#include <errno.h>
#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define WIDTH 760.0
#define HEIGHT 400.0
#define LEFT 80.0
#define RIGHT 24.0
#define TOP 84.0
#define BOTTOM 48.0
#define TICKS_WANTED 5

/* Distinguishable to the colour-blind too. */
static const char *const colours[CHART_SERIES_MAX] = {"#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00",
                                                      "#56b4e9"};

/* Logarithmic: from `minimum`, in powers of ten. */
struct scale {
        double maximum, step, minimum;
        bool is_logarithmic;
};

/* The axis begins at zero and ends at a round number. */
static struct scale scale_of(const struct chart *chart) {
        double highest = 0, step = 1;

        for (unsigned s = 0; s < chart->series_count; s++)
                for (unsigned p = 0; p < chart->point_count; p++)
                        highest = fmax(highest, chart->values[s][p].maximum);
        if (highest <= 0)
                return (struct scale){.maximum = 1, .step = 1};
        step = pow(10, floor(log10(highest / TICKS_WANTED)));
        if (highest / step > 5 * TICKS_WANTED)
                step *= 5;
        else if (highest / step > 2 * TICKS_WANTED)
                step *= 2;
        return (struct scale){.maximum = ceil(highest / step) * step, .step = step};
}

static struct scale logarithmic_scale_of(const struct chart *chart) {
        double highest = 0, lowest = INFINITY;

        for (unsigned s = 0; s < chart->series_count; s++)
                for (unsigned p = 0; p < chart->point_count; p++) {
                        highest = fmax(highest, chart->values[s][p].maximum);
                        if (chart->values[s][p].minimum > 0)
                                lowest = fmin(lowest, chart->values[s][p].minimum);
                }
        if (highest <= 0)
                highest = lowest = 1;
        double minimum = pow(10, floor(log10(lowest))), maximum = pow(10, ceil(log10(highest)));
        return (struct scale){maximum > minimum ? maximum : 10 * minimum, 10, minimum, true};
}

static double y_of(const struct scale *scale, double value) {
        if (scale->is_logarithmic)
                return HEIGHT - BOTTOM - log10(fmax(value, scale->minimum) / scale->minimum) /
                                                 log10(scale->maximum / scale->minimum) * (HEIGHT - TOP - BOTTOM);
        return HEIGHT - BOTTOM - value / scale->maximum * (HEIGHT - TOP - BOTTOM);
}

/* 1234567 as "1.23 M". */
static const char *short_number(double value, char ret[16]) {
        if (value >= 1e6)
                snprintf(ret, 16, "%.3g M", value / 1e6);
        else if (value >= 1e4)
                snprintf(ret, 16, "%.3g k", value / 1e3);
        else
                snprintf(ret, 16, "%.3g", value);
        return ret;
}

static FILE *chart_open(const char *path, const struct chart *chart, const struct scale *scale) {
        FILE *file = fopen(path, "we");

        if (!file)
                die("cannot write %s: %s", path, strerror(errno));
        fprintf(file,
                "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %g %g\" width=\"%g\" height=\"%g\" "
                "font-family=\"sans-serif\" font-size=\"12\" fill=\"#222\">\n"
                "<rect width=\"100%%\" height=\"100%%\" fill=\"#fff\"/>\n"
                "<text x=\"%g\" y=\"26\" font-size=\"16\" font-weight=\"bold\">%s</text>\n"
                "<text x=\"%g\" y=\"45\" fill=\"#666\">%s</text>\n",
                WIDTH, HEIGHT, WIDTH, HEIGHT, LEFT, chart->title, LEFT, chart->subtitle);

        double x = LEFT;
        for (unsigned s = 0; s < chart->series_count; s++) {
                fprintf(file, "<rect x=\"%g\" y=\"57\" width=\"12\" height=\"12\" fill=\"%s\"/><text x=\"%g\" y=\"67\">%s</text>\n",
                        x, colours[s], x + 17, chart->series[s]);
                x += 40 + 7 * (double)strlen(chart->series[s]);
        }
        for (double value = scale->minimum; value <= scale->maximum * 1.001;
             value = scale->is_logarithmic ? value * scale->step : value + scale->step) {
                char number[16];
                double y = y_of(scale, value);
                fprintf(file, "<line x1=\"%g\" x2=\"%g\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#ddd\"/>"
                        "<text x=\"%g\" y=\"%.1f\" text-anchor=\"end\">%s</text>\n",
                        LEFT, WIDTH - RIGHT, y, y, LEFT - 8, y + 4, short_number(value, number));
        }
        return file;
}

static void chart_close(FILE *file, const char *path) {
        fputs("</svg>\n", file);
        if (fclose(file) != 0)
                die("cannot write %s: %s", path, strerror(errno));
}

static void put_whisker(FILE *file, const struct scale *scale, double x, const struct spread *spread) {
        double low = y_of(scale, spread->minimum), high = y_of(scale, spread->maximum);

        fprintf(file, "<path d=\"M%.1f %.1fV%.1fM%.1f %.1fh8M%.1f %.1fh8\" stroke=\"#222\" fill=\"none\"/>\n",
                x, low, high, x - 4, low, x - 4, high);
}

static void put_point_label(FILE *file, double x, const char *label) {
        fprintf(file, "<text x=\"%.1f\" y=\"%g\" text-anchor=\"middle\">%s</text>\n", x, HEIGHT - BOTTOM + 20, label);
}

void chart_write_bars(const char *path, const struct chart *chart) {
        struct scale scale = scale_of(chart);
        FILE *file = chart_open(path, chart, &scale);
        double group = (WIDTH - LEFT - RIGHT) / chart->point_count, bar = group * 0.8 / chart->series_count;

        for (unsigned p = 0; p < chart->point_count; p++) {
                for (unsigned s = 0; s < chart->series_count; s++) {
                        const struct spread *value = &chart->values[s][p];
                        double x = LEFT + group * (p + 0.1) + bar * s, y = y_of(&scale, value->median);
                        char number[16];

                        fprintf(file, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x, y,
                                bar - 2, HEIGHT - BOTTOM - y, colours[s]);
                        put_whisker(file, &scale, x + bar / 2 - 1, value);
                        fprintf(file, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"middle\" font-size=\"11\">%s</text>\n",
                                x + bar / 2, y_of(&scale, value->maximum) - 4, short_number(value->median, number));
                }
                put_point_label(file, LEFT + group * (p + 0.5), chart->points[p]);
        }
        chart_close(file, path);
}

static void write_lines(const char *path, const struct chart *chart, struct scale scale) {
        FILE *file = chart_open(path, chart, &scale);
        double apart = (WIDTH - LEFT - RIGHT) / chart->point_count;

        for (unsigned s = 0; s < chart->series_count; s++) {
                fprintf(file, "<polyline fill=\"none\" stroke-width=\"2\" stroke=\"%s\" points=\"", colours[s]);
                for (unsigned p = 0; p < chart->point_count; p++)
                        fprintf(file, "%.1f,%.1f ", LEFT + apart * (p + 0.5), y_of(&scale, chart->values[s][p].median));
                fputs("\"/>\n", file);
                for (unsigned p = 0; p < chart->point_count; p++) {
                        double x = LEFT + apart * (p + 0.5);
                        put_whisker(file, &scale, x, &chart->values[s][p]);
                        fprintf(file, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"4\" fill=\"%s\"/>\n", x,
                                y_of(&scale, chart->values[s][p].median), colours[s]);
                }
        }
        for (unsigned p = 0; p < chart->point_count; p++)
                put_point_label(file, LEFT + apart * (p + 0.5), chart->points[p]);
        chart_close(file, path);
}

void chart_write_lines(const char *path, const struct chart *chart) {
        write_lines(path, chart, scale_of(chart));
}

void chart_write_log(const char *path, const struct chart *chart) {
        write_lines(path, chart, logarithmic_scale_of(chart));
}
