/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What `hvsock` says to people. Names come from strangers: whatever reaches a
 * terminal passes printable() first, which leaves nothing that could move a
 * cursor, change a colour or turn the direction of writing.
 */

#include "cli/exit_code.h"
#include <json-c/json.h>
#include <stdbool.h>
#include <stdint.h>

/* A copy without control characters; valid until PRINTABLE_COPIES further calls. */
#define PRINTABLE_COPIES 16
#define PRINTABLE_SIZE 1024
const char *printable(const char *text);

/*
 * "hvsock: what: why", then "  try: next" (unless NULL), on standard error.
 * Returns `code`, so that a verb can say `return fail(…)`. All three are made
 * printable here.
 */
int fail(enum exit_code code, const char *what, const char *why, const char *next);
__attribute__((format(printf, 2, 3))) void warn(const char *what, const char *why_format, ...);

/* Escape sequences on a terminal, unless NO_COLOR says otherwise; else "". */
enum colour { COLOUR_NONE, COLOUR_BAD, COLOUR_GOOD, COLOUR_NOTE };
const char *colour(enum colour colour);

/* JSON on standard output: indented for lists, on one line for streams. 0, or EXIT_FAILED when it cannot be written. */
int print_json(struct json_object *object);
int print_json_line(struct json_object *object);
/* Flushes standard output. 0, or EXIT_FAILED with the reason told. */
int finish_output(void);

/* Fields of a reply: "" , 0 or false when absent. Text is not yet printable. */
const char *field_text(struct json_object *object, const char *key);
int64_t field_int(struct json_object *object, const char *key);
bool field_bool(struct json_object *object, const char *key);
struct json_object *field(struct json_object *object, const char *key);
size_t field_count(struct json_object *object, const char *key); /* elements of an array */
struct json_object *field_at(struct json_object *object, const char *key, size_t index);

/* "12s", "5m", "3h07m", "4d": how long ago. */
#define AGE_SIZE 24
void format_age(int64_t since_ms, char ret_text[AGE_SIZE]);
