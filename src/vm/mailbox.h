/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the daemon's loop and a VM's thread say to each other, and the mailboxes that
 * it goes through: a list under a mutex, and an eventfd that is written only when the
 * list was empty.
 *
 * A ticket names one connection, from the word that begins it to the word that ends
 * it: even ones are the loop's (CONNECT), odd ones the thread's (REQUEST). Each side
 * answers each beginning once, so a list is bounded by the connections that a VM can
 * have. A ticket that is not known belongs to what is over by now: that is no mistake.
 *
 *   host to guest:  CONNECT -> ANSWERED -> END    -> CLOSED
 *                                       or GIVE_UP
 *                           or REFUSED
 *                   GIVE_UP at any time before END: nothing follows, though an
 *                   ANSWERED or REFUSED may be on its way
 *   guest to host:  REQUEST -> ACCEPT -> CLOSED
 *                           or REFUSE
 *
 * A guest that ends its connection before the loop's ACCEPT or END came hears nothing
 * more of it; the end that comes is aborted, and CLOSED is said.
 */

#include "base/list.h"
#include "vm/held.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

enum vm_message_kind {
        /* to the thread */
        VM_CONNECT,  /* ticket, cid, port, type: ask the guest */
        VM_END,      /* ticket, fd, traffic: where ANSWERED goes on */
        VM_GIVE_UP,  /* ticket: nobody waits for the answer any more */
        VM_ACCEPT,   /* ticket, fd, traffic */
        VM_REFUSE,   /* ticket: the guest gets a RST */
        VM_RESET,    /* ticket: the channel ends now, both ends see a reset; CLOSED follows */
        VM_SUSPEND,  /* ticket, survives_pause, as it is from now on */
        VM_LISTEN,   /* port: where hybrid VMMs connect to files, this one is wanted */
        VM_UNLISTEN, /* port */
        VM_SAY_HELD, /* HELD is wanted again, and HELD_END of each channel: who held them is gone */
        VM_STOP,     /* no thread goes on after this: all ends are aborted */
        /* to the loop */
        VM_STATE,    /* vm_thread_state() says another thing */
        VM_ANSWERED, /* ticket, port: the host's, of what was dialled; 0: it is not known */
        VM_REFUSED,  /* ticket, error: ECONNREFUSED the guest's RST, EHOSTUNREACH its driver does not run (any more),
                        EPROTOTYPE it has no such type, ENOBUFS too many connections, ENOMEM */
        VM_REQUEST,  /* ticket, cid (the one that the guest asks for), port, guest_port, type */
        VM_HELD,     /* held: the thread's descriptors, which are others than before */
        VM_HELD_END, /* ticket, fd: a duplicate of its end */
        VM_CLOSED,   /* ticket: the channel is over, its traffic counted for the last time */
        VM_ENDED,    /* the last word: the thread ends, and can be joined */
};

/* Payload of one channel, in bytes. The loop's memory; the thread writes it until it says CLOSED. */
struct vm_traffic {
        _Atomic uint64_t to_guest, from_guest;
        _Atomic bool is_ring_to_guest, is_ring_from_guest; /* between the host's end and the application */
};

struct vm_message {
        enum vm_message_kind kind;
        uint64_t ticket;
        uint64_t cid;
        uint32_t port, guest_port;
        enum vsock_type type;
        int error;
        bool survives_pause;
        bool has_records; /* END, ACCEPT: behind each message is a byte: the guest's END_OF_RECORD; both ends are guests' */
        int fd; /* END, ACCEPT, HELD_END; else -1. Whoever has the message owns it */
        struct vm_traffic *traffic;
        struct vm_held *held; /* HELD; else NULL. Whoever has the message owns it */
};

struct mailbox {
        pthread_mutex_t lock;
        struct list letters;
        unsigned count;
        int fd; /* readable while there are messages */
};

int mailbox_init(struct mailbox *mailbox);
/* Descriptors of messages that nobody took are closed, and sets of them. */
void mailbox_deinit(struct mailbox *mailbox);
/* The descriptor, or the set of them, is taken in any case. -ENOMEM. */
int mailbox_put(struct mailbox *mailbox, const struct vm_message *message);
/* How many nobody has taken. */
unsigned mailbox_count(struct mailbox *mailbox);
/* All that is there, in order, as a list for mailbox_next(); the eventfd is reset. */
void mailbox_empty(struct mailbox *mailbox, struct list *ret_letters);
/* Takes the first one. False: there is none. */
bool mailbox_next(struct list *letters, struct vm_message *ret);
