/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A verb: one table from which the command line is parsed, --help is printed
 * and the shell's completion is made.
 */

#include "cli/exit_code.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/* What a shell may offer for a word. */
enum offers {
        OFFERS_NOTHING,
        OFFERS_PARTITIONS,
        OFFERS_VMS,
        OFFERS_CONTAINERS,
        OFFERS_ADDRESSES, /* partitions and the words parent, loopback, … */
        OFFERS_SERVICES,
        OFFERS_ADDRESSES_AND_SERVICES,
        OFFERS_FILES,
        OFFERS_COMMAND, /* this word and all after it are a command line */
        OFFERS_SHELLS,
        OFFERS_CARRIERS,
        OFFERS_VMMS,
        OFFERS_VERBS,
};

struct verb_option {
        const char *name;
        char letter;          /* 0: only the long name */
        const char *argument; /* "GUID"; "[SECONDS]" when it may be left out; NULL when it takes none */
        const char *summary;
        enum offers offers; /* for its value; of one that takes none: for the arguments, once it is given */
};

#define VERB_WORDS_MAX 4
#define ARGUMENTS_ANY 1000

struct invocation;

struct verb {
        const char *name;     /* "service add" */
        const char *synopsis; /* what follows the options */
        const char *summary;  /* one line */
        const char *details;  /* more for --help; NULL when the summary says it all */
        const struct verb_option *options; /* the last one has no name; NULL when there are none */
        int arguments_min, arguments_max;
        bool runs_command;    /* options end at the first argument, or at "--" */
        enum offers offers[VERB_WORDS_MAX]; /* the arguments in turn; the last one that is set stands for the rest */
        bool asks_nobody;     /* it needs no broker */
        bool is_hidden;
        int (*run)(const struct invocation *invocation); /* the exit code */
};

extern const struct verb *const verbs[]; /* ends with NULL; in the order of --help */
extern const struct verb_option option_help, option_json;

/* The two rows that most tables end with. */
#define OPTION_JSON {"json", 0, NULL, "print JSON, with the types of io.hvsock"}
#define OPTIONS_END {NULL}

struct given_option {
        const struct verb_option *option;
        const char *value; /* NULL when none was given */
};

struct invocation {
        const struct verb *verb;
        struct given_option *given;
        size_t given_count;
        char **arguments; /* ends with NULL */
        int argument_count;
};

bool is_given(const struct invocation *invocation, const char *option);
/* The last value given, or `otherwise`. */
const char *value_of(const struct invocation *invocation, const char *option, const char *otherwise);
/* The values of an option that can be repeated, in order: *position starts at 0; NULL at the end. */
const char *next_value(const struct invocation *invocation, const char *option, size_t *position);

/* `each` of the arguments on its own, whatever becomes of the others. The exit code of the last that failed. */
int each_argument(const struct invocation *invocation, int (*each)(const char *argument));

bool option_needs_value(const struct verb_option *option); /* its next word is its value */

/* The verb that `words` start with and how many words its name has; NULL when there is none. */
const struct verb *verb_find(char **words, int count, int *ret_words);
bool verb_is_group(const char *word); /* "service": only the first word of names */
int verb_invoke(const struct verb *verb, int count, char **words); /* parses, then runs; words[0] is the verb */

void verb_print_help(const struct verb *verb, FILE *stream);
void print_help(const char *group, FILE *stream); /* all verbs, or those of a group */
