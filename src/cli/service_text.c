/* SPDX-License-Identifier: MIT */
#include "cli/service_text.h"

#include "base/fd.h"
#include "base/utf16.h"
#include "cli/advice.h"
#include "cli/report.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (4u << 20) /* bytes of a .reg file */

int service_text_read(const char *path, char **ret_text) {
        bool is_input = strcmp(path, "-") == 0;
        FILE *file = is_input ? stdin : fopen(path, "re");
        if (!file)
                return fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED, path, strerror(errno), advice_help());
        cleanup(freep) char *bytes = malloc(TEXT_MAX + 1);
        size_t length = bytes ? fread(bytes, 1, TEXT_MAX + 1, file) : 0;
        int error = bytes ? ferror(file) ? errno : 0 : ENOMEM;
        if (!is_input)
                fclose(file);
        if (error || length > TEXT_MAX)
                return fail(EXIT_FAILED, path, error ? strerror(error) : "larger than 4 MiB", NULL);
        unsigned line;
        int r = utf8_from_file(bytes, length, ret_text, &line);
        if (r == -EINVAL) {
                char what[PRINTABLE_SIZE];
                snprintf(what, sizeof what, "%s:%u", path, line);
                return fail(EXIT_FAILED, what, "expected text in UTF-8, or in UTF-16 with its byte-order mark", NULL);
        }
        return r < 0 ? fail(EXIT_FAILED, path, strerror(-r), NULL) : EXIT_OK;
}

static bool is_ascii(const char *text) {
        while (*text && !(*text & 0x80))
                text++;
        return !*text;
}

int service_text_write(const char *path, const char *text) {
        bool is_output = strcmp(path, "-") == 0;
        if (is_output && (is_ascii(text) || isatty(STDOUT_FILENO))) {
                fputs(text, stdout);
                return finish_output();
        }
        cleanup(freep) void *wide = NULL;
        size_t length;
        int r = utf16_from_utf8(text, &wide, &length);
        if (r < 0)
                return fail(EXIT_FAILED, path, strerror(-r), NULL);
        if (is_output) {
                fwrite(wide, 1, length, stdout);
                return finish_output();
        }
        FILE *file = fopen(path, "we");
        if (!file)
                return fail(EXIT_FAILED, path, strerror(errno), NULL);
        bool is_written = fwrite(wide, 1, length, file) == length;
        if (fclose(file) != 0 || !is_written)
                return fail(EXIT_FAILED, path, strerror(errno), NULL);
        return EXIT_OK;
}
