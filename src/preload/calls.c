/* SPDX-License-Identifier: MIT */

/*
 * The calls that programs make. One for a socket that is not ours goes on to the
 * next library as it came: same arguments, same errno, still a cancellation point.
 *
 * Theory of operation. Such a program speaks AF_VSOCK, or AF_HYPERV as on Windows,
 * and was never linked to libhvsock. Its socket() makes a socket of libhvsock's,
 * an AF_UNIX one, and marks it (mark.h); the other calls look for the mark, and
 * translate. Nothing that moves data is intercepted: with read, write, sendmsg,
 * poll, epoll and close the program talks to the kernel. So these sockets never
 * move into shared memory: only libhvsock's own sends would offer that.
 *
 * All calls may be made from any thread, and after fork. Those on sockets of ours
 * are not safe in signal handlers, nor between vfork and exec. While one asks the
 * broker, the thread is not cancelled (cancel.h).
 */

#include "base/fd.h"
#include "lib/address.h"
#include "lib/posix.h"
#include "preload/cancel.h"
#include "preload/next.h"
#include "preload/vsock.h"
#include "preload/vsock_options.h"
#include <hvsock.h>
#include <linux/vm_sockets.h>

#define EXPORT __attribute__((visibility("default")))

static bool is_vsock(const struct mark *mark) {
        return mark->flags & MARK_VSOCK;
}

/* What libhvsock made, if it did. */
static int begin(int made_fd) {
        cleanup(fd_closep) int fd = made_fd;
        int r = fd < 0 ? -errno : socket_begins(fd, &(struct mark){});
        return r < 0 ? r : fd_take(fd);
}

static bool is_ours(int domain) {
        return domain == AF_VSOCK || domain == AF_HYPERV;
}

/* The exported functions do not call one another: linkers disagree on whether --wrap leads past a definition beside it. */
static int make_socket(int domain, int type, int protocol) {
        return domain == AF_VSOCK ? vsock_socket(type, protocol) : begin(hv_socket(domain, type, protocol));
}

EXPORT int socket(int domain, int type, int protocol) {
        return is_ours(domain) ? posix_result(make_socket(domain, type, protocol)) : NEXT(socket)(domain, type, protocol);
}

/* Neither family has pairs. */
EXPORT int socketpair(int domain, int type, int protocol, int fds[2]) {
        if (!is_ours(domain))
                return NEXT(socketpair)(domain, type, protocol, fds);
        cleanup(fd_closep) int fd = make_socket(domain, type, protocol);
        return posix_result(fd < 0 ? fd : -EOPNOTSUPP);
}

EXPORT int bind(int fd, __CONST_SOCKADDR_ARG address, socklen_t length) {
        struct mark mark;
        if (!mark_read(fd, &mark))
                return NEXT(bind)(fd, address.__sockaddr__, length);
        NOT_CANCELLED;
        return is_vsock(&mark) ? posix_result(vsock_bind(fd, &mark, address.__sockaddr__, length))
                               : hv_bind(fd, address.__sockaddr__, length);
}

EXPORT int listen(int fd, int backlog) {
        struct mark mark;
        if (!mark_read(fd, &mark))
                return NEXT(listen)(fd, backlog);
        NOT_CANCELLED;
        return is_vsock(&mark) ? posix_result(vsock_listen(fd, &mark, backlog)) : hv_listen(fd, backlog);
}

static int accept_marked(int fd, const struct mark *mark, struct sockaddr *address, socklen_t *length, int flags) {
        CANCELLED_WHILE_WAITING;
        return is_vsock(mark) ? posix_result(vsock_accept(fd, mark, address, length, flags))
                              : posix_result(begin(hv_accept4(fd, address, length, flags)));
}

EXPORT int accept4(int fd, __SOCKADDR_ARG address, socklen_t *__restrict length, int flags) {
        struct mark mark;
        return mark_read(fd, &mark) ? accept_marked(fd, &mark, address.__sockaddr__, length, flags)
                                    : NEXT(accept4)(fd, address.__sockaddr__, length, flags);
}

EXPORT int accept(int fd, __SOCKADDR_ARG address, socklen_t *__restrict length) {
        struct mark mark;
        return mark_read(fd, &mark) ? accept_marked(fd, &mark, address.__sockaddr__, length, 0)
                                    : NEXT(accept)(fd, address.__sockaddr__, length);
}

EXPORT int connect(int fd, __CONST_SOCKADDR_ARG address, socklen_t length) {
        struct mark mark;
        if (!mark_read(fd, &mark))
                return NEXT(connect)(fd, address.__sockaddr__, length);
        NOT_CANCELLED;
        return is_vsock(&mark) ? posix_result(vsock_connect(fd, &mark, address.__sockaddr__, length))
                               : hv_connect(fd, address.__sockaddr__, length);
}

EXPORT int getsockname(int fd, __SOCKADDR_ARG address, socklen_t *__restrict length) {
        struct mark mark;
        if (!mark_read(fd, &mark))
                return NEXT(getsockname)(fd, address.__sockaddr__, length);
        NOT_CANCELLED;
        return is_vsock(&mark) ? posix_result(vsock_getsockname(fd, &mark, address.__sockaddr__, length))
                               : hv_getsockname(fd, address.__sockaddr__, length);
}

EXPORT int getpeername(int fd, __SOCKADDR_ARG address, socklen_t *__restrict length) {
        struct mark mark;
        if (!mark_read(fd, &mark))
                return NEXT(getpeername)(fd, address.__sockaddr__, length);
        NOT_CANCELLED;
        return is_vsock(&mark) ? posix_result(vsock_getpeername(fd, address.__sockaddr__, length))
                               : hv_getpeername(fd, address.__sockaddr__, length);
}

EXPORT int shutdown(int fd, int how) {
        struct mark mark;
        if (!mark_read(fd, &mark))
                return NEXT(shutdown)(fd, how);
        return is_vsock(&mark) ? posix_result(vsock_shutdown(fd, how)) : hv_shutdown(fd, how);
}

EXPORT int getsockopt(int fd, int level, int option, void *__restrict value, socklen_t *__restrict length) {
        struct mark mark;
        if (!mark_read(fd, &mark))
                return NEXT(getsockopt)(fd, level, option, value, length);
        NOT_CANCELLED;
        return is_vsock(&mark) ? posix_result(vsock_getsockopt(fd, &mark, level, option, value, length))
                               : hv_getsockopt(fd, level, option, value, length);
}

EXPORT int setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
        struct mark mark;
        if (!mark_read(fd, &mark))
                return NEXT(setsockopt)(fd, level, option, value, length);
        NOT_CANCELLED;
        return is_vsock(&mark) ? posix_result(vsock_setsockopt(fd, level, option, value, length))
                               : hv_setsockopt(fd, level, option, value, length);
}
