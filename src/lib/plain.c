/* SPDX-License-Identifier: MIT */

/* Sending and receiving through the socket: plain.h has the theory. */

#include "lib/plain.h"

#include "base/fd.h"
#include "lib/address.h"
#include "lib/carrier.h"
#include "lib/revocation.h"
#include "lib/span.h"
#include "lib/state.h"
#include <fcntl.h>
#include <hvsock.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BESIDE_NS 20000 /* that the thread which was there first has, to take what came */

/* Something came with the data. With MSG_CTRUNC there was no room for it: the process has no descriptor left. */
static bool is_accompanied(const struct msghdr *message) {
        return message->msg_controllen || message->msg_flags & MSG_CTRUNC;
}

/* The descriptor that came, or -1. A second one is closed. */
static int take_descriptor(struct msghdr *message) {
        int taken = -1, fd;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(message); header; header = CMSG_NXTHDR(message, header)) {
                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                for (size_t at = 0; at + sizeof fd <= header->cmsg_len - CMSG_LEN(0); at += sizeof fd) {
                        memcpy(&fd, CMSG_DATA(header) + at, sizeof fd);
                        if (taken < 0)
                                taken = fd;
                        else
                                fd_close(fd);
                }
        }
        return taken;
}

static bool was_reset(int fd) {
        struct socket_state state;
        state_read(fd, &state);
        return state.flags & STATE_RESET;
}

