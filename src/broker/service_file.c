/* SPDX-License-Identifier: MIT */

/*
 * Drop-ins: the text of one service, in Key=value lines. Unknown keys are left
 * alone, so that an older broker neither trips over nor loses what a newer one
 * wrote.
 */

#include "base/guid.h"
#include "broker/command.h"
#include "broker/key_file.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMBER(member) \
        offsetof(struct service_definition, member), sizeof((struct service_definition *)NULL)->member

static int take_text(const struct key *key, const char *value, void *member, const void *context,
                     char ret_expected[TEXT_EXPECTED_SIZE]) {
        if (strlen(value) >= key->size)
                return text_expected(ret_expected, "expected at most %zu bytes after %s=", key->size - 1, key->name);
        if (!service_name_is_valid(value))
                return text_expected(ret_expected, "expected printable UTF-8 after %s=", key->name);
        strcpy(member, value);
        return 0;
}

static int take_name(const struct key *key, const char *value, void *member, const void *context,
                     char ret_expected[TEXT_EXPECTED_SIZE]) {
        if (!*value)
                return text_expected(ret_expected, "expected a friendly name after %s=", key->name);
        return take_text(key, value, member, context, ret_expected);
}

static int take_access(const struct key *key, const char *value, void *member, const void *context,
                       char ret_expected[TEXT_EXPECTED_SIZE]) {
        const principal_lookup *lookup = context;
        return access_parse(value, *lookup, member, ret_expected);
}

static int take_command(const struct key *key, const char *value, void *member, const void *context,
                        char ret_expected[TEXT_EXPECTED_SIZE]) {
        struct command command;
        if (*value && *value != '/')
                return text_expected(ret_expected, "expected an absolute path after %s=", key->name);
        int r = take_text(key, value, member, context, ret_expected);
        if (!r && *value && command_split(value, &command) < 0)
                return text_expected(ret_expected, "expected at most %u words, each quote closed, after %s=",
                                     COMMAND_WORDS_MAX, key->name);
        return r;
}

enum { FORMAT, ELEMENT_NAME, ENABLED, WILDCARD_BINDS, BIND, CONNECT, EXEC, USER, ACCEPT, PARTITION, KEY_COUNT };

static const struct key keys[] = {
        [FORMAT] = KEY_FORMAT,
        [ELEMENT_NAME] = {"ElementName", take_name, MEMBER(name)},
        [ENABLED] = {"Enabled", key_take_switch, MEMBER(enabled)},
        [WILDCARD_BINDS] = {"WildcardBinds", key_take_switch, MEMBER(wildcard_binds)},
        [BIND] = {"Bind", take_access, MEMBER(bind)},
        [CONNECT] = {"Connect", take_access, MEMBER(connect)},
        [EXEC] = {"Exec", take_command, MEMBER(exec)},
        [USER] = {"User", take_text, MEMBER(exec_user)},
        [ACCEPT] = {"Accept", key_take_switch, MEMBER(exec_accept)},
        [PARTITION] = {"Partition", take_text, MEMBER(exec_partition)},
};
_Static_assert(KEY_COUNT <= KEYS_MAX, "a key has its line");

/* Every definition starts as this: what a file need not say. */
static const struct service_definition defaults = {
        .enabled = true,
        .wildcard_binds = true,
        .bind.is_default = true,
        .connect.is_default = true,
};

/* What each key says may be right, and all of them together not. */
static int check_whole(const struct service_definition *definition, const struct key_lines *lines,
                       struct text_error *error) {
        bool has_exec = *definition->exec;
        const struct {
                bool is_wrong;
                int key;
        } without_exec[] = {
                {!has_exec && *definition->exec_user, USER},
                {!has_exec && definition->exec_accept, ACCEPT},
                {!has_exec && *definition->exec_partition, PARTITION},
        };
        error->line = lines->after_last;
        if (!*definition->name)
                return text_expected(error->expected, "expected ElementName= before the end");
        for (size_t i = 0; i < sizeof without_exec / sizeof *without_exec; i++) {
                if (!without_exec[i].is_wrong)
                        continue;
                error->line = lines->of[without_exec[i].key];
                return text_expected(error->expected, "expected %s= only with Exec=, whose program it is about",
                                     keys[without_exec[i].key].name);
        }
        error->line = lines->of[WILDCARD_BINDS];
        if (has_exec && !definition->wildcard_binds)
                return text_expected(error->expected, "expected WildcardBinds=yes with Exec=, whose listener is bound to "
                                                      "the wildcard");
        return 0;
}

int service_parse(const GUID *service_id, const char *text, size_t length, principal_lookup lookup,
                  struct service_definition *ret, struct text_error *ret_error, struct text_notes *ret_notes) {
        struct service_definition definition = defaults;
        struct key_lines lines;
        definition.service_id = *service_id;
        if (length > SERVICE_FILE_MAX) {
                ret_error->line = 1;
                ret_notes->count = 0;
                (void)text_expected(ret_error->expected, "expected at most %u bytes", SERVICE_FILE_MAX);
                return -E2BIG;
        }
        int r = key_file_read(text, length, keys, KEY_COUNT, &lookup, &definition, &lines, ret_error, ret_notes);
        if (!r)
                r = check_whole(&definition, &lines, ret_error);
        if (!r)
                *ret = definition;
        return r;
}

/* A value that is what it would be without its line is written only where the line stood before. */
static bool format_value(size_t key, const struct service_definition *definition, char *ret_text, size_t size) {
        const void *member = (const char *)definition + keys[key].offset;
        switch (key) {
        case FORMAT:
                snprintf(ret_text, size, "1");
                return true;
        case ENABLED:
        case WILDCARD_BINDS:
        case ACCEPT:
                snprintf(ret_text, size, "%s", *(const bool *)member ? "yes" : "no");
                return *(const bool *)member != *(const bool *)((const char *)&defaults + keys[key].offset);
        case BIND:
        case CONNECT:
                access_format(member, ret_text, size);
                return !((const struct access *)member)->is_default;
        default:
                snprintf(ret_text, size, "%s", (const char *)member);
                return *ret_text;
        }
}

int service_format(const struct service_definition *definition, const char *old, char **ret_text) {
        char *text = NULL, *copy = strdup(old ? old : "");
        char value[PRINCIPALS_MAX * sizeof((struct principal *)NULL)->text];
        size_t size = 0;
        unsigned written = 0;
        FILE *out = copy ? open_memstream(&text, &size) : NULL;
        if (!out) {
                free(copy);
                return -ENOMEM;
        }
        char *at = copy;
        for (char *line; (line = text_next_line(&at));) {
                size_t key = key_of_line(keys, KEY_COUNT, line);
                if (key == KEY_COUNT) {
                        fprintf(out, "%s\n", line);
                } else if (!(written & 1u << key)) {
                        format_value(key, definition, value, sizeof value);
                        fprintf(out, "%s=%s\n", keys[key].name, value);
                        written |= 1u << key;
                }
        }
        for (size_t key = 0; key < KEY_COUNT; key++)
                if (!(written & 1u << key) && format_value(key, definition, value, sizeof value))
                        fprintf(out, "%s=%s\n", keys[key].name, value);
        free(copy);
        if (fclose(out)) {
                free(text);
                return -ENOMEM;
        }
        *ret_text = text;
        return 0;
}
