/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Starting a service's program: a session of its own, default signals, no
 * descriptor but those given, the service's user, a clean environment.
 */

#include "daemon/world.h"

#define SPAWN_EXIT_EXEC 203  /* exit codes as systemd's: the program cannot be executed */
#define SPAWN_EXIT_USER 217  /* its user cannot be assumed */

struct spawn {
        const char *command;     /* for command_split() */
        const char *user;        /* "" for the broker's own */
        int connection_fd;       /* standard input and output, or -1 for /dev/null */
        int listen_fd;           /* becomes descriptor 3 with LISTEN_FDS=1, or -1 */
        const char *listen_name; /* LISTEN_FDNAMES */
        const char *const *environment; /* what else: NAME=value, ending in NULL */
        uint64_t descriptor_limit;
};

/* -EINVAL command, -ENOENT user, -EPERM a user that only root could assume, or fork's errors. */
int spawn(const struct spawn *spawn, pid_t *ret_pid);
