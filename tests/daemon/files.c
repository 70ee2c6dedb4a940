/* SPDX-License-Identifier: MIT */

/* Partition definitions and hvsockd.conf: what is read, what is refused, and where it says the mistake is. */

#include "base/guid.h"
#include "daemon/config.h"
#include "daemon/partition_file.h"
#include "test.h"
#include <stdio.h>

#define PARENT_LINE "Parent=11111111-1111-1111-1111-111111111111\n"

static const GUID id = {0x22222222, 0x2222, 0x2222, {0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22, 0x22}};

static struct text_notes notes;

static int parse(const char *text, struct partition_definition *definition, struct text_error *error) {
        return partition_parse(&id, text, strlen(text), definition, error, &notes);
}

static int configure(const char *text, struct quotas *quotas, struct text_error *error) {
        return config_parse(text, strlen(text), quotas, error, &notes);
}

TEST(a_definition_is_read_as_it_was_written) {
        struct partition_definition written = {.vm_id = id,
                                               .parent_vm_id = HV_GUID_LOOPBACK,
                                               .label = "db.main-1_a",
                                               .kind = HV_PARTITION_CONTAINER,
                                               .reach = REACH_LOCAL,
                                               .cid = CID_FIRST,
                                               .passthru = true,
                                               .sees_siblings = true},
                                    read = {};
        struct text_error error;
        char text[PARTITION_TEXT_SIZE];
        check_equal(partition_format(&written, text), strlen(text));
        check_ok(parse(text, &read, &error));
        check(guid_equal(&read.vm_id, &written.vm_id) && guid_equal(&read.parent_vm_id, &written.parent_vm_id));
        check_string(read.label, written.label);
        check(read.kind == written.kind && read.reach == written.reach && read.passthru && read.sees_siblings);
        check_equal(read.cid, CID_FIRST);
        check(!*read.hybrid);
}

TEST(a_vms_cid_and_hybrid_path_are_read_as_they_were_written) {
        struct partition_definition written = {.vm_id = id,
                                               .parent_vm_id = HV_GUID_LOOPBACK,
                                               .kind = HV_PARTITION_VM,
                                               .reach = REACH_VM,
                                               .cid = CID_LAST,
                                               .hybrid = "/run/fc/v sock"},
                                    read = {};
        struct text_error error;
        char text[PARTITION_TEXT_SIZE];
        memset(written.label, 'a', sizeof written.label - 1);
        partition_format(&written, text);
        check_ok(parse(text, &read, &error));
        check_equal(read.reach, REACH_VM);
        check_equal(read.cid, CID_LAST);
        check_string(read.hybrid, written.hybrid);
        snprintf(written.hybrid, sizeof written.hybrid, "/%0*d", (int)sizeof written.hybrid - 2, 0);
        check_equal(partition_format(&written, text), strlen(text));
        check_ok(parse(text, &read, &error));
        check_string(read.hybrid, written.hybrid);
}

TEST(a_host_has_no_parent_and_says_so) {
        struct partition_definition host = {.vm_id = id, .label = "lab", .kind = HV_PARTITION_HOST}, read = {};
        struct text_error error;
        char text[PARTITION_TEXT_SIZE];
        partition_format(&host, text);
        check(!strstr(text, "Parent="));
        check_ok(parse(text, &read, &error));
        check_equal(read.kind, HV_PARTITION_HOST);
}

static void check_note(unsigned index, unsigned line, const char *text) {
        check(index < notes.count);
        check_equal(notes.notes[index].line, line);
        check_string(notes.notes[index].expected, text);
}

TEST(comments_blank_lines_spaces_and_unknown_keys_do_no_harm) {
        struct partition_definition read = {};
        struct text_error error;
        check_ok(parse("# made by hand\n\n; yes\n Format = 1 \r\nLabel=web01\nColour=blue\nKind=vm\n" PARENT_LINE
                       "Reach=vm\nCid=3\nWhat ever=x=y",
                       &read, &error));
        check_string(read.label, "web01");
        check(read.kind == HV_PARTITION_VM && read.reach == REACH_VM && !read.passthru && !read.sees_siblings);
        check_equal(notes.count, 2);
        check_note(0, 6, "unknown key \"Colour\"");
        check_note(1, 11, "unknown key \"What ever\"");
}

