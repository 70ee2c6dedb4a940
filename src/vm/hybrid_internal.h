/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The inside of a hybrid VM's thread: hybrid_thread.c has its turns and its sleep,
 * hybrid_channel.c the beginning and the end of channels, hybrid_join.c what is moved,
 * hybrid_listen.c the files PATH_<port>.
 */

#include "base/hash.h"
#include "vm/backlog.h"
#include "vm/end.h"
#include "vm/hybrid_thread.h"
#include "vm/vsock.h"
#include <limits.h>

struct hybrid_watch { /* what an event is of */
        enum hybrid_watch_kind { HYBRID_ORDERS, HYBRID_LISTENER, HYBRID_STREAM, HYBRID_END } kind;
};

struct hybrid_channel {
        struct hybrid_thread *thread;
        struct table_link link;
        uint64_t ticket;
        enum hybrid_stage {
                HYBRID_KNOCKING, /* the VMM's backlog is full */
                HYBRID_ASKING,   /* the line is sent */
                HYBRID_WAITING,  /* for the channel's end */
                HYBRID_JOINED,
        } stage;
        uint32_t port;
        bool is_asked;           /* the loop has not answered the guest's REQUEST */
        struct hybrid_watch stream_watch, end_watch;
        int stream_fd;           /* to the VMM, or -1 */
        struct end end;          /* while joined */
        struct vm_traffic *traffic;
        struct backlog to_guest, from_guest;
        bool is_sent;            /* nothing more goes to the guest */
        bool is_received;        /* nothing more comes from it */
        bool is_reset;           /* it left bytes unread */
        int64_t doubt_due_ms;
        struct list awake_link;  /* while it is looked at in each turn */
        struct list wait_link;   /* knocking, or in doubt: closed in order, or is the VM gone? */
        struct list over_link;   /* it ends when the turn does */
        enum hybrid_over {
                HYBRID_GOES_ON,
                HYBRID_CLOSED,
                HYBRID_RESET,
        } over;
};

struct hybrid_thread {
        struct vm_worker worker;   /* first */
        char path[PATH_MAX];
        uint32_t vmm_uid;
        struct hybrid_watch orders_watch;
        struct table channels;     /* by ticket */
        struct list awake, over, knocking, doubted, listeners;
        unsigned asked_count, listener_count;
        uint64_t next_ticket;
        int64_t probe_due_ms, retry_due_ms; /* 0: none */
        uint8_t buffer[HYBRID_BUFFER];
};

int hybrid_watch_add(struct hybrid_thread *thread, int fd, struct hybrid_watch *watch);
/* Before it is closed: a duplicate, which a child has until it executes its program, would keep it in the set. */
void hybrid_watch_remove(struct hybrid_thread *thread, int fd);
/* Connects to PATH. -EAGAIN: it listens, and its backlog is full. The VM runs, or does not, from now on. */
int hybrid_reach(struct hybrid_thread *thread, int *ret_fd);
/* Is somebody there? */
bool hybrid_probe(struct hybrid_thread *thread);
void hybrid_retry_soon(struct hybrid_thread *thread);
/* Whether a socket's peer is of this user, or of those who may be anybody. */
bool hybrid_peer_is(int fd, uint32_t uid);

/* ---- hybrid_channel.c ---- */

/* Takes the stream if it succeeds. The guest asks for `port`. */
int hybrid_channel_ask(struct hybrid_thread *thread, uint32_t port, int stream_fd);
void hybrid_channel_order(struct hybrid_thread *thread, const struct vm_message *order);
void hybrid_channel_hear(struct hybrid_channel *channel, uint32_t events);
void hybrid_channels_retry(struct hybrid_thread *thread);
void hybrid_channels_doubt(struct hybrid_thread *thread, int64_t now_ms);
void hybrid_channel_put_over(struct hybrid_channel *channel, enum hybrid_over over);
void hybrid_channels_settle(struct hybrid_thread *thread);
/* All of them: their ends are aborted. */
void hybrid_channels_reset(struct hybrid_thread *thread);

/* ---- hybrid_join.c ---- */

/* Takes the channel's end, whatever becomes of it. */
void hybrid_join(struct hybrid_channel *channel, int fd);
/* Moves what there is. False: an event tells of more. */
bool hybrid_move(struct hybrid_channel *channel);

/* ---- hybrid_listen.c ---- */

void hybrid_listen(struct hybrid_thread *thread, uint32_t port);
void hybrid_unlisten(struct hybrid_thread *thread, uint32_t port);
void hybrid_accept(struct hybrid_thread *thread, struct hybrid_watch *watch);
void hybrid_listeners_retry(struct hybrid_thread *thread);
void hybrid_listeners_close(struct hybrid_thread *thread);
