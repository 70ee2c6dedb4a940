/* SPDX-License-Identifier: MIT */

/* Drop-ins: what is read, what is a mistake and where, and what is kept when one is written again. */

#include "base/guid.h"
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

static int lookup(enum principal_kind kind, const char *name, uint32_t *ret_id) {
        if (kind != PRINCIPAL_GROUP || strcmp(name, "backup"))
                return -ENOENT;
        *ret_id = 34;
        return 0;
}

static struct text_notes notes;

/* From memory of exactly this size, so that a sanitizer sees a read beyond it. */
static int parse_bytes(const char *text, size_t length, struct service_definition *ret, struct text_error *ret_error) {
        char *exact = malloc(length ? length : 1);
        check(exact);
        memcpy(exact, text, length);
        int r = service_parse(&SERVICE, exact, length, lookup, ret, ret_error, &notes);
        free(exact);
        return r;
}

static struct service_definition parse(const char *text) {
        struct service_definition definition;
        struct text_error error;
        if (parse_bytes(text, strlen(text), &definition, &error))
                test_fail(__FILE__, __LINE__, "line %u: %s\n%s", error.line, error.expected, text);
        return definition;
}

static void check_bytes_expected(const char *text, size_t length, unsigned line, const char *expected) {
        struct service_definition definition = service_called("untouched", &NOWHERE), before = definition;
        struct text_error error = {};
        check_equal(parse_bytes(text, length, &definition, &error), -EINVAL);
        check_string(error.expected, expected);
        check_equal(error.line, line);
        check(!memcmp(&definition, &before, sizeof before));
}

static void check_expected(const char *text, unsigned line, const char *expected) {
        check_bytes_expected(text, strlen(text), line, expected);
}

TEST(the_least_drop_in_has_the_defaults) {
        struct service_definition definition = parse("Format=1\nElementName=Demo");
        check_guid(&definition.service_id, &SERVICE);
        check_string(definition.name, "Demo");
        check(definition.enabled);
        check(definition.wildcard_binds);
        check(definition.bind.is_default);
        check(definition.connect.is_default);
        check_string(definition.exec, "");
        check_string(definition.exec_user, "");
        check(!definition.exec_accept);
        check_string(definition.exec_partition, "");
}

TEST(every_key_is_read) {
        struct service_definition definition = parse("# a comment\n"
                                                     "; another\n"
                                                     "\n"
                                                     "  Format = 1\t\n"
                                                     "ElementName=Sicherung für alle = gut # so heißt sie\n"
                                                     "Enabled=no\n"
                                                     "WildcardBinds=yes\n"
                                                     "Bind=group:backup\n"
                                                     "Connect=vms containers\n"
                                                     "Exec=/usr/bin/cat -A =\n"
                                                     "User=nobody\n"
                                                     "Accept=yes\n"
                                                     "Partition=web01/db\n"
                                                     "Future=whatever\n");
        check_string(definition.name, "Sicherung für alle = gut # so heißt sie");
        check(!definition.enabled);
        check(definition.wildcard_binds);
        check(!parse("Format=1\nElementName=Demo\nWildcardBinds=no\n").wildcard_binds);
        check_equal(definition.bind.count, 1);
        check_equal(definition.bind.principals[0].id, 34);
        check_equal(definition.connect.count, 2);
        check(definition.connect.principals[1].kind == PRINCIPAL_CONTAINERS);
        check_string(definition.exec, "/usr/bin/cat -A =");
        check_string(definition.exec_user, "nobody");
        check(definition.exec_accept);
        check_string(definition.exec_partition, "web01/db");
}

TEST(format_1_comes_first) {
        check_expected("", 1, "expected Format=1 as the first key");
        check_expected("\n# nothing\n", 3, "expected Format=1 as the first key");
        check_expected("ElementName=Demo\nFormat=1\n", 1, "expected Format=1 as the first key");
        check_expected("# first\n\nFuture=1\nFormat=1\n", 3, "expected Format=1 as the first key");
        check_expected("Format=2\nElementName=Demo\n", 1, "expected Format=1, not Format=2");
        check_expected("Format=\n", 1, "expected Format=1, not Format=");
        check_expected("format=1\n", 1, "expected Format=1 as the first key");
        check_expected("\xef\xbb\xbf" "Format=1\n", 1, "expected Format=1 as the first key");
}

