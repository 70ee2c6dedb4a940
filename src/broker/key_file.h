/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Files of Key=value lines: drop-ins, partition definitions, hvsockd.conf. Pure.
 *
 * Blank lines and lines that begin with # or ; are comments; blanks around a key
 * or a value do not count. The first key is Format=1, and a key stands once. An
 * unknown key is no mistake, so that an older broker reads what a newer one
 * wrote; it is noted, since it may be one that was misspelt.
 */

#include "broker/text.h"
#include <stdbool.h>
#include <stddef.h>

struct key {
        const char *name;
        /* Reads `value` into the member at `offset`. -EINVAL by way of text_expected(). */
        int (*take)(const struct key *key, const char *value, void *member, const void *context,
                    char ret_expected[TEXT_EXPECTED_SIZE]);
        size_t offset, size; /* of the member */
};

#define KEYS_MAX 16u

/* The first key of every table. */
#define KEY_FORMAT {"Format", key_take_format, 0, 0}
int key_take_format(const struct key *key, const char *value, void *member, const void *context,
                    char ret_expected[TEXT_EXPECTED_SIZE]);
/* yes or no, into a bool. */
int key_take_switch(const struct key *key, const char *value, void *member, const void *context,
                    char ret_expected[TEXT_EXPECTED_SIZE]);

/* Where each key stands, from 1; 0: nowhere. */
struct key_lines {
        unsigned of[KEYS_MAX], after_last;
};

/*
 * Reads text into *target, whose members are touched up to the mistake.
 * `context` is for the table's functions. -EINVAL with *ret_error, -ENOMEM.
 */
int key_file_read(const char *text, size_t length, const struct key *keys, size_t count, const void *context,
                  void *target, struct key_lines *ret_lines, struct text_error *ret_error,
                  struct text_notes *ret_notes);

/* Whether this is the name of such a file; what editors and file_replace() leave beside is none. */
bool key_file_is_named_so(const char *file_name);
/* The GUID that such a file is named by: "<guid>.conf", in any case. -EINVAL. */
int key_file_guid(const char *file_name, GUID *ret_guid);

/* Which key a line bears; `count` when it is none of them. */
size_t key_of_line(const struct key *keys, size_t count, const char *line);
