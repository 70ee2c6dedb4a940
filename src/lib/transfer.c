/* SPDX-License-Identifier: MIT */

/*
 * Moving bytes: through a ring (ring_transfer.h), or with one system call (plain.h).
 *
 * Theory of operation. A call that has nothing to do but to copy does that
 * (ring_quick.h). Otherwise it finds its channel, and the way that its direction
 * goes. The way may change under it: then nothing was moved, and it begins anew.
 */

#include "base/fd.h"
#include "lib/address.h"
#include "lib/carrier.h"
#include "lib/plain.h"
#include "lib/posix.h"
#include "lib/ring_quick.h"
#include "lib/revocation.h"
#include "lib/ring_transfer.h"
#include "lib/state.h"
#include "lib/transfer.h"
#include <hvsock.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>

/* The channel, or NULL for one that does without: channel_new_ended() is to follow if *ret_is_new. */
static struct channel *channel_of(int fd, bool *ret_is_new) {
        struct channel *channel = channel_known(fd);
        *ret_is_new = !channel && channel_new_begins(fd);
        return channel || *ret_is_new ? channel : channel_find(fd);
}

static ssize_t receive_on(int fd, struct iovec *vector, size_t count, int flags, int *ret_flags, bool *ret_is_cut) {
        for (;;) {
                bool is_new;
                struct channel *channel = channel_of(fd, &is_new);
                bool is_ring = ring_is_for_receiving(channel);
                *ret_is_cut = false;
                ssize_t length = is_ring ? ring_receive(channel, fd, vector, count, flags, ret_flags)
                                         : plain_receive(fd, channel, vector, count, flags, ret_flags, ret_is_cut);
                if (is_new)
                        channel_new_ended(fd);
                if (length == -ESTALE)
                        channel_forget(fd);
                else if (length != -EXDEV)
                        return length;
        }
}

/* MSG_WAITALL, of which the kernel gave less because of what came with it: the rest. */
static ssize_t receive_rest(int fd, const struct iovec *vector, size_t count, size_t length, int flags, int *ret_flags) {
        cleanup(freep) struct iovec *rest = malloc(count * sizeof *rest);
        if (!rest)
                return (ssize_t)length;
        for (bool is_cut = true; is_cut;) {
                size_t skipped = length, parts = 0;
                for (size_t i = 0; i < count; i++) {
                        size_t skip = skipped < vector[i].iov_len ? skipped : vector[i].iov_len;
                        skipped -= skip;
                        if (vector[i].iov_len > skip)
                                rest[parts++] = (struct iovec){(uint8_t *)vector[i].iov_base + skip, vector[i].iov_len - skip};
                }
                ssize_t more = parts ? receive_on(fd, rest, parts, flags, ret_flags, &is_cut) : 0;
                if (more <= 0)
                        break;
                length += (size_t)more;
        }
        return (ssize_t)length;
}

ssize_t transfer_peek(int fd, void *buffer, size_t size) {
        struct iovec vector = {.iov_base = buffer, .iov_len = size};
        int ret_flags, type;
        bool is_cut;
        int r = socket_option(fd, SO_TYPE, &type);
        return r < 0 ? r : receive_on(fd, &vector, 1, MSG_PEEK | MSG_DONTWAIT | (type == SOCK_SEQPACKET ? MSG_TRUNC : 0),
                                      &ret_flags, &is_cut);
}

static ssize_t receive(int fd, struct iovec *vector, size_t count, int flags, int *ret_flags) {
        bool is_cut;
        if (flags & MSG_OOB)
                return posix_result(-EOPNOTSUPP);
        revocation_check();
        ssize_t length = receive_on(fd, vector, count, flags, ret_flags, &is_cut);
        if (__builtin_expect(length > 0 && is_cut && flags & MSG_WAITALL && !(flags & MSG_PEEK), 0))
                length = receive_rest(fd, vector, count, (size_t)length, flags, ret_flags);
        return length < 0 ? posix_result((int)length) : length;
}

/* To the kernel a send that this end shut and one to a peer that is gone are one. */
int transfer_failed(int fd, int error) {
        if (error == ECONNRESET) {
                (void)state_set(fd, STATE_RESET);
        } else if (error == EPIPE) {
                struct socket_state state;
                state_read(fd, &state);
                error = socket_is_hung_up(fd) && !(state.flags & STATE_WRITES_SHUT) ? ECONNRESET : EPIPE;
        }
        errno = error;
        return -1;
}

static ssize_t send_vector(int fd, const struct iovec *vector, size_t count, int flags) {
        if (flags & MSG_OOB)
                return posix_result(-EOPNOTSUPP);
        revocation_check();
        for (;;) {
                bool is_new;
                struct channel *channel = channel_of(fd, &is_new);
                ssize_t length = ring_is_for_sending(channel) ? ring_send(channel, fd, vector, count, flags)
                                                              : plain_send(fd, channel, vector, count, flags);
                if (is_new)
                        channel_new_ended(fd);
                if (__builtin_expect(length >= 0, 1))
                        return length;
                if (length == -ESTALE) {
                        channel_forget(fd);
                } else if (length != -EXDEV) {
                        return transfer_failed(fd, (int)-length);
                }
        }
}

/* Flags that ask for nothing when all can be moved at once. */
static bool is_plain(int flags) {
        return !(flags & ~(MSG_DONTWAIT | MSG_NOSIGNAL | MSG_WAITALL));
}

ssize_t hv_send(int fd, const void *buffer, size_t size, int flags) {
        if (revocation_is_quiet() && is_plain(flags)) {
                ssize_t sent = ring_send_quickly(fd, buffer, size);
                if (__builtin_expect(sent > 0, 1))
                        return sent;
                if (sent != -EXDEV && sent != -ESTALE)
                        return transfer_failed(fd, (int)-sent);
        }
        return send_vector(fd, &(struct iovec){.iov_base = (void *)buffer, .iov_len = size}, 1, flags);
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
        if (revocation_is_quiet() && is_plain(flags)) {
                ssize_t length = ring_receive_quickly(fd, buffer, size);
                if (__builtin_expect(length > 0, 1))
                        return length;
                if (length != -EXDEV && length != -ESTALE)
                        return posix_result((int)length);
        }
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
