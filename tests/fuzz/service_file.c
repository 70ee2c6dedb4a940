/* SPDX-License-Identifier: MIT */

/*
 * Whatever service_parse() accepts, it accepts again as service_format() writes it, anew or over the old text, and
 * it is the same service. Whatever it refuses, it says where and why in printable text, and touches no result.
 */

#include "base/guid.h"
#include "broker/registry.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

static const GUID SERVICE = {0x3c2a8f5e, 0x9f0d, 0x4c49, {0x9b, 0x0e, 0x6f, 0x7a, 0x6b, 0x1d, 0x2e, 0x10}};

static int lookup(enum principal_kind kind, const char *name, uint32_t *ret_id) {
        if (strcmp(name, kind == PRINCIPAL_USER ? "alice" : "wheel"))
                return -ENOENT;
        *ret_id = kind == PRINCIPAL_USER ? 1000 : 10;
        return 0;
}

static void require_same_access(const struct access *a, const struct access *b) {
        require(a->is_default == b->is_default && a->count == b->count && a->count <= PRINCIPALS_MAX);
        for (unsigned i = 0; i < a->count; i++) {
                const struct principal *one = &a->principals[i], *other = &b->principals[i];
                require(one->kind == other->kind && one->id == other->id);
                require(guid_equal(&one->partition, &other->partition) && !strcmp(one->text, other->text));
        }
}

static void require_same(const struct service_definition *a, const struct service_definition *b) {
        require(guid_equal(&a->service_id, &b->service_id) && !strcmp(a->name, b->name));
        require(a->enabled == b->enabled && a->wildcard_binds == b->wildcard_binds);
        require_same_access(&a->bind, &b->bind);
        require_same_access(&a->connect, &b->connect);
        require(!strcmp(a->exec, b->exec) && !strcmp(a->exec_user, b->exec_user));
        require(a->exec_accept == b->exec_accept && !strcmp(a->exec_partition, b->exec_partition));
}

static void check_written(const struct service_definition *definition, const char *old) {
        struct service_definition again;
        struct text_error error;
        struct text_notes notes;
        char *text;
        require(!service_format(definition, old, &text));
        size_t length = strlen(text);
        if (length <= SERVICE_FILE_MAX) {
                require(!service_parse(&SERVICE, text, length, lookup, &again, &error, &notes));
                require_same(definition, &again);
        }
        free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        char *text = malloc(size ? size : 1); /* of its exact size, so that reading beyond it is found */
        require(text);
        memcpy(text, bytes, size);
        struct service_definition before, definition;
        struct text_error error = {};
        struct text_notes notes;
        memset(&before, 0xa5, sizeof before);
        definition = before;
        int r = service_parse(&SERVICE, text, size, lookup, &definition, &error, &notes);
        require(notes.count <= TEXT_NOTES_MAX);
        for (unsigned i = 0; i < notes.count; i++)
                require(notes.notes[i].line && service_name_is_valid(notes.notes[i].expected));
        if (!r) {
                require(*definition.name && service_name_is_valid(definition.name));
                char *old = strndup((const char *)bytes, size);
                require(old);
                check_written(&definition, NULL);
                check_written(&definition, old);
                free(old);
        } else {
                unsigned lines = 1;
                for (size_t i = 0; i < size; i++)
                        lines += bytes[i] == '\n';
                require(error.line >= 1 && error.line <= lines + 1);
                require(*error.expected && service_name_is_valid(error.expected));
                require(!memcmp(&definition, &before, sizeof before));
        }
        free(text);
        return 0;
}
