/* SPDX-License-Identifier: MIT */

/* Text that strangers wrote. */

#include "broker/text.h"

#include "base/utf8.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

char *text_next_line(char **at) {
        char *line = *at;
        if (!*line)
                return NULL;
        char *end = strchrnul(line, '\n');
        *at = *end ? end + 1 : end;
        *end = 0;
        return line;
}

unsigned text_line_of(const char *text, const char *at) {
        unsigned line = 1;
        for (; text < at; text++)
                line += *text == '\n';
        return line;
}

/* The length of the printable character that `text` starts with, 0 when there is none. */
static size_t printable_length(const char *text) {
        uint32_t point = 0;
        size_t length = utf8_decode(text, &point);
        return point < 0x20 || (point >= 0x7f && point < 0xa0) ? 0 : length;
}

bool service_name_is_valid(const char *name) {
        for (size_t length; *name; name += length) {
                length = printable_length(name);
                if (!length)
                        return false;
        }
        return true;
}

void text_make_printable(char *text) {
        while (*text) {
                size_t length = printable_length(text);
                if (!length)
                        *text = '?';
                text += length ? length : 1;
        }
}

int text_expected(char ret_expected[TEXT_EXPECTED_SIZE], const char *format, ...) {
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(ret_expected, TEXT_EXPECTED_SIZE, format, arguments);
        va_end(arguments);
        text_make_printable(ret_expected);
        return -EINVAL;
}
