/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Virtual machines: their vhost-user sockets and their threads.
 *
 * vms.c owns a `struct vm` for each partition that is reached as a VM: it listens on
 * <runtime>/<VmId>/vhost-user, starts a thread for the front-end that speaks first,
 * and tells the broker when the guest's driver runs. vm_channel.h has what is known of
 * each of a guest's connections; vm_connect.c brings connects to guests, vm_accept.c those from guests.
 */

#include "daemon/clients.h"
#include "daemon/vm_channel.h"
#include "vm/thread.h"

#define VM_FRONT_ENDS_MAX 4u /* connections to a vhost-user socket; the first that speaks is the front-end */

#define VM_FRONT_END_MARK "front-end" /* a file in the partition's directory while there is one, for the next hvsockd */

struct front_end {
        struct source source;
        struct vm *vm;
        int fd; /* -1: none */
};

struct vms {
        struct list all;    /* of vm.link; those that are ending included */
        struct timer ports; /* listeners came or went */
};

struct vm {
        struct world *world;
        struct partition *partition;  /* NULL: it was removed, and the thread is ending */
        struct list link;
        struct stranger stranger;     /* its VMM */
        int fd;                       /* listening; -1 */
        struct source door, news;
        struct timer door_again;      /* armed: no descriptor was free, and front-ends wait */
        struct hybrid *hybrid;        /* its hybrid socket */
        struct front_end waiting[VM_FRONT_ENDS_MAX];
        struct vm_worker *worker;     /* NULL: no front-end */
        uint32_t *ports;              /* of a hybrid VM: those that its thread listens at, in order */
        unsigned port_count;
        struct table channels;        /* by ticket */
        uint64_t next_ticket;
        unsigned dialling_count;
        enum vhost_user_problem problem; /* of this front-end or the last one */
};

int vms_open(struct world *world);
/* Waits for threads, VM_STOP_MS for all of them at most. */
void vms_close(struct world *world);

/* partitions.c: of a partition with REACH_VM, whose directory is there. */
int vm_attach(struct world *world, struct partition *partition, int directory_fd);
void vm_detach(struct world *world, struct partition *partition);
/* NULL: it is not reached as a VM. */
struct vm *vm_of(const struct partition *partition);

/* Of a VM without a front-end: for one that came, or with what a predecessor had, which is taken in any case. */
int vm_start_thread(struct vm *vm, int front_end_fd, struct vm_held *held);

/* ---- vm_held.c: what outlives hvsockd ---- */

/* Goes on with the VM that a predecessor served, if there is one; or says why it cannot. */
void vm_serve_on(struct vm *vm);
void vm_front_end_came(struct vm *vm);
void vm_front_end_left(struct vm *vm);
/* The thread says what it has, which is taken. */
void vm_hold(struct vm *vm, struct vm_held *held);
/* The holder is another one: all threads are to say it again. */
void vms_say_held(struct world *world);

/* All of a service that was disabled are reset, on both sides. */
void vms_reset_service(struct world *world, const GUID *service_id);

/* vm_accept.c: the guest asks for a connection. */
void vm_asked(struct vm_channel *vm_channel, const struct vm_message *request);

/* ---- management ---- */

/* What `hvsock vm show` tells. */
struct vm_view {
        char socket[PATH_MAX];           /* the vhost-user socket's, or of --hybrid the VMM's */
        bool has_front_end;
        struct vm_state state;           /* of its thread; zeros without one */
        enum vhost_user_problem problem; /* of this front-end or the last one */
        bool needs_replug;               /* VHOST_USER_LOST, and since then no driver ran */
};
void vm_view(struct world *world, const struct partition *partition, struct vm_view *ret);
