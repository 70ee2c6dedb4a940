/* SPDX-License-Identifier: MIT */

/* Files of Key=value lines. */

#include "daemon/key_file.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_space(char character) {
        return character == ' ' || character == '\t' || character == '\r';
}

static char *trim(char *text) {
        while (is_space(*text))
                text++;
        char *end = text + strlen(text);
        while (end > text && is_space(end[-1]))
                end--;
        *end = 0;
        return text;
}

int key_file_wrong(const struct key_file *file, struct text_error *ret_error, const char *format, ...) {
        va_list arguments;
        va_start(arguments, format);
        ret_error->line = file->line;
        vsnprintf(ret_error->expected, sizeof ret_error->expected, format, arguments);
        va_end(arguments);
        return -EINVAL;
}

int key_file_next(struct key_file *file, const char **ret_key, const char **ret_value, struct text_error *ret_error) {
        while (*file->cursor) {
                char *text = file->cursor, *end = strchrnul(text, '\n');
                file->cursor = *end ? end + 1 : end;
                file->line++;
                *end = 0;
                text = trim(text);
                if (!*text || *text == '#' || *text == ';')
                        continue;
                char *equals = strchr(text, '=');
                if (!equals || equals == text)
                        return key_file_wrong(file, ret_error, "expected Key=value, not \"%.60s\"", text);
                *equals = 0;
                *ret_key = trim(text);
                *ret_value = trim(equals + 1);
                return 1;
        }
        return 0;
}

int key_file_begin(char *text, size_t length, struct key_file *ret_file, struct text_error *ret_error) {
        struct key_file file = {.cursor = text};
        const char *key, *value;
        if (memchr(text, 0, length))
                return key_file_wrong(&file, ret_error, "expected text, not a NUL byte");
        int r = key_file_next(&file, &key, &value, ret_error);
        if (r < 0)
                return r;
        if (r == 0 || strcmp(key, "Format") || strcmp(value, "1"))
                return key_file_wrong(&file, ret_error, "expected Format=1 before anything else");
        *ret_file = file;
        return 0;
}

int key_file_boolean(const struct key_file *file, const char *key, const char *value, bool *ret, struct text_error *ret_error) {
        if (strcmp(value, "yes") && strcmp(value, "no"))
                return key_file_wrong(file, ret_error, "expected yes or no after %s=, not \"%.40s\"", key, value);
        *ret = value[0] == 'y';
        return 0;
}

int key_file_number(const struct key_file *file, const char *key, const char *value, uint32_t minimum, uint32_t maximum,
                    uint32_t *ret, struct text_error *ret_error) {
        uint64_t number = 0;
        const char *digit = value;
        while (*digit >= '0' && *digit <= '9' && number <= maximum)
                number = number * 10 + (uint64_t)(*digit++ - '0');
        if (digit == value || *digit || number < minimum || number > maximum)
                return key_file_wrong(file, ret_error, "expected a number from %u to %u after %s=, not \"%.40s\"", minimum,
                                      maximum, key, value);
        *ret = (uint32_t)number;
        return 0;
}
