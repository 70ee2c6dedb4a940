/* SPDX-License-Identifier: MIT */

/*
 * Drop-ins: the text of one service.
 *
 * One `Key=value` a line; blank lines and lines that start with # or ; are
 * comments. The first key is Format=1. Unknown keys are left alone, so that an
 * older broker neither trips over nor loses what a newer one wrote.
 */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum key { KEY_FORMAT, KEY_NAME, KEY_ENABLED, KEY_WILDCARD, KEY_BIND, KEY_CONNECT, KEY_EXEC, KEY_USER, KEY_ACCEPT,
           KEY_PARTITION, KEY_COUNT };

static const char *const key_names[KEY_COUNT] = {
        [KEY_FORMAT] = "Format",   [KEY_NAME] = "ElementName", [KEY_ENABLED] = "Enabled",
        [KEY_WILDCARD] = "WildcardBinds", [KEY_BIND] = "Bind", [KEY_CONNECT] = "Connect",
        [KEY_EXEC] = "Exec",       [KEY_USER] = "User",        [KEY_ACCEPT] = "Accept",
        [KEY_PARTITION] = "Partition",
};

__attribute__((format(printf, 3, 4))) static int expected(struct text_error *error, unsigned line, const char *format, ...) {
        va_list arguments;
        va_start(arguments, format);
        error->line = line;
        vsnprintf(error->expected, sizeof error->expected, format, arguments);
        va_end(arguments);
        return -EINVAL;
}

static enum key key_by_name(const char *name, size_t length) {
        enum key key = 0;
        while (key < KEY_COUNT && (strncmp(key_names[key], name, length) || key_names[key][length]))
                key++;
        return key;
}

/* Printable UTF-8: names reach terminals and logs. */
bool service_name_is_valid(const char *text) {
        const unsigned char *at = (const unsigned char *)text;
        while (*at) {
                unsigned extra = *at < 0x80 ? 0 : *at >= 0xF0 ? 3 : *at >= 0xE0 ? 2 : 1;
                uint32_t point = extra == 0 ? *at : *at & (0x3Fu >> extra);
                if (*at < 0x20 || *at == 0x7F || (*at >= 0x80 && *at < 0xC2) || *at > 0xF4)
                        return false;
                for (unsigned i = 1; i <= extra; i++) {
                        if ((at[i] & 0xC0) != 0x80)
                                return false;
                        point = point << 6 | (at[i] & 0x3Fu);
                }
                static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
                if (point < least[extra] || point > 0x10FFFF || (point >= 0xD800 && point < 0xE000) ||
                    (point >= 0x80 && point < 0xA0))
                        return false;
                at += 1 + extra;
        }
        return true;
}

static int parse_boolean(const char *name, const char *value, unsigned line, bool *ret, struct text_error *error) {
        bool yes = !strcmp(value, "yes");
        if (!yes && strcmp(value, "no"))
                return expected(error, line, "expected yes or no after %s=, not \"%.40s\"", name, value);
        *ret = yes;
        return 0;
}

static int parse_text(const char *name, const char *value, size_t size, unsigned line, char *ret_text,
                      struct text_error *error) {
        if (strlen(value) >= size)
                return expected(error, line, "expected at most %zu bytes after %s=", size - 1, name);
        if (!service_name_is_valid(value))
                return expected(error, line, "expected printable UTF-8 after %s=", name);
        strcpy(ret_text, value);
        return 0;
}

static int parse_value(enum key key, const char *value, unsigned line, principal_lookup lookup,
                       struct service_definition *definition, struct text_error *error) {
        const char *name = key_names[key];
        char why[160];
        int r;
        switch (key) {
        case KEY_FORMAT:
                return strcmp(value, "1") ? expected(error, line, "expected Format=1, not Format=%.40s", value) : 0;
        case KEY_NAME:
                if (!*value)
                        return expected(error, line, "expected a friendly name after ElementName=");
                return parse_text(name, value, sizeof definition->name, line, definition->name, error);
        case KEY_ENABLED:
                return parse_boolean(name, value, line, &definition->enabled, error);
        case KEY_WILDCARD:
                return parse_boolean(name, value, line, &definition->wildcard_binds, error);
        case KEY_ACCEPT:
                return parse_boolean(name, value, line, &definition->exec_accept, error);
        case KEY_BIND:
        case KEY_CONNECT:
                r = access_parse(value, lookup, key == KEY_BIND ? &definition->bind : &definition->connect, why);
                return r ? expected(error, line, "%s", why) : 0;
        case KEY_EXEC:
                if (*value && *value != '/')
                        return expected(error, line, "expected an absolute path after Exec=");
                return parse_text(name, value, sizeof definition->exec, line, definition->exec, error);
        case KEY_USER:
                return parse_text(name, value, sizeof definition->exec_user, line, definition->exec_user, error);
        case KEY_PARTITION:
                return parse_text(name, value, sizeof definition->exec_partition, line, definition->exec_partition, error);
        case KEY_COUNT:
                break;
        }
        return 0;
}

/* Cuts the next line out of `text`, in place. Returns NULL at the end. */
static char *next_line(char **at) {
        char *line = *at;
        if (!line || !*line)
                return NULL;
        char *end = strchr(line, '\n');
        *at = end ? end + 1 : line + strlen(line);
        if (end)
                *end = 0;
        return line;
}