TEST(a_line_is_a_key_and_a_value) {
        check_expected("Format=1\nElementName=Demo\nEnabled\n", 3, "expected Key=value, not \"Enabled\"");
        check_expected("Format=1\n=no\n", 2, "expected Key=value, not \"=no\"");
        check_expected("Format=1\n\t =no\n", 2, "expected Key=value, not \"=no\"");
        check_expected("Format=1\n[Service]\n", 2, "expected Key=value, not \"[Service]\"");
        check_expected("Format=1\n\033[2J\xff\n", 2, "expected Key=value, not \"?[2J?\"");
}

TEST(a_switch_is_yes_or_no) {
        const char *keys[] = {"Enabled", "WildcardBinds", "Accept"};
        const char *values[] = {"maybe", "", "Yes", "1", "true", "no!"};
        for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
                for (size_t j = 0; j < sizeof values / sizeof *values; j++) {
                        char text[80], expected[TEXT_EXPECTED_SIZE];
                        snprintf(text, sizeof text, "Format=1\nElementName=Demo\n\n%s=%s\n", keys[i], values[j]);
                        snprintf(expected, sizeof expected, "expected yes or no after %s=, not \"%s\"", keys[i],
                                 values[j]);
                        check_expected(text, 4, expected);
                }
}

TEST(a_key_stands_once) {
        const char *lines[] = {"Format=1", "ElementName=Demo", "Enabled=yes", "WildcardBinds=yes", "Bind=host",
                               "Connect=host", "Exec=/bin/true", "User=nobody", "Accept=no", "Partition=web01"};
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++) {
                char text[120], expected[TEXT_EXPECTED_SIZE];
                snprintf(text, sizeof text, "Format=1\n%s\n%s\n", lines[i], lines[i]);
                snprintf(expected, sizeof expected, "expected %.*s= only once", (int)strcspn(lines[i], "="), lines[i]);
                check_expected(text, i ? 3 : 2, expected);
        }
        parse("Format=1\nElementName=Demo\nFuture=1\nFuture=2\n");
}

TEST(a_friendly_name_is_required_printable_and_of_at_most_255_bytes) {
        char text[SERVICE_NAME_MAX + 40] = "Format=1\nElementName=";
        size_t start = strlen(text);
        memset(text + start, 'n', SERVICE_NAME_MAX);
        check_equal(strlen(parse(text).name), SERVICE_NAME_MAX);
        text[start + SERVICE_NAME_MAX] = 'n';
        check_expected(text, 2, "expected at most 255 bytes after ElementName=");

        check_expected("Format=1\n# no name\n", 3, "expected ElementName= before the end");
        check_expected("Format=1\nEnabled=yes", 3, "expected ElementName= before the end");
        check_expected("Format=1\nElementName=\n", 2, "expected a friendly name after ElementName=");
        check_expected("Format=1\nElementName= \t\n", 2, "expected a friendly name after ElementName=");
        const char *bad[] = {"a\tb",     "a\033[2J",     "a\x7f",            "\xff",    "a\xc3",
                             "\xc0\x80", "\xed\xa0\x80", "\xf5\x80\x80\x80", "\xc2\x85"};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                snprintf(text, sizeof text, "Format=1\nElementName=%s\n", bad[i]);
                check_expected(text, 2, "expected printable UTF-8 after ElementName=");
        }
        check_string(parse("Format=1\nElementName=\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9\xc2\xa0.\n").name,
                     "\xf0\x9f\x98\x80\xe2\x82\xac\xc3\xa9\xc2\xa0.");
}

TEST(a_program_is_an_absolute_path_of_at_most_1023_bytes) {
        char text[1100] = "Format=1\nElementName=Demo\nExec=/";
        size_t start = strlen(text) - 1;
        memset(text + start + 1, 'x', 1022);
        check_equal(strlen(parse(text).exec), 1023);
        text[start + 1023] = 'x';
        check_expected(text, 3, "expected at most 1023 bytes after Exec=");
        check_expected("Format=1\nElementName=Demo\nExec=cat\n", 3, "expected an absolute path after Exec=");
        check_expected("Format=1\nElementName=Demo\nExec=/bin/\033\n", 3, "expected printable UTF-8 after Exec=");
        check_string(parse("Format=1\nElementName=Demo\nExec=\n").exec, "");
}

