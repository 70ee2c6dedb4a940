/* SPDX-License-Identifier: MIT */

/*
 * hvsock completion, and the hidden verb behind it.
 *
 * The shells' scripts know nothing: they hand the words to `hvsock __complete`,
 * which reads the tables that parse the command line, and asks the broker for
 * partitions and services. A first line of ":files" or ":command" tells the
 * shell to offer its own.
 */

#include "cli/management.h"
#include "cli/verb.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void offer(const char *candidate, const char *word) {
        if (strncmp(candidate, word, strlen(word)) == 0)
                printf("%s\n", candidate);
}

/* A name with anything in it that a shell or a terminal could take for something else is not offered. */
static void offer_name(const char *name, const char *word) {
        if (strcmp(printable(name), name) == 0)
                offer(name, word);
}

/* Of partitions only those of `kind`, unless that is NULL. */
static void offer_each(const char *method, const char *list, const char *key, const char *kind, const char *word) {
        struct json_object *reply = NULL;
        management_ask(method, NULL, &reply);
        for (size_t i = 0; i < field_count(reply, list); i++)
                if (!kind || strcmp(field_text(field_at(reply, list, i), "kind"), kind) == 0)
                        offer_name(field_text(field_at(reply, list, i), key), word);
        json_object_put(reply);
}

static void offer_partitions(const char *kind, const char *word) {
        offer_each("ListPartitions", "partitions", "path", kind, word);
}

static void offer_services(const char *word) {
        offer_each("ListServices", "services", "name", NULL, word);
}

static void offer_addresses(const char *word) {
        static const char *const words[] = {"parent", "loopback", "children", "wildcard", "silohost"};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                offer(words[i], word);
        offer_partitions(NULL, word);
}

static void offer_verbs(const char *before, const char *word) {
        size_t length = strlen(before);
        const char *last = "";
        size_t last_length = 0;
        for (size_t i = 0; verbs[i]; i++) {
                const char *name = verbs[i]->name;
                if (verbs[i]->is_hidden || strncmp(name, before, length) != 0 || (length && name[length] != ' '))
                        continue;
                name += length ? length + 1 : 0;
                size_t name_length = strcspn(name, " ");
                if (name_length == last_length && strncmp(name, last, name_length) == 0)
                        continue;
                last = name;
                last_length = name_length;
                if (strncmp(name, word, strlen(word)) == 0)
                        printf("%.*s\n", (int)name_length, name);
        }
}

static void offer_kind(enum offers offers, const char *word) {
        switch (offers) {
        case OFFERS_NOTHING:
                break;
        case OFFERS_PARTITIONS:
                offer_partitions(NULL, word);
                break;
        case OFFERS_VMS:
                offer_partitions("vm", word);
                break;
        case OFFERS_CONTAINERS:
                offer_partitions("container", word);
                break;
        case OFFERS_ADDRESSES:
                offer_addresses(word);
                break;
        case OFFERS_SERVICES:
                offer_services(word);
                break;
        case OFFERS_ADDRESSES_AND_SERVICES:
                offer_addresses(word);
                offer_services(word);
                break;
        case OFFERS_FILES:
                puts(":files");
                break;
        case OFFERS_COMMAND:
                puts(":command");
                break;
        case OFFERS_SHELLS:
                offer("bash", word);
                offer("zsh", word);
                offer("fish", word);
                break;
        case OFFERS_CARRIERS:
                offer("auto", word);
                offer("unix", word);
                offer("shm", word);
                break;
        case OFFERS_VMMS:
                offer("qemu", word);
                offer("cloud-hypervisor", word);
                break;
        case OFFERS_VERBS:
                offer_verbs("", word);
                break;
        }
}

static const struct verb_option *option_of(const struct verb *verb, const char *word) {
        for (const struct verb_option *option = verb->options; option && option->name; option++)
                if ((strncmp(word, "--", 2) == 0 && strcmp(word + 2, option->name) == 0) ||
                    (word[0] == '-' && option->letter && word[1] == option->letter && !word[2]))
                        return option;
        return NULL;
}

