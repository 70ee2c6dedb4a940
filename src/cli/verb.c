/* SPDX-License-Identifier: MIT */

/* From the tables: finding a verb, parsing its command line, printing its help. */

#include "cli/verb.h"

#include "base/fd.h"
#include "cli/advice.h"
#include "cli/report.h"
#include <ctype.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 16 /* of one verb */

const struct verb_option option_help = {"help", 'h', NULL, "print this and exit"};

static size_t option_count(const struct verb *verb) {
        size_t count = 0;
        while (verb->options && verb->options[count].name)
                count++;
        return count;
}

static bool argument_is_optional(const struct verb_option *option) {
        return option->argument && option->argument[0] == '[' && option->argument[strlen(option->argument) - 1] == ']';
}

bool option_needs_value(const struct verb_option *option) {
        return option->argument && !argument_is_optional(option);
}

bool is_given(const struct invocation *invocation, const char *option) {
        for (size_t i = 0; i < invocation->given_count; i++)
                if (strcmp(invocation->given[i].option->name, option) == 0)
                        return true;
        return false;
}

const char *next_value(const struct invocation *invocation, const char *option, size_t *position) {
        while (*position < invocation->given_count) {
                const struct given_option *given = &invocation->given[(*position)++];
                if (given->value && strcmp(given->option->name, option) == 0)
                        return given->value;
        }
        return NULL;
}

const char *value_of(const struct invocation *invocation, const char *option, const char *otherwise) {
        size_t position = 0;
        for (const char *value; (value = next_value(invocation, option, &position));)
                otherwise = value;
        return otherwise;
}

int each_argument(const struct invocation *invocation, int (*each)(const char *argument)) {
        int result = EXIT_OK;
        for (int i = 0; i < invocation->argument_count; i++) {
                int r = each(invocation->arguments[i]);
                result = r ? r : result;
        }
        return result;
}

/* "service add" is the words "service", "add". */
static int words_matching(const char *name, char **words, int count) {
        int matched = 0;
        for (;;) {
                size_t length = strcspn(name, " ");
                if (matched == count || strncmp(words[matched], name, length) != 0 || words[matched][length] != 0)
                        return 0;
                matched++;
                if (!name[length])
                        return matched;
                name += length + 1;
        }
}

const struct verb *verb_find(char **words, int count, int *ret_words) {
        for (size_t i = 0; verbs[i]; i++) {
                int matched = words_matching(verbs[i]->name, words, count);
                if (matched > 0) {
                        *ret_words = matched;
                        return verbs[i];
                }
        }
        return NULL;
}

bool verb_is_group(const char *word) {
        size_t length = strlen(word);
        for (size_t i = 0; verbs[i]; i++)
                if (strncmp(verbs[i]->name, word, length) == 0 && verbs[i]->name[length] == ' ')
                        return true;
        return false;
}

static int usage(const char *what, const char *why) {
        return fail(EXIT_USAGE, what, why, advice_help());
}

static int unknown_option(char **words, int letter, bool lacks_argument) {
        char name[] = {'-', (char)letter, 0};
        bool is_long = letter == 0 || letter >= 256;
        return usage(is_long || lacks_argument ? words[optind - 1] : name,
                     lacks_argument ? "needs an argument" : "no such option, or it takes no argument");
}

/* getopt's value for the i-th option is 256 + i, so that options without a letter have one too. */
static int parse(const struct verb *verb, int count, char **words, struct invocation *invocation) {
        struct option long_options[OPTIONS_MAX + 2] = {};
        char letters[OPTIONS_MAX * 3 + 8] = "";
        size_t options = option_count(verb);
        char *at = stpcpy(letters, verb->runs_command ? "+:h" : ":h");
        for (size_t i = 0; i < options; i++) {
                const struct verb_option *option = &verb->options[i];
                int takes = !option->argument               ? no_argument
                            : argument_is_optional(option) ? optional_argument
                                                            : required_argument;
                long_options[i] = (struct option){option->name, takes, NULL, 256 + (int)i};
                if (option->letter)
                        at += sprintf(at, "%c%s", option->letter, &"::"[2 - takes]);
        }
        long_options[options] = (struct option){"help", no_argument, NULL, 'h'};

        opterr = 0;
        for (int found; (found = getopt_long(count, words, letters, long_options, NULL)) != -1;) {
                if (found == 'h') {
                        verb_print_help(verb, stdout);
                        exit(finish_output());
                }
                if (found == '?' || found == ':')
                        return unknown_option(words, optopt, found == ':');
                size_t index = 0;
                while (found >= 256 ? index != (size_t)found - 256 : verb->options[index].letter != found)
                        index++;
                invocation->given[invocation->given_count++] =
                        (struct given_option){.option = &verb->options[index], .value = optarg};
        }
        invocation->arguments = words + optind;
        invocation->argument_count = count - optind;
        if (invocation->argument_count < verb->arguments_min) {
                char expected[128];
                snprintf(expected, sizeof expected, "expected %s", verb->synopsis);
                return usage(verb->name, expected);
        }
        if (invocation->argument_count > verb->arguments_max)
                return usage(words[optind + verb->arguments_max],
                             verb->arguments_max ? "one argument too many; a name with spaces stands in quotes"
                                                 : "one argument too many");
        return EXIT_OK;
}

