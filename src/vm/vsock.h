/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The vsock state machine of one VM: its connections, and what they and its driver
 * owe each other. Pure: no system call, and the time is told by the caller.
 *
 * Theory of operation. What comes from the guest goes through vsock_receive(), which
 * says what it means to the owner. What goes to the guest is asked for when there is
 * a buffer for it, by vsock_next(): nothing is built before, so a guest that gives
 * no buffers makes nothing grow. What a connection owes is a set of bits in it; a
 * RST for what is no connection waits in a small list, and is dropped when that is
 * full. Data is never seen here: the owner moves it, and tells how much.
 *
 * Credit. Towards the guest: each connection is given a buffer, as long as all of
 * them together stay within VSOCK_BUFFER_TOTAL; the owner says what it passed on.
 * A guest that sends more is reset. From the guest: what it may still be sent is its
 * buffer less what it has not passed on, never below 0 whatever it claims. Since
 * newer Linux counts packets, too, a stream's small packets stop at half of what that
 * allows, and then data waits until a packet is worthwhile; the guest is asked for
 * its count meanwhile. Packets are counted in two generations: one is forgotten
 * when the guest has passed on all that was sent in it.
 *
 * A connection that the host dials has no buffer until vsock_open(): so the guest
 * sends nothing before the host has a place for it.
 *
 * Ends. The guest's RST, or its SHUTDOWN both ways (answered by a RST), ends a
 * connection: the owner hears it once, and the ports are free. The host's
 * vsock_close() sends SHUTDOWN both ways and waits VSOCK_CLOSE_MS for the RST. The
 * memory is the owner's to release, and goes when no RST is owed either.
 */

#include "base/hash.h"
#include "vm/vsock_packet.h"
#include <stdbool.h>
#include <stddef.h>

#define VSOCK_CONNECTIONS_MAX 4096u
#define VSOCK_STRAYS_MAX 128u          /* RSTs for what is no connection */
#define VSOCK_BUFFER_TOTAL (64u << 20) /* what the guest may send to all its connections before it is passed on */
#define VSOCK_BUFFER_MAX 262144u       /* of one; a Linux guest sends no more by default */
#define VSOCK_BUFFER_MIN 4096u         /* in a crowd */
#define VSOCK_BUFFER_SHARE 16u         /* one connection gets no more than this part of what is to spare */
#define VSOCK_MESSAGE_MAX 65536u       /* with VSOCK_SEQPACKET; its buffer is as large: guests refuse longer ones */
#define VSOCK_PORT_FIRST 1024u         /* of those that the host's connections get */
#define VSOCK_PORT_LAST 65535u
#define VSOCK_CLOSE_MS 8000
#define VSOCK_ASK_MIN_MS 20            /* between CREDIT_REQUESTs of a connection that lacks room for packets */
#define VSOCK_ASK_MAX_MS 5000
#define VSOCK_PACKET_COST 1024u        /* what an unread packet takes of the guest's buffer, generously; Linux: 576 */
#define VSOCK_WORTHWHILE 2048u         /* a packet of so many bytes costs less than its data */

enum vsock_state {
        VSOCK_DIALLING,  /* the host's REQUEST is on its way, or to be sent */
        VSOCK_ASKED,     /* the guest's REQUEST is to be answered by the owner */
        VSOCK_CONNECTED,
        VSOCK_CLOSING,   /* nobody owns it: waits for the guest's RST */
        VSOCK_ENDED,     /* out of the table */
};

struct vsock_connection {
        struct table_link link;
        struct list all_link, send_link, wait_link;
        uint64_t cid;                 /* the other side's, as the guest calls it: the host's, or another VM's */
        uint32_t port, guest_port;
        enum vsock_type type;
        enum vsock_state state;
        uint32_t owes;                /* packets, a bit for each operation */
        uint32_t shut, guest_shut;    /* VSOCK_SHUT_*: of the host, of the guest */
        uint32_t shut_told;
        bool is_ready, is_owned;
        bool is_held;                 /* it has something to send, but too little while packets are spared */
        uint32_t buffer, promised;    /* what the guest is told; what was taken of the total */
        uint32_t received, forwarded, forwarded_told;
        uint32_t message_size;        /* of the message that the guest is in the middle of */
        uint32_t guest_buffer, guest_forwarded, sent;
        uint32_t packets_before, packets_since, sent_before; /* two generations, and where the first one ends */
        uint32_t ask_delay_ms;
        int64_t deadline_ms;          /* of closing, or of asking again; 0: none */
        uint32_t ledger_slot;
        void *owner;                  /* the owner's */
};

struct ledger;

struct vsock_stray {
        uint64_t cid;
        uint32_t port, guest_port;
        uint16_t type;
};

