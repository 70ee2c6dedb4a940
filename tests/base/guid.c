/* SPDX-License-Identifier: MIT */

#include "base/guid.h"
#include "test.h"

#define DASHED "a42e7cda-d03f-480c-9cc2-a4de20abb878"
#define DIGITS "a42e7cdad03f480c9cc2a4de20abb878"

static const GUID untouched = {0x11111111, 0x2222, 0x3333, {4, 4, 4, 4, 4, 4, 4, 4}};

static void expect_parent(const char *text) {
        GUID guid = untouched;
        if (guid_parse(text, &guid) || !guid_equal(&guid, &HV_GUID_PARENT))
                test_fail(__FILE__, __LINE__, "\"%s\" did not read as HV_GUID_PARENT", text);
}

static void expect_bad(const char *text) {
        GUID guid = untouched;
        int r = guid_parse(text, &guid);
        if (r != -EINVAL || !guid_equal(&guid, &untouched))
                test_fail(__FILE__, __LINE__, "\"%s\" gave %d", text, r);
}

TEST(a_guid_reads_in_any_case) {
        expect_parent(DASHED);
        expect_parent("A42E7CDA-D03F-480C-9CC2-A4DE20ABB878");
        expect_parent("a42e7CDA-D03f-480C-9cC2-A4dE20aBB878");
}

TEST(a_guid_reads_in_braces) {
        expect_parent("{" DASHED "}");
        expect_parent("{A42E7CDA-D03F-480C-9CC2-A4DE20ABB878}");
}

TEST(a_guid_reads_as_32_digits) {
        expect_parent(DIGITS);
        expect_parent("A42E7CDAD03F480C9CC2A4DE20ABB878");
}

TEST(a_guid_of_another_length_is_an_error) {
        expect_bad("");
        expect_bad("a");
        expect_bad("{}");
        expect_bad(" " DASHED);
        expect_bad(DASHED " ");
        expect_bad(DASHED "\n");
        expect_bad(DASHED "0");
        expect_bad(DIGITS "0");
        expect_bad("a42e7cda-d03f-480c-9cc2-a4de20abb87");
        expect_bad("a42e7cdad03f480c9cc2a4de20abb87");
        expect_bad(DASHED DASHED);
}

TEST(a_brace_alone_is_an_error) {
        expect_bad("{" DASHED);
        expect_bad(DASHED "}");
        expect_bad("}" DASHED "{");
        expect_bad("(" DASHED ")");
        expect_bad("{{" DASHED "}}");
        expect_bad("{" DIGITS "}");
        expect_bad("{a42e7cda-d03f-480c-9cc2-a4de20abb87}");
}

TEST(a_wrong_character_in_any_place_is_an_error) {
        static const char *const wrong[] = {"g", "G", "/", ":", "@", "`", " ", "-", "+", "x", "\xc3", "\xff", "\t"};
        for (size_t w = 0; w < sizeof wrong / sizeof *wrong; w++)
                for (size_t at = 0; at < sizeof DASHED - 1; at++) {
                        char dashed[] = DASHED;
                        if (dashed[at] == *wrong[w])
                                continue;
                        dashed[at] = *wrong[w];
                        expect_bad(dashed);
                        if (at < sizeof DIGITS - 1) {
                                char digits[] = DIGITS;
                                digits[at] = *wrong[w];
                                expect_bad(digits);
                        }
                }
}

TEST(a_digit_in_place_of_a_dash_is_an_error) {
        for (const char *dash = DASHED; (dash = strchr(dash, '-')); dash++) {
                char text[] = DASHED;
                text[dash - DASHED] = '0';
                expect_bad(text);
        }
        expect_bad("a42e7cdad03f480c9cc2a4de20abb878----");
        expect_bad("a42e7cda-d03f-480c9-cc2-a4de20abb878");
}

TEST(a_guid_prints_in_lower_case) {
        char text[HV_GUID_TEXT_SIZE], hex[GUID_HEX_SIZE];
        GUID guid;
        check_ok(guid_parse("{00000ABC-0DEF-00FF-00AB-00CD00EF0001}", &guid));
        guid_format(&guid, text);
        check_string(text, "00000abc-0def-00ff-00ab-00cd00ef0001");
        guid_format_hex(&guid, hex);
        check_string(hex, "00000abc0def00ff00ab00cd00ef0001");
}

