/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Files of Key=value lines: partition definitions and hvsockd.conf. Pure.
 *
 * Blank lines and lines that begin with # or ; are comments. The first key is
 * Format=1. What a key means, and whether it is known, is the caller's affair.
 */

#include "broker/registry.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct key_file {
        char *cursor;
        unsigned line; /* of the key last given */
};

/* Takes NUL-terminated text and cuts it up in place. -EINVAL with *ret_error unless it is of format 1. */
int key_file_begin(char *text, size_t length, struct key_file *ret_file, struct text_error *ret_error);
/* 1 with the next key and its value, 0 at the end, -EINVAL with *ret_error. */
int key_file_next(struct key_file *file, const char **ret_key, const char **ret_value, struct text_error *ret_error);

/* Fills *ret_error for the current line; returns -EINVAL. */
int key_file_wrong(const struct key_file *file, struct text_error *ret_error, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
int key_file_boolean(const struct key_file *file, const char *key, const char *value, bool *ret, struct text_error *ret_error);
int key_file_number(const struct key_file *file, const char *key, const char *value, uint32_t minimum, uint32_t maximum,
                    uint32_t *ret, struct text_error *ret_error);
