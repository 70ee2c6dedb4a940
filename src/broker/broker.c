/* SPDX-License-Identifier: MIT */

/* A world's books: making and freeing them, users' accounts, clients, refusals, routes. */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ALLOWED ((struct verdict){0, RULE_ALLOWED})
#define REFUSED(error, rule) ((struct verdict){error, rule})

int broker_new(const uint8_t hash_key[16], const struct owner *owner, const struct quotas *quotas,
               struct broker **ret_broker) {
        struct broker *broker = calloc(1, sizeof *broker);
        if (!broker)
                return -ENOMEM;
        broker->owner = *owner;
        broker->quotas = *quotas;
        list_init(&broker->service_order);
        list_init(&broker->listeners);
        list_init(&broker->channels);
        struct table *tables[] = {&broker->partitions, &broker->services, &broker->names,
                                  &broker->users,      &broker->posts,    &broker->channels_by_id};
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
        table_deinit(&broker->services);
        table_deinit(&broker->names);
        table_deinit(&broker->users);
        table_deinit(&broker->posts);
        table_deinit(&broker->channels_by_id);
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

/* Ids that do not map are told apart only by their partition, so that one partition cannot use up another's quota. */
static struct user_key user_key(uint32_t uid, const struct partition *partition) {
        struct user_key key = {.uid = uid};
        if (uid == CALLER_UNMAPPED)
                key.partition = partition->vm_id;
        return key;
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

/* The best listener in `listeners` for this resolution; *ret_why says why none would do. */
static struct listener *best_listener(const struct list *listeners, bool through, const struct resolution *resolution,
                                      bool wildcards, enum rule *ret_why) {
        struct listener *best = NULL;
        unsigned best_match = 0;
        const struct list *link = listeners->next;
        for (; link != listeners; link = link->next) {
                struct listener *listener = through ? container_of(link, struct listener, through_link)
                                                    : container_of(link, struct listener, post_link);
                unsigned match = address_match(&listener->vm_id, resolution->target, resolution);
                bool wildcard = guid_equal(&listener->vm_id, &HV_GUID_WILDCARD) ||
                                guid_equal(&listener->vm_id, &HV_GUID_CHILDREN);
                if (match && wildcard && !wildcards) {
                        *ret_why = RULE_WILDCARD_FORBIDDEN;
                        continue;
                }
                if (!match && *ret_why == RULE_NO_LISTENER)
                        *ret_why = RULE_LISTENER_EXCLUDES;
                if (match > best_match) {
                        best = listener;
                        best_match = match;
                }
        }
        return best;
}

struct verdict broker_route(const struct broker *broker, const struct connect_request *request, struct route *ret_route) {
        const struct caller *caller = request->caller;
        struct route *route = ret_route;
        *route = (struct route){.service = registry_by_id(broker, &request->service_id)};
        if (guid_is_zero(&request->service_id))
                return REFUSED(EINVAL, RULE_BAD_ADDRESS);
        struct verdict verdict =
                address_resolve(broker, caller->partition, &request->vm_id, request->passthru, &route->resolution);
        if (verdict.error)
                return verdict;
        const struct partition *target = route->resolution.target;
        const struct service *service = route->service;
        const struct access otherwise = {.is_default = true};
        if (!service && target != caller->partition)
                return REFUSED(EACCES, RULE_NOT_REGISTERED);
        if (service && !service->definition.enabled)
                return REFUSED(EINVAL, RULE_DISABLED);
        if (!access_allows(service ? &service->definition.connect : &otherwise, &broker->owner, caller))
                return REFUSED(EACCES, RULE_CONNECT_DENIED);
        if (!target->running)
                return REFUSED(EHOSTUNREACH, RULE_NOT_RUNNING);

        bool wildcards = !service || service->definition.wildcard_binds;
        enum rule why = RULE_NO_LISTENER;
        const struct post *post = post_find(broker, &target->vm_id, &request->service_id);
        struct listener *listener =
                post ? best_listener(&post->listeners, false, &route->resolution, wildcards, &why) : NULL;
        if (!listener && post && route->resolution.through_vm)
                listener = best_listener(&post->through, true, &route->resolution, wildcards, &why);
        if (!listener)
                return REFUSED(ECONNREFUSED, why);
        if (request->socket_type && request->socket_type != listener->socket_type)
                return REFUSED(EPROTOTYPE, RULE_SOCKET_TYPE);
        const struct user *user = user_find(broker, caller->uid, caller->partition);
        if (caller->partition->channel_count >= broker->quotas.channels_per_partition ||
            (user ? user->channels : 0) >= broker->quotas.channels_per_user ||
            listener->channel_count >= broker->quotas.channels_per_listener)
                return REFUSED(ENOBUFS, RULE_QUOTA);
        route->listener = listener;
        return ALLOWED;
}

struct verdict broker_check(const struct broker *broker, const struct caller *caller, const GUID *service_id) {
        const struct service *service = registry_by_id(broker, service_id);
        return service && !service->definition.enabled ? REFUSED(EINVAL, RULE_DISABLED) : ALLOWED;
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
