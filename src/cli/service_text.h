/* SPDX-License-Identifier: MIT */
#pragma once

/* .reg files: reading them in either encoding, writing them as Windows does. Exit codes; failures are told. */

/* `path` "-" is standard input. UTF-8 without a byte order mark; caller frees. */
int service_text_read(const char *path, char **ret_text);
/* `path` "-" is standard output, in UTF-8; a file is UTF-16LE with a byte order mark. */
int service_text_write(const char *path, const char *text);