int verb_invoke(const struct verb *verb, int count, char **words) {
        cleanup(freep) struct given_option *given = calloc((size_t)count + 1, sizeof *given);
        if (!given)
                return fail(EXIT_FAILED, verb->name, "no memory", NULL);
        struct invocation invocation = {.verb = verb, .given = given};
        advice_remember(verb, words + 1);
        int r = parse(verb, count, words, &invocation);
        return r == EXIT_OK ? verb->run(&invocation) : r;
}

static void print_option(const struct verb_option *option, FILE *stream) {
        char left[64], letter[] = {'-', option->letter, ',', ' ', 0};
        const char *argument = option->argument ? option->argument : "";
        snprintf(left, sizeof left, "%s--%s%s%s", option->letter ? letter : "    ", option->name,
                 !*argument ? "" : argument_is_optional(option) ? "[=" : " ",
                 argument_is_optional(option) ? argument + 1 : argument);
        bool is_long = strlen(left) > 26;
        fprintf(stream, "  %-26s%s%*s%s\n", left, is_long ? "\n" : "", is_long ? 29 : 1, "", option->summary);
}

/* Those that `verb` can end with; all of them when it is NULL. */
static void print_exit_codes(const struct verb *verb, FILE *stream) {
        int most = !verb || verb->runs_command ? EXIT_SIGNAL : verb->asks_nobody ? EXIT_USAGE : EXIT_TIMED_OUT;
        fputs("\nExit codes:\n", stream);
#define PRINT_EXIT_CODE(name, code, meaning) \
        if (code <= most)                    \
                fprintf(stream, "  %3d  %s\n", code, meaning);
        EXIT_CODES(PRINT_EXIT_CODE)
}

void verb_print_help(const struct verb *verb, FILE *stream) {
        fprintf(stream, "Usage: hvsock %s [OPTION]...%s%s\n\n%c%s.\n", verb->name, *verb->synopsis ? " " : "",
                verb->synopsis, toupper((unsigned char)verb->summary[0]), verb->summary + 1);
        if (verb->details)
                fprintf(stream, "\n%s\n", verb->details);
        fputs("\nOptions:\n", stream);
        for (size_t i = 0; i < option_count(verb); i++)
                print_option(&verb->options[i], stream);
        print_option(&option_help, stream);
        print_exit_codes(verb, stream);
}

void print_help(const char *group, FILE *stream) {
        size_t length = group ? strlen(group) : 0;
        fprintf(stream, "Usage: hvsock %s%sVERB [OPTION]... [ARGUMENT]...\n\n", group ? group : "", group ? " " : "");
        if (!group)
                fputs("Manage and use Hyper-V sockets: named services between a host, its virtual machines and its\n"
                      "containers.\n\n",
                      stream);
        for (size_t i = 0; verbs[i]; i++) {
                if (verbs[i]->is_hidden || (group && (strncmp(verbs[i]->name, group, length) != 0 ||
                                                      verbs[i]->name[length] != ' ')))
                        continue;
                fprintf(stream, "  %-20s %s\n", verbs[i]->name, verbs[i]->summary);
        }
        if (group)
                return;
        fputs("\nA partition is a name, a path of names (web01/db), a GUID, or one of the words parent, loopback,\n"
              "children, wildcard and silohost. A service is a GUID, its friendly name, or vsock:PORT.\n"
              "`hvsock VERB --help` says more of a verb.\n",
              stream);
        print_exit_codes(NULL, stream);
}
