/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The inside of a world's books, for the broker's own rooms.
 *
 * Every table is keyed by a secret, since strangers choose the GUIDs; every
 * lookup on the way of a connect is one of them, so its cost does not grow.
 */

#include "base/hash.h"
#include "broker/broker.h"
#include "broker/order.h"

#define ALLOWED ((struct verdict){0, RULE_ALLOWED})
#define REFUSED(error, rule) ((struct verdict){error, rule})

/* What one user of one partition holds. */
struct user {
        struct table_link link;
        struct user_key {
                uint32_t uid;
                GUID partition;
        } key;
        uint32_t listeners, channels, clients;
};

/* What there is of one ServiceId in one partition. */
struct post {
        struct table_link link;
        struct post_key {
                GUID partition, service;
        } key;
        struct list listeners;  /* of listener.post_link; root's last */
        uint32_t through_count; /* listeners of passthru containers, when the partition is their VM */
};

struct broker {
        struct owner owner;
        struct quotas quotas;
        struct partition *root;
        struct table partitions, services, users, posts;
        struct table partitions_by_cid;    /* of partition.cid_link */
        uint64_t cid_free;                 /* none before it is */
        struct table listeners_by_address; /* {partition, bound VmId, ServiceId}; of listener.address_link */
        struct table through_by_address;   /* the same with the VM that is passed through; of listener.through_link */
        struct table channels_by_id;
        struct order services_in_order;    /* by name, then GUID */
        struct order children_in_order;    /* all partitions but the root: by parent's VmId, then label */
        struct list listeners; /* all, of listener.all_link */
        struct list channels;  /* all, of channel.all_link */
        broker_observer observer;
        void *observer_userdata;
};

/* The caller's account, made when there is none. NULL: no memory. */
struct user *user_of(struct broker *broker, uint32_t uid, const struct partition *partition);
/* Only looks. NULL: holds nothing. */
struct user *user_find(const struct broker *broker, uint32_t uid, const struct partition *partition);
/* Drops the account when it holds nothing any more. */
void user_settle(struct broker *broker, struct user *user);

/* The rule of a service that is not registered: DESIGN's default. */
extern const struct access access_default;

/* The listener that takes this connector's channels, the most specific one first; NULL, and why there is none. */
struct listener *listener_accepting(const struct broker *broker, const struct resolution *from, const GUID *service_id,
                                    bool wildcard_binds, enum rule *ret_why);

/* The VM that a container stands in, or the container itself when there is none. */
struct partition *virtual_machine_of(struct partition *container);

void broker_tell(const struct broker *broker, const struct event *event);
