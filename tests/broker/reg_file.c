/* SPDX-License-Identifier: MIT */

/* Windows' .reg text of GuestCommunicationServices, in and out. */

#include "base/guid.h"
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

#define HEAD "Windows Registry Editor Version 5.00\r\n\r\n"
#define KEY                                                                                              \
        "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Virtualization\\" \
        "GuestCommunicationServices"
#define ONE "\r\n[" KEY "\\3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e10]\r\n"

struct found {
        unsigned count;
        int stop_with; /* what `each` answers */
        struct service_definition services[4];
};

static int each(const struct service_definition *definition, void *userdata) {
        struct found *found = userdata;
        check(found->count < 4);
        found->services[found->count++] = *definition;
        return found->stop_with;
}

/* From memory of exactly this size, so that a sanitizer sees a read beyond it. */
static int import_bytes(const char *text, size_t length, struct found *found, struct text_error *ret_error) {
        char *exact = malloc(length ? length : 1);
        check(exact);
        memcpy(exact, text, length);
        int r = reg_import(exact, length, each, found, ret_error);
        free(exact);
        return r;
}

static struct found import(const char *text) {
        struct found found = {};
        struct text_error error;
        if (import_bytes(text, strlen(text), &found, &error))
                test_fail(__FILE__, __LINE__, "line %u: %s\n%s", error.line, error.expected, text);
        return found;
}

static void check_bytes_expected(const char *text, size_t length, unsigned line, const char *expected) {
        struct found found = {};
        struct text_error error = {};
        check_equal(import_bytes(text, length, &found, &error), -EINVAL);
        check_string(error.expected, expected);
        check_equal(error.line, line);
}

static void check_expected(const char *text, unsigned line, const char *expected) {
        check_bytes_expected(text, strlen(text), line, expected);
}

/* With the byte-order mark; every character of `text` is one unit. */
static char *utf16(const char *text, size_t *ret_length) {
        size_t length = strlen(text);
        char *bytes = calloc(length + 1, 2);
        check(bytes);
        memcpy(bytes, "\xff\xfe", 2);
        for (size_t i = 0; i < length; i++)
                bytes[2 + 2 * i] = text[i];
        *ret_length = 2 + 2 * length;
        return bytes;
}

TEST(a_service_is_imported_with_the_defaults) {
        struct found found = import(HEAD ONE "\"ElementName\"=\"HV Socket Demo\"\r\n");
        check_equal(found.count, 1);
        check_guid(&found.services[0].service_id, &SERVICE);
        check_string(found.services[0].name, "HV Socket Demo");
        check(found.services[0].enabled && found.services[0].wildcard_binds);
        check(found.services[0].bind.is_default && found.services[0].connect.is_default);
}

TEST(both_versions_are_read) {
        check_equal(import("REGEDIT4\n" ONE "\"ElementName\"=\"a\"").count, 1);
        check_equal(import("\n; a comment\n" HEAD ONE "\"ElementName\"=\"a\"").count, 1);
        check_equal(import(HEAD).count, 0);
        check_expected("", 1, "expected Windows Registry Editor Version 5.00");
        check_expected("\n\nREGEDIT5\n", 3, "expected Windows Registry Editor Version 5.00");
        check_expected(ONE, 2, "expected Windows Registry Editor Version 5.00");
}

TEST(both_encodings_are_read) {
        size_t length;
        char *text = utf16(HEAD ONE "\"ElementName\"=\"Gr\xfc\xdf" "e\"\r\n", &length);
        struct found found = {};
        struct text_error error;
        for (size_t i = 2; i < length; i += 2)
                text[i + 1] = 0; /* Latin-1 is the first 256 of Unicode */
        check_ok(import_bytes(text, length, &found, &error));
        check_string(found.services[0].name, "Grüße");
        free(text);
        check_string(import("\xef\xbb\xbf" HEAD ONE "\"ElementName\"=\"Grüße\"").services[0].name, "Grüße");
}

TEST(what_is_no_text_is_told_with_its_line) {
        size_t length;
        char *text = utf16("REGEDIT4\n\nab", &length);
        check_bytes_expected(text, length - 1, 3, "expected text in UTF-8, or in UTF-16 with its byte-order mark");
        check_bytes_expected(text + 2, length - 2, 1, "expected text in UTF-8, or in UTF-16 with its byte-order mark");
        check_bytes_expected("\n\0", 2, 2, "expected text in UTF-8, or in UTF-16 with its byte-order mark");
        free(text);
}

TEST(keys_are_read_in_any_case_and_with_braces) {
        struct found found = import(HEAD "[hkey_local_machine\\software\\MICROSOFT\\Windows nt\\currentversion\\"
                                         "virtualization\\guestcommunicationservices\\"
                                         "{3C2A8F5E-9F0D-4C49-9B0E-6F7A6B1D2E10}]\n"
                                         "\"elementname\" = \"a\" \n");
        check_equal(found.count, 1);
        check_guid(&found.services[0].service_id, &SERVICE);
}

TEST(other_keys_and_values_are_passed_over) {
        struct found found = import(HEAD "[" KEY "]\r\n"
                                         "\"ElementName\"=dword:1\r\n"
                                         "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Else]\r\n"
                                         "\"ElementName\"=broken\r\n" ONE
                                         "@=\"default\"\r\n"
                                         "; \"ElementName\"=\"a comment\"\r\n"
                                         "\"Purpose\"=\"Network\"\r\n"
                                         "\"ToolName\"=\"podman\"\r\n"
                                         "\"Number\"=dword:0000002a\r\n"
                                         "\"Long\"=hex:01,02,\\\r\n"
                                         "  03,04,\\\r\n"
                                         "\"ElementName\"=no key,\\\r\n"
                                         "  05\r\n"
                                         "\"ElementName\"=\"Demo\"\r\n"
                                         "\"A name that is longer than any that is looked for\"=\"x\"\r\n"
                                         "[" KEY "\\3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e10\\Below]\r\n"
                                         "[" KEY "\\not-a-guid]\r\n"
                                         "[" KEY "\\]\r\n"
                                         "[" KEY "\\3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e11\r\n"
                                         "[" KEY "\\{3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e11}0]\r\n"
                                         "[-" KEY "\\3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e11]\r\n");
        check_equal(found.count, 1);
        check_string(found.services[0].name, "Demo");
}

