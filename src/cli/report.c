/* SPDX-License-Identifier: MIT */
#include "cli/report.h"

#include "base/utf8.h"
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* Controls (C0, DEL, C1) and what changes the direction of the text around it. */
static bool is_unsafe(uint32_t code_point) {
        return code_point < 0x20 || (code_point >= 0x7f && code_point < 0xa0) || code_point == 0x061c ||
               (code_point >= 0x200e && code_point <= 0x200f) || (code_point >= 0x2028 && code_point <= 0x202e) ||
               (code_point >= 0x2066 && code_point <= 0x2069);
}

const char *printable(const char *text) {
        static char copies[PRINTABLE_COPIES][PRINTABLE_SIZE];
        static unsigned turn;
        char *copy = copies[turn++ % PRINTABLE_COPIES], *at = copy;
        const char *end = copy + PRINTABLE_SIZE - 8; /* room for the longest step: "\NNN", or "..." and the NUL */

        while (*text && at < end) {
                uint32_t code_point = 0;
                size_t length = utf8_decode(text, &code_point);
                if (length > 0 && !is_unsafe(code_point)) {
                        memcpy(at, text, length);
                        at += length;
                } else {
                        length = length ? length : 1;
                        for (size_t i = 0; i < length && at < end; i++)
                                at += sprintf(at, "\\%03o", (unsigned char)text[i]);
                }
                text += length;
        }
        strcpy(at, *text ? "..." : "");
        return copy;
}

int fail(enum exit_code code, const char *what, const char *why, const char *next) {
        fflush(stdout);
        fprintf(stderr, "hvsock: %s: %s\n", printable(what), printable(why));
        if (next && *next)
                fprintf(stderr, "  try: %s\n", printable(next));
        return code;
}

void warn(const char *what, const char *why_format, ...) {
        char why[PRINTABLE_SIZE];
        va_list arguments;
        va_start(arguments, why_format);
        vsnprintf(why, sizeof why, why_format, arguments);
        va_end(arguments);
        fail(EXIT_OK, what, why, NULL);
}

const char *colour(enum colour colour) {
        static int enabled = -1;
        if (enabled < 0) {
                const char *no_colour = getenv("NO_COLOR"), *terminal = getenv("TERM");
                enabled = isatty(STDOUT_FILENO) && !(no_colour && *no_colour) && terminal && strcmp(terminal, "dumb");
        }
        static const char *const sequences[] = {[COLOUR_NONE] = "\033[0m",
                                                [COLOUR_BAD] = "\033[31m",
                                                [COLOUR_GOOD] = "\033[32m",
                                                [COLOUR_NOTE] = "\033[33m"};
        return enabled ? sequences[colour] : "";
}

/* json-c escapes C0 controls; DEL and C1 are as dangerous to a terminal and may be escaped just as well. */
static void write_json(const char *text) {
        while (*text) {
                uint32_t code_point = 0;
                size_t length = utf8_decode(text, &code_point);
                if (length > 0 && code_point != '\n' && is_unsafe(code_point))
                        printf("\\u%04x", code_point);
                else
                        fwrite(text, 1, length ? length : 1, stdout);
                text += length ? length : 1;
        }
}

int finish_output(void) {
        if (fflush(stdout) == 0 && !ferror(stdout))
                return EXIT_OK;
        return fail(EXIT_FAILED, "standard output", strerror(errno), NULL);
}

int print_json(struct json_object *object) {
        write_json(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PRETTY | JSON_C_TO_STRING_SPACED |
                                                                  JSON_C_TO_STRING_NOSLASHESCAPE));
        putchar('\n');
        return finish_output();
}

int print_json_line(struct json_object *object) {
        write_json(json_object_to_json_string_ext(object, JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE));
        putchar('\n');
        return finish_output();
}

struct json_object *field(struct json_object *object, const char *key) {
        struct json_object *value = NULL;
        if (json_object_is_type(object, json_type_object))
                json_object_object_get_ex(object, key, &value);
        return value;
}

const char *field_text(struct json_object *object, const char *key) {
        struct json_object *value = field(object, key);
        return json_object_is_type(value, json_type_string) ? json_object_get_string(value) : "";
}

int64_t field_int(struct json_object *object, const char *key) {
        struct json_object *value = field(object, key);
        return json_object_is_type(value, json_type_int) ? json_object_get_int64(value) : 0;
}

bool field_bool(struct json_object *object, const char *key) {
        struct json_object *value = field(object, key);
        return json_object_is_type(value, json_type_boolean) && json_object_get_boolean(value);
}

size_t field_count(struct json_object *object, const char *key) {
        struct json_object *value = field(object, key);
        return json_object_is_type(value, json_type_array) ? json_object_array_length(value) : 0;
}

struct json_object *field_at(struct json_object *object, const char *key, size_t index) {
        return json_object_array_get_idx(field(object, key), index);
}

void format_age(int64_t since_ms, char ret_text[AGE_SIZE]) {
        struct timespec now;
        clock_gettime(CLOCK_REALTIME, &now);
        long long seconds = now.tv_sec - since_ms / 1000;
        if (seconds < 0)
                seconds = 0;
        if (seconds < 60)
                snprintf(ret_text, AGE_SIZE, "%llds", seconds);
        else if (seconds < 3600)
                snprintf(ret_text, AGE_SIZE, "%lldm", seconds / 60);
        else if (seconds < 86400)
                snprintf(ret_text, AGE_SIZE, "%lldh%02lldm", seconds / 3600, seconds / 60 % 60);
        else
                snprintf(ret_text, AGE_SIZE, "%lldd", seconds / 86400);
}
