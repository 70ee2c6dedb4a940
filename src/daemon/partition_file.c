/* SPDX-License-Identifier: MIT */

/* Partition definitions as text. */

#include "daemon/partition_file.h"
#include "base/guid.h"
#include "daemon/key_file.h"
#include <errno.h>
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

static int parse_key(const struct key_file *file, const char *key, const char *value, struct partition_definition *definition,
                     struct text_error *ret_error) {
        if (!strcmp(key, "Label")) {
                if (!partition_label_is_valid(value))
                        return key_file_wrong(file, ret_error,
                                              "expected 1 to 63 of A-Z a-z 0-9 . _ - and no reserved word after Label=, "
                                              "not \"%.40s\"", value);
                strcpy(definition->label, value);
        } else if (!strcmp(key, "Kind")) {
                int kind = find_word(kinds, sizeof kinds / sizeof kinds[0], value);
                if (kind < 0)
                        return key_file_wrong(file, ret_error, "expected host, vm or container after Kind=, not \"%.40s\"",
                                              value);
                definition->kind = (enum hv_partition_kind)kind;
        } else if (!strcmp(key, "Parent")) {
                if (guid_parse(value, &definition->parent_vm_id) < 0)
                        return key_file_wrong(file, ret_error, "expected a GUID after Parent=, not \"%.40s\"", value);
        } else if (!strcmp(key, "Reach")) {
                int reach = find_word(reaches, sizeof reaches / sizeof reaches[0], value);
                if (reach < 0)
                        return key_file_wrong(file, ret_error, "expected local or vm after Reach=, not \"%.40s\"", value);
                definition->reach = (enum partition_reach)reach;
        } else if (!strcmp(key, "Passthru")) {
                return key_file_boolean(file, key, value, &definition->passthru, ret_error);
        } else if (!strcmp(key, "Siblings")) {
                return key_file_boolean(file, key, value, &definition->sees_siblings, ret_error);
        }
        return 0;
}

int partition_parse(const GUID *vm_id, char *text, size_t length, struct partition_definition *ret,
                    struct text_error *ret_error) {
        struct partition_definition definition = {.vm_id = *vm_id, .reach = REACH_LOCAL};
        struct key_file file;
        const char *key, *value;
        int r = key_file_begin(text, length, &file, ret_error);
        if (r < 0)
                return r;
        while ((r = key_file_next(&file, &key, &value, ret_error)) > 0)
                if ((r = parse_key(&file, key, value, &definition, ret_error)) < 0)
                        return r;
        if (r < 0)
                return r;
        if (!definition.label[0])
                return key_file_wrong(&file, ret_error, "expected a line Label=");
        if (!definition.kind)
                return key_file_wrong(&file, ret_error, "expected a line Kind=");
        if ((definition.kind == HV_PARTITION_HOST) != guid_is_zero(&definition.parent_vm_id))
                return key_file_wrong(&file, ret_error, "expected a line Parent= unless Kind=host");
        *ret = definition;
        return 0;
}

size_t partition_format(const struct partition_definition *definition, char ret_text[PARTITION_TEXT_SIZE]) {
        char parent[HV_GUID_TEXT_SIZE];
        bool has_parent = !guid_is_zero(&definition->parent_vm_id);
        guid_format(&definition->parent_vm_id, parent);
        return (size_t)snprintf(ret_text, PARTITION_TEXT_SIZE,
                                "Format=1\n"
                                "Label=%s\n"
                                "Kind=%s\n"
                                "%s%s%s"
                                "Reach=%s\n"
                                "Passthru=%s\n"
                                "Siblings=%s\n",
                                definition->label, kinds[definition->kind], has_parent ? "Parent=" : "",
                                has_parent ? parent : "", has_parent ? "\n" : "", reaches[definition->reach],
                                definition->passthru ? "yes" : "no", definition->sees_siblings ? "yes" : "no");
}
