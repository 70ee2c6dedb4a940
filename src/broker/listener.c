/* SPDX-License-Identifier: MIT */

/* Listeners in the books: bound, restored, found, gone. */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ALLOWED ((struct verdict){0, RULE_ALLOWED})
#define REFUSED(error, rule) ((struct verdict){error, rule})

struct post *post_find(const struct broker *broker, const GUID *partition, const GUID *service) {
        struct post_key key = {*partition, *service};
        uint64_t hash = table_hash(&broker->posts, &key, sizeof key);
        for (struct table_link *link = NULL; (link = table_find(&broker->posts, hash, link));) {
                struct post *post = container_of(link, struct post, link);
                if (!memcmp(&post->key, &key, sizeof key))
                        return post;
        }
        return NULL;
}

static struct post *post_of(struct broker *broker, const GUID *partition, const GUID *service) {
        struct post *post = post_find(broker, partition, service);
        if (post)
                return post;
        post = calloc(1, sizeof *post);
        if (!post)
                return NULL;
        post->key = (struct post_key){*partition, *service};
        list_init(&post->listeners);
        list_init(&post->through);
        if (table_insert(&broker->posts, &post->link, table_hash(&broker->posts, &post->key, sizeof post->key))) {
                free(post);
                return NULL;
        }
        return post;
}

static void post_settle(struct broker *broker, struct post *post) {
        if (!post || !list_is_empty(&post->listeners) || !list_is_empty(&post->through))
                return;
        table_remove(&broker->posts, &post->link);
        free(post);
}

struct listener *broker_listener_find(const struct broker *broker, const struct partition *partition, const GUID *vm_id,
                                      const GUID *service_id) {
        const struct post *post = post_find(broker, &partition->vm_id, service_id);
        if (post)
                list_for_each(link, &post->listeners) {
                        struct listener *listener = container_of(link, struct listener, post_link);
                        if (guid_equal(&listener->vm_id, vm_id))
                                return listener;
                }
        return NULL;
}

struct listener *broker_listener_next(const struct broker *broker, const struct listener *after) {
        const struct list *next = after ? after->all_link.next : broker->listeners.next;
        return next == &broker->listeners ? NULL : container_of(next, struct listener, all_link);
}

/* The partition under whose VmId a listener is reachable: its own, or its VM's when it passes through. */
static struct partition *stands_in(const struct bind_request *request) {
        struct partition *partition = request->caller->partition;
        return request->passthru ? virtual_machine_of(partition) : partition;
}

/* A listener of the same ServiceId in this partition that is in the way. */
static struct verdict find_in_the_way(const struct broker *broker, const struct bind_request *request,
                                      struct listener **ret_listener) {
        const struct caller *caller = request->caller;
        const struct post *post = post_find(broker, &caller->partition->vm_id, &request->service_id);
        if (!post)
                return ALLOWED;
        struct listener *another_users = NULL;
        list_for_each(link, &post->listeners) {
                struct listener *listener = container_of(link, struct listener, post_link);
                if (guid_equal(&listener->vm_id, &request->vm_id)) {
                        *ret_listener = listener;
                        return REFUSED(EADDRINUSE, RULE_ADDRESS_IN_USE);
                }
                if (listener->uid != caller->uid && listener->uid != 0 && caller->uid != 0)
                        another_users = listener;
        }
        if (!another_users)
                return ALLOWED;
        *ret_listener = another_users;
        return REFUSED(EADDRINUSE, RULE_ANOTHER_USERS);
}

static struct verdict judge_bind(const struct broker *broker, const struct bind_request *request,
                                 struct listener **ret_in_the_way) {
        const struct caller *caller = request->caller;
        const struct service *service = registry_by_id(broker, &request->service_id);
        const struct access otherwise = {.is_default = true};
        bool crosses;
        if (guid_is_zero(&request->service_id))
                return REFUSED(EINVAL, RULE_BAD_ADDRESS);
        if (request->passthru && !caller->partition->passthru)
                return REFUSED(EACCES, RULE_PASSTHRU_DENIED);
        struct verdict verdict = address_bindable(broker, stands_in(request), &request->vm_id, &crosses);
        if (verdict.error)
                return verdict;
        if (!access_allows(service ? &service->definition.bind : &otherwise, &broker->owner, caller))
                return REFUSED(EACCES, RULE_BIND_DENIED);
        verdict = find_in_the_way(broker, request, ret_in_the_way);
        if (verdict.error)
                return verdict;
        const struct user *user = user_find(broker, caller->uid, caller->partition);
        if (caller->partition->listener_count >= broker->quotas.listeners_per_partition ||
            (user ? user->listeners : 0) >= broker->quotas.listeners_per_user)
                return REFUSED(ENOBUFS, RULE_QUOTA);
        return ALLOWED;
}

