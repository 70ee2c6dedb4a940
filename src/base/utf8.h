/* SPDX-License-Identifier: MIT */
#pragma once

/* One UTF-8 sequence, read strictly: no overlong form, no surrogate, nothing past U+10FFFF. */

#include <stddef.h>
#include <stdint.h>

/* Its length in bytes, 0 when `text` (NUL-terminated) starts with none. */
static inline size_t utf8_decode(const char *text, uint32_t *ret_code_point) {
        const unsigned char *bytes = (const unsigned char *)text;
        if (bytes[0] < 0x80) {
                *ret_code_point = bytes[0];
                return 1;
        }
        if (bytes[0] < 0xc2 || bytes[0] > 0xf4)
                return 0;
        size_t length = bytes[0] >= 0xf0 ? 4 : bytes[0] >= 0xe0 ? 3 : 2;
        uint32_t code_point = bytes[0] & (0xffu >> (length + 1));
        for (size_t i = 1; i < length; i++) {
                if ((bytes[i] & 0xc0) != 0x80)
                        return 0;
                code_point = code_point << 6 | (bytes[i] & 0x3fu);
        }
        if ((length == 3 && code_point < 0x800) || (length == 4 && code_point < 0x10000) || code_point > 0x10ffff ||
            (code_point >= 0xd800 && code_point < 0xe000))
                return 0;
        *ret_code_point = code_point;
        return length;
}
