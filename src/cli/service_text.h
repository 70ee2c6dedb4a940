/* SPDX-License-Identifier: MIT */
#pragma once

/* .reg files: reading them in either encoding, writing them so that Windows reads them. Exit codes; failures are told. */

/* `path` "-" is standard input. UTF-8 without a byte order mark; caller frees. */
int service_text_read(const char *path, char **ret_text);
/*
 * A file is UTF-16LE with a byte order mark, as regedit writes it. `path` "-" is standard output: the same, unless
 * the text is ASCII, which Windows reads as well, or a terminal is to show it.
 */
int service_text_write(const char *path, const char *text);
