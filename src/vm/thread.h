/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A VM's thread: all that is moved for one VM, from the front-end's connection to the
 * host's ends of its channels (docs/vm.md). It decides nothing about permissions; the
 * loop tells it through a mailbox what may be, and hears what the guest wants.
 *
 * These functions are the loop's. One thread serves one connection of a front-end,
 * and ends with it (VM_ENDED); the next connection gets the next thread. All the
 * functions but vm_thread_join() return at once whatever the thread is doing.
 */

#include "vm/mailbox.h"
#include "vm/vhost_user.h"

#define VM_STACK_SIZE 65536u   /* bytes */
#define VM_PENDING_MAX 1024u   /* REQUESTs of a guest that the loop has not answered; the next get a RST */
#define VM_ORDERS_MAX 16384u   /* that a thread has not heard; more only end what was begun */
#define VM_PRIVATE_MS 500      /* a queue that was kicked, and in which then still nothing was ever written */
#define VM_STOP_MS 2000        /* that vm_thread_join() waits */

struct vm_thread;

struct vm_thread_options {
        uint64_t guest_cid;
        uint64_t protocol_features; /* to be offered, of VHOST_USER_PROTOCOL_FEATURES */
        uint8_t hash_key[16];
        bool is_held;               /* HELD is said, now and whenever the descriptors change */
        int front_end_fd;           /* a connected, non-blocking stream socket; the thread's on success */
        /*
         * Else, instead of front_end_fd: what a predecessor's thread had, the thread's on success. It serves the guest
         * on, and resets what was open; or it ends at once, with VHOST_USER_LOST.
         */
        struct vm_held *held;
};

struct vm_state {
        bool is_running;     /* the driver takes packets */
        bool is_paused;      /* it did, and its queues were stopped; its connections wait */
        uint64_t features;   /* as negotiated */
        uint64_t memory;     /* bytes of the guest that are mapped */
        unsigned regions;
        unsigned connections;
        uint64_t packets_to_guest, packets_from_guest;
        enum vhost_user_problem problem; /* why the front-end was let go, or a queue is served no more */
};

/* -EPROTO: what is held is not what a predecessor had. */
int vm_thread_start(const struct vm_thread_options *options, struct vm_thread **ret_thread);
/* Readable while there are messages for the loop. */
int vm_thread_fd(const struct vm_thread *thread);
/* All messages for the loop, for mailbox_next(). */
void vm_thread_hear(struct vm_thread *thread, struct list *ret_letters);
/* The descriptor is taken in any case. -ENOMEM; -ENOBUFS: a CONNECT more than VM_ORDERS_MAX. */
int vm_thread_tell(struct vm_thread *thread, const struct vm_message *message);
void vm_thread_state(struct vm_thread *thread, struct vm_state *ret);
/*
 * After VM_ENDED, or after VM_STOP. A thread that is held up by a stranger's descriptor for longer than VM_STOP_MS is
 * left to itself: -ETIMEDOUT, and what it has is never freed.
 */
int vm_thread_join(struct vm_thread *thread);