TEST(user_and_partition_are_cut_nowhere) {
        char text[400], value[300];
        memset(value, 'u', sizeof value);
        snprintf(text, sizeof text, "Format=1\nElementName=Demo\nUser=%.63s\nPartition=%.255s\nExec=/bin/cat\n", value, value);
        check_equal(strlen(parse(text).exec_user), 63);
        check_equal(strlen(parse(text).exec_partition), 255);
        snprintf(text, sizeof text, "Format=1\nElementName=Demo\nUser=%.64s\n", value);
        check_expected(text, 3, "expected at most 63 bytes after User=");
        snprintf(text, sizeof text, "Format=1\nElementName=Demo\nPartition=%.256s\n", value);
        check_expected(text, 3, "expected at most 255 bytes after Partition=");
}

TEST(a_mistake_in_a_rule_is_told_with_its_line) {
        check_expected("Format=1\nElementName=Demo\nBind=user:mallory\n", 3,
                       "expected a user that exists, not \"user:mallory\"");
        check_expected("Format=1\nElementName=Demo\n\nConnect=nobody vms\n", 4, "expected nobody to stand alone");
        check(parse("Format=1\nElementName=Demo\nBind=\nConnect=default\n").bind.is_default);
}

TEST(lines_may_end_as_windows_ends_them) {
        check_string(parse("Format=1\r\n# a comment\r\n\r\nElementName=Demo\r\n").name, "Demo");
        check_expected("Format=1\nElementName=De\rmo\n", 2, "expected printable UTF-8 after ElementName=");
}

TEST(an_unknown_key_is_noted_with_the_known_one_that_it_may_be) {
        parse("Format=1\nElementName=Demo\nConect=vms\nFuture=1\nENABLED=no\n");
        check_equal(notes.count, 3);
        check_equal(notes.notes[0].line, 3);
        check_string(notes.notes[0].expected, "unknown key \"Conect\"; did you mean \"Connect\"?");
        check_string(notes.notes[1].expected, "unknown key \"Future\"");
        check_string(notes.notes[2].expected, "unknown key \"ENABLED\"; did you mean \"Enabled\"?");
        parse("Format=1\nElementName=Demo\n");
        check_equal(notes.count, 0);
}

TEST(what_is_about_a_program_stands_with_one) {
        static const char head[] = "Format=1\nElementName=Demo\n";
        static const char *const lines[] = {"User=nobody", "Accept=yes", "Partition=web01"};
        for (size_t i = 0; i < 3; i++) {
                char text[120], expected[TEXT_EXPECTED_SIZE];
                snprintf(text, sizeof text, "%s\n%s\nExec=\n", head, lines[i]);
                snprintf(expected, sizeof expected, "expected %.*s= only with Exec=, whose program it is about",
                         (int)strcspn(lines[i], "="), lines[i]);
                check_expected(text, 4, expected);
                snprintf(text, sizeof text, "%sExec=/bin/cat\n%s\n", head, lines[i]);
                parse(text);
        }
        parse("Format=1\nElementName=Demo\nAccept=no\nUser=\nPartition=\n");
        check_expected("Format=1\nElementName=Demo\nWildcardBinds=no\nExec=/bin/cat\n", 3,
                       "expected WildcardBinds=yes with Exec=, whose listener is bound to the wildcard");
}

TEST(a_command_is_words_with_every_quote_closed) {
        static const char expected[] = "expected at most 64 words, each quote closed, after Exec=";
        char text[512] = "Format=1\nElementName=Demo\nExec=/bin/echo";
        check_expected("Format=1\nElementName=Demo\nExec=/bin/echo \"a\n", 3, expected);
        check_expected("Format=1\nElementName=Demo\nExec=/bin/echo 'a\n", 3, expected);
        parse("Format=1\nElementName=Demo\nExec=/bin/echo \"a 'b\" 'c \"d' e\\'\n");
        for (unsigned i = 1; i < 64; i++)
                strcat(text, " x");
        parse(text);
        strcat(text, " x");
        check_expected(text, 3, expected);
}

