/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Moving bytes through the socket, with one system call.
 *
 * Theory of operation. A receive has room for one descriptor. The kernel never
 * reads past something that comes with a descriptor. If it is a memfd, it is a ring
 * that the peer offers, and came with data. If not, the last byte of what comes
 * with it is a mark, of an abort or of the ring's beginning, and what is before it
 * is data. Resets are remembered: the kernel reports one once, and then says that
 * the stream ended. It reports it before the messages that SOCK_SEQPACKET still
 * holds, and they are given first here, as on a stream; an empty one of them is
 * told from the end by its sender's name, which the kernel gives with messages
 * alone. A send says EPIPE when this end's writes were shut, ECONNRESET when the
 * peer is gone; to the kernel both are one.
 *
 * Both calls return -EXDEV when the direction goes through a ring by now, and
 * -ESTALE when the number stands for another socket: nothing was moved, and the
 * caller begins anew. `channel` is NULL for what does without.
 */

#include "lib/channel.h"
#include <sys/uio.h>

/* *ret_is_cut: it is shorter because of what came with it. */
ssize_t plain_receive(int fd, struct channel *channel, struct iovec *vector, size_t count, int flags, int *ret_flags,
                      bool *ret_is_cut);
ssize_t plain_send(int fd, struct channel *channel, const struct iovec *vector, size_t count, int flags);
