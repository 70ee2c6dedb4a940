/* SPDX-License-Identifier: MIT */

/*
 * Sending and receiving.
 *
 * Theory of operation. Each call is one system call and one load. The library
 * never passes descriptors for its callers, so a chunk that comes with one is
 * not data but a mark: the peer aborted. A reset is remembered by the socket's
 * state, so that no call after it takes the silence for an orderly end; the
 * state is looked at only where the kernel reports an end or a failure.
 *
 * Ancillary data does not cross a Hyper-V socket: sending some is EOPNOTSUPP,
 * and none is ever received.
 */

#include "lib/fail.h"
#include "lib/revocation.h"
#include "lib/state.h"
#include <hvsock.h>

#include <string.h>
#include <unistd.h>

#define UNSUPPORTED_FLAGS (MSG_OOB | MSG_ERRQUEUE)

static ssize_t failed(int error) {
        errno = error;
        return -1;
}

/* Room for one descriptor: more do not fit, and are closed by the kernel. */
union mark {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
};

static void close_descriptors(struct msghdr *message) {
        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < count; i++) {
                        int fd;
                        memcpy(&fd, CMSG_DATA(header) + i * sizeof fd, sizeof fd);
                        close(fd);
                }
        }
}

static ssize_t reset(int fd) {
        state_mark_reset(fd);
        return failed(ECONNRESET);
}

static ssize_t receive(int fd, struct msghdr *message, int flags) {
        union mark mark;
        if (flags & UNSUPPORTED_FLAGS)
                return failed(EOPNOTSUPP);
        revocation_look();
        message->msg_control = &mark;
        message->msg_controllen = sizeof mark;
        ssize_t n = recvmsg(fd, message, flags | MSG_CMSG_CLOEXEC);
        if (__builtin_expect(n > 0 && !message->msg_controllen && !(message->msg_flags & MSG_CTRUNC), 1))
                return n;
        if (n < 0)
                return errno == ECONNRESET ? reset(fd) : -1;
        /* A process that has no descriptor left to receive one learns of the mark by the truncation. */
        if (message->msg_controllen || (message->msg_flags & MSG_CTRUNC)) {
                close_descriptors(message);
                return reset(fd);
        }
        return state_get(fd).reset ? failed(ECONNRESET) : 0;
}

/* EPIPE is this end's own doing, or the peer's who reads no more; a peer that is gone altogether is a reset. */
static ssize_t sent(int fd, ssize_t n) {
        if (__builtin_expect(n >= 0, 1))
                return n;
        if (errno == ECONNRESET)
                return reset(fd);
        if (errno != EPIPE)
                return -1;
        struct socket_state state = state_get(fd);
        struct pollfd one = {.fd = fd};
        if (state.shut_write && !state.reset)
                return failed(EPIPE);
        bool gone = state.reset || (poll(&one, 1, 0) == 1 && (one.revents & (POLLHUP | POLLERR)));
        return failed(gone ? ECONNRESET : EPIPE);
}

ssize_t hv_send(int fd, const void *buffer, size_t size, int flags) {
        if (flags & UNSUPPORTED_FLAGS)
                return failed(EOPNOTSUPP);
        revocation_look();
        return sent(fd, send(fd, buffer, size, flags | MSG_NOSIGNAL));
}

ssize_t hv_recv(int fd, void *buffer, size_t size, int flags) {
        struct iovec vector = {.iov_base = buffer, .iov_len = size};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        return receive(fd, &message, flags);
}

static ssize_t send_vector(int fd, const struct iovec *vector, size_t count, int flags) {
        struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = count};
        revocation_look();
        return sent(fd, sendmsg(fd, &message, flags | MSG_NOSIGNAL));
}

ssize_t hv_sendmsg(int fd, const struct msghdr *message, int flags) {
        if (!message)
                return failed(EFAULT);
        if ((flags & UNSUPPORTED_FLAGS) || (message->msg_control && message->msg_controllen))
                return failed(EOPNOTSUPP);
        if (message->msg_name && message->msg_namelen)
                return failed(EISCONN);
        return send_vector(fd, message->msg_iov, message->msg_iovlen, flags);
}

ssize_t hv_recvmsg(int fd, struct msghdr *message, int flags) {
        if (!message)
                return failed(EFAULT);
        struct msghdr inner = {.msg_iov = message->msg_iov, .msg_iovlen = message->msg_iovlen};
        ssize_t n = receive(fd, &inner, flags);
        if (n < 0)
                return n;
        message->msg_namelen = 0;
        message->msg_controllen = 0;
        message->msg_flags = inner.msg_flags & ~MSG_CMSG_CLOEXEC;
        return n;
}

ssize_t hv_read(int fd, void *buffer, size_t size) {
        return hv_recv(fd, buffer, size, 0);
}

ssize_t hv_write(int fd, const void *buffer, size_t size) {
        return hv_send(fd, buffer, size, 0);
}

ssize_t hv_readv(int fd, const struct iovec *vector, int count) {
        struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = (size_t)count};
        return count < 0 ? failed(EINVAL) : receive(fd, &message, 0);
}

ssize_t hv_writev(int fd, const struct iovec *vector, int count) {
        return count < 0 ? failed(EINVAL) : send_vector(fd, vector, (size_t)count, 0);
}

int hv_shutdown(int fd, int how) {
        revocation_look();
        if (shutdown(fd, how) < 0)
                return -1;
        if (how != SHUT_RD) {
                struct socket_state state = state_get(fd);
                state.shut_write = true;
                int r = state_set(fd, &state);
                if (r)
                        return fail(r);
        }
        return 0;
}