static int put_listener(struct broker *broker, const struct bind_request *request, struct listener **ret_listener) {
        const struct caller *caller = request->caller;
        struct partition *stand = stands_in(request);
        struct user *user = user_of(broker, caller->uid, caller->partition);
        struct post *post = post_of(broker, &caller->partition->vm_id, &request->service_id);
        struct post *through = stand == caller->partition ? NULL : post_of(broker, &stand->vm_id, &request->service_id);
        struct listener *listener = calloc(1, sizeof *listener);
        if (!user || !post || (stand != caller->partition && !through) || !listener) {
                free(listener);
                post_settle(broker, through);
                post_settle(broker, post);
                if (user)
                        user_settle(broker, user);
                return -ENOMEM;
        }
        *listener = (struct listener){
                .partition = caller->partition,
                .vm_id = request->vm_id,
                .service_id = request->service_id,
                .socket_type = request->socket_type,
                .pid = caller->pid,
                .uid = caller->uid,
                .passthru = request->passthru,
                .on_demand = request->on_demand,
                .since_ms = request->now_ms,
                .service = registry_by_id(broker, &request->service_id),
                .post = post,
                .through = through,
        };
        list_init(&listener->channels);
        list_append(&broker->listeners, &listener->all_link);
        list_append(&caller->partition->listeners, &listener->partition_link);
        list_append(&post->listeners, &listener->post_link);
        list_init(&listener->through_link);
        if (through)
                list_append(&through->through, &listener->through_link);
        user->listeners++;
        caller->partition->listener_count++;
        caller->partition->counters.listeners_now++;
        caller->partition->counters.listeners_total++;
        if (listener->service) {
                listener->service->counters.listeners_now++;
                listener->service->counters.listeners_total++;
        }
        broker_tell(broker, &(struct event){.kind = EVENT_LISTEN, .listener = listener});
        *ret_listener = listener;
        return 0;
}

int broker_bind(struct broker *broker, const struct bind_request *request, struct verdict *ret_verdict,
                struct listener **ret_listener) {
        struct listener *in_the_way = NULL;
        struct verdict verdict = judge_bind(broker, request, &in_the_way);
        if (verdict.error) {
                *ret_verdict = verdict;
                *ret_listener = in_the_way;
                return 0;
        }
        int r = put_listener(broker, request, ret_listener);
        if (!r)
                *ret_verdict = verdict;
        return r;
}

int broker_restore_listener(struct broker *broker, const struct bind_request *request, struct listener **ret_listener) {
        if (broker_listener_find(broker, request->caller->partition, &request->vm_id, &request->service_id))
                return -EEXIST;
        return put_listener(broker, request, ret_listener);
}

struct verdict broker_listen(const struct broker *broker, const struct caller *caller, const GUID *vm_id,
                             const GUID *service_id) {
        const struct service *service = registry_by_id(broker, service_id);
        const struct listener *listener = broker_listener_find(broker, caller->partition, vm_id, service_id);
        const struct access otherwise = {.is_default = true};
        struct partition *stand =
                listener && listener->passthru ? virtual_machine_of(caller->partition) : caller->partition;
        bool crosses;
        struct verdict verdict = address_bindable(broker, stand, vm_id, &crosses);
        if (verdict.error)
                return verdict;
        if (crosses && !service)
                return REFUSED(EACCES, RULE_NOT_REGISTERED);
        if (service && !service->definition.enabled)
                return REFUSED(EINVAL, RULE_DISABLED);
        if (!access_allows(service ? &service->definition.bind : &otherwise, &broker->owner, caller))
                return REFUSED(EACCES, RULE_BIND_DENIED);
        return ALLOWED;
}

void broker_listener_gone(struct broker *broker, struct listener *listener) {
        broker_tell(broker, &(struct event){.kind = EVENT_UNLISTEN, .listener = listener});
        list_for_each_safe(link, &listener->channels) {
                container_of(link, struct channel, listener_link)->listener = NULL;
                list_unlink(link);
        }
        list_unlink(&listener->all_link);
        list_unlink(&listener->partition_link);
        list_unlink(&listener->post_link);
        list_unlink(&listener->through_link);
        post_settle(broker, listener->post);
        post_settle(broker, listener->through);
        struct user *user = user_find(broker, listener->uid, listener->partition);
        user->listeners--;
        user_settle(broker, user);
        listener->partition->listener_count--;
        listener->partition->counters.listeners_now--;
        if (listener->service)
                listener->service->counters.listeners_now--;
        free(listener);
}