TEST(each_byte_of_the_text_has_its_place) {
        GUID guid;
        check_ok(guid_parse("00112233-4455-6677-8899-aabbccddeeff", &guid));
        check_equal(guid.Data1, 0x00112233);
        check_equal(guid.Data2, 0x4455);
        check_equal(guid.Data3, 0x6677);
        static const uint8_t tail[8] = {0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
        check(!memcmp(guid.Data4, tail, sizeof tail));
}

TEST(windows_bytes_have_the_first_three_fields_little_endian) {
        static const uint8_t expected[16] = {0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66,
                                             0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
        GUID guid, back;
        uint8_t bytes[16];
        check_ok(guid_parse("00112233-4455-6677-8899-aabbccddeeff", &guid));
        guid_to_windows(&guid, bytes);
        check(!memcmp(bytes, expected, sizeof bytes));
        guid_from_windows(bytes, &back);
        check(guid_equal(&guid, &back));
}

TEST(network_bytes_are_in_the_order_of_the_text) {
        static const uint8_t expected[16] = {0xff, 0xee, 0xdd, 0xcc, 0xbb, 0xaa, 0x99, 0x88,
                                             0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x00};
        GUID guid, back;
        uint8_t bytes[16];
        check_ok(guid_parse("ffeeddcc-bbaa-9988-7766-554433221100", &guid));
        guid_to_network(&guid, bytes);
        check(!memcmp(bytes, expected, sizeof bytes));
        guid_from_network(bytes, &back);
        check(guid_equal(&guid, &back));
}

TEST(guids_differ_when_any_byte_does) {
        check(guid_equal(&untouched, &untouched));
        for (size_t i = 0; i < sizeof(GUID); i++) {
                GUID other = untouched;
                ((uint8_t *)&other)[i] ^= 0x80;
                check(!guid_equal(&untouched, &other));
        }
}

TEST(only_zero_is_zero) {
        check(guid_is_zero(&HV_GUID_ZERO));
        for (size_t i = 0; i < sizeof(GUID); i++) {
                GUID guid = {};
                ((uint8_t *)&guid)[i] = 1;
                check(!guid_is_zero(&guid));
        }
}

TEST(a_new_guid_is_random_of_version_4) {
        GUID guids[100];
        for (unsigned i = 0; i < 100; i++) {
                check_ok(guid_new(guids + i));
                check_equal(guids[i].Data3 >> 12, 4);
                check_equal(guids[i].Data4[0] >> 6, 2);
                for (unsigned before = 0; before < i; before++)
                        check(!guid_equal(guids + before, guids + i));
        }
}

TEST(each_word_names_its_guid) {
        check(guid_equal(guid_by_word("parent"), &HV_GUID_PARENT));
        check(guid_equal(guid_by_word("loopback"), &HV_GUID_LOOPBACK));
        check(guid_equal(guid_by_word("children"), &HV_GUID_CHILDREN));
        check(guid_equal(guid_by_word("wildcard"), &HV_GUID_WILDCARD));
        check(guid_equal(guid_by_word("zero"), &HV_GUID_ZERO));
        check(guid_equal(guid_by_word("broadcast"), &HV_GUID_BROADCAST));
        check(guid_equal(guid_by_word("silohost"), &HV_GUID_SILOHOST));
}

TEST(no_other_text_is_a_word) {
        static const char *const others[] = {"", "Parent", "PARENT", "parents", "paren", " parent", "self", "host", "vsock"};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++)
                check(guid_by_word(others[i]) == NULL);
}

TEST(each_well_known_guid_has_its_word) {
        check_string(guid_word(&HV_GUID_PARENT), "parent");
        check_string(guid_word(&HV_GUID_LOOPBACK), "loopback");
        check_string(guid_word(&HV_GUID_CHILDREN), "children");
        check_string(guid_word(&HV_GUID_WILDCARD), "wildcard");
        check_string(guid_word(&HV_GUID_ZERO), "wildcard");
        check_string(guid_word(&HV_GUID_BROADCAST), "broadcast");
        check_string(guid_word(&HV_GUID_SILOHOST), "silohost");
        check(guid_word(&untouched) == NULL);
        check(guid_word(&HV_GUID_VSOCK_TEMPLATE) == NULL);
}
