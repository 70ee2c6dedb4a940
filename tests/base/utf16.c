/* SPDX-License-Identifier: MIT */

#include "base/utf16.h"
#include "test.h"

#include <stdlib.h>

#define MARK "\xff\xfe"

static void check_same(const void *bytes, size_t length, const char *text) {
        char *read;
        void *written;
        size_t written_length;
        unsigned line;
        check_ok(utf8_from_file(bytes, length, &read, &line));
        check_string(read, text);
        check_ok(utf16_from_utf8(text, &written, &written_length));
        check_equal(written_length, length);
        check(!memcmp(written, bytes, length));
        free(read);
        free(written);
}

TEST(the_first_and_the_last_of_each_kind_are_read_and_written) {
        check_same(MARK, 2, "");
        check_same(MARK "~\0\xa0\0", 6, "~\xc2\xa0");
        check_same(MARK "\xff\x07\0\x08", 6, "\xdf\xbf\xe0\xa0\x80");
        check_same(MARK "\xff\xd7\0\xe0", 6, "\xed\x9f\xbf\xee\x80\x80");
        check_same(MARK "\xac\x20\xff\xff", 6, "\xe2\x82\xac\xef\xbf\xbf");
        check_same(MARK "\0\xd8\0\xdc", 6, "\xf0\x90\x80\x80");
        check_same(MARK "\xff\xdb\xff\xdf", 6, "\xf4\x8f\xbf\xbf");
}

static void check_utf8(const char *bytes, size_t length, const char *text) {
        char *read;
        unsigned line;
        check_ok(utf8_from_file(bytes, length, &read, &line));
        check_string(read, text);
        free(read);
}

TEST(utf_8_is_read_with_and_without_its_mark) {
        check_utf8("", 0, "");
        check_utf8("\xc3\xa9", 2, "\xc3\xa9");
        check_utf8("\xef\xbb\xbf\xc3\xa9", 5, "\xc3\xa9");
        check_utf8("\xfe\xff", 2, "\xfe\xff"); /* UTF-16 the other way round is none: its reader will say so */
}

static void check_wrong(const char *bytes, size_t length, unsigned line) {
        char *read = NULL;
        unsigned told = 0;
        check_equal(utf8_from_file(bytes, length, &read, &told), -EINVAL);
        check_equal(told, line);
        check(!read);
}

TEST(what_is_no_text_is_told_with_its_line) {
        check_wrong(MARK "a", 3, 1);
        check_wrong(MARK "\n\0\n\0a", 7, 3);
        check_wrong(MARK "\n\0\0\0", 6, 2);
        check_wrong(MARK "\n\0\0\xdc" "a\0", 8, 2);
        check_wrong(MARK "\n\0\0\xd8" "a\0", 8, 2);
        check_wrong(MARK "\n\0\0\xd8\xff\xdb", 8, 2);
        check_wrong(MARK "\0\xd8", 4, 1);
        check_wrong("a\n\0b", 4, 2);
}

TEST(what_is_no_utf_8_is_not_written) {
        void *bytes = NULL;
        size_t length;
        check_equal(utf16_from_utf8("a\xff", &bytes, &length), -EINVAL);
        check_equal(utf16_from_utf8("\xed\xa0\x80", &bytes, &length), -EINVAL);
        check(!bytes);
}
