/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A VM's thread: all that is moved for one VM, from the front-end's connection to the
 * host's ends of its channels (docs/vm.md). It decides nothing about permissions; the
 * loop tells it through a mailbox what may be, and hears what the guest wants.
 *
 * One thread serves one connection of a front-end, and ends with it (VM_ENDED); the
 * next connection gets the next thread.
 */

#include "vm/worker.h"

#define VM_PRIVATE_MS 500      /* a queue that was kicked, and in which then still nothing was ever written */

struct vm_thread_options {
        uint64_t guest_cid;
        uint64_t protocol_features; /* to be offered, of VHOST_USER_PROTOCOL_FEATURES */
        uint8_t hash_key[16];
        bool is_held;               /* HELD is said, now and whenever the descriptors change */
        int front_end_fd;           /* a connected, non-blocking stream socket; the thread's once it is started */
        /*
         * Else, instead of front_end_fd: what a predecessor's thread had, the thread's once it is started. It serves the
         * guest on, and resets what was open; or it ends at once, with VHOST_USER_LOST.
         */
        struct vm_held *held;
};

/* Not started yet: vm_worker_start(). -EPROTO: what is held is not what a predecessor had. */
int vm_thread_new(const struct vm_thread_options *options, struct vm_worker **ret_worker);
