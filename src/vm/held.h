/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * All the descriptors that a VM's successor needs, as one set: the front-end's
 * connection, the ledger, and the device's (vhost_user_descriptors()).
 */

#include "vm/ledger.h"

#define VM_HELD_FIXED 2u /* descriptors that each set has */
#define VM_HELD_MAX (VM_HELD_FIXED + VHOST_USER_DESCRIPTORS_MAX)

struct vm_held {
        uint64_t generation; /* of the ledger's state that they belong to */
        unsigned count;
        int fds[VM_HELD_MAX]; /* owned */
};

/* Duplicates. -ENOMEM, -EMFILE. */
int vm_held_new(int front_end_fd, const struct ledger *ledger, const struct vhost_user *device,
                struct vm_held **ret_held);
/* Closes those that were not taken (-1). NULL. */
struct vm_held *vm_held_free(struct vm_held *held);
