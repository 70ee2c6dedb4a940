/* SPDX-License-Identifier: MIT */

/* Windows' text. */

#include "base/utf16.h"
#include "base/utf8.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static unsigned line_after(const char *text, size_t length) {
        unsigned line = 1;
        while (length--)
                line += *text++ == '\n';
        return line;
}

/* Bytes of the character that `bytes` starts with, `left` of which there are; 0 when it starts with none. */
static size_t utf16_decode(const uint8_t *bytes, size_t left, uint32_t *ret_point) {
        uint32_t unit = left < 2 ? 0 : bytes[0] | (uint32_t)bytes[1] << 8;
        if (!unit || (unit >= 0xdc00 && unit < 0xe000))
                return 0;
        if (unit < 0xd800 || unit >= 0xe000) {
                *ret_point = unit;
                return 2;
        }
        uint32_t low = left < 4 ? 0 : bytes[2] | (uint32_t)bytes[3] << 8;
        if (low < 0xdc00 || low >= 0xe000)
                return 0;
        *ret_point = 0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00));
        return 4;
}

/* Returns the end of what it writes, at most 4 bytes. */
static char *utf8_encode(uint32_t point, char *to) {
        if (point < 0x80) {
                *to++ = (char)point;
                return to;
        }
        unsigned following = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
        *to++ = (char)(0xff00u >> (following + 1) | point >> 6 * following);
        while (following--)
                *to++ = (char)(0x80 | (point >> 6 * following & 0x3f));
        return to;
}

static int copy_utf8(const char *text, size_t length, char **ret_text, unsigned *ret_line) {
        size_t mark = length >= 3 && !memcmp(text, "\xef\xbb\xbf", 3) ? 3 : 0;
        const char *nul = memchr(text, 0, length);
        if (nul) {
                *ret_line = line_after(text, (size_t)(nul - text));
                return -EINVAL;
        }
        char *copy = strndup(text + mark, length - mark);
        if (!copy)
                return -ENOMEM;
        *ret_text = copy;
        return 0;
}

int utf8_from_file(const void *bytes, size_t length, char **ret_text, unsigned *ret_line) {
        if (length < 2 || memcmp(bytes, "\xff\xfe", 2))
                return copy_utf8(bytes, length, ret_text, ret_line);
        char *text = malloc(length * 3 / 2 + 1), *to = text;
        if (!text)
                return -ENOMEM;
        for (size_t at = 2; at < length;) {
                uint32_t point = 0;
                size_t taken = utf16_decode((const uint8_t *)bytes + at, length - at, &point);
                if (!taken) {
                        *ret_line = line_after(text, (size_t)(to - text));
                        free(text);
                        return -EINVAL;
                }
                to = utf8_encode(point, to);
                at += taken;
        }
        *to = 0;
        *ret_text = text;
        return 0;
}

static uint8_t *put_unit(uint8_t *to, uint32_t unit) {
        *to++ = (uint8_t)unit;
        *to++ = (uint8_t)(unit >> 8);
        return to;
}

int utf16_from_utf8(const char *text, void **ret_bytes, size_t *ret_length) {
        uint8_t *bytes = malloc(2 + 2 * strlen(text)), *to = bytes;
        if (!bytes)
                return -ENOMEM;
        to = put_unit(to, 0xfeff);
        while (*text) {
                uint32_t point;
                size_t taken = utf8_decode(text, &point);
                if (!taken) {
                        free(bytes);
                        return -EINVAL;
                }
                text += taken;
                if (point >= 0x10000) {
                        to = put_unit(to, 0xd800 + ((point - 0x10000) >> 10));
                        point = 0xdc00 + (point & 0x3ff);
                }
                to = put_unit(to, point);
        }
        *ret_bytes = bytes;
        *ret_length = (size_t)(to - bytes);
        return 0;
}
