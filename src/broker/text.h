/* SPDX-License-Identifier: MIT */
#pragma once

/* Text that strangers wrote: its lines, what is wrong with it, and how to show it. Pure. */

#include "broker/registry.h"

/* Cuts the next line off `*at`, in place and without its line feed. NULL at the end. */
char *text_next_line(char **at);

/* The number of the line that `at` is in, from 1. */
unsigned text_line_of(const char *text, const char *at);

/* Whatever is not printable UTF-8 becomes '?', byte by byte: half a character at a cut, escape sequences, lines. */
void text_make_printable(char *text);

/* What was expected, printable whatever it quotes. Returns -EINVAL. */
int text_expected(char ret_expected[TEXT_EXPECTED_SIZE], const char *format, ...) __attribute__((format(printf, 2, 3)));