static ssize_t take_abort(int fd, ssize_t length) {
        char byte;
        if (length == 0) /* a stream's mark that there was no room for would be data to the next receive */
                (void)recv(fd, &byte, sizeof byte, MSG_DONTWAIT);
        (void)state_set(fd, STATE_RESET);
        (void)shutdown(fd, SHUT_RDWR);
        return length > 1 ? length - 1 : -ECONNRESET;
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
        ssize_t length = recvmsg(fd, message, flags | MSG_CMSG_CLOEXEC);
        if (length < 0 && errno == ECONNRESET) { /* which the kernel says once, before what it still holds */
                (void)state_set(fd, STATE_RESET);
                message->msg_name = &control->sender;
                message->msg_namelen = sizeof control->sender;
                message->msg_controllen = sizeof control->bytes;
                length = recvmsg(fd, message, flags | MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
                if (length < 0)
                        errno = ECONNRESET;
        }
        return length;
}

/* Neither data nor what comes with it. Returns 0 or -errno, or the empty message's 0. */
static ssize_t receive_nothing(int fd, const struct msghdr *message, ssize_t length) {
        if (length == 0 && message->msg_namelen > 0)
                return 0;
        if (length == 0) {
                revocation_check(); /* what looks like the end may be the peer's doing, who learnt of it first */
                return was_reset(fd) ? -ECONNRESET : 0;
        }
        if (errno == EINVAL && !socket_is_connected(fd))
                return -ENOTCONN; /* streams say EINVAL */
        return -errno;
}

static uint8_t last_byte(const struct iovec *vector, size_t count, ssize_t length) {
        struct span_walk walk = span_walk(vector, count);
        uint8_t byte = 0;
        while (length > 0 && walk.left) {
                size_t part;
                const uint8_t *bytes = span_next(&walk, (size_t)length, &part);
                length -= (ssize_t)part;
                byte = part ? bytes[part - 1] : byte;
        }
        return byte;
}

/* What a receive that found something beside data comes to. */
struct accompanied {
        ssize_t length; /* of the data; or -errno */
        bool is_mark;   /* of the ring's beginning */
        int ring_fd;    /* an offer, or -1 */
};

static struct accompanied judge(int fd, struct channel *channel, struct msghdr *message, ssize_t length) {
        int came = take_descriptor(message);
        bool is_accepting = channel && channel->holder && channel->holder->receiving.state == RECEIVING_ACCEPTED;
        if (came >= 0 ? ring_is_offer(came) : !is_accepting && !socket_is_hung_up(fd)) /* what got lost was an offer most likely */
                return (struct accompanied){.length = length, .ring_fd = came};
        fd_close(came);
        if (is_accepting && length > 0 && last_byte(message->msg_iov, message->msg_iovlen, length) == CARRIER_MARK)
                return (struct accompanied){.length = length - 1, .is_mark = true, .ring_fd = -1};
        return (struct accompanied){.length = take_abort(fd, length), .ring_fd = -1};
}

/* Another thread receives, and will for a moment: waits until there may be something. */
static int wait_beside(int fd, int flags) {
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        if (flags & MSG_DONTWAIT || fcntl(fd, F_GETFL) & O_NONBLOCK)
                return -EAGAIN;
        if (poll(&readable, 1, -1) < 0)
                return -errno;
        nanosleep(&(struct timespec){.tv_nsec = BESIDE_NS}, NULL);
        return -EXDEV;
}

static bool is_stream(int fd, const struct channel *channel) {
        int type;
        return channel ? channel->type == SOCK_STREAM : socket_option(fd, SO_TYPE, &type) == 0 && type == SOCK_STREAM;
}

/*
 * A peek that a stream's data fills brings what comes with the byte behind it, too
 * [Linux]. With room for that byte it can be told apart: what filled it is data.
 * NULL: no memory.
 */
static struct iovec *widen(const struct iovec *vector, size_t count, uint8_t *beyond) {
        struct iovec *wider = malloc((count + 1) * sizeof *wider);
        if (wider) {
                memcpy(wider, vector, count * sizeof *wider);
                wider[count] = (struct iovec){.iov_base = beyond, .iov_len = 1};
        }
        return wider;
}

ssize_t plain_receive(int fd, struct channel *channel, struct iovec *vector, size_t count, int flags, int *ret_flags,
                             bool *ret_is_cut) {
        struct msghdr message = {.msg_iov = vector, .msg_iovlen = count};
        struct control control;
        struct accompanied found = {.ring_fd = -1};
        size_t room = SIZE_MAX;
        uint8_t beyond;
        cleanup(freep) struct iovec *wider = NULL;
        if (flags & MSG_PEEK && count < IOV_MAX && is_stream(fd, channel)) {
                if (!(wider = widen(vector, count, &beyond)))
                        return -ENOMEM;
                room = span_walk(vector, count).left;
                message = (struct msghdr){.msg_iov = wider, .msg_iovlen = count + 1};
        }
        if (channel && channel->carrier == HV_CARRIER_UNIX && !channel->holder && carrier_is_own(channel, fd))
                channel = NULL;
        if (channel) {
                int way = carrier_receive_begins(channel);
                if (way == CARRIER_IS_RING)
                        return -EXDEV;
                if (way < 0)
                        return wait_beside(fd, flags);
        }
        ssize_t length = receive_once(fd, &message, &control, flags);
        *ret_is_cut = false;
        if (length >= 0 && (size_t)length > room) {
                fd_close(take_descriptor(&message));
                length = (ssize_t)room;
        } else if (__builtin_expect(length >= 0 && is_accompanied(&message), 0)) {
                found = judge(fd, channel, &message, length);
                *ret_is_cut = true;
                length = found.length;
                if (found.is_mark && flags & MSG_PEEK) {
                        char mark;
                        if (length > 0)
                                found.is_mark = false; /* it stays behind the data for now */
                        else if (recv(fd, &mark, 1, MSG_DONTWAIT) != 1)
                                length = -ECONNRESET;
                }
        } else if (__builtin_expect(length <= 0, 0)) {
                length = receive_nothing(fd, &message, length);
        }
        if (!channel && found.ring_fd >= 0 && (channel = channel_find(fd)) && carrier_receive_begins(channel) != CARRIER_IS_PLAIN)
                channel = NULL; /* several at once: what was offered is not taken */
        if (channel) {
                int r = carrier_receive_ended(channel, fd, found.ring_fd, found.is_mark, flags & MSG_PEEK);
                if (r < 0 && length >= 0)
                        length = r;
        }
        fd_close(found.ring_fd);
        *ret_flags = message.msg_flags & ~(MSG_CTRUNC | MSG_CMSG_CLOEXEC);
        return found.is_mark && length == 0 ? -EXDEV : length;
}

ssize_t plain_send(int fd, struct channel *channel, const struct iovec *vector, size_t count, int flags) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr message = {.msg_iov = (struct iovec *)vector, .msg_iovlen = count};
        int ring_fd = -1;
        if (channel && channel->carrier == HV_CARRIER_UNIX && !channel->holder && carrier_is_own(channel, fd))
                channel = NULL;
        if (channel) {
                int way = carrier_send_begins(channel, fd, span_walk(vector, count).left, &ring_fd);
                if (way != CARRIER_IS_PLAIN)
                        return way == CARRIER_IS_RING ? -EXDEV : way;
        }
        if (ring_fd >= 0) {
                control.header = (struct cmsghdr){
                        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.header), &ring_fd, sizeof ring_fd);
                message.msg_control = &control;
                message.msg_controllen = sizeof control;
        }
        ssize_t length = count == 1 && ring_fd < 0 /* the quickest that there is for it */
                               ? send(fd, vector->iov_base, vector->iov_len, flags | MSG_NOSIGNAL)
                               : sendmsg(fd, &message, flags | MSG_NOSIGNAL);
        if (length < 0 && errno == ETOOMANYREFS) { /* so many descriptors are under way that a ring must wait */
                message.msg_controllen = 0;
                length = sendmsg(fd, &message, flags | MSG_NOSIGNAL);
                if (ring_fd >= 0)
                        carrier_withdraw(channel);
        }
        if (channel)
                carrier_send_ended(channel, fd, ring_fd, length);
        return length < 0 ? -errno : length;
}

