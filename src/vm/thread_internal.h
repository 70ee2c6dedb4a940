/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The inside of a VM's thread: thread.c has its turns and its sleep, front_end.c what
 * the VMM says, bridge.c what joins a guest's connection to the host's end.
 */

#include "vm/backlog.h"
#include "vm/device.h"
#include "vm/end.h"
#include "vm/thread.h"
#include "vm/vhost_user_socket.h"

/* What an event in the thread's epoll set is of. */
struct watch {
        enum watch_kind { WATCH_MAILBOX, WATCH_FRONT_END, WATCH_KICK, WATCH_END } kind;
        int fd; /* of KICK: a duplicate, since the front-end's own goes when it sends another; -1: none */
};

/* A connection of the guest's joined with the host's end of the channel: one ticket. */
struct bridge {
        struct watch watch;
        struct vm_thread *thread;
        struct table_link link;
        uint64_t ticket;
        struct vsock_connection *connection; /* NULL: the guest's end is over */
        struct end end;
        struct backlog backlog;
        struct vm_traffic *traffic;
        bool has_end;
        bool is_asked;          /* the loop has not answered the guest's REQUEST */
        bool is_dialling;       /* the guest has not answered the host's */
        bool survives_pause;
        bool has_records;       /* see bridge.c */
        bool is_sent;           /* the application sends no more, and the guest was told */
        bool is_shut;           /* so does the guest, which the application is told behind the backlog */
        struct list awake_link; /* its ring is looked at, and not armed */
        struct list held_link;  /* its end holds something back */
        struct list over_link;  /* it ends when the turn does */
        enum bridge_over {
                BRIDGE_GOES_ON,
                BRIDGE_CLOSED,  /* in order */
                BRIDGE_RESET,
        } over;
};

struct vm_thread {
        struct vm_worker worker;  /* first */
        struct vm_thread_options options;
        bool is_stopped;          /* since the loop says so: another one may serve the front-end */

        struct device device;
        struct ledger *ledger;
        uint64_t held_generation; /* that the loop was told of */
        struct vhost_user_reader reader;
        struct watch mailbox_watch, front_end_watch, kick_watches[2];
        bool is_running, was_broken;
        int64_t private_due_ms;   /* 0: no queue is in doubt */

        struct table bridges;     /* by ticket */
        struct list awake, held, over; /* of awake_link, held_link, over_link */
        uint64_t next_ticket;
        unsigned asked_count;
        bool is_call_kept;        /* the driver is to be called for its packets */
        uint64_t kept_since;      /* how many were given back when that began */
        bool is_deciding;         /* an application makes up its mind, END_DECIDES_MS at most */
};

/* ---- front_end.c ---- */

/* Goes on where a predecessor's thread was. */
void front_end_restore(struct vm_thread *thread);
/* The loop is told of the descriptors, if it wants that. */
void front_end_say_held(struct vm_thread *thread);
/* Messages that came. The front-end may have gone: worker.is_over. */
void front_end_hear(struct vm_thread *thread);
void front_end_call(struct vm_thread *thread, unsigned rings);
/* The driver says that there is something, in a queue that may lie in memory nobody shares. */
void front_end_doubt(struct vm_thread *thread);
/* After a turn: memory that was torn, a queue that broke, a doubt that is due. */
void front_end_check(struct vm_thread *thread, bool is_broken, int64_t now_ms);

/* ---- bridge.c ---- */

extern const struct device_ends bridge_ends;

void bridge_order(struct vm_thread *thread, const struct vm_message *order);
/* It ends with this turn. */
void bridge_put_over(struct bridge *bridge, enum bridge_over over);
/* What ended in this turn. */
void bridges_settle(struct vm_thread *thread);
/* All, or those that do not survive a pause: the host's ends are aborted. The guest is told if it is still the same. */
void bridges_reset(struct vm_thread *thread, bool only_not_surviving, bool is_guest_told);

/* ---- bridge_data.c ---- */

/* Of struct device_ends. */
void bridge_take(struct device *device, struct vsock_connection *connection, const struct iovec *pieces, unsigned count,
                 size_t size, uint32_t flags);
void bridge_flush(struct device *device);
ssize_t bridge_give(struct device *device, const struct vsock_wanted *wanted, const struct iovec *pieces, unsigned count,
                    uint32_t *ret_flags, bool *ret_has_more);

/* The end's socket has something new. */
void bridge_hear(struct bridge *bridge, uint32_t events);
/* The guest sends no more, or is gone: what that means once the backlog is empty. */
void bridge_pass_shut(struct bridge *bridge);
/* Looks into the rings of those that are awake. */
void bridges_look(struct vm_thread *thread);
/* Before sleeping. False: there is something to do. */
bool bridges_arm(struct vm_thread *thread);
/* Duplicates of all the ends, for the loop. */
void bridges_say_held(struct vm_thread *thread);
/* A millisecond has passed for those whose application makes up its mind. */
void bridges_try_again(struct vm_thread *thread);
