/* SPDX-License-Identifier: MIT */

/*
 * Moving bytes. A call that has something to move is one system call and one
 * look at the revocation counter; what follows is for those that end.
 *
 * Theory of operation. A receive has room for one descriptor. The kernel never
 * reads past something that comes with a descriptor, so the last byte of what
 * comes with one is the mark of an abort, and what is before it is data. Resets
 * are remembered: the kernel reports one once, and then says that the stream
 * ended. It reports it before the messages that SOCK_SEQPACKET still holds, and
 * they are given first here, as on a stream; an empty one of them is told from
 * the end by its sender's name, which the kernel gives with messages alone. A send
 * says EPIPE when this end's writes were shut, ECONNRESET when the peer is gone;
 * to the kernel both are one.
 */

#include "base/fd.h"
#include "lib/address.h"
#include "lib/posix.h"
#include "lib/revocation.h"
#include "lib/state.h"
#include <hvsock.h>
#include <limits.h>
#include <poll.h>
#include <string.h>

/* With MSG_CTRUNC something came that there was no room for: the process has no descriptor left. */
static bool is_marked(const struct msghdr *message) {
        return message->msg_controllen || message->msg_flags & MSG_CTRUNC;
}

static void close_descriptors(struct msghdr *message) {
        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
                int fd;
                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t at = 0; at + sizeof fd <= header->cmsg_len - CMSG_LEN(0); at += sizeof fd) {
                        memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
                        fd_close(fd);
                }
        }
}

static ssize_t take_mark(int fd, struct msghdr *message, ssize_t length) {
        char byte;
        close_descriptors(message);
        if (length == 0) /* a stream's mark that there was no room for would be data to the next receive */
                (void)recv(fd, &byte, sizeof byte, MSG_DONTWAIT);
        (void)state_set(fd, STATE_RESET);
        (void)shutdown(fd, SHUT_RDWR);
        return length > 1 ? length - 1 : -ECONNRESET;
}

static bool was_reset(int fd) {
        struct socket_state state;
        state_read(fd, &state);
        return state.flags & STATE_RESET;
}

struct control {
        union {
                struct cmsghdr header; /* for its alignment */
                char bytes[CMSG_LEN(sizeof(int))];
        };
        struct sockaddr_un sender; /* nothing of it is needed but that it is there; whole, or sanitizers see it overrun */
};

static ssize_t receive_once(int fd, struct msghdr *message, struct control *control, int flags) {
        message->msg_control = control->bytes;
        message->msg_controllen = sizeof control->bytes;
        if (__builtin_expect(state_some_reset, 0)) {
                message->msg_name = &control->sender;
                message->msg_namelen = sizeof control->sender;
        }
        return recvmsg(fd, message, flags | MSG_CMSG_CLOEXEC);
}

/* What is not plain data. Returns the length or -errno. */
static ssize_t receive_rest(int fd, struct msghdr *message, struct control *control, ssize_t length, int flags) {
        if (length < 0 && errno == ECONNRESET) {
                (void)state_set(fd, STATE_RESET);
                length = receive_once(fd, message, control, flags | MSG_DONTWAIT);
                if (length < 0)
                        return -ECONNRESET;
        }
        if (length >= 0 && is_marked(message))
                return take_mark(fd, message, length);
        if (length > 0 || (length == 0 && message->msg_namelen > 0))
                return length;
        if (length == 0) {
                revocation_check(); /* what looks like the end may be the peer's doing, who learnt of it first */
                return was_reset(fd) ? -ECONNRESET : 0;
        }
        if (errno == EINVAL && !socket_is_connected(fd))
                return -ENOTCONN; /* streams say EINVAL */
        return -errno;
}

static ssize_t receive(int fd, struct iovec *vector, size_t count, int flags, int *ret_flags) {
        struct msghdr message = {.msg_iov = vector, .msg_iovlen = count};
        struct control control;
        if (flags & MSG_OOB)
                return posix_result(-EOPNOTSUPP);
        revocation_check();
        ssize_t length = receive_once(fd, &message, &control, flags);
        if (__builtin_expect(length <= 0 || is_marked(&message), 0)) {
                length = receive_rest(fd, &message, &control, length, flags);
                if (length < 0)
                        return posix_result((int)length);
        }
        *ret_flags = message.msg_flags & ~(MSG_CTRUNC | MSG_CMSG_CLOEXEC);
        return length;
}

/* What the caller of a send is told. */
static ssize_t sent(int fd, ssize_t length) {
        if (__builtin_expect(length >= 0, 1))
                return length;
        if (errno == ECONNRESET) {
                (void)state_set(fd, STATE_RESET);
                errno = ECONNRESET;
        } else if (errno == EPIPE) {
                struct socket_state state;
                struct pollfd peer = {.fd = fd};
                state_read(fd, &state);
                bool is_gone = poll(&peer, 1, 0) == 1 && peer.revents & POLLHUP;
                errno = is_gone && !(state.flags & STATE_WRITES_SHUT) ? ECONNRESET : EPIPE;
        }
        return -1;
}

static ssize_t send_vector(int fd, const struct iovec *vector, size_t count, int flags) {
        struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = count};
        if (flags & MSG_OOB)
                return posix_result(-EOPNOTSUPP);
        revocation_check();
        return sent(fd, sendmsg(fd, &message, flags | MSG_NOSIGNAL));
}

ssize_t hv_send(int fd, const void *buffer, size_t size, int flags) {
        if (flags & MSG_OOB)
                return posix_result(-EOPNOTSUPP);
        revocation_check();
        return sent(fd, send(fd, buffer, size, flags | MSG_NOSIGNAL));
}

ssize_t hv_write(int fd, const void *buffer, size_t size) {
        return hv_send(fd, buffer, size, 0);
}

ssize_t hv_sendmsg(int fd, const struct msghdr *message, int flags) {
        if (message->msg_controllen)
                return posix_result(-EOPNOTSUPP);
        return send_vector(fd, message->msg_iov, message->msg_iovlen, flags);
}

ssize_t hv_writev(int fd, const struct iovec *vector, int count) {
        if (count < 0 || count > IOV_MAX)
                return posix_result(-EINVAL);
        for (int i = 0; i < count; i++)
                if (vector[i].iov_len)
                        return send_vector(fd, vector, (size_t)count, 0);
        return writev(fd, NULL, 0); /* no message, though sendmsg(2) sends an empty one */
}

ssize_t hv_recv(int fd, void *buffer, size_t size, int flags) {
        int ret_flags;
        return receive(fd, &(struct iovec){.iov_base = buffer, .iov_len = size}, 1, flags, &ret_flags);
}

ssize_t hv_read(int fd, void *buffer, size_t size) {
        return size ? hv_recv(fd, buffer, size, 0) : read(fd, buffer, 0);
}

ssize_t hv_recvmsg(int fd, struct msghdr *message, int flags) {
        int ret_flags;
        ssize_t length = receive(fd, message->msg_iov, message->msg_iovlen, flags, &ret_flags);
        if (length < 0)
                return length;
        message->msg_namelen = 0;
        message->msg_controllen = 0;
        message->msg_flags = ret_flags;
        return length;
}

ssize_t hv_readv(int fd, const struct iovec *vector, int count) {
        int ret_flags;
        if (count < 0 || count > IOV_MAX)
                return posix_result(-EINVAL);
        for (int i = 0; i < count; i++)
                if (vector[i].iov_len)
                        return receive(fd, (struct iovec *)vector, (size_t)count, 0, &ret_flags);
        return read(fd, NULL, 0);
}