TEST(an_unknown_key_that_is_nearly_a_known_one_is_noted_with_it) {
        struct partition_definition read = {};
        struct quotas quotas = QUOTAS_DEFAULT;
        struct text_error error;
        check_ok(parse("Format=1\nLabel=lab\nKind=host\nsibling=yes\nPasstrhu=yes\nLbl=x\nKid=vm\nK=vm\n", &read, &error));
        check(!read.sees_siblings);
        check_equal(notes.count, 5);
        check_note(0, 4, "unknown key \"sibling\"; did you mean \"Siblings\"?");
        check_note(1, 5, "unknown key \"Passtrhu\"; did you mean \"Passthru\"?");
        check_note(2, 6, "unknown key \"Lbl\"");
        check_note(3, 7, "unknown key \"Kid\"; did you mean \"Kind\"?");
        check_note(4, 8, "unknown key \"K\"");
        check_ok(configure("Format=1\nChannelsPerUsers=7\n\033[2J=1\n", &quotas, &error));
        check_note(0, 2, "unknown key \"ChannelsPerUsers\"; did you mean \"ChannelsPerUser\"?");
        check_note(1, 3, "unknown key \"?[2J\"");
}

TEST(as_many_unknown_keys_are_noted_as_there_is_room_for) {
        char text[1024] = "Format=1\n";
        struct quotas quotas = QUOTAS_DEFAULT;
        struct text_error error;
        for (unsigned i = 0; i < TEXT_NOTES_MAX; i++)
                strcat(text, "Other=1\n");
        check_ok(configure(text, &quotas, &error));
        check_equal(notes.count, TEXT_NOTES_MAX);
        strcat(text, "More=1\n");
        check_ok(configure(text, &quotas, &error));
        check_equal(notes.count, TEXT_NOTES_MAX);
        check_note(TEXT_NOTES_MAX - 1, TEXT_NOTES_MAX + 1, "unknown key \"Other\"");
}

static void check_mistake(const char *text, unsigned line, const char *part) {
        struct partition_definition read = {.label = "untouched"};
        struct text_error error = {};
        check_equal(parse(text, &read, &error), -EINVAL);
        check_equal(error.line, line);
        if (!strstr(error.expected, part))
                test_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", error.expected, part);
        check_string(read.label, "untouched");
}

TEST(each_mistake_in_a_definition_is_named_with_its_line) {
        check_mistake("", 1, "Format=1");
        check_mistake("Label=a\nFormat=1\n", 1, "Format=1");
        check_mistake("Format=2\n", 1, "Format=1");
        check_mistake("Format=1\nLabel\n", 2, "Key=value");
        check_mistake("Format=1\n=a\n", 2, "Key=value");
        check_mistake("Format=1\n\nLabel=a b\n", 3, "Label=");
        check_mistake("Format=1\nLabel=parent\n", 2, "reserved");
        check_mistake("Format=1\nLabel=a\nKind=guest\n", 3, "host, vm or container");
        check_mistake("Format=1\nLabel=a\nKind=\n", 3, "host, vm or container");
        check_mistake("Format=1\nLabel=a\nKind=vm\nParent=1111\n", 4, "GUID");
        check_mistake("Format=1\nLabel=a\nKind=vm\n" PARENT_LINE "Reach=far\n", 5, "local or vm");
        check_mistake("Format=1\nLabel=a\nKind=vm\n" PARENT_LINE "Passthru=maybe\n", 5, "yes or no");
        check_mistake("Format=1\nLabel=a\nKind=vm\n" PARENT_LINE "Siblings=yesno\n", 5, "yes or no");
        check_mistake("Format=1\nKind=vm\n" PARENT_LINE, 4, "Label=");
        check_mistake("Format=1\nLabel=a\n" PARENT_LINE, 4, "Kind=");
        check_mistake("Format=1\nLabel=a\nKind=vm\n", 4, "Parent=");
        check_mistake("Format=1\nLabel=a\nKind=host\n" PARENT_LINE, 5, "Parent=");
        check_mistake("Format=1\nLabel=a\nKind=vm\nLabel=b\n", 4, "Label= only once");
}

TEST(a_cid_is_a_number_that_a_guest_can_have) {
        static const char *const wrong[] = {"",   "0",  "1",          "2",         "4294967295", "18446744073709551619",
                                            "-1", "3x", "0x10", "+3"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                char text[256];
                snprintf(text, sizeof text, "Format=1\nLabel=a\nKind=vm\n" PARENT_LINE "Reach=vm\nCid=%s\n", wrong[i]);
                check_mistake(text, 6, "a number from 3 to 4294967294 after Cid=");
        }
        check_mistake("Format=1\nLabel=a\nKind=vm\n" PARENT_LINE "Reach=vm\n", 6, "Cid= with Reach=vm");
        check_mistake("Format=1\nLabel=a\nKind=host\nCid=3\n", 5, "no Cid= with Kind=host, whose CID is 2");
}