TEST(a_long_value_that_breaks_off_hides_no_key) {
        struct found found = import(HEAD "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Else]\n\"Long\"=hex:01,\\" ONE
                                         "\"ElementName\"=\"Demo\"\n");
        check_equal(found.count, 1);
}

TEST(escapes_in_names_are_read) {
        check_string(import(HEAD ONE "\"ElementName\"=\"say \\\"hv\\\" \\\\ more\"\r\n").services[0].name,
                     "say \"hv\" \\ more");
}

TEST(a_service_without_a_name_is_told_with_the_line_of_its_key) {
        check_expected(HEAD ONE "\"Purpose\"=\"Network\"\r\n", 4, "expected \"ElementName\" below this service's key");
        check_expected(HEAD ONE "\r\n[" KEY "]\r\n\"ElementName\"=\"a\"\r\n", 4,
                       "expected \"ElementName\" below this service's key");
}

TEST(a_mistake_in_a_name_is_told_with_its_line) {
        const char *bad[] = {"\"ElementName\"",           "\"ElementName\"=",        "\"ElementName\"=dword:1",
                             "\"ElementName\"=\"open",     "\"ElementName\"=\"a\" b", "\"ElementName\"=\"a\\\"",
                             "\"ElementName\":\"a\"",     "\"ElementName\"=-"};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                char text[400];
                snprintf(text, sizeof text, "%s%s\"Other\"=\"x\"\r\n%s\r\n", HEAD, ONE, bad[i]);
                check_expected(text, 6, "expected \"ElementName\"=\"a name\"");
        }
        check_expected(HEAD ONE "\"ElementName\"=\"\"\r\n", 5, "expected a printable name after \"ElementName\"=");
        check_expected(HEAD ONE "\"ElementName\"=\" \t\"\r\n", 5, "expected a printable name after \"ElementName\"=");
        check_expected(HEAD ONE "\"ElementName\"=\"a\rb\"\r\n", 5, "expected a printable name after \"ElementName\"=");
        check_expected(HEAD ONE "\"ElementName\"=\"a\033\"\r\n", 5, "expected a printable name after \"ElementName\"=");
        check_expected(HEAD ONE "\"ElementName\"=\"Gr\xfc\xdf" "e\"\r\n", 5,
                       "expected a printable name after \"ElementName\"=");
}

TEST(a_name_is_as_long_as_the_limit_and_no_longer) {
        char name[SERVICE_NAME_MAX + 2], text[800];
        memset(name, 'n', sizeof name);
        snprintf(text, sizeof text, "%s%s\"ElementName\"=\"%.255s\"\r\n", HEAD, ONE, name);
        check_equal(strlen(import(text).services[0].name), SERVICE_NAME_MAX);
        snprintf(text, sizeof text, "%s%s\"ElementName\"=\"%.256s\"\r\n", HEAD, ONE, name);
        check_expected(text, 5, "expected a name of at most 255 bytes");
}

TEST(a_file_is_as_long_as_the_limit_and_no_longer) {
        char *text = malloc(REG_FILE_MAX + 1);
        struct found found = {};
        struct text_error error;
        check(text);
        memset(text, ';', REG_FILE_MAX + 1);
        memcpy(text, "REGEDIT4\n", 9);
        check_ok(reg_import(text, REG_FILE_MAX, each, &found, &error));
        check_equal(reg_import(text, REG_FILE_MAX + 1, each, &found, &error), -E2BIG);
        check_equal(error.line, 1);
        check_string(error.expected, "expected at most 16777216 bytes");
        free(text);
}

TEST(whoever_takes_the_services_can_stop) {
        struct found found = {.stop_with = -ENOSPC};
        struct text_error error;
        const char *text = HEAD ONE "\"ElementName\"=\"a\"\r\n" ONE "\"ElementName\"=\"b\"\r\n";
        check_equal(import_bytes(text, strlen(text), &found, &error), -ENOSPC);
        check_equal(found.count, 1);
}

TEST(what_is_exported_is_imported_as_it_was) {
        struct broker *broker = bare_broker();
        const char *names[] = {"Back\\slash \"quoted\"", "Grüße 😀", "a [key]", "a; no comment\\"};
        for (uint32_t i = 0; i < 4; i++) {
                GUID service_id = guid_numbered(i);
                struct service_definition definition = service_called(names[i], &service_id);
                must_register(broker, &definition);
        }
        char *text;
        check_ok(reg_export(broker, &text));
        struct found found = import(text);
        check_equal(found.count, 4);
        for (uint32_t i = 0; i < 4; i++) {
                GUID service_id = guid_numbered(i);
                check_guid(&found.services[i].service_id, &service_id);
                check_string(found.services[i].name, names[i]);
        }
        free(text);
        broker_free(broker);
}

TEST(an_export_looks_as_windows_writes_it) {
        WORLD(world);
        char *text;
        check_ok(reg_export(world.broker, &text));
        check_string(text, "Windows Registry Editor Version 5.00\r\n" ONE "\"ElementName\"=\"HV Socket Demo\"\r\n");
        free(text);
}
