/* SPDX-License-Identifier: MIT */

/* Partition definitions as text. */

#include "daemon/partition_file.h"
#include "base/guid.h"
#include "broker/key_file.h"
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const kinds[] = {
        [HV_PARTITION_HOST] = "host",
        [HV_PARTITION_VM] = "vm",
        [HV_PARTITION_CONTAINER] = "container",
};
static const char *const reaches[] = {[REACH_LOCAL] = "local", [REACH_VM] = "vm"};

static int find_word(const char *const *words, int count, const char *word) {
        for (int i = 0; i < count; i++)
                if (words[i] && !strcmp(words[i], word))
                        return i;
        return -1;
}

static int take_label(const struct key *key, const char *value, void *member, const void *context,
                      char ret_expected[TEXT_EXPECTED_SIZE]) {
        if (!partition_label_is_valid(value))
                return text_expected(ret_expected, "expected 1 to 63 of A-Z a-z 0-9 . _ - and no reserved word after Label=, "
                                                   "not \"%.40s\"", value);
        strcpy(member, value);
        return 0;
}

static int take_kind(const struct key *key, const char *value, void *member, const void *context,
                     char ret_expected[TEXT_EXPECTED_SIZE]) {
        int kind = find_word(kinds, sizeof kinds / sizeof kinds[0], value);
        if (kind < 0)
                return text_expected(ret_expected, "expected host, vm or container after Kind=, not \"%.40s\"", value);
        *(enum hv_partition_kind *)member = (enum hv_partition_kind)kind;
        return 0;
}

static int take_parent(const struct key *key, const char *value, void *member, const void *context,
                       char ret_expected[TEXT_EXPECTED_SIZE]) {
        if (guid_parse(value, member) < 0)
                return text_expected(ret_expected, "expected a GUID after Parent=, not \"%.40s\"", value);
        return 0;
}

static int take_reach(const struct key *key, const char *value, void *member, const void *context,
                      char ret_expected[TEXT_EXPECTED_SIZE]) {
        int reach = find_word(reaches, sizeof reaches / sizeof reaches[0], value);
        if (reach < 0)
                return text_expected(ret_expected, "expected local or vm after Reach=, not \"%.40s\"", value);
        *(enum partition_reach *)member = (enum partition_reach)reach;
        return 0;
}

static int take_cid(const struct key *key, const char *value, void *member, const void *context,
                    char ret_expected[TEXT_EXPECTED_SIZE]) {
        uint64_t cid = 0;
        const char *digit = value;
        while (*digit >= '0' && *digit <= '9' && cid <= CID_LAST)
                cid = cid * 10 + (uint64_t)(*digit++ - '0');
        if (*digit || cid < CID_FIRST || cid > CID_LAST)
                return text_expected(ret_expected, "expected a number from %u to %u after Cid=, not \"%.40s\"",
                                     CID_FIRST, CID_LAST, value);
        *(uint64_t *)member = cid;
        return 0;
}

static int take_hybrid(const struct key *key, const char *value, void *member, const void *context,
                       char ret_expected[TEXT_EXPECTED_SIZE]) {
        if (!hybrid_path_is_valid(value))
                return text_expected(ret_expected, "expected an absolute path of at most %u bytes after Hybrid=, not "
                                                   "\"%.40s\"", HYBRID_PATH_SIZE - 1, value);
        strcpy(member, value);
        return 0;
}

static int take_user(const struct key *key, const char *value, void *member, const void *context,
                     char ret_expected[TEXT_EXPECTED_SIZE]) {
        if (!*value || strlen(value) >= VMM_USER_SIZE || !service_name_is_valid(value))
                return text_expected(ret_expected, "expected a user's name after User=, not \"%.40s\"", value);
        strcpy(member, value);
        return 0;
}

#define MEMBER(member) \
        offsetof(struct partition_definition, member), sizeof((struct partition_definition *)NULL)->member

static const struct key keys[] = {
        KEY_FORMAT,
        {"Label", take_label, MEMBER(label)},
        {"Kind", take_kind, MEMBER(kind)},
        {"Parent", take_parent, MEMBER(parent_vm_id)},
        {"Reach", take_reach, MEMBER(reach)},
        {"Passthru", key_take_switch, MEMBER(passthru)},
        {"Siblings", key_take_switch, MEMBER(sees_siblings)},
        {"Cid", take_cid, MEMBER(cid)},
        {"Hybrid", take_hybrid, MEMBER(hybrid)},
        {"User", take_user, MEMBER(vmm_user)},
};
#define KEY_COUNT (sizeof keys / sizeof *keys)
_Static_assert(KEY_COUNT <= KEYS_MAX, "a key has its line");

int partition_parse(const GUID *vm_id, const char *text, size_t length, struct partition_definition *ret,
                    struct text_error *ret_error, struct text_notes *ret_notes) {
        struct partition_definition definition = {.vm_id = *vm_id, .reach = REACH_LOCAL};
        struct key_lines lines;
        char *expected = ret_error->expected;
        int r = key_file_read(text, length, keys, KEY_COUNT, NULL, &definition, &lines, ret_error, ret_notes);
        if (r < 0)
                return r;
        if (!definition.label[0])
                return text_expected(expected, "expected Label= before the end");
        if (!definition.kind)
                return text_expected(expected, "expected Kind= before the end");
        if ((definition.kind == HV_PARTITION_HOST) != guid_is_zero(&definition.parent_vm_id))
                return text_expected(expected, "expected Parent=, unless Kind=host");
        if (definition.reach == REACH_VM && !definition.cid) /* which its guest was told, and does not change by itself */
                return text_expected(expected, "expected Cid= with Reach=vm");
        if (definition.kind == HV_PARTITION_HOST && definition.cid)
                return text_expected(expected, "expected no Cid= with Kind=host, whose CID is %u", CID_HOST);
        if (definition.reach != REACH_VM && (*definition.hybrid || *definition.vmm_user))
                return text_expected(expected, "expected Hybrid= and User= only with Reach=vm");
        *ret = definition;
        return 0;
}

size_t partition_format(const struct partition_definition *definition, char ret_text[PARTITION_TEXT_SIZE]) {
        char parent[HV_GUID_TEXT_SIZE], cid[32] = "";
        guid_format(&definition->parent_vm_id, parent);
        if (definition->cid)
                snprintf(cid, sizeof cid, "%" PRIu64, definition->cid);
        const struct {
                const char *key, *value;
        } lines[] = {
                {"Format", "1"},
                {"Label", definition->label},
                {"Kind", kinds[definition->kind]},
                {"Parent", guid_is_zero(&definition->parent_vm_id) ? "" : parent},
                {"Reach", reaches[definition->reach]},
                {"Passthru", definition->passthru ? "yes" : "no"},
                {"Siblings", definition->sees_siblings ? "yes" : "no"},
                {"Cid", cid},
                {"Hybrid", definition->hybrid},
                {"User", definition->vmm_user},
        };
        size_t length = 0;
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
                if (*lines[i].value)
                        length += (size_t)snprintf(ret_text + length, PARTITION_TEXT_SIZE - length, "%s=%s\n", lines[i].key,
                                                   lines[i].value);
        return length;
}