TEST(a_vmms_user_has_a_name) {
        char text[512];
        struct partition_definition read = {};
        struct text_error error;
        const char *before = "Format=1\nLabel=a\nKind=vm\n" PARENT_LINE "Reach=vm\nCid=3\nUser=";
        snprintf(text, sizeof text, "%s%032d\n", before, 0);
        check_ok(parse(text, &read, &error));
        check_equal(strlen(read.vmm_user), 32);
        char written[PARTITION_TEXT_SIZE];
        partition_format(&read, written);
        check(strstr(written, "\nUser=00000000000000000000000000000000\n") != NULL);
        snprintf(text, sizeof text, "%s%033d\n", before, 0);
        check_mistake(text, 7, "a user's name");
        snprintf(text, sizeof text, "%s\n", before);
        check_mistake(text, 7, "a user's name");
        check_mistake("Format=1\nLabel=a\nKind=vm\n" PARENT_LINE "User=root\n", 6, "User= only with Reach=vm");
}

TEST(a_hybrid_path_is_absolute_and_leaves_room_for_a_port) {
        char text[512];
        int most = (int)HYBRID_PATH_SIZE - 1;
        struct partition_definition read = {};
        struct text_error error;
        const char *before = "Format=1\nLabel=a\nKind=vm\n" PARENT_LINE "Reach=vm\nCid=3\nHybrid=";
        snprintf(text, sizeof text, "%s/%0*d\n", before, most - 1, 0);
        check_ok(parse(text, &read, &error));
        snprintf(text, sizeof text, "%s/%0*d\n", before, most, 0);
        check_mistake(text, 7, "absolute path of at most 96 bytes");
        snprintf(text, sizeof text, "%sv.sock\n", before);
        check_mistake(text, 7, "absolute path");
        snprintf(text, sizeof text, "%s\n", before);
        check_mistake(text, 7, "absolute path");
        snprintf(text, sizeof text, "%s/\033[m\n", before);
        check_mistake(text, 7, "absolute path");
        check_mistake("Format=1\nLabel=a\nKind=vm\n" PARENT_LINE "Hybrid=/v.sock\n", 6, "Hybrid= and User= only with Reach=vm");
}

TEST(a_label_of_63_characters_is_read_and_one_of_64_is_not) {
        struct partition_definition read = {};
        struct text_error error;
        char text[256];
        snprintf(text, sizeof text, "Format=1\nKind=host\nLabel=%063d\n", 0);
        check_ok(parse(text, &read, &error));
        check_equal(strlen(read.label), 63);
        snprintf(text, sizeof text, "Format=1\nKind=host\nLabel=%064d\n", 0);
        check_mistake(text, 3, "1 to 63");
}

TEST(a_nul_byte_is_no_text) {
        struct partition_definition read;
        struct text_error error;
        char text[] = "Format=1\nLabel=a\0b\nKind=host\n";
        check_equal(partition_parse(&id, text, sizeof text - 1, &read, &error, &notes), -EINVAL);
}

TEST(hvsockd_conf_sets_the_quotas_it_names_and_no_other) {
        struct quotas quotas = QUOTAS_DEFAULT, defaults = QUOTAS_DEFAULT;
        struct text_error error;
        check_ok(configure("Format=1\nListenersPerPartition=1\nListenersPerUser=2\nChannelsPerPartition=3\n"
                           "ChannelsPerUser=4\nChannelsPerListener=5\nClientsPerPartition=1000000\n",
                           &quotas, &error));
        check_equal(quotas.listeners_per_partition, 1);
        check_equal(quotas.listeners_per_user, 2);
        check_equal(quotas.channels_per_partition, 3);
        check_equal(quotas.channels_per_user, 4);
        check_equal(quotas.channels_per_listener, 5);
        check_equal(quotas.clients_per_partition, QUOTA_MAX);
        check_equal(quotas.clients_per_user, defaults.clients_per_user);
}

TEST(a_quota_that_is_no_number_in_range_leaves_all_as_they_were) {
        static const char *const wrong[] = {"", "0", "-1", "1000001", "99999999999999999999999", "12x", "0x10", "1 2"};
        for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
                struct quotas quotas = QUOTAS_DEFAULT, before = quotas;
                struct text_error error;
                char text[128];
                snprintf(text, sizeof text, "Format=1\nChannelsPerUser=7\nListenersPerUser=%s\n", wrong[i]);
                check_equal(configure(text, &quotas, &error), -EINVAL);
                check_equal(error.line, 3);
                check(!memcmp(&quotas, &before, sizeof quotas));
        }
}
