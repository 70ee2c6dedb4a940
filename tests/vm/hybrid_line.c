/* SPDX-License-Identifier: MIT */

/* The lines of hybrid sockets, to the byte. */

#include "vm/hybrid_line.h"

#include "base/guid.h"
#include "test.h"
#include <stdlib.h>

/* The bytes lie at the end of their memory, so that a sanitizer sees what reads beyond them. */
static ssize_t parse_bytes(const char *bytes, size_t size, GUID *ret_service_id) {
        char *exact = malloc(size ? size : 1);
        check(exact);
        memcpy(exact, bytes, size);
        ssize_t length = hybrid_line_parse_connect(exact, size, ret_service_id);
        free(exact);
        return length;
}

static void expect_service(const char *bytes, size_t length, const char *service) {
        GUID expected, service_id;
        check_ok(guid_parse_service(service, &expected));
        check_equal(parse_bytes(bytes, strlen(bytes), &service_id), length);
        check(guid_equal(&service_id, &expected));
}

static void expect_error(const char *bytes, size_t size, ssize_t error) {
        GUID before = HV_GUID_PARENT, service_id = before;
        check_equal(parse_bytes(bytes, size, &service_id), error);
        check(guid_equal(&service_id, &before));
}

TEST(a_line_names_a_port_or_a_guid) {
        expect_service("CONNECT 22\n", 11, "vsock:22");
        expect_service("CONNECT 0\n", 10, "vsock:0");
        expect_service("CONNECT 2147483647\n", 19, "vsock:2147483647");
        expect_service("CONNECT a42e7cda-d03f-480c-9cc2-a4de20abb878\n", 45, "a42e7cda-d03f-480c-9cc2-a4de20abb878");
        expect_service("CONNECT {A42E7CDA-D03F-480C-9CC2-A4DE20ABB878}\r\n", 48,
                       "a42e7cda-d03f-480c-9cc2-a4de20abb878");
        expect_service("CONNECT 00000016-facb-11e6-bd58-64006a7986d3\n", 45, "vsock:22");
}

TEST(the_word_is_taken_in_any_case_and_with_any_blanks) {
        expect_service("connect 22\n", 11, "vsock:22");
        expect_service("Connect \t 22 \r\n", 15, "vsock:22");
}

TEST(what_is_behind_the_line_is_not_the_lines) {
        expect_service("CONNECT 22\nSSH-2.0-client\r\n", 11, "vsock:22");
        expect_service("CONNECT 22\n\n", 11, "vsock:22");
        GUID service_id;
        char long_tail[4096] = "CONNECT 22\n";
        check_equal(parse_bytes(long_tail, sizeof long_tail, &service_id), 11);
}

TEST(each_beginning_of_a_line_waits_for_the_rest) {
        static const char line[] = "CONNECT a42e7cda-d03f-480c-9cc2-a4de20abb878\n";
        for (size_t size = 0; size < sizeof line - 1; size++)
                expect_error(line, size, 0);
}

TEST(what_cannot_become_a_line_is_known_at_once) {
        static const char *const others[] = {
                "G", "GET /", "CONNECX", "CONNECT22\n", "CONNECTED", "\n", " CONNECT 22\n", "OK 22\n"};
        for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
                expect_error(others[i], strlen(others[i]), -EINVAL);
        expect_error("CON\0ECT 22\n", 11, -EINVAL);
}

TEST(what_is_neither_a_port_nor_a_guid_is_refused) {
        static const char *const others[] = {
                "CONNECT\n", "CONNECT \n", "CONNECT -1\n", "CONNECT +22\n", "CONNECT 22 23\n", "CONNECT 0x16\n",
                "CONNECT 2147483648\n", "CONNECT 4294967318\n", "CONNECT 18446744073709551638\n", "CONNECT ssh\n",
                "CONNECT vsock:22\n", "CONNECT a42e7cda-d03f-480c-9cc2-a4de20abb87\n",
        };
        for (unsigned i = 0; i < sizeof others / sizeof others[0]; i++)
                expect_error(others[i], strlen(others[i]), -EINVAL);
        expect_error("CONNECT 2\0002\n", 12, -EINVAL);
}

TEST(a_line_has_at_most_its_length) {
        char line[HYBRID_LINE_MAX + 1];
        memset(line, ' ', sizeof line);
        memcpy(line, "CONNECT 22", 10);
        expect_error(line, HYBRID_LINE_MAX - 1, 0);
        expect_error(line, HYBRID_LINE_MAX, -EMSGSIZE);
        GUID service_id;
        line[HYBRID_LINE_MAX] = '\n';
        expect_error(line, sizeof line, -EMSGSIZE);
        line[HYBRID_LINE_MAX - 1] = '\n';
        check_equal(parse_bytes(line, sizeof line, &service_id), HYBRID_LINE_MAX);
}

TEST(an_answer_bears_a_port_or_a_guid) {
        check_equal(hybrid_line_parse_ok("OK 1073741824\n", 14), 14);
        check_equal(hybrid_line_parse_ok("OK a42e7cda-d03f-480c-9cc2-a4de20abb878\n", 40), 40);
        check_equal(hybrid_line_parse_ok("OK 22\nwelcome", 13), 6);
        check_equal(hybrid_line_parse_ok("OK 2", 4), 0);
        check_equal(hybrid_line_parse_ok("", 0), 0);
        check_equal(hybrid_line_parse_ok("OK\n", 3), -EINVAL);
        check_equal(hybrid_line_parse_ok("NO 22\n", 6), -EINVAL);
}

TEST(what_is_formatted_is_what_others_expect) {
        char line[HYBRID_LINE_MAX];
        check_equal(hybrid_line_format_connect(22, line), 11);
        check_string(line, "CONNECT 22\n");
        check_equal(hybrid_line_format_connect(UINT32_MAX, line), 19);
        check_equal(hybrid_line_format_ok(1024, line), 8);
        check_string(line, "OK 1024\n");
        check_equal(hybrid_line_format_ok(65535, line), 9); /* systemd-ssh-proxy knows no longer one */
}
