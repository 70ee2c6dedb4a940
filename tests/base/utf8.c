/* SPDX-License-Identifier: MIT */

#include "base/utf8.h"
#include "test.h"

static void expect_point(const char *text, size_t length, uint32_t point) {
        uint32_t read = 0;
        check_equal(utf8_decode(text, &read), length);
        check_equal(read, point);
}

static void expect_none(const char *text) {
        uint32_t read = 0x5a5a5a;
        if (utf8_decode(text, &read) || read != 0x5a5a5a)
                test_fail(__FILE__, __LINE__, "%02x %02x was read as U+%04X", (uint8_t)text[0], (uint8_t)text[1], read);
}

TEST(the_first_and_the_last_of_each_length_are_read) {
        expect_point("\x01", 1, 0x01);
        expect_point("\x7f", 1, 0x7f);
        expect_point("\xc2\x80", 2, 0x80);
        expect_point("\xdf\xbf", 2, 0x7ff);
        expect_point("\xe0\xa0\x80", 3, 0x800);
        expect_point("\xed\x9f\xbf", 3, 0xd7ff);
        expect_point("\xee\x80\x80", 3, 0xe000);
        expect_point("\xef\xbf\xbf", 3, 0xffff);
        expect_point("\xf0\x90\x80\x80", 4, 0x10000);
        expect_point("\xf4\x8f\xbf\xbf", 4, 0x10ffff);
}

TEST(only_the_first_sequence_is_read) {
        expect_point("ab", 1, 'a');
        expect_point("\xc3\xa9\xc3\xa9", 2, 0xe9);
}

TEST(overlong_forms_are_refused) {
        expect_none("\xc0\x80");
        expect_none("\xc1\xbf");
        expect_none("\xe0\x9f\xbf");
        expect_none("\xf0\x8f\xbf\xbf");
}

TEST(surrogates_are_refused) {
        expect_none("\xed\xa0\x80");
        expect_none("\xed\xbf\xbf");
}

TEST(what_lies_beyond_unicode_is_refused) {
        expect_none("\xf4\x90\x80\x80");
        expect_none("\xf5\x80\x80\x80");
        expect_none("\xff");
}

TEST(a_continuation_alone_is_refused) {
        expect_none("\x80");
        expect_none("\xbf");
}

TEST(a_cut_sequence_is_refused_and_not_read_past) {
        expect_none("\xc3");
        expect_none("\xe2\x82");
        expect_none("\xf0\x9f\x98");
        expect_none("\xe2""a\x82");
}
