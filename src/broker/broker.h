/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The broker: decides every bind, listen and connect, and keeps the books.
 *
 * Theory of operation. A world is one `struct broker`: the tree of partitions,
 * the registry, the listeners, the channels, the users' quotas, the counters.
 * It does no I/O and never blocks; the daemon asks it, does what the kernel
 * must do, and tells it what happened. Two kinds of result are kept apart: a
 * negative return value is fatal to the operation (no memory), a verdict is an
 * answer, an errno with the rule that decided.
 *
 * One connect, straight down: broker_route() resolves the address, asks the
 * registry, the permissions and the quotas, and picks the listener; the daemon
 * connects the lent descriptor to that listener's name; then either
 * broker_opened() makes the channel, or, when the kernel says the listener is
 * dead, broker_listener_gone() forgets it and the daemon routes again, or
 * broker_refused() counts the refusal. broker_closed() ends a channel.
 *
 * A VM's guest (REACH_VM) is one caller, uid 0 of its partition, whoever asks in
 * it; what listens in it is known to nobody but itself, so that a route there has
 * no listener, and the guest has the last word.
 */

#include "broker/address.h"
#include "broker/counters.h"
#include "broker/limits.h"
#include "broker/partition.h"
#include "broker/registry.h"
#include "broker/verdict.h"

struct listener {
        struct partition *partition;
        GUID vm_id;      /* as bound */
        GUID service_id;
        int socket_type; /* SOCK_STREAM or SOCK_SEQPACKET */
        uint32_t pid, uid;
        bool passthru;   /* bound with HVSOCKET_CONTAINER_PASSTHRU: reachable under the VM's VmId */
        bool on_demand;  /* held by the broker for a service with Exec= */
        int64_t since_ms; /* the daemon's clock, milliseconds since the epoch */
        uint32_t channel_count;
        struct service *service;         /* whose counters it is in; NULL when unregistered */
        struct post *post;               /* what there is of this ServiceId in this partition */
        struct post *through;            /* the same in the VM that it is reachable under, or NULL */
        struct list channels;            /* of channel.listener_link */
        struct list all_link, partition_link, post_link;
        struct table_link address_link, through_link;
        void *shell;
};

enum direction { FROM_CONNECTOR, FROM_ACCEPTOR };

struct channel {
        GUID ephemeral_id; /* unique; the key */
        struct partition *from, *to; /* the connector's and the acceptor's */
        struct listener *listener;   /* NULL once the listener is gone, and for one in a VM's guest */
        GUID service_id;
        GUID dialled_vm_id;
        struct service *service; /* whose counters it is in; NULL when unregistered */
        uint32_t from_pid, from_uid, to_pid, to_uid;
        int socket_type;
        int64_t since_ms; /* 0: it is older than this broker */
        bool ended;     /* shut down both ways, and not closed yet: the daemon's to say */
        uint64_t bytes[2]; /* that went through rings, by enum direction */
        struct list all_link, listener_link;
        struct table_link id_link;
        void *shell;
};

enum event_kind { EVENT_LISTEN, EVENT_UNLISTEN, EVENT_OPEN, EVENT_REFUSE, EVENT_CLOSE };

/* What `hvsock monitor` shows. Pointers are borrowed for the call. */
struct event {
        enum event_kind kind;
        const struct caller *caller;     /* REFUSE */
        const struct listener *listener; /* LISTEN, UNLISTEN */
        const struct channel *channel;   /* OPEN, CLOSE */
        GUID vm_id, service_id;          /* REFUSE: the address asked for */
        struct verdict verdict;          /* REFUSE */
};
typedef void (*broker_observer)(const struct event *event, void *userdata);

struct broker;

/* `hash_key` keys the tables, since strangers choose the GUIDs. The root partition is added with partition_add(). */
int broker_new(const uint8_t hash_key[16], const struct owner *owner, const struct quotas *quotas,
               struct broker **ret_broker);
