/* SPDX-License-Identifier: MIT */
#pragma once

/* Text as Windows writes it to a file: UTF-16LE behind a byte-order mark. Pure. */

#include <stddef.h>

/*
 * Text in UTF-16LE with its mark, or in UTF-8 with or without one, as UTF-8
 * without; NUL-terminated, the caller frees. -EINVAL with the line (from 1) of a
 * NUL or of what is no UTF-16; whether UTF-8 is right is for the reader to judge.
 */
int utf8_from_file(const void *bytes, size_t length, char **ret_text, unsigned *ret_line);
/* In UTF-16LE with its mark. The caller frees. -EINVAL unless `text` is UTF-8. */
int utf16_from_utf8(const char *text, void **ret_bytes, size_t *ret_length);
