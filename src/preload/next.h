/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The functions behind those that this library stands in front of: the next
 * library's, which is libc or another preloaded one. Found once, at the first
 * call or when the library is loaded, whichever comes first.
 */

#include <sys/socket.h>
#include <sys/types.h>

#define NEXT_SOCKET_FUNCTIONS(X)                                                                       \
        X(socket, (int domain, int type, int protocol), (domain, type, protocol))                     \
        X(socketpair, (int domain, int type, int protocol, int fds[2]), (domain, type, protocol, fds)) \
        X(bind, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length))    \
        X(listen, (int fd, int backlog), (fd, backlog))                                               \
        X(accept, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))       \
        X(connect, (int fd, const struct sockaddr *address, socklen_t length), (fd, address, length)) \
        X(getsockname, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))  \
        X(getpeername, (int fd, struct sockaddr *address, socklen_t *length), (fd, address, length))  \
        X(getsockopt, (int fd, int level, int option, void *value, socklen_t *length), (fd, level, option, value, length)) \
        X(setsockopt, (int fd, int level, int option, const void *value, socklen_t length), (fd, level, option, value, length)) \
        X(shutdown, (int fd, int how), (fd, how))

/* The one of libhvsock's calls in which a thread waits for a peer. */
#define NEXT_ACCEPT4(X) X(accept4, (int fd, struct sockaddr *address, socklen_t *length, int flags), (fd, address, length, flags))

#define NEXT_FILE_FUNCTIONS(X)                                                       \
        X(ioctl, (int fd, unsigned long request, ...))                              \
        X(open, (const char *path, int flags, ...))                                 \
        X(open64, (const char *path, int flags, ...))                               \
        X(openat, (int directory_fd, const char *path, int flags, ...))             \
        X(openat64, (int directory_fd, const char *path, int flags, ...))           \
        X(__open_2, (const char *path, int flags))                                  \
        X(__open64_2, (const char *path, int flags))                                \
        X(__openat_2, (int directory_fd, const char *path, int flags))              \
        X(__openat64_2, (int directory_fd, const char *path, int flags))

struct next_functions {
#define MEMBER(name, parameters, ...) int (*name) parameters;
        NEXT_SOCKET_FUNCTIONS(MEMBER)
        NEXT_ACCEPT4(MEMBER)
        NEXT_FILE_FUNCTIONS(MEMBER)
#undef MEMBER
};

const struct next_functions *next_functions(void);
#define NEXT(name) (next_functions()->name)
