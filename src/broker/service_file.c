/* SPDX-License-Identifier: MIT */

/*
 * Drop-ins: the text of one service.
 *
 * One `Key=value` a line; blank lines and lines that start with # or ; are
 * comments; blanks around a key or a value do not count. The first key is
 * Format=1. Unknown keys are left alone, so that an older broker neither trips
 * over nor loses what a newer one wrote.
 */

#include "base/guid.h"
#include "broker/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum type { TYPE_FORMAT, TYPE_NAME, TYPE_SWITCH, TYPE_ACCESS, TYPE_COMMAND, TYPE_TEXT };

struct key {
        const char *name;
        enum type type;
        size_t offset, size; /* of the member of struct service_definition */
};

#define MEMBER(member) \
        offsetof(struct service_definition, member), sizeof((struct service_definition *)NULL)->member

static const struct key keys[] = {
        {"Format", TYPE_FORMAT, 0, 0},
        {"ElementName", TYPE_NAME, MEMBER(name)},
        {"Enabled", TYPE_SWITCH, MEMBER(enabled)},
        {"WildcardBinds", TYPE_SWITCH, MEMBER(wildcard_binds)},
        {"Bind", TYPE_ACCESS, MEMBER(bind)},
        {"Connect", TYPE_ACCESS, MEMBER(connect)},
        {"Exec", TYPE_COMMAND, MEMBER(exec)},
        {"User", TYPE_TEXT, MEMBER(exec_user)},
        {"Accept", TYPE_SWITCH, MEMBER(exec_accept)},
        {"Partition", TYPE_TEXT, MEMBER(exec_partition)},
};
#define KEY_COUNT (sizeof keys / sizeof *keys)

#define BLANKS " \t"

/* Every definition starts as this: what a file need not say. */
static const struct service_definition defaults = {
        .enabled = true,
        .wildcard_binds = true,
        .bind.is_default = true,
        .connect.is_default = true,
};

/* The key before `equals`; KEY_COUNT when it is unknown. */
static size_t key_of_line(const char *line, const char *equals) {
        line += strspn(line, BLANKS);
        while (equals > line && strchr(BLANKS, equals[-1]))
                equals--;
        size_t key = 0, length = (size_t)(equals - line);
        while (key < KEY_COUNT && (strlen(keys[key].name) != length || memcmp(keys[key].name, line, length)))
                key++;
        return key;
}

static int parse_text(const struct key *key, const char *value, char *ret_text, char ret_expected[TEXT_EXPECTED_SIZE]) {
        if (strlen(value) >= key->size)
                return text_expected(ret_expected, "expected at most %zu bytes after %s=", key->size - 1, key->name);
        if (!service_name_is_valid(value))
                return text_expected(ret_expected, "expected printable UTF-8 after %s=", key->name);
        strcpy(ret_text, value);
        return 0;
}

static int parse_value(const struct key *key, const char *value, principal_lookup lookup,
                       struct service_definition *definition, char ret_expected[TEXT_EXPECTED_SIZE]) {
        void *member = (char *)definition + key->offset;
        switch (key->type) {
        case TYPE_FORMAT:
                if (strcmp(value, "1"))
                        return text_expected(ret_expected, "expected Format=1, not Format=%.40s", value);
                return 0;
        case TYPE_SWITCH:
                if (strcmp(value, "yes") && strcmp(value, "no"))
                        return text_expected(ret_expected, "expected yes or no after %s=, not \"%.40s\"", key->name,
                                             value);
                *(bool *)member = *value == 'y';
                return 0;
        case TYPE_ACCESS:
                return access_parse(value, lookup, member, ret_expected);
        case TYPE_NAME:
                if (!*value)
                        return text_expected(ret_expected, "expected a friendly name after %s=", key->name);
                return parse_text(key, value, member, ret_expected);
        case TYPE_COMMAND:
                if (*value && *value != '/')
                        return text_expected(ret_expected, "expected an absolute path after %s=", key->name);
                return parse_text(key, value, member, ret_expected);
        case TYPE_TEXT:
                return parse_text(key, value, member, ret_expected);
        }
        return -EINVAL;
}

