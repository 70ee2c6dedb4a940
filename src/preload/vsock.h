/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The calls on a socket that was asked for as AF_VSOCK, as translations to
 * libhvsock's. Each takes the socket's mark, and returns 0 (vsock_accept a
 * descriptor) or -errno, which is the kernel's AF_VSOCK's.
 */

#include "preload/mark.h"
#include <sys/socket.h>

int vsock_socket(int type, int protocol);
int vsock_bind(int fd, struct mark *mark, const struct sockaddr *address, socklen_t length);
int vsock_listen(int fd, struct mark *mark, int backlog);
int vsock_accept(int fd, const struct mark *mark, struct sockaddr *ret_address, socklen_t *length, int flags);
int vsock_connect(int fd, struct mark *mark, const struct sockaddr *address, socklen_t length);
int vsock_getsockname(int fd, const struct mark *mark, struct sockaddr *ret_address, socklen_t *length);
int vsock_getpeername(int fd, struct sockaddr *ret_address, socklen_t *length);
int vsock_shutdown(int fd, int how);

/* A new socket of libhvsock's is made one of this library's: plain data, and the mark. 0 or -errno. */
int socket_begins(int fd, const struct mark *mark);
