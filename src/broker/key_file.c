/* SPDX-License-Identifier: MIT */

/* Files of Key=value lines. */

#include "broker/key_file.h"

#include "base/guid.h"

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BLANKS " \t\r"
#define KEY_LENGTH_MAX 32u /* of a misspelt key for which a known one is suggested */
#define MISSPELT_MAX 2u    /* letters that are wrong, missing, too many or swapped */

int key_take_format(const struct key *key, const char *value, void *member, const void *context,
                    char ret_expected[TEXT_EXPECTED_SIZE]) {
        return strcmp(value, "1") ? text_expected(ret_expected, "expected Format=1, not Format=%.40s", value) : 0;
}

int key_take_switch(const struct key *key, const char *value, void *member, const void *context,
                    char ret_expected[TEXT_EXPECTED_SIZE]) {
        if (strcmp(value, "yes") && strcmp(value, "no"))
                return text_expected(ret_expected, "expected yes or no after %s=, not \"%.40s\"", key->name, value);
        *(bool *)member = *value == 'y';
        return 0;
}

bool key_file_is_named_so(const char *file_name) {
        const char *dot = strrchr(file_name, '.');
        return file_name[0] != '.' && dot && !strcmp(dot, ".conf");
}

int key_file_guid(const char *file_name, GUID *ret_guid) {
        char stem[HV_GUID_TEXT_SIZE];
        if (!key_file_is_named_so(file_name) || strlen(file_name) != sizeof stem - 1 + strlen(".conf"))
                return -EINVAL;
        memcpy(stem, file_name, sizeof stem - 1);
        stem[sizeof stem - 1] = 0;
        return guid_parse(stem, ret_guid);
}

static char *trim(char *text) {
        text += strspn(text, BLANKS);
        size_t length = strlen(text);
        while (length && strchr(BLANKS, text[length - 1]))
                length--;
        text[length] = 0;
        return text;
}

static size_t find(const struct key *keys, size_t count, const char *name, size_t length) {
        size_t key = 0;
        while (key < count && (strlen(keys[key].name) != length || memcmp(keys[key].name, name, length)))
                key++;
        return key;
}

size_t key_of_line(const struct key *keys, size_t count, const char *line) {
        line += strspn(line, BLANKS);
        const char *end = strchr(line, '=');
        if (!end)
                return count;
        while (end > line && strchr(BLANKS, end[-1]))
                end--;
        return find(keys, count, line, (size_t)(end - line));
}

/* The least number of letters to change, add, remove or swap with their neighbour, capitals aside. */
static unsigned distance(const char *a, const char *b) {
        unsigned rows[3][KEY_LENGTH_MAX + 1], *before = rows[0], *above = rows[1], *row = rows[2];
        size_t width = strlen(b);
        for (size_t j = 0; j <= width; j++)
                row[j] = (unsigned)j;
        for (size_t i = 1; a[i - 1]; i++) {
                unsigned *spare = before;
                before = above, above = row, row = spare;
                row[0] = (unsigned)i;
                for (size_t j = 1; j <= width; j++) {
                        unsigned least = above[j - 1] + (strncasecmp(&a[i - 1], &b[j - 1], 1) != 0);
                        if (above[j] + 1 < least)
                                least = above[j] + 1;
                        if (row[j - 1] + 1 < least)
                                least = row[j - 1] + 1;
                        if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && before[j - 2] + 1 < least)
                                least = before[j - 2] + 1;
                        row[j] = least;
                }
        }
        return row[width];
}

static void note_unknown(const struct key *keys, size_t count, const char *name, unsigned line,
                         struct text_notes *notes) {
        const char *nearest = NULL;
        unsigned least = MISSPELT_MAX + 1;
        if (notes->count == TEXT_NOTES_MAX)
                return;
        for (size_t key = 0; key < count && strlen(name) <= KEY_LENGTH_MAX; key++) {
                unsigned changes = distance(name, keys[key].name);
                if (changes < least && changes < strlen(keys[key].name) / 2) {
                        least = changes;
                        nearest = keys[key].name;
                }
        }
        struct text_error *note = &notes->notes[notes->count++];
        note->line = line;
        if (nearest)
                (void)text_expected(note->expected, "unknown key \"%.60s\"; did you mean \"%s\"?", name, nearest);
        else
                (void)text_expected(note->expected, "unknown key \"%.60s\"", name);
}

static int read_line(char *line, const struct key *keys, size_t count, const void *context, void *target,
                     struct key_lines *lines, struct text_error *error, struct text_notes *notes) {
        line = trim(line);
        if (!*line || *line == '#' || *line == ';')
                return 0;
        char *equals = strchr(line, '=');
        if (!equals || equals == line)
                return text_expected(error->expected, "expected Key=value, not \"%.60s\"", line);
        *equals = 0;
        char *name = trim(line), *value = trim(equals + 1);
        size_t key = find(keys, count, name, strlen(name));
        if (!lines->of[0] && key != 0)
                return text_expected(error->expected, "expected Format=1 as the first key");
        if (key == count) {
                note_unknown(keys, count, name, error->line, notes);
                return 0;
        }
        if (lines->of[key])
                return text_expected(error->expected, "expected %s= only once", name);
        lines->of[key] = error->line;
        return keys[key].take(&keys[key], value, (char *)target + keys[key].offset, context, error->expected);
}

int key_file_read(const char *text, size_t length, const struct key *keys, size_t count, const void *context,
                  void *target, struct key_lines *ret_lines, struct text_error *ret_error,
                  struct text_notes *ret_notes) {
        *ret_lines = (struct key_lines){};
        ret_notes->count = 0;
        const char *nul = memchr(text, 0, length);
        if (nul) {
                ret_error->line = text_line_of(text, nul);
                return text_expected(ret_error->expected, "expected text, not a NUL byte");
        }
        char *copy = strndup(text, length), *at = copy;
        int r = copy ? 0 : -ENOMEM;
        ret_error->line = 1;
        for (char *line; !r && (line = text_next_line(&at)); ret_error->line += !r)
                r = read_line(line, keys, count, context, target, ret_lines, ret_error, ret_notes);
        if (!r && !ret_lines->of[0])
                r = text_expected(ret_error->expected, "expected Format=1 as the first key");
        ret_lines->after_last = ret_error->line;
        free(copy);
        return r;
}