static char *trim(char *text) {
        text += strspn(text, BLANKS);
        size_t length = strlen(text);
        while (length && strchr(BLANKS, text[length - 1]))
                length--;
        text[length] = 0;
        return text;
}

static bool is_comment(const char *line) {
        line += strspn(line, BLANKS);
        return !*line || *line == '#' || *line == ';';
}

static int parse_lines(char *text, principal_lookup lookup, struct service_definition *definition,
                       struct text_error *error) {
        unsigned seen = 0;
        error->line = 1;
        for (char *line; (line = text_next_line(&text)); error->line++) {
                if (is_comment(line))
                        continue;
                if (strchr(line, '\r'))
                        return text_expected(error->expected, "expected lines that end with a line feed alone");
                char *equals = strchr(line, '=');
                if (!equals || equals == line + strspn(line, BLANKS))
                        return text_expected(error->expected, "expected Key=value, not \"%.60s\"", line);
                size_t key = key_of_line(line, equals);
                if (!seen && key != 0)
                        break;
                if (key == KEY_COUNT)
                        continue;
                if (seen & 1u << key)
                        return text_expected(error->expected, "expected %s= only once", keys[key].name);
                seen |= 1u << key;
                int r = parse_value(&keys[key], trim(equals + 1), lookup, definition, error->expected);
                if (r)
                        return r;
        }
        if (!seen)
                return text_expected(error->expected, "expected Format=1 as the first key");
        if (!*definition->name)
                return text_expected(error->expected, "expected ElementName= before the end");
        return 0;
}

int service_parse(const GUID *service_id, const char *text, size_t length, principal_lookup lookup,
                  struct service_definition *ret, struct text_error *ret_error) {
        struct service_definition definition = defaults;
        ret_error->line = 1;
        if (length > SERVICE_FILE_MAX) {
                text_expected(ret_error->expected, "expected at most %u bytes", SERVICE_FILE_MAX);
                return -E2BIG;
        }
        const char *nul = memchr(text, 0, length);
        if (nul) {
                ret_error->line = text_line_of(text, nul);
                return text_expected(ret_error->expected, "expected text, not a NUL byte");
        }
        char *copy = strndup(text, length);
        if (!copy)
                return -ENOMEM;
        definition.service_id = *service_id;
        int r = parse_lines(copy, lookup, &definition, ret_error);
        free(copy);
        if (!r)
                *ret = definition;
        return r;
}

/* A value that is what it would be without its line is written only where the line stood before. */
static bool format_value(const struct key *key, const struct service_definition *definition, char *ret_text,
                         size_t size) {
        const void *member = (const char *)definition + key->offset;
        switch (key->type) {
        case TYPE_FORMAT:
                snprintf(ret_text, size, "1");
                return true;
        case TYPE_SWITCH:
                snprintf(ret_text, size, "%s", *(const bool *)member ? "yes" : "no");
                return *(const bool *)member != *(const bool *)((const char *)&defaults + key->offset);
        case TYPE_ACCESS:
                access_format(member, ret_text, size);
                return !((const struct access *)member)->is_default;
        case TYPE_NAME:
        case TYPE_COMMAND:
        case TYPE_TEXT:
                snprintf(ret_text, size, "%s", (const char *)member);
                return *ret_text;
        }
        return false;
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
                const char *equals = strchr(line, '=');
                size_t key = equals ? key_of_line(line, equals) : KEY_COUNT;
                if (key == KEY_COUNT) {
                        fprintf(out, "%s\n", line);
                } else if (!(written & 1u << key)) {
                        format_value(&keys[key], definition, value, sizeof value);
                        fprintf(out, "%s=%s\n", keys[key].name, value);
                        written |= 1u << key;
                }
        }
        for (size_t key = 0; key < KEY_COUNT; key++)
                if (!(written & 1u << key) && format_value(&keys[key], definition, value, sizeof value))
                        fprintf(out, "%s=%s\n", keys[key].name, value);
        free(copy);
        if (fclose(out)) {
                free(text);
                return -ENOMEM;
        }
        *ret_text = text;
        return 0;
}
