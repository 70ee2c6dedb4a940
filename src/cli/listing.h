/* SPDX-License-Identifier: MIT */
#pragma once

/* A table for people, on libsmartcols. Every cell is made printable. */

#include <libsmartcols/libsmartcols.h>

/* Column names, ended by NULL: '>' in front aligns to the right, '^' bears the tree. NULL when there is no memory. */
struct libscols_table *listing_new(const char *const *columns);
struct libscols_line *listing_line(struct libscols_table *listing, struct libscols_line *parent);
__attribute__((format(printf, 3, 4))) void listing_cell(struct libscols_line *line, unsigned column, const char *format,
                                                        ...);
/* Prints and frees. The exit code. Of an empty one, `what` there is none of and the `next` command are told on standard
 * error. */
int listing_print(struct libscols_table *listing, const char *what, const char *next);
