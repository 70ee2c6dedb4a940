/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Moving bytes through a channel's rings, whatever the program's flags and the
 * socket's options ask for. The socket carries tokens, one byte each, on
 * SOCK_SEQPACKET one packet each (ring/wish.h says when), and the end of the peer.
 *
 * Both calls return -EXDEV when the direction is not in a ring, or not any more, and
 * -ESTALE when the number stands for another socket: nothing was moved, and the
 * caller begins anew.
 */

#include "lib/channel.h"
#include <sys/uio.h>

ssize_t ring_send(struct channel *channel, int fd, const struct iovec *vector, size_t count, int flags);
ssize_t ring_receive(struct channel *channel, int fd, const struct iovec *vector, size_t count, int flags, int *ret_flags);

static inline bool ring_is_for_sending(const struct channel *channel) {
        const struct holder *holder = channel ? atomic_load_explicit(&channel->holder, memory_order_acquire) : NULL;
        return holder && atomic_load_explicit(&holder->sending.state, memory_order_acquire) == SENDING_RING;
}

static inline bool ring_is_for_receiving(const struct channel *channel) {
        const struct holder *holder = channel ? atomic_load_explicit(&channel->holder, memory_order_acquire) : NULL;
        return holder && atomic_load_explicit(&holder->receiving.state, memory_order_acquire) == RECEIVING_RING;
}

/* The inside of the calls that copy nothing; as above. */
ssize_t ring_reserve(struct channel *channel, int fd, size_t size, void **ret_span, int flags);
ssize_t ring_commit(struct channel *channel, int fd, size_t size);
ssize_t ring_peek(struct channel *channel, int fd, const void **ret_span, int flags);
int ring_consume(struct channel *channel, int fd, size_t size);

/* FIONREAD and SIOCOUTQ. */
int ring_count_readable(struct channel *channel, int fd, int *ret);
int ring_count_unread(struct channel *channel, int *ret);
/* hv_shutdown() for the rings, before the kernel's. */
void ring_shut(struct channel *channel, int how);
/* Before this process's last descriptor goes: a token left over would look to the peer like data that was not read. */
void ring_before_close(struct channel *channel, int fd);
/* What the kernel made of SO_SNDBUF, for a direction that is in a ring. False: it is not, or NULL. */
void ring_set_buffer(struct channel *channel, uint32_t size);
bool ring_get_buffer(const struct channel *channel, int *ret);
/* The channel has been ended: what is in the rings is given, then ECONNRESET. */
void ring_reset(int fd);
