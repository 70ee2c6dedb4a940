/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Options of AF_VSOCK sockets. The sizes of buffers are kept as the kernel keeps
 * them, by this process: an AF_UNIX socket has buffers of its own, SO_SNDBUF's and
 * SO_RCVBUF's.
 */

#include "preload/mark.h"
#include <sys/socket.h>

#define VSOCK_BUFFER_SIZE (256u * 1024) /* SO_VM_SOCKETS_BUFFER_SIZE unless told otherwise */

/* 0 or -errno. */
int vsock_getsockopt(int fd, struct mark *mark, int level, int option, void *ret_value, socklen_t *length);
int vsock_setsockopt(int fd, int level, int option, const void *value, socklen_t length);
/* An accepted socket has its listener's. */
void vsock_options_inherit(int listener_fd, int fd);
