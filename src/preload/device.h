/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * /dev/vsock, at which programs ask for their CID. The device itself is never
 * opened: who opens it gets /dev/null, and a descriptor of /dev/null answers for it
 * wherever it came from, after dup, exec and SCM_RIGHTS too.
 */

#include <stdbool.h>

/* Whether this is /dev/vsock, by whatever path through directories. Keeps errno. */
bool device_is_named(int directory_fd, const char *path);
/* IOCTL_VM_SOCKETS_GET_LOCAL_CID. Keeps errno. */
bool device_is_open_at(int fd);
