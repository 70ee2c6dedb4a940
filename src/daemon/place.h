/* SPDX-License-Identifier: MIT */
#pragma once

/* Places in the file system that the daemon makes: directories, and sockets to listen on. */

#include <sys/types.h>

/*
 * Makes `path` and what is missing above it; `path` gets `mode`, whatever the
 * umask. A directory that is another user's is -EPERM: who owns a directory can
 * replace what is in it. So is a sticky one, as /tmp, which many share and none
 * may take the others from. *ret_fd, an O_PATH descriptor, may be NULL.
 */
int place_directory(const char *path, mode_t mode, int *ret_fd);

/*
 * A listening, non-blocking socket `name` of this type in the directory. It is made beside
 * and renamed over what was there, so that nobody ever finds no socket. Passes
 * through the working directory, which is `working_fd` again afterwards: paths
 * may be longer than sun_path.
 */
int place_socket(int directory_fd, const char *name, int socket_type, mode_t mode, int working_fd, int *ret_fd);
