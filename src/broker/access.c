/* SPDX-License-Identifier: MIT */

/* Who may: principals as text, and the decision. */

#include "base/guid.h"
#include "broker/internal.h"
#include "broker/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
        const char *word;
        enum principal_kind kind;
} words[] = {
        {"everyone", PRINCIPAL_EVERYONE}, {"nobody", PRINCIPAL_NOBODY}, {"host", PRINCIPAL_HOST},
        {"children", PRINCIPAL_CHILDREN}, {"vms", PRINCIPAL_VMS},       {"containers", PRINCIPAL_CONTAINERS},
};

const struct access access_default = {.is_default = true};

static bool is_in_group(const struct caller *caller, uint32_t group) {
        if (group == CALLER_UNMAPPED)
                return false;
        if (caller->gid == group)
                return true;
        for (unsigned i = 0; i < caller->group_count; i++)
                if (caller->groups[i] == group)
                        return true;
        return false;
}

static bool principal_matches(const struct principal *principal, const struct caller *caller) {
        const struct partition *partition = caller->partition;
        bool on_host = partition->kind == HV_PARTITION_HOST;
        switch (principal->kind) {
        case PRINCIPAL_EVERYONE:
                return true;
        case PRINCIPAL_NOBODY:
                return false;
        case PRINCIPAL_USER:
                return on_host && caller->uid == principal->id && caller->uid != CALLER_UNMAPPED;
        case PRINCIPAL_GROUP:
                return on_host && is_in_group(caller, principal->id);
        case PRINCIPAL_HOST:
                return on_host;
        case PRINCIPAL_CHILDREN:
                return !on_host;
        case PRINCIPAL_VMS:
                return partition->kind == HV_PARTITION_VM;
        case PRINCIPAL_CONTAINERS:
                return partition->kind == HV_PARTITION_CONTAINER;
        case PRINCIPAL_PARTITION:
                return guid_equal(&partition->vm_id, &principal->partition);
        }
        return false;
}

bool access_allows(const struct access *access, const struct owner *owner, const struct caller *caller) {
        bool on_host = caller->partition->kind == HV_PARTITION_HOST;
        if (on_host && caller->uid != CALLER_UNMAPPED && (caller->uid == 0 || caller->uid == owner->uid))
                return true;
        if (access->is_default)
                return !on_host || is_in_group(caller, owner->group_hvsock);
        for (unsigned i = 0; i < access->count; i++)
                if (principal_matches(&access->principals[i], caller))
                        return true;
        return false;
}

static int parse_id(enum principal_kind kind, const char *name, principal_lookup lookup, uint32_t *ret_id) {
        char *end;
        errno = 0;
        unsigned long long id = strtoull(name, &end, 10);
        if (*name >= '0' && *name <= '9' && !*end && !errno && id < CALLER_UNMAPPED) {
                *ret_id = (uint32_t)id;
                return 0;
        }
        return *name ? lookup(kind, name, ret_id) : -ENOENT;
}

static int parse_principal(const char *word, principal_lookup lookup, struct principal *ret,
                           char ret_expected[TEXT_EXPECTED_SIZE]) {
        struct principal principal = {};
        strcpy(principal.text, word);
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (!strcmp(word, words[i].word)) {
                        principal.kind = words[i].kind;
                        *ret = principal;
                        return 0;
                }
        int r = -EINVAL;
        if (!strncmp(word, "user:", 5)) {
                principal.kind = PRINCIPAL_USER;
                r = parse_id(PRINCIPAL_USER, word + 5, lookup, &principal.id);
        } else if (!strncmp(word, "group:", 6)) {
                principal.kind = PRINCIPAL_GROUP;
                r = parse_id(PRINCIPAL_GROUP, word + 6, lookup, &principal.id);
        } else if (!strncmp(word, "partition:", 10)) {
                principal.kind = PRINCIPAL_PARTITION;
                r = guid_parse(word + 10, &principal.partition);
        }
        if (r == -ENOENT)
                return text_expected(ret_expected, "expected a %s that exists, not \"%s\"",
                                     principal.kind == PRINCIPAL_USER ? "user" : "group", word);
        if (r)
                return text_expected(ret_expected, "expected everyone, nobody, host, children, vms, containers, "
                                                   "user:NAME, group:NAME or partition:GUID, not \"%.40s\"", word);
        *ret = principal;
        return 0;
}

int access_parse(const char *text, principal_lookup lookup, struct access *ret, char ret_expected[TEXT_EXPECTED_SIZE]) {
        struct access access = {};
        if (!strcmp(text, "default"))
                text = "";
        for (const char *at = text; *(at += strspn(at, " \t"));) {
                char word[sizeof access.principals[0].text];
                size_t length = strcspn(at, " \t");
                if (length >= sizeof word)
                        return text_expected(ret_expected, "expected principals of at most %zu bytes", sizeof word - 1);
                if (access.count == PRINCIPALS_MAX)
                        return text_expected(ret_expected, "expected at most %u principals", PRINCIPALS_MAX);
                memcpy(word, at, length);
                word[length] = 0;
                at += length;
                int r = parse_principal(word, lookup, &access.principals[access.count], ret_expected);
                if (r)
                        return r;
                access.count++;
        }
        for (unsigned i = 0; i < access.count; i++)
                if (access.principals[i].kind == PRINCIPAL_NOBODY && access.count > 1)
                        return text_expected(ret_expected, "expected nobody to stand alone");
        access.is_default = !access.count;
        *ret = access;
        return 0;
}

void access_format(const struct access *access, char *ret_text, size_t size) {
        size_t length = 0;
        snprintf(ret_text, size, "%s", access->is_default ? "default" : "");
        for (unsigned i = 0; i < access->count && length < size; i++)
                length += (size_t)snprintf(ret_text + length, size - length, "%s%s", i ? " " : "",
                                           access->principals[i].text);
}