static bool is_comment(const char *line) {
        line += strspn(line, " \t");
        return !*line || *line == '#' || *line == ';';
}

static int parse_lines(char *text, principal_lookup lookup, struct service_definition *definition,
                       struct text_error *error) {
        unsigned seen = 0, number = 0;
        for (char *line; (line = next_line(&text));) {
                number++;
                if (is_comment(line))
                        continue;
                char *equals = strchr(line, '=');
                if (!equals || equals == line)
                        return expected(error, number, "expected Key=value, not \"%.40s\"", line);
                if (strchr(line, '\r'))
                        return expected(error, number, "expected lines that end with a line feed alone");
                enum key key = key_by_name(line, (size_t)(equals - line));
                if (!seen && key != KEY_FORMAT)
                        return expected(error, number, "expected Format=1 as the first key");
                if (key == KEY_COUNT)
                        continue;
                if (seen & 1u << key)
                        return expected(error, number, "expected %s= only once", key_names[key]);
                seen |= 1u << key;
                int r = parse_value(key, equals + 1, number, lookup, definition, error);
                if (r)
                        return r;
        }
        if (!(seen & 1u << KEY_FORMAT))
                return expected(error, number + 1, "expected Format=1 as the first key");
        if (!(seen & 1u << KEY_NAME))
                return expected(error, number + 1, "expected ElementName=");
        return 0;
}

int service_parse(const GUID *service_id, const char *text, size_t length, principal_lookup lookup,
                  struct service_definition *ret, struct text_error *ret_error) {
        struct service_definition definition = {
                .service_id = *service_id,
                .enabled = true,
                .wildcard_binds = true,
                .bind.is_default = true,
                .connect.is_default = true,
        };
        if (length > SERVICE_FILE_MAX) {
                expected(ret_error, 1, "expected at most %u bytes", SERVICE_FILE_MAX);
                return -E2BIG;
        }
        const char *nul = memchr(text, 0, length);
        if (nul) {
                unsigned line = 1;
                for (const char *at = text; at < nul; at++)
                        line += *at == '\n';
                return expected(ret_error, line, "expected text, not a NUL byte");
        }
        char *copy = strndup(text, length);
        if (!copy)
                return -ENOMEM;
        int r = parse_lines(copy, lookup, &definition, ret_error);
        free(copy);
        if (!r)
                *ret = definition;
        return r;
}

/* A key whose value is what it would be without the line is written only when it stood there. */
static bool format_value(enum key key, const struct service_definition *definition, char *ret_text, size_t size) {
        switch (key) {
        case KEY_FORMAT:
                snprintf(ret_text, size, "1");
                return true;
        case KEY_NAME:
                snprintf(ret_text, size, "%s", definition->name);
                return true;
        case KEY_ENABLED:
                snprintf(ret_text, size, "%s", definition->enabled ? "yes" : "no");
                return !definition->enabled;
        case KEY_WILDCARD:
                snprintf(ret_text, size, "%s", definition->wildcard_binds ? "yes" : "no");
                return !definition->wildcard_binds;
        case KEY_BIND:
                access_format(&definition->bind, ret_text, size);
                return !definition->bind.is_default;
        case KEY_CONNECT:
                access_format(&definition->connect, ret_text, size);
                return !definition->connect.is_default;
        case KEY_EXEC:
                snprintf(ret_text, size, "%s", definition->exec);
                return *definition->exec;
        case KEY_USER:
                snprintf(ret_text, size, "%s", definition->exec_user);
                return *definition->exec_user;
        case KEY_ACCEPT:
                snprintf(ret_text, size, "%s", definition->exec_accept ? "yes" : "no");
                return definition->exec_accept;
        case KEY_PARTITION:
                snprintf(ret_text, size, "%s", definition->exec_partition);
                return *definition->exec_partition;
        case KEY_COUNT:
                break;
        }
        return false;
}

int service_format(const struct service_definition *definition, const char *old, char **ret_text) {
        char *text = NULL, *copy = strdup(old ? old : ""), value[2048];
        size_t size = 0;
        unsigned written = 0;
        FILE *out = copy ? open_memstream(&text, &size) : NULL;
        if (!out) {
                free(copy);
                return -ENOMEM;
        }
        char *at = copy;
        for (char *line; (line = next_line(&at));) {
                size_t length = strcspn(line, "=");
                enum key key = is_comment(line) ? KEY_COUNT : key_by_name(line, length);
                if (key == KEY_COUNT) {
                        fprintf(out, "%s\n", line);
                } else if (!(written & 1u << key)) {
                        format_value(key, definition, value, sizeof value);
                        fprintf(out, "%s=%s\n", key_names[key], value);
                        written |= 1u << key;
                }
        }
        for (enum key key = 0; key < KEY_COUNT; key++)
                if (!(written & 1u << key) && format_value(key, definition, value, sizeof value))
                        fprintf(out, "%s=%s\n", key_names[key], value);
        free(copy);
        if (fclose(out)) {
                free(text);
                return -ENOMEM;
        }
        *ret_text = text;
        return 0;
}