struct vsock {
        struct table connections;
        struct list all;              /* of all_link, those that ended included */
        struct list sending;          /* of send_link: they owe something, or are ready; the next one first */
        struct list waiting;          /* of wait_link: they have a deadline */
        struct vsock_connection *last; /* that a packet came for, or NULL */
        uint64_t guest_cid;
        uint32_t count, promised, next_port;
        bool has_seqpacket;
        struct ledger *ledger;        /* the owner's, in which all connections are, or NULL */
        int64_t now_ms, next_deadline_ms; /* no deadline is earlier; 0: there is none */
        struct vsock_stray strays[VSOCK_STRAYS_MAX];
        unsigned stray_first, stray_count;
};

int vsock_init(struct vsock *vsock, uint64_t guest_cid, const uint8_t hash_key[16]);
/* Frees all connections, whoever owns them. */
void vsock_deinit(struct vsock *vsock);

/* ---- from the guest ---- */

enum vsock_event {
        VSOCK_NOTHING,
        VSOCK_ASKS,     /* a new connection, to be owned: vsock_accept() or vsock_reset() answers */
        VSOCK_ANSWERED, /* the guest accepted what the host dialled: vsock_open() */
        VSOCK_DATA,     /* the packet's `length` bytes of payload, with its flags, are for this connection */
        VSOCK_SHUT,     /* `guest_shut` is more than it was */
        VSOCK_CLOSED,   /* it ended in order: all that the guest sent has come */
        VSOCK_RESET,    /* it ended: the guest's RST, or its mistake */
};

/*
 * A packet of which `payload` bytes are there. A packet that says it is longer, or that comes from another CID, is
 * nothing. After CLOSED and RESET the connection is the owner's to vsock_release().
 */
enum vsock_event vsock_receive(struct vsock *vsock, const struct vsock_packet *packet, size_t payload,
                               struct vsock_connection **ret);

/* ---- the owner ---- */

/* -ENOSPC: too many connections; -EPROTONOSUPPORT: the guest has no such type; -ENOMEM. */
int vsock_dial(struct vsock *vsock, uint64_t cid, uint32_t guest_port, enum vsock_type type, void *owner,
               struct vsock_connection **ret);
void vsock_open(struct vsock *vsock, struct vsock_connection *connection);
void vsock_accept(struct vsock *vsock, struct vsock_connection *connection);
/* So many bytes of its data were passed on, and no longer take room. */
void vsock_forward(struct vsock *vsock, struct vsock_connection *connection, uint32_t size);
/* The host will not receive, or not send, any more; what it had sent is sent. */
void vsock_shut(struct vsock *vsock, struct vsock_connection *connection, uint32_t flags);
/* Both, and it is owned no more. */
void vsock_close(struct vsock *vsock, struct vsock_connection *connection);
/* RST, also for an answer; it is owned no more. */
void vsock_reset(struct vsock *vsock, struct vsock_connection *connection);
/* An ended one. */
void vsock_release(struct vsock *vsock, struct vsock_connection *connection);

/*
 * A predecessor that died had this connection, and the guest does not know that it is over: it gets a RST. -EEXIST: a
 * connection has these ports by now; -ENOSPC; -ENOMEM.
 */
int vsock_disclaim(struct vsock *vsock, uint64_t cid, uint32_t port, uint32_t guest_port, enum vsock_type type);

/* ---- to the guest ---- */

/* There is something to send. */
void vsock_ready(struct vsock *vsock, struct vsock_connection *connection);

enum vsock_next {
        VSOCK_IDLE,
        VSOCK_PACKET, /* *ret_packet, without payload, is to be sent */
        VSOCK_DATA_WANTED, /* of *ret_connection: from `least` to `room` bytes; one of the next two follows */
};

/* Whether vsock_next() may have something, given a buffer. */
static inline bool vsock_has_work(const struct vsock *vsock) {
        return vsock->stray_count || !list_is_empty(&vsock->sending);
}

struct vsock_wanted {
        struct vsock_connection *connection;
        size_t least, room;
};
/* What goes into the next buffer, which holds `buffer` bytes, header included. */
enum vsock_next vsock_next(struct vsock *vsock, size_t buffer, struct vsock_packet *ret_packet,
                           struct vsock_wanted *ret_wanted);
/* So many bytes are in the buffer: its header. The connection stays ready if `is_ready`. */
void vsock_sent(struct vsock *vsock, struct vsock_connection *connection, size_t size, uint32_t flags, bool is_ready,
                struct vsock_packet *ret_packet);
/* There are not as many, so nothing is sent: vsock_ready() when more came. */
void vsock_unready(struct vsock *vsock, struct vsock_connection *connection);

/* ---- time ---- */

/* Before the others are called, and when the deadline has come. */
void vsock_tick(struct vsock *vsock, int64_t now_ms);
/* When it wants to be told the time; 0: never. */
int64_t vsock_deadline(const struct vsock *vsock);
