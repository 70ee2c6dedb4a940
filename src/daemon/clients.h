/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The libraries' connections. Who a client is comes from the kernel when it
 * connects; each message must come from the same process and user. Clients are
 * gathered by process, since a process's channels are looked at when one of its
 * connections goes away. A client gets one request served a turn of the loop, so
 * that nobody waits for a flood; one that does not read its answers is closed.
 */

#include "base/hash.h"
#include "daemon/stranger.h"
#include "daemon/world.h"
#include "wire/message.h"

#define CLIENTS_PER_WAKE_UP 64     /* accepted at once */
#define REFUSED_CLIENTS_MAX 64     /* over their quota, waiting to be told so */
#define DESCRIPTORS_RESERVED 512   /* kept from clients: for what one packet can bring, files and children; at most half */

struct process {
        struct table_link link;
        struct partition *partition;
        uint32_t pid; /* 0: of a pid namespace that the broker does not see; then one process a client */
        unsigned client_count;
        struct list channels;  /* of channel_shell.process_link */
        struct list closed;    /* those it says it closed, longest ago first: of channel_shell.closed_link */
        unsigned closed_count;
        struct list listeners; /* of listener_shell.process_link */
        struct list left_link; /* probe.c: a client of it went away */
        int64_t left_delay_ms, left_due_ms;
        bool is_gone; /* it had no client when last looked at, long after one went away */
};

struct parked;

struct client {
        struct source source;
        struct world *world;
        struct process *process;
        struct caller caller;
        struct stranger stranger; /* who answers for it */
        struct parked *parked;  /* vm_connect.c: a guest is asked in its name; it is not heard until then */
        struct verdict refusal; /* over a quota: the answer to its first request */
        struct timer look;      /* clients.c: what it sent is being closed, and it is not heard until then */
        unsigned looks;
        uint64_t network;       /* cookie of its network namespace: its abstract names are there */
        bool heard;
        uint32_t heard_uid, heard_gid; /* of its first message: real ids, where `caller` has effective ones */
        struct list link;
        uint32_t groups[];
};

int clients_open(struct world *world);
void clients_close(struct world *world);

/* Takes what waits in a partition's socket. */
void client_accept(struct world *world, struct partition *partition, int listen_fd);
/* Who is at the other end, as a client of this partition; in no list, and free() frees it. Or a negative errno. */
int client_new(struct world *world, struct partition *partition, int fd, struct client **ret);
/* Whether there are enough descriptors free with this new one. */
bool client_leaves_room(int fd);
/* A connection that is not taken; it may have something queued already. */
void client_discard(const struct world *world, const struct partition *partition, int fd);

/* Another connection of its process, as the same user; NULL: none. */
struct client *client_beside(const struct client *client);

/* The process of this pid in this partition, made when unknown; NULL without memory. */
struct process *process_get(struct world *world, struct partition *partition, uint32_t pid);
/* Frees it if nothing belongs to it any more. */
void process_release(struct world *world, struct process *process);

/* The answer to what was parked. The descriptor is taken. May free the client. */
void client_answer_connect(struct client *client, const struct wire_request *request, int fd,
                           const struct verdict *verdict, const GUID *ephemeral_id);

/* requests.c: answers one request, whose descriptor (or -1) it takes. A negative errno closes the client. */
int request_serve(struct client *client, const struct wire_request *request, int fd);
/* The answer to a connect whose guest has answered. The same errors. */
int request_answer_connect(struct client *client, const struct wire_request *request, int fd,
                           const struct verdict *verdict, const GUID *ephemeral_id);
/*
 * A socket that was bound or connected, or is empty, is closed on the loop, so that its name is free at once, unless
 * that made the loop wait before.
 */
void request_close_lent(const struct client *client, int fd);
/* Answers a request of a type that this broker does not know. */
int request_unknown(struct client *client, const struct wire_header *header);
