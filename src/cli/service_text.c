/* SPDX-License-Identifier: MIT */
#include "cli/service_text.h"

#include "base/fd.h"
#include "cli/report.h"
#include <errno.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX (4u << 20) /* bytes of a .reg file */

static int convert(const char *to, const char *from, const char *bytes, size_t length, char **ret, size_t *ret_length) {
        iconv_t converter = iconv_open(to, from);
        if (converter == (iconv_t)-1)
                return -errno;
        size_t room = length * 2 + 2;
        char *converted = malloc(room + 1), *out = converted, *in = (char *)bytes;
        int r = converted ? 0 : -ENOMEM;
        if (r == 0 && iconv(converter, &in, &length, &out, &room) == (size_t)-1)
                r = -errno;
        iconv_close(converter);
        if (r < 0) {
                free(converted);
                return r;
        }
        *out = 0;
        *ret = converted;
        *ret_length = (size_t)(out - converted);
        return 0;
}

int service_text_read(const char *path, char **ret_text) {
        bool is_input = strcmp(path, "-") == 0;
        FILE *file = is_input ? stdin : fopen(path, "re");
        if (!file)
                return fail(errno == ENOENT ? EXIT_NOT_FOUND : EXIT_FAILED, path, strerror(errno), NULL);
        cleanup(freep) char *bytes = malloc(TEXT_MAX + 1);
        size_t length = bytes ? fread(bytes, 1, TEXT_MAX + 1, file) : 0;
        int error = bytes ? ferror(file) ? errno : 0 : ENOMEM;
        if (!is_input)
                fclose(file);
        if (error || length > TEXT_MAX)
                return fail(EXIT_FAILED, path, error ? strerror(error) : "larger than 4 MiB", NULL);
        bytes[length] = 0;

        if (length >= 2 && memcmp(bytes, "\xff\xfe", 2) == 0) {
                char *text;
                int r = convert("UTF-8", "UTF-16LE", bytes + 2, length - 2, &text, &length);
                if (r < 0)
                        return fail(EXIT_FAILED, path, "starts as UTF-16, but is not", NULL);
                free(bytes);
                bytes = text;
        }
        size_t mark = strncmp(bytes, "\xef\xbb\xbf", 3) == 0 ? 3 : 0;
        if (strlen(bytes) != length)
                return fail(EXIT_FAILED, path, "holds a NUL: it is no text", NULL);
        memmove(bytes, bytes + mark, length - mark + 1);
        *ret_text = bytes;
        bytes = NULL;
        return EXIT_OK;
}

int service_text_write(const char *path, const char *text) {
        if (strcmp(path, "-") == 0) {
                fputs(text, stdout);
                return finish_output();
        }
        cleanup(freep) char *wide = NULL;
        size_t length;
        int r = convert("UTF-16LE", "UTF-8", text, strlen(text), &wide, &length);
        if (r < 0)
                return fail(EXIT_FAILED, path, strerror(-r), NULL);
        FILE *file = fopen(path, "we");
        if (!file)
                return fail(EXIT_FAILED, path, strerror(errno), NULL);
        bool is_written = fwrite("\xff\xfe", 1, 2, file) == 2 && fwrite(wide, 1, length, file) == length;
        if (fclose(file) != 0 || !is_written)
                return fail(EXIT_FAILED, path, strerror(errno), NULL);
        return EXIT_OK;
}
