/* SPDX-License-Identifier: MIT */

/* The words of Exec=. */

#include "broker/command.h"

#include <errno.h>
#include <string.h>

int command_split(const char *text, struct command *ret_command) {
        char *to = ret_command->text;
        unsigned count = 0;
        if (strlen(text) >= sizeof ret_command->text)
                return -EINVAL;
        for (;;) {
                text += strspn(text, " \t");
                if (!*text)
                        break;
                if (count == COMMAND_WORDS_MAX)
                        return -EINVAL;
                ret_command->words[count++] = to;
                char quote = 0;
                for (; *text && (quote || !strchr(" \t", *text)); text++) {
                        if (quote ? *text == quote : *text == '"' || *text == '\'') {
                                quote = quote ? 0 : *text;
                        } else {
                                if (*text == '\\' && quote != '\'' && text[1])
                                        text++;
                                *to++ = *text;
                        }
                }
                if (quote)
                        return -EINVAL;
                *to++ = 0;
        }
        ret_command->words[count] = NULL;
        return count && ret_command->words[0][0] == '/' ? 0 : -EINVAL;
}