struct broker *broker_free(struct broker *broker);
void broker_observe(struct broker *broker, broker_observer observer, void *userdata);
struct partition *broker_root(const struct broker *broker); /* NULL until added */
const struct owner *broker_owner(const struct broker *broker);
const struct quotas *broker_quotas(const struct broker *broker);

/* A client of a partition's socket: counted against clients_per_partition and _per_user. verdict ENOBUFS past them. */
struct verdict broker_client_opened(struct broker *broker, const struct caller *caller);
void broker_client_closed(struct broker *broker, const struct caller *caller);

struct bind_request {
        const struct caller *caller;
        GUID vm_id, service_id;
        int socket_type;
        bool passthru;
        bool on_demand;
        int64_t now_ms;
};

/*
 * May this caller bind here, and if so, the listener is in the books (the daemon
 * then binds the descriptor, or calls broker_listener_gone() when that fails).
 * On EADDRINUSE *ret_listener is the one in the way, so that the daemon can
 * probe it, drop it if dead, and ask again. Refusals are counted by the caller
 * of broker_refused().
 */
int broker_bind(struct broker *broker, const struct bind_request *request, struct verdict *ret_verdict,
                struct listener **ret_listener);
/* Puts back a listener found alive after a restart: no permission is asked, quotas are not charged past. -EEXIST. */
int broker_restore_listener(struct broker *broker, const struct bind_request *request, struct listener **ret_listener);
/* May a socket bound to this address listen (and take connections)? */
struct verdict broker_listen(const struct broker *broker, const struct caller *caller, const GUID *vm_id,
                             const GUID *service_id);
void broker_listener_gone(struct broker *broker, struct listener *listener);
struct listener *broker_listener_find(const struct broker *broker, const struct partition *partition,
                                      const GUID *vm_id, const GUID *service_id);
struct listener *broker_listener_next(const struct broker *broker, const struct listener *after);

struct connect_request {
        const struct caller *caller;
        GUID vm_id, service_id;
        int socket_type; /* 0: do not compare (hvsock why) */
        bool passthru;
};

struct route {
        struct resolution resolution;
        struct listener *listener;     /* set when allowed, unless `vm` is */
        struct partition *vm;          /* set when allowed, and the VM's guest is to be asked at `port` */
        uint32_t port;
        const struct service *service; /* NULL when unregistered */
};

/* Decides; changes nothing. *ret_route is filled as far as the decision went. */
struct verdict broker_route(const struct broker *broker, const struct connect_request *request,
                            struct route *ret_route);

int broker_opened(struct broker *broker, const struct connect_request *request, const struct route *route,
                  const GUID *ephemeral_id, int64_t now_ms, struct channel **ret_channel);
/*
 * Puts back a channel found open after a restart, of which the caller fills all but the service and the links: no
 * permission is asked, no quota refuses, and it counts as open, not as opened. -EEXIST.
 */
int broker_restore_channel(struct broker *broker, const struct channel *channel, struct channel **ret_channel);
void broker_closed(struct broker *broker, struct channel *channel);
/*
 * So many bytes went this way so far, as far as their sender says: what it says may only grow, and no sum overflows. In
 * the channel's and its service's counters; nothing decides by them.
 */
void broker_counted(struct channel *channel, enum direction direction, uint64_t bytes);
struct channel *broker_channel_find(const struct broker *broker, const GUID *ephemeral_id);
struct channel *broker_channel_next(const struct broker *broker, const struct channel *after);

/* Counts a refusal (per service if registered, per caller's partition) and tells the observer. */
void broker_refused(struct broker *broker, const struct caller *caller, const GUID *vm_id, const GUID *service_id,
                    const struct verdict *verdict);

/*
 * The text that hv_last_refusal() and the log give: who, both addresses with
 * their names, the service's name, and the rule. Truncated to `size`.
 */
void broker_explain(const struct broker *broker, const struct caller *caller, const GUID *vm_id, const GUID *service_id,
                    const struct verdict *verdict, char *ret_text, size_t size);

/* May channels of this service go on? EINVAL once it is disabled. */
struct verdict broker_check(const struct broker *broker, const struct caller *caller, const GUID *service_id);
