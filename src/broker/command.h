/* SPDX-License-Identifier: MIT */
#pragma once

/* The words of Exec=: "" and '' group, \ takes the next character as it is. Pure. */

#include "broker/registry.h"

#define COMMAND_WORDS_MAX 64u

struct command {
        char text[sizeof((struct service_definition *)NULL)->exec];
        char *words[COMMAND_WORDS_MAX + 1]; /* in `text`; NULL at the end. The first is an absolute path */
};

/* -EINVAL when it is none. *ret_command may not be moved afterwards. */
int command_split(const char *text, struct command *ret_command);
