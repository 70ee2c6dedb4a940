/* SPDX-License-Identifier: MIT */

/* The `hvsock` command: finds the verb and runs it. */

#include "cli/report.h"
#include "cli/verb.h"
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int help_on(char **words, int count) {
        int matched;
        const struct verb *verb = count > 0 ? verb_find(words, count, &matched) : NULL;
        if (verb)
                verb_print_help(verb, stdout);
        else if (count == 0)
                print_help(NULL, stdout);
        else if (verb_is_group(words[0]))
                print_help(words[0], stdout);
        else
                return fail(EXIT_USAGE, words[0], "no such verb", "hvsock --help");
        return finish_output();
}

static int run_help(const struct invocation *invocation) {
        return help_on(invocation->arguments, invocation->argument_count);
}

const struct verb verb_help = {.name = "help",
                               .synopsis = "[VERB]",
                               .summary = "say what a verb does",
                               .arguments_max = 2,
                               .offers = {OFFERS_VERBS},
                               .asks_nobody = true,
                               .run = run_help};

int main(int count, char **words) {
        if (!setlocale(LC_CTYPE, "") || MB_CUR_MAX == 1)
                setlocale(LC_CTYPE, "C.UTF-8");
        if (count < 2) {
                print_help(NULL, stderr);
                return EXIT_USAGE;
        }
        char **rest = words + 1;
        int rest_count = count - 1, matched;
        if (strcmp(rest[0], "--help") == 0 || strcmp(rest[0], "-h") == 0)
                return help_on(rest + 1, rest_count - 1);
        if (strcmp(rest[0], "--version") == 0 || strcmp(rest[0], "-V") == 0) {
                puts("hvsock " HVSOCK_VERSION);
                return finish_output();
        }

        const struct verb *verb = verb_find(rest, rest_count, &matched);
        if (verb)
                return verb_invoke(verb, rest_count - matched + 1, rest + matched - 1);
        if (!verb_is_group(rest[0]))
                return fail(EXIT_USAGE, rest[0], "no such verb", "hvsock --help");
        if (rest_count > 1 && (strcmp(rest[1], "--help") == 0 || strcmp(rest[1], "-h") == 0))
                return help_on(rest, 1);
        char next[80];
        snprintf(next, sizeof next, "hvsock %s --help", rest[0]);
        return fail(EXIT_USAGE, rest_count > 1 ? rest[1] : rest[0],
                    rest_count > 1 ? "no such verb" : "say what to do: it has several verbs", next);
}