static void offer_options(const struct verb *verb, const char *word) {
        char text[80];
        for (const struct verb_option *option = verb->options; option && option->name; option++) {
                snprintf(text, sizeof text, "--%s", option->name);
                offer(text, word);
        }
        offer("--help", word);
}

/* `words` are those after the verb's own; the last is being typed. */
static void complete(const struct verb *verb, char **words, int count) {
        const char *word = words[count - 1];
        int arguments = 0;
        bool options_ended = false;
        enum offers of_option = OFFERS_NOTHING;
        for (int i = 0; i < count - 1; i++) {
                if (!options_ended && strcmp(words[i], "--") == 0) {
                        options_ended = true;
                } else if (!options_ended && words[i][0] == '-' && words[i][1]) {
                        const struct verb_option *option = option_of(verb, words[i]);
                        if (option && option_needs_value(option) && ++i == count - 1) {
                                offer_kind(option->offers, word);
                                return;
                        }
                        if (option && !option->argument && option->offers)
                                of_option = option->offers;
                } else {
                        arguments++;
                        options_ended = options_ended || verb->runs_command;
                }
        }
        if (!options_ended && word[0] == '-') {
                offer_options(verb, word);
                return;
        }
        int last = 0;
        while (last + 1 < VERB_WORDS_MAX && verb->offers[last + 1] != OFFERS_NOTHING)
                last++;
        if (arguments < verb->arguments_max)
                offer_kind(of_option ? of_option : verb->offers[arguments < last ? arguments : last], word);
}

/* The arguments: the index of the word being typed, then the words of the command line. */
static int run_complete(const struct invocation *invocation) {
        int typed = atoi(invocation->arguments[0]);
        char **words = invocation->arguments + 1, empty[] = "", *line[256];
        int count = 0;
        while (count < typed && count < 255 && words[count])
                count++;
        memcpy(line, words, (size_t)count * sizeof *line);
        line[count] = words[count] ? words[count] : empty;
        count++;
        if (count < 2)
                return EXIT_OK;

        int matched;
        const struct verb *verb = verb_find(line + 1, count - 2, &matched);
        if (verb)
                complete(verb, line + 1 + matched, count - 1 - matched);
        else if (count == 2 && line[1][0] == '-')
                printf("--help\n--version\n");
        else if (count == 2)
                offer_verbs("", line[1]);
        else if (count == 3 && verb_is_group(line[1]))
                offer_verbs(line[1], line[2]);
        return finish_output();
}

const struct verb verb_complete = {.name = "__complete",
                                   .synopsis = "INDEX WORD...",
                                   .summary = "what the shells' completion asks",
                                   .arguments_min = 1,
                                   .arguments_max = ARGUMENTS_ANY,
                                   .runs_command = true,
                                   .is_hidden = true,
                                   .run = run_complete};

/*
 * A name with a space in it needs quoting, which readline does for what it believes to be files, whichever quote is
 * open; it would also add a slash to a verb that is the name of a directory here, so it is told so only then.
 * Readline ends a word at each ":" and "=" that is not quoted: "vsock:5" comes as three, is joined, and of what is
 * offered only the part after the last of them is what it has to put in.
 */
