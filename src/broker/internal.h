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

/* What one user of the world holds. Ids that do not map are one user a partition: see user_of(). */
struct user {
        struct table_link link;
        struct user_key {
                uint32_t uid;
                GUID partition; /* zero unless uid is CALLER_UNMAPPED */
        } key;
        uint32_t listeners, channels, clients;
};

/* All listeners of one ServiceId in one partition: what a connect looks up. */
struct post {
        struct table_link link;
        struct post_key {
                GUID partition, service;
        } key;
        struct list listeners; /* of listener.post_link */
        struct list through;   /* of listener.through_link: passthru containers' listeners, when this is a VM's post */
};

struct broker {
        struct owner owner;
        struct quotas quotas;
        struct partition *root;
        struct table partitions, services, names, users, posts, channels_by_id;
        struct list service_order; /* of service.order_link */
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

struct post *post_find(const struct broker *broker, const GUID *partition, const GUID *service);

/* The VM that a container stands in, or the container itself when there is none. */
struct partition *virtual_machine_of(struct partition *container);

void broker_tell(const struct broker *broker, const struct event *event);
