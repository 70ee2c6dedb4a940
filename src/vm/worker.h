/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What VMs' threads of both kinds have: those of a front-end (thread.h) and those of a
 * VMM that speaks the hybrid protocol (hybrid_thread.h). Each is a worker with more
 * behind it: a thread, an epoll set that it sleeps in, the mailboxes between it and the
 * loop, and what the loop sees of it.
 *
 * The loop makes one (vm_thread_new(), hybrid_thread_new()), watches its descriptor, and
 * starts it; what it was given is the thread's from then on, and the maker's until then.
 * But for vm_worker_join(), what the loop calls returns at once, whatever the thread is
 * doing: strangers' descriptors may hold it up.
 */

#include "vm/mailbox.h"
#include "vm/vhost_user.h"

#define VM_STACK_SIZE 65536u /* bytes */
#define VM_PENDING_MAX 1024u /* REQUESTs of a guest that the loop has not answered; the next are refused at once */
#define VM_ORDERS_MAX 16384u /* that a thread has not heard; more only end what was begun */
#define VM_STOP_MS 2000      /* that the loop gives threads to end, when it ends */

struct vm_state {
        bool is_running;     /* the driver takes packets, or the VMM connections */
        bool is_paused;      /* it did, and its queues were stopped; its connections wait */
        uint64_t features;   /* as negotiated */
        uint64_t memory;     /* bytes of the guest that are mapped */
        unsigned regions;
        unsigned connections;
        uint64_t packets_to_guest, packets_from_guest;
        enum vhost_user_problem problem; /* why the front-end was let go, or a queue is served no more */
};

struct vm_worker {
        const struct vm_worker_kind {
                void (*run)(struct vm_worker *worker);  /* in the thread; VM_ENDED is said behind it */
                void (*free)(struct vm_worker *worker); /* what is behind it, and with it vm_worker_deinit() */
        } *kind;
        pthread_t pthread;
        struct mailbox orders, news;
        int epoll_fd;
        bool is_over; /* the thread's: no more turns */
        pthread_mutex_t state_lock;
        struct vm_state state;
};

/* ---- for the loop ---- */

/* Signals are the loop's, but for SIGBUS, which an access to guest memory may cause. -errno: nothing was started. */
int vm_worker_start(struct vm_worker *worker);
/* One that was not started. */
void vm_worker_free(struct vm_worker *worker);
/* Readable while there are messages for the loop. */
int vm_worker_fd(const struct vm_worker *worker);
/* All messages for the loop, for mailbox_next(). */
void vm_worker_hear(struct vm_worker *worker, struct list *ret_letters);
/* The descriptor is taken in any case. -ENOMEM; -ENOBUFS: a CONNECT more than VM_ORDERS_MAX. */
int vm_worker_tell(struct vm_worker *worker, const struct vm_message *message);
void vm_worker_state(struct vm_worker *worker, struct vm_state *ret);
/*
 * After VM_ENDED or VM_STOP: waits until vm_worker_now_ms() is `until_ms`. A thread that is held up for longer is left to
 * itself: -ETIMEDOUT, and what it has is never freed. *ret_unheard: what nobody heard, of both mailboxes, whose
 * descriptors are the caller's to close.
 */
int vm_worker_join(struct vm_worker *worker, int64_t until_ms, struct list *ret_unheard);
int64_t vm_worker_now_ms(void);

/* ---- for the thread, and who makes it ---- */

/* Orders are an event with `orders_watch`. Fails or not: vm_worker_deinit() undoes it. */
int vm_worker_init(struct vm_worker *worker, const struct vm_worker_kind *kind, void *orders_watch);
void vm_worker_deinit(struct vm_worker *worker);
/* A message for the loop; without memory the thread ends, since the loop would wait for ever. */
void vm_worker_say(struct vm_worker *worker, const struct vm_message *message);
/* What the loop sees from now on; it is told if anything but counts has changed. */
void vm_worker_show(struct vm_worker *worker, const struct vm_state *state);