TEST(a_nul_byte_is_no_text) {
        check_bytes_expected("Format=1\nElementName=De\0mo\n", 26, 2, "expected text, not a NUL byte");
        check_bytes_expected("\0", 1, 1, "expected text, not a NUL byte");
        check_bytes_expected("Format=1\nElementName=Demo\n\0", 27, 3, "expected text, not a NUL byte");
}

TEST(a_file_is_as_long_as_the_limit_and_no_longer) {
        static const char head[] = "Format=1\nElementName=Demo\n#";
        char *text = malloc(SERVICE_FILE_MAX + 1);
        struct service_definition definition;
        struct text_error error;
        memset(text, 'x', SERVICE_FILE_MAX + 1);
        memcpy(text, head, strlen(head));
        check_ok(parse_bytes(text, SERVICE_FILE_MAX, &definition, &error));
        check_equal(parse_bytes(text, SERVICE_FILE_MAX + 1, &definition, &error), -E2BIG);
        check_equal(error.line, 1);
        check_string(error.expected, "expected at most 65536 bytes");
        free(text);
}

static void check_formatted(const struct service_definition *definition, const char *old, const char *expected) {
        char *text;
        check_ok(service_format(definition, old, &text));
        check_string(text, expected);
        struct service_definition again = parse(text);
        check(!memcmp(&again.service_id, &definition->service_id, sizeof(GUID)));
        check_string(again.name, definition->name);
        check_equal(again.enabled, definition->enabled);
        check_equal(again.wildcard_binds, definition->wildcard_binds);
        check_equal(again.bind.count, definition->bind.count);
        check_equal(again.connect.count, definition->connect.count);
        check_string(again.exec, definition->exec);
        check_string(again.exec_user, definition->exec_user);
        check_equal(again.exec_accept, definition->exec_accept);
        check_string(again.exec_partition, definition->exec_partition);
        free(text);
}

TEST(a_new_file_says_only_what_is_not_the_default) {
        struct service_definition definition = service_called("Demo", &SERVICE);
        check_formatted(&definition, NULL, "Format=1\nElementName=Demo\n");
        definition = parse("Format=1\nElementName=Demo\nWildcardBinds=no\n");
        check_formatted(&definition, NULL, "Format=1\nElementName=Demo\nWildcardBinds=no\n");
        definition = parse("Format=1\nElementName=Demo\nEnabled=no\nBind=group:backup\nConnect=vms\n"
                           "Exec=/bin/cat\nUser=nobody\nAccept=yes\nPartition=web01\n");
        check_formatted(&definition, NULL,
                        "Format=1\nElementName=Demo\nEnabled=no\nBind=group:backup\nConnect=vms\n"
                        "Exec=/bin/cat\nUser=nobody\nAccept=yes\nPartition=web01\n");
}

TEST(a_file_written_again_keeps_its_comments_its_order_and_unknown_keys) {
        const char *old = "# Backups, see the wiki.\n"
                          "\n"
                          "Format=1\n"
                          "Future = something \n"
                          "Enabled=yes\n"
                          "; the name\n"
                          " ElementName = Old name\n"
                          "#Enabled=no";
        struct service_definition definition = parse(old);
        strcpy(definition.name, "New name");
        definition.enabled = false;
        definition.wildcard_binds = false;
        check_formatted(&definition, old,
                        "# Backups, see the wiki.\n"
                        "\n"
                        "Format=1\n"
                        "Future = something \n"
                        "Enabled=no\n"
                        "; the name\n"
                        "ElementName=New name\n"
                        "#Enabled=no\n"
                        "WildcardBinds=no\n");
}

TEST(a_key_that_is_back_at_its_default_keeps_its_line) {
        const char *old = "Format=1\nElementName=Demo\nEnabled=no\nBind=vms\nExec=/bin/cat\n";
        struct service_definition definition = service_called("Demo", &SERVICE);
        check_formatted(&definition, old, "Format=1\nElementName=Demo\nEnabled=yes\nBind=default\nExec=\n");
}

TEST(an_empty_file_is_filled) {
        struct service_definition definition = service_called("Demo", &SERVICE);
        check_formatted(&definition, "", "Format=1\nElementName=Demo\n");
        check_formatted(&definition, "# only this\n", "# only this\nFormat=1\nElementName=Demo\n");
}
