/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Messages of the vhost-user protocol on a non-blocking stream socket.
 *
 * A message comes in as many pieces as its sender likes; descriptors may come with
 * any of them. More than VHOST_USER_TABLE_MAX descriptors, or a payload longer than
 * VHOST_USER_PAYLOAD_MAX, is -EPROTO, with every descriptor closed.
 */

#include "vm/vhost_user.h"

struct vhost_user_reader {
        uint8_t bytes[VHOST_USER_HEADER_SIZE + VHOST_USER_PAYLOAD_MAX];
        size_t length;
        int fds[VHOST_USER_TABLE_MAX];
        unsigned fd_count;
};

/*
 * 1: a message, whose descriptors are now the caller's, in `ret_fds`; 0: no whole one
 * yet; -ECONNRESET: the front-end is gone.
 */
int vhost_user_receive(struct vhost_user_reader *reader, int socket, struct vhost_user_message *ret,
                       int ret_fds[VHOST_USER_TABLE_MAX], unsigned *ret_fd_count);
/* Closes what came with half a message. */
void vhost_user_reader_reset(struct vhost_user_reader *reader);
/* -EAGAIN: the front-end, which waits for this, does not read; it is to be let go. */
int vhost_user_send(int socket, const struct vhost_user_message *reply);
