/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Inside `hvsock sandbox`: sandbox.c waits and passes signals on; its keeper
 * (sandbox_keeper.c) holds everything that must go away; sandbox_broker.c
 * starts the broker; sandbox_remove.c takes the directory away.
 */

#include "cli/verb.h"
#include <limits.h>
#include <signal.h>
#include <sys/types.h>

struct sandbox {
        const struct invocation *invocation;
        sigset_t old_mask;         /* what the command and the broker get */
        int control_fd;            /* the keeper's end of the line to the waiting process */
        char directory[PATH_MAX];
        pid_t keeper;
        pid_t broker, command;     /* 0 while not running */
};

/* One message a signal to pass on; the keeper's first message is its directory. */
int sandbox_keep(struct sandbox *sandbox); /* the keeper: the exit code */
int sandbox_start_broker(struct sandbox *sandbox); /* ready when it returns. An exit code; told */
void sandbox_remove(const char *directory); /* all of it, as far as it can be removed */

/* In a child about to exec: dies with the keeper, gets the old signal mask. */
void sandbox_prepare_child(const struct sandbox *sandbox);
