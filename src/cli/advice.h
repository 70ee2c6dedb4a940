/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The next command to type: what a shell takes as it stands. Each text is
 * valid until ADVICE_COPIES further calls.
 */

#include "cli/verb.h"

#define ADVICE_COPIES 8
#define ADVICE_SIZE 1024

/* One word of a shell, in quotes where it needs them. */
const char *quoted(const char *text);

/* The command line that is being obeyed: `words` are those after the verb's own, and stay the caller's. */
void advice_remember(const struct verb *verb, char **words);
/* "BEFORE hvsock VERB OPTION WORD...": the same again. Both may be "". */
const char *advice_again(const char *before, const char *option);
/* "hvsock VERB --help" of the verb that is being obeyed. */
const char *advice_help(void);
/* `command`, or the verb's help where the world is gone by the time that it could be typed: a sandbox that fails. */
const char *advice_in_this_world(const char *command);
/* `command`, which takes the host's management interface, seen from a partition that may not be the host. */
const char *advice_on_host(const char *command);
/* How a broker is started here. `pid` is one that has to end first, 0 for none. */
const char *advice_start_broker(int pid);
