/* SPDX-License-Identifier: MIT */
#include "cli/advice.h"

#include "cli/broker_place.h"
#include <ctype.h>
#include <hvsock.h>
#include <limits.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct verb *current_verb;
static char **current_words;

static char *next_copy(void) {
        static char copies[ADVICE_COPIES][ADVICE_SIZE];
        static unsigned turn;
        return copies[turn++ % ADVICE_COPIES];
}

__attribute__((format(printf, 1, 2))) static const char *advice(const char *format, ...) {
        char *text = next_copy();
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(text, ADVICE_SIZE, format, arguments);
        va_end(arguments);
        return text;
}

static bool is_plain(char byte) {
        return isalnum((unsigned char)byte) || (byte && strchr("_./:=@%+,-", byte));
}

const char *quoted(const char *text) {
        size_t plain = 0;
        while (is_plain(text[plain]))
                plain++;
        if (plain > 0 && !text[plain])
                return advice("%s", text);
        char *copy = next_copy(), *at = copy;
        const char *end = copy + ADVICE_SIZE - 8; /* room for the longest step, the last quote and the NUL */
        *at++ = '\'';
        for (; *text && at < end; text++) {
                if (*text == '\'')
                        at = stpcpy(at, "'\\''");
                else
                        *at++ = *text;
        }
        strcpy(at, "'");
        return copy;
}

void advice_remember(const struct verb *verb, char **words) {
        current_verb = verb;
        current_words = words;
}

const char *advice_again(const char *before, const char *option) {
        char *text = next_copy();
        size_t length = (size_t)snprintf(text, ADVICE_SIZE, "%s%shvsock %s%s%s", before, *before ? " " : "",
                                         current_verb->name, *option ? " " : "", option);
        for (char **word = current_words; *word && length < ADVICE_SIZE; word++)
                length += (size_t)snprintf(text + length, ADVICE_SIZE - length, " %s", quoted(*word));
        return text;
}

const char *advice_help(void) {
        return advice("hvsock %s --help", current_verb->name);
}

const char *advice_in_this_world(const char *command) {
        return strcmp(current_verb->name, "sandbox") == 0 ? advice_help() : command;
}

const char *advice_on_host(const char *command) {
        struct hv_partition self = {.struct_size = sizeof self};
        bool is_child = hv_self(&self) == 0 && self.kind != HV_PARTITION_HOST;
        return is_child && *command ? advice("on the host: %s", command) : command;
}

static bool systemd_starts_it(void) {
        static const char *const units[] = {"/etc/systemd/system/hvsockd.service",
                                            "/usr/local/lib/systemd/system/hvsockd.service",
                                            "/usr/lib/systemd/system/hvsockd.service",
                                            "/lib/systemd/system/hvsockd.service"};
        for (size_t i = 0; i < sizeof units / sizeof *units; i++)
                if (access(units[i], F_OK) == 0)
                        return geteuid() == 0 && access("/run/systemd/system", F_OK) == 0;
        return false;
}

const char *advice_start_broker(int pid) {
        char program[PATH_MAX], ending[32] = "";
        if (systemd_starts_it())
                return "systemctl restart hvsockd";
        const char *runtime = getenv("XDG_RUNTIME_DIR");
        bool lacks_place = geteuid() != 0 && !(runtime && *runtime);
        if (pid > 0)
                snprintf(ending, sizeof ending, "kill -KILL %d; ", pid);
        return advice("%s%s%s &", ending, lacks_place ? "export XDG_RUNTIME_DIR=\"$(mktemp -d)\"; " : "",
                      quoted(broker_program(program)));
}
