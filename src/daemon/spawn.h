/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Starting a service's program: a session of its own, default signals, no
 * descriptor but those given, the service's user, a clean environment.
 */

#include "daemon/world.h"

struct spawn {
        const char *command;     /* for command_split() */
        const char *user;        /* "" for the broker's own */
        int connection_fd;       /* standard input and output, or -1 for /dev/null */
        int listen_fd;           /* becomes descriptor 3 with LISTEN_FDS=1, or -1 */
        const char *listen_name; /* LISTEN_FDNAMES */
        const char *const *environment; /* what else: NAME=value, ending in NULL */
        uint64_t descriptor_limit;
};

/* What comes between fork and the program. */
struct spawn_failure {
        int error;
        bool is_user; /* its user cannot be assumed; else it cannot be executed */
};

/* -EINVAL command, -ENOENT user, -EPERM a user that only root could assume, or fork's errors. */
int spawn(const struct spawn *spawn, pid_t *ret_pid, int *ret_report_fd);
/* Of a process that has ended: whether it never became the program, and why. */
bool spawn_report(int report_fd, struct spawn_failure *ret_failure);

/*
 * Why it could not be started now, so far as can be told without trying. The
 * cause names neither files nor users, since whoever connects is told it.
 */
int spawn_check(const char *command, const char *user, char ret_cause[TEXT_EXPECTED_SIZE]);
/* 0, -ENOENT or -EPERM as of spawn(). */
int spawn_check_user(const char *user);
