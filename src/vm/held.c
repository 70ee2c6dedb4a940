/* SPDX-License-Identifier: MIT */

/* A VM's descriptors as one set: held.h. */

#include "vm/held.h"

#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>

int vm_held_new(int front_end_fd, const struct ledger *ledger, const struct vhost_user *device,
                struct vm_held **ret_held) {
        int fds[VM_HELD_MAX] = {front_end_fd, ledger_fd(ledger)};
        unsigned count = VM_HELD_FIXED + vhost_user_descriptors(device, fds + VM_HELD_FIXED);
        struct vm_held *held = malloc(sizeof *held);
        if (!held)
                return -ENOMEM;
        held->generation = ledger_generation(ledger);
        for (held->count = 0; held->count < count; held->count++) {
                held->fds[held->count] = fcntl(fds[held->count], F_DUPFD_CLOEXEC, 3);
                if (held->fds[held->count] < 0) {
                        int r = -errno;
                        vm_held_free(held);
                        return r;
                }
        }
        *ret_held = held;
        return 0;
}

struct vm_held *vm_held_free(struct vm_held *held) {
        for (unsigned i = 0; held && i < held->count; i++)
                fd_close(held->fds[i]);
        free(held);
        return NULL;
}
