/* SPDX-License-Identifier: MIT */

/* A world's books: making and freeing them, users' accounts, clients, refusals. */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int broker_new(const uint8_t hash_key[16], const struct owner *owner, const struct quotas *quotas,
               struct broker **ret_broker) {
        struct broker *broker = calloc(1, sizeof *broker);
        if (!broker)
                return -ENOMEM;
        broker->owner = *owner;
        broker->quotas = *quotas;
        broker->cid_free = CID_FIRST;
        list_init(&broker->listeners);
        list_init(&broker->channels);
        struct table *tables[] = {&broker->partitions,
                                  &broker->partitions_by_cid,
                                  &broker->services,
                                  &broker->users,
                                  &broker->posts,
                                  &broker->listeners_by_address,
                                  &broker->through_by_address,
                                  &broker->channels_by_id};
        for (size_t i = 0; i < sizeof tables / sizeof *tables; i++)
                if (table_init(tables[i], hash_key)) {
                        broker_free(broker);
                        return -ENOMEM;
                }
        *ret_broker = broker;
        return 0;
}

static void free_tree(struct partition *partition) {
        list_for_each_safe(link, &partition->children)
                free_tree(container_of(link, struct partition, sibling_link));
        free(partition);
}

struct broker *broker_free(struct broker *broker) {
        if (!broker)
                return NULL;
        broker->observer = NULL;
        for (struct channel *channel; (channel = broker_channel_next(broker, NULL));)
                broker_closed(broker, channel);
        for (struct listener *listener; (listener = broker_listener_next(broker, NULL));)
                broker_listener_gone(broker, listener);
        for (struct service *service; (service = registry_next(broker, NULL));)
                registry_remove(broker, service);
        for (struct table_link *link; (link = table_next(&broker->users, NULL));) {
                table_remove(&broker->users, link);
                free(container_of(link, struct user, link));
        }
        if (broker->root)
                free_tree(broker->root);
        table_deinit(&broker->partitions);
        table_deinit(&broker->partitions_by_cid);
        table_deinit(&broker->services);
        table_deinit(&broker->users);
        table_deinit(&broker->posts);
        table_deinit(&broker->listeners_by_address);
        table_deinit(&broker->through_by_address);
        table_deinit(&broker->channels_by_id);
        order_deinit(&broker->services_in_order);
        order_deinit(&broker->children_in_order);
        free(broker);
        return NULL;
}

void broker_observe(struct broker *broker, broker_observer observer, void *userdata) {
        broker->observer = observer;
        broker->observer_userdata = userdata;
}

void broker_tell(const struct broker *broker, const struct event *event) {
        if (broker->observer)
                broker->observer(event, broker->observer_userdata);
}

struct partition *broker_root(const struct broker *broker) {
        return broker->root;
}

const struct owner *broker_owner(const struct broker *broker) {
        return &broker->owner;
}

const struct quotas *broker_quotas(const struct broker *broker) {
        return &broker->quotas;
}

/* Root in a container and root on the host are not the same user: neither can use up what the other is allowed. */
static struct user_key user_key(uint32_t uid, const struct partition *partition) {
        return (struct user_key){.uid = uid, .partition = partition->vm_id};
}

struct user *user_find(const struct broker *broker, uint32_t uid, const struct partition *partition) {
        struct user_key key = user_key(uid, partition);
        uint64_t hash = table_hash(&broker->users, &key, sizeof key);
        for (struct table_link *link = NULL; (link = table_find(&broker->users, hash, link));) {
                struct user *user = container_of(link, struct user, link);
                if (!memcmp(&user->key, &key, sizeof key))
                        return user;
        }
        return NULL;
}

struct user *user_of(struct broker *broker, uint32_t uid, const struct partition *partition) {
        struct user *user = user_find(broker, uid, partition);
        if (user)
                return user;
        user = calloc(1, sizeof *user);
        if (!user)
                return NULL;
        user->key = user_key(uid, partition);
        if (table_insert(&broker->users, &user->link, table_hash(&broker->users, &user->key, sizeof user->key))) {
                free(user);
                return NULL;
        }
        return user;
}

void user_settle(struct broker *broker, struct user *user) {
        if (user->listeners || user->channels || user->clients)
                return;
        table_remove(&broker->users, &user->link);
        free(user);
}

struct verdict broker_client_opened(struct broker *broker, const struct caller *caller) {
        struct user *user = user_of(broker, caller->uid, caller->partition);
        if (!user)
                return REFUSED(ENOBUFS, RULE_QUOTA);
        if (caller->partition->client_count >= broker->quotas.clients_per_partition ||
            user->clients >= broker->quotas.clients_per_user) {
                user_settle(broker, user);
                return REFUSED(ENOBUFS, RULE_QUOTA);
        }
        user->clients++;
        caller->partition->client_count++;
        return ALLOWED;
}

void broker_client_closed(struct broker *broker, const struct caller *caller) {
        struct user *user = user_find(broker, caller->uid, caller->partition);
        user->clients--;
        caller->partition->client_count--;
        user_settle(broker, user);
}

void broker_refused(struct broker *broker, const struct caller *caller, const GUID *vm_id, const GUID *service_id,
                    const struct verdict *verdict) {
        struct service *service = registry_by_id(broker, service_id);
        caller->partition->counters.refused[verdict->rule]++;
        if (service)
                service->counters.refused[verdict->rule]++;
        broker_tell(broker, &(struct event){.kind = EVENT_REFUSE,
                                            .caller = caller,
                                            .vm_id = *vm_id,
                                            .service_id = *service_id,
                                            .verdict = *verdict});
}
