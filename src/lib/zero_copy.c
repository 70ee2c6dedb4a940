/* SPDX-License-Identifier: MIT */

/*
 * hv_reserve(), hv_commit(), hv_peek() and hv_consume(): the program writes into
 * the ring, and reads from it, by itself. Where a direction is not in a ring, a
 * buffer of the channel's stands in for it; and where the ring is better written
 * past the caches, which the program's own stores would not do (ring/copy.h).
 *
 * Between reserving and committing the peer is told that a send is under way, as
 * for any other, and the ring's other senders are told EBUSY.
 */

#include "lib/address.h"
#include "lib/posix.h"
#include "lib/revocation.h"
#include "lib/ring_call.h"
#include "lib/ring_transfer.h"
#include "lib/transfer.h"
#include <stdlib.h>

/* For the error that any other call would give. */
static int find(int fd, struct channel **ret) {
        int type;
        revocation_check();
        *ret = channel_find(fd);
        if (*ret)
                return 0;
        int r = socket_option(fd, SO_TYPE, &type);
        return r < 0 ? r : socket_is_connected(fd) ? -ENOMEM : -ENOTCONN;
}

static ssize_t reserve(int fd, size_t size, void **ret_span, int flags) {
        struct channel *channel;
        int r = find(fd, &channel);
        if (!r && (!size || size > HV_RESERVE_MAX))
                r = -EMSGSIZE;
        if (r < 0)
                return r;
        ssize_t room = ring_is_for_sending(channel) ? ring_reserve(channel, fd, size, ret_span, flags) : -EXDEV;
        if (room == -ESTALE) {
                channel_forget(fd);
                return reserve(fd, size, ret_span, flags);
        }
        if (room != -EXDEV)
                return room;
        lock_take(&channel->lock);
        r = channel_buffer_make(&channel->outgoing, size);
        if (!r) {
                channel->outgoing.reserved = size;
                channel->outgoing.flags = flags;
                *ret_span = channel->outgoing.bytes;
        }
        lock_release(&channel->lock);
        return r < 0 ? r : (ssize_t)size;
}

ssize_t hv_reserve(int fd, size_t size, void **ret_span, int flags) {
        ssize_t room = reserve(fd, size, ret_span, flags);
        return room < 0 ? transfer_failed(fd, (int)-room) : room;
}

ssize_t hv_commit(int fd, size_t size) {
        struct channel *channel;
        int r = find(fd, &channel);
        if (r < 0)
                return posix_result(r);
        if (channel->outgoing.reserved) {
                if (size > channel->outgoing.reserved)
                        return posix_result(-EINVAL);
                channel->outgoing.reserved = 0;
                return size ? hv_send(fd, channel->outgoing.bytes, size, channel->outgoing.flags) : 0;
        }
        ssize_t sent = ring_commit(channel, fd, size);
        return sent == -EXDEV ? posix_result(-EINVAL) : sent < 0 ? transfer_failed(fd, (int)-sent) : sent;
}

/* What hv_recv() would give, in the channel's buffer. */
static ssize_t peek_copy(struct channel *channel, int fd, const void **ret_span, int flags) {
        for (size_t size = HV_SEQPACKET_MAX;;) {
                int r = channel_buffer_make(&channel->incoming, size);
                if (r < 0)
                        return posix_result(r);
                ssize_t length = hv_recv(fd, channel->incoming.bytes, channel->incoming.size,
                                         MSG_PEEK | (flags & MSG_DONTWAIT) | (channel->type == SOCK_STREAM ? 0 : MSG_TRUNC));
                if (length <= (ssize_t)channel->incoming.size) {
                        *ret_span = channel->incoming.bytes;
                        return length;
                }
                size = (size_t)length;
        }
}

ssize_t hv_peek(int fd, const void **ret_span, int flags) {
        struct channel *channel;
        int r = find(fd, &channel);
        if (r < 0)
                return posix_result(r);
        ssize_t length = ring_is_for_receiving(channel) ? ring_peek(channel, fd, ret_span, flags) : -EXDEV;
        if (length == -ESTALE) {
                channel_forget(fd);
                return hv_peek(fd, ret_span, flags);
        }
        if (length == -EXDEV)
                return peek_copy(channel, fd, ret_span, flags);
        return length < 0 ? posix_result((int)length) : length;
}

int hv_consume(int fd, size_t size) {
        struct channel *channel;
        int r = find(fd, &channel);
        if (!r)
                r = ring_is_for_receiving(channel) ? ring_consume(channel, fd, size) : -EXDEV;
        if (r != -EXDEV)
                return posix_result(r);
        if (size > channel->incoming.size)
                return posix_result(-EINVAL);
        ssize_t length = hv_recv(fd, channel->incoming.bytes, channel->type == SOCK_STREAM ? size : channel->incoming.size,
                                 MSG_DONTWAIT | MSG_WAITALL);
        return length < 0 ? -1 : channel->type == SOCK_STREAM && (size_t)length < size ? posix_result(-EINVAL) : 0;
}
