/* SPDX-License-Identifier: MIT */
#pragma once

/* Between vhost_user.c, which keeps the state and runs the rings, and vhost_user_message.c, which takes messages. */

#include "vm/vhost_user.h"

/* One message on its way through. */
struct vhost_user_taking {
        struct vhost_user *device;
        const struct vhost_user_message *message;
        int fds[VHOST_USER_TABLE_MAX]; /* those not taken yet */
        unsigned fd_count;
        struct vhost_user_message *reply;
        bool has_reply;
        struct vhost_user_changes *changes;
};

/*
 * Whether it is an eventfd or a pipe, which nobody's file system or network serves: all else that a VMM may pass for one
 * could hold up who uses it, and who closes it. The descriptor itself is not used: the kernel's name of it is read.
 */
bool vhost_user_is_event(int fd);

/* Always -EPROTO. */
int vhost_user_fail(struct vhost_user *device, enum vhost_user_problem problem);

/* After every message: what can run does, what cannot does not. 0 or -EPROTO. */
int vhost_user_run_rings(struct vhost_user_taking *take);
/* The memory, or a ring's place in it, is another one: those that run are looked for again. 0 or -EPROTO. */
int vhost_user_move_rings(struct vhost_user_taking *take);
/* Where a ring that has a size and addresses lies. -EFAULT: not in memory. */
int vhost_user_find_ring(const struct vhost_user *device, const struct vhost_user_ring *ring,
                         struct virtqueue_place *ret);
void vhost_user_stop_ring(struct vhost_user_taking *take, unsigned index);
