/* SPDX-License-Identifier: MIT */
#pragma once

/* Where this shell looks for a broker: its sockets and its program. */

#include <limits.h>
#include <stdbool.h>

struct broker_place {
        char path[PATH_MAX];   /* when nothing is there, the last that was tried */
        const char *variable;  /* of the environment, that names it; NULL when none does */
        const char *found_by;  /* for people */
        int error;             /* 0: there is a socket. -ENOTSOCK, or why there is nothing */
};

/*
 * $HVSOCK_SOCKET for the partition's socket, $HVSOCK_MANAGE for the management
 * socket, or the directory that holds it; else the user's runtime directory,
 * else the system's: the first that exists.
 */
void broker_place_of_partition(struct broker_place *ret);
void broker_place_of_management(struct broker_place *ret);

/* $HVSOCKD, else beside this program, else where it is installed, else "hvsockd", for the PATH to find. */
const char *broker_program(char path[PATH_MAX]);
