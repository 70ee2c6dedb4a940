/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Tickets: a guest's connections as the loop sees them.
 *
 * A ticket (vm/mailbox.h) is a `struct vm_channel` here, from the word that begins it to
 * the thread's last word of it. It outlives its channel's entry in the broker's books,
 * and the other way round: either end may be closed first.
 */

#include "daemon/clients.h"
#include "vm/mailbox.h"

struct vm;
struct vm_channel;

/* Of a connection whose guest has not answered: who waits, told once. `error` is 0 or a positive errno (VM_REFUSED). */
typedef void (*vm_answer)(struct vm_channel *vm_channel, int error, void *waiting);

struct vm_channel {
        struct table_link link;
        struct vm *vm;
        uint64_t ticket;
        uint32_t host_port;      /* of what was dialled and answered; 0: it is not known */
        struct vm_traffic traffic;
        struct channel *channel; /* in the books; NULL before and after */
        vm_answer answered;      /* until the guest has answered */
        void (*left)(struct vm_channel *vm_channel, void *waiting); /* the guest that asked went away before an answer */
        void *waiting;           /* for either */
        uint64_t held_end;       /* hold_end()'s */
};

/* ---- host to guest ---- */

/*
 * Asks the guest for a connection from this CID to this port. -EHOSTUNREACH: nobody is there; -ENOBUFS: VM_PENDING_MAX;
 * -ENOMEM.
 */
int vm_dial(struct vm *vm, uint64_t from_cid, uint32_t port, int socket_type, vm_answer answered, void *waiting,
            struct vm_channel **ret);
/* Nobody waits any more, or nothing comes of the guest's answer. Frees it. */
void vm_give_up(struct vm_channel *vm_channel);

/* ---- both ways ---- */

struct vm_end {
        int fd; /* taken */
        bool has_records; /* it is of SOCK_SEQPACKET, and its other end is a guest's, too */
};
/* The host's end of it, for what was dialled, or for what the guest asked for. */
void vm_give_end(struct vm_channel *vm_channel, const struct vm_end *end);
/* Whether it survives a pause of its VM. */
void vm_channel_survives(struct vm_channel *vm_channel, bool survives);
/* WIRE_SUSPEND. Who has no part in the channel is not heard. */
void vm_suspend_told(const struct client *client, const struct wire_request *request);
/* To what the guest asked for. Frees it. */
void vm_refuse(struct vm_channel *vm_channel);
/* It is in the books from now on, and this is its connector's end, or its acceptor's. */
void vm_channel_booked(struct vm_channel *vm_channel, struct channel *channel, enum direction end);
/* Its payload so far is counted. */
void vm_channel_count(struct vm_channel *vm_channel, enum direction end);

/* ---- what the thread says; vms.c ---- */

/* A guest's, which it asks for. NULL: no memory. */
struct vm_channel *vm_channel_new(struct vm *vm, uint64_t ticket);
struct vm_channel *vm_channel_find(struct vm *vm, uint64_t ticket);
void vm_channel_tell(struct vm_channel *vm_channel, enum vm_message_kind kind);
/* 0 or a positive errno. With an error it is freed. */
void vm_channel_answered(struct vm_channel *vm_channel, int error);
/*
 * The guest's end is closed. A connector's is the channel, and so is that of a hybrid socket, which has no name; an
 * acceptor's leaves its connector to notice. Frees it.
 */
void vm_channel_over(struct vm_channel *vm_channel);
/* Nothing comes of any of them: the thread has ended. */
void vm_channels_end(struct vm *vm);