static const char bash_script[] =
        "_hvsock() {\n"
        "        local -a offered words=()\n"
        "        local piece word before= joins=\n"
        "        for piece in \"${COMP_WORDS[@]:0:COMP_CWORD+1}\"; do\n"
        "                if [[ ( $joins && $piece || $piece == [:=]* ) && ${#words[@]} -gt 0 ]]; then\n"
        "                        before=${words[-1]}\n"
        "                        words[-1]+=$piece\n"
        "                else\n"
        "                        before=\n"
        "                        words+=(\"$piece\")\n"
        "                fi\n"
        "                joins=\n"
        "                [[ $piece != [:=]* ]] || joins=1 before=${words[-1]}\n"
        "        done\n"
        "        word=${words[-1]#[\\\"\\']}\n"
        "        word=${word//\\\\/}\n"
        "        words[-1]=$word\n"
        "        mapfile -t offered < <(hvsock __complete $((${#words[@]} - 1)) \"${words[@]}\" 2>/dev/null)\n"
        "        COMPREPLY=(\"${offered[@]}\")\n"
        "        case ${offered[*]} in\n"
        "        :files)\n"
        "                compopt -o filenames 2>/dev/null\n"
        "                mapfile -t COMPREPLY < <(compgen -f -- \"$word\") ;;\n"
        "        :command)\n"
        "                mapfile -t COMPREPLY < <(compgen -c -f -- \"$word\") ;;\n"
        "        *)\n"
        "                for word in \"${offered[@]}\"; do\n"
        "                        [[ $word != *[!A-Za-z0-9_./-]* ]] || compopt -o filenames 2>/dev/null\n"
        "                done ;;\n"
        "        esac\n"
        "        COMPREPLY=(\"${COMPREPLY[@]#\"$before\"}\")\n"
        "}\n"
        "complete -F _hvsock hvsock\n";

/* As a file in $fpath it is the body of the function; sourced, it has to register it. */
static const char zsh_script[] =
        "#compdef hvsock\n"
        "_hvsock() {\n"
        "        local -a offered\n"
        "        offered=(${(f)\"$(hvsock __complete $((CURRENT - 1)) \"${(@Q)words[1,CURRENT-1]}\" "
        "\"${(Q)PREFIX}\" 2>/dev/null)\"})\n"
        "        case $offered[1] in\n"
        "        '') return 1 ;;\n"
        "        :files) _files ;;\n"
        "        :command) _command_names; _files ;;\n"
        "        *) compadd -a offered ;;\n"
        "        esac\n"
        "}\n"
        "if [[ $funcstack[1] == _hvsock ]]; then\n"
        "        _hvsock \"$@\"\n"
        "else\n"
        "        (( $+functions[compdef] )) || { autoload -Uz compinit && compinit }\n"
        "        compdef _hvsock hvsock\n"
        "fi\n";

/* fish chooses among what is offered by itself, however it is quoted. */
static const char fish_script[] =
        "function __hvsock_complete\n"
        "        set -l words (commandline -opc)\n"
        "        set -l word (commandline -ct)\n"
        "        string match -q -- '-*' $word; or set word ''\n"
        "        set -l offered (hvsock __complete (count $words) $words $word 2>/dev/null)\n"
        "        switch \"$offered[1]\"\n"
        "                case ':files' ':command'\n"
        "                        __fish_complete_path (commandline -ct)\n"
        "                case '*'\n"
        "                        string join \\n -- $offered\n"
        "        end\n"
        "end\n"
        "complete -c hvsock -f -a '(__hvsock_complete)'\n";

static int run_completion(const struct invocation *invocation) {
        const char *shell = invocation->arguments[0];
        const char *script = strcmp(shell, "bash") == 0 ? bash_script
                           : strcmp(shell, "zsh") == 0  ? zsh_script
                           : strcmp(shell, "fish") == 0 ? fish_script
                                                        : NULL;
        if (!script)
                return fail(EXIT_USAGE, shell, "expected bash, zsh or fish", "hvsock completion bash");
        fputs(script, stdout);
        return finish_output();
}

const struct verb verb_completion = {
        .name = "completion",
        .synopsis = "bash|zsh|fish",
        .summary = "print the completion script of a shell",
        .details = "bash: source <(hvsock completion bash)\n"
                   "zsh:  source <(hvsock completion zsh)\n"
                   "fish: hvsock completion fish | source",
        .arguments_min = 1,
        .arguments_max = 1,
        .offers = {OFFERS_SHELLS},
        .asks_nobody = true,
        .run = run_completion};
