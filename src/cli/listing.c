/* SPDX-License-Identifier: MIT */
#include "cli/listing.h"

#include "cli/report.h"
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

struct libscols_table *listing_new(const char *const *columns) {
        struct libscols_table *listing = scols_new_table();
        for (; listing && *columns; columns++) {
                int flags = **columns == '>' ? SCOLS_FL_RIGHT : **columns == '^' ? SCOLS_FL_TREE : 0;
                if (!scols_table_new_column(listing, *columns + (flags != 0), 0, flags)) {
                        scols_unref_table(listing);
                        return NULL;
                }
        }
        return listing;
}

struct libscols_line *listing_line(struct libscols_table *listing, struct libscols_line *parent) {
        return scols_table_new_line(listing, parent);
}

void listing_cell(struct libscols_line *line, unsigned column, const char *format, ...) {
        char text[PRINTABLE_SIZE];
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, sizeof text, format, arguments);
        va_end(arguments);
        scols_line_set_data(line, column, printable(text));
}

int listing_print(struct libscols_table *listing, const char *what, const char *next) {
        if (!listing)
                return fail(EXIT_FAILED, "table", "no memory", NULL);
        if (scols_table_is_empty(listing))
                fail(EXIT_OK, what, "there are none", next);
        int r = scols_print_table(listing);
        scols_unref_table(listing);
        return r < 0 ? fail(EXIT_FAILED, "table", "cannot be printed", NULL) : finish_output();
}
