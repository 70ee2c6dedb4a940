/* SPDX-License-Identifier: MIT */

/*
 * Listeners in the books: bound, restored, found, gone.
 *
 * Theory of operation. A connector is accepted by at most three bound VmIds
 * (address_accepting), so finding its listener is at most three lookups by
 * {partition, VmId, ServiceId}, however many listeners there are. A listener of
 * a container that passes through is found under its VM too, by a second table:
 * several containers may bind the same address there, and the first one has it.
 * The post, what there is of a ServiceId in a partition, answers the rest: whose
 * the ServiceId is, and whether a refused connector is told "nobody" or "not you".
 */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct listener_key {
        GUID partition, vm_id, service_id;
};

static struct post *post_find(const struct broker *broker, const GUID *partition, const GUID *service) {
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
        if (table_insert(&broker->posts, &post->link, table_hash(&broker->posts, &post->key, sizeof post->key))) {
                free(post);
                return NULL;
        }
        return post;
}

static void post_settle(struct broker *broker, struct post *post) {
        if (!post || !list_is_empty(&post->listeners) || post->through_count)
                return;
        table_remove(&broker->posts, &post->link);
        free(post);
}

static bool is_bound_to(const struct listener *listener, const GUID *vm_id, const GUID *service_id) {
        return guid_equal(&listener->vm_id, vm_id) && guid_equal(&listener->service_id, service_id);
}

struct listener *broker_listener_find(const struct broker *broker, const struct partition *partition, const GUID *vm_id,
                                      const GUID *service_id) {
        const struct table *table = &broker->listeners_by_address;
        struct listener_key key = {partition->vm_id, *vm_id, *service_id};
        uint64_t hash = table_hash(table, &key, sizeof key);
        for (struct table_link *link = NULL; (link = table_find(table, hash, link));) {
                struct listener *listener = container_of(link, struct listener, address_link);
                if (listener->partition == partition && is_bound_to(listener, vm_id, service_id))
                        return listener;
        }
        return NULL;
}

static struct listener *find_through(const struct broker *broker, const struct partition *vm, const GUID *vm_id,
                                     const GUID *service_id) {
        const struct table *table = &broker->through_by_address;
        struct listener_key key = {vm->vm_id, *vm_id, *service_id};
        uint64_t hash = table_hash(table, &key, sizeof key);
        for (struct table_link *link = NULL; (link = table_find(table, hash, link));) {
                struct listener *listener = container_of(link, struct listener, through_link);
                const GUID *reached = &listener->through->key.partition;
                if (guid_equal(reached, &vm->vm_id) && is_bound_to(listener, vm_id, service_id))
                        return listener;
        }
        return NULL;
}

struct listener *broker_listener_next(const struct broker *broker, const struct listener *after) {
        const struct list *next = after ? after->all_link.next : broker->listeners.next;
        return next == &broker->listeners ? NULL : container_of(next, struct listener, all_link);
}

/* Whoever listens in the target itself. Where a container passes through, its PARENT is its VM's, not the VM. */
static struct listener *find_in(const struct broker *broker, const struct resolution *from, const GUID *vm_id,
                                const GUID *service_id) {
        struct listener *listener = broker_listener_find(broker, from->target, vm_id, service_id);
        return listener && listener->through && guid_equal(vm_id, &HV_GUID_PARENT) ? NULL : listener;
}

struct listener *listener_accepting(const struct broker *broker, const struct resolution *from, const GUID *service_id,
                                    bool wildcard_binds, enum rule *ret_why) {
        GUID accepting[ADDRESS_ACCEPTING_MAX];
        unsigned count = address_accepting(from, accepting);
        bool is_forbidden = false;
        for (unsigned through = 0; through <= (from->from_outside_vm ? 1 : 0); through++)
                for (unsigned i = 0; i < count; i++) {
                        const GUID *vm_id = accepting + i;
                        struct listener *listener = through ? find_through(broker, from->target, vm_id, service_id)
                                                            : find_in(broker, from, vm_id, service_id);
                        bool is_wildcard = guid_equal(vm_id, &HV_GUID_WILDCARD) || guid_equal(vm_id, &HV_GUID_CHILDREN);
                        if (listener && (wildcard_binds || !is_wildcard))
                                return listener;
                        is_forbidden = is_forbidden || listener;
                }
        const struct post *post = post_find(broker, &from->target->vm_id, service_id);
        bool is_there = post && (!list_is_empty(&post->listeners) || (from->from_outside_vm && post->through_count));
        *ret_why = is_forbidden ? RULE_WILDCARD_FORBIDDEN : is_there ? RULE_LISTENER_EXCLUDES : RULE_NO_LISTENER;
        return NULL;
}

/* A listener of the same ServiceId in this partition that is in the way. */
static struct verdict find_in_the_way(const struct broker *broker, const struct bind_request *request,
                                      struct listener **ret_listener) {
        const struct caller *caller = request->caller;
        struct listener *same = broker_listener_find(broker, caller->partition, &request->vm_id, &request->service_id);
        if (same) {
                *ret_listener = same;
                return REFUSED(EADDRINUSE, RULE_ADDRESS_IN_USE);
        }
        const struct post *post = post_find(broker, &caller->partition->vm_id, &request->service_id);
        if (!post || list_is_empty(&post->listeners) || caller->uid == 0)
                return ALLOWED;
        struct listener *first = container_of(post->listeners.next, struct listener, post_link);
        if (first->uid == 0 || first->uid == caller->uid)
                return ALLOWED;
        *ret_listener = first;
        return REFUSED(EADDRINUSE, RULE_ANOTHER_USERS);
}

static struct verdict judge_bind(const struct broker *broker, const struct bind_request *request,
                                 struct listener **ret_in_the_way) {
        const struct caller *caller = request->caller;
        const struct service *service = registry_by_id(broker, &request->service_id);
        bool crosses;
        if (guid_is_zero(&request->service_id))
                return REFUSED(EINVAL, RULE_BAD_ADDRESS);
        struct verdict verdict =
                address_bindable(broker, caller->partition, &request->vm_id, request->passthru, &crosses);
        if (verdict.error)
                return verdict;
        if (!access_allows(service ? &service->definition.bind : &access_default, &broker->owner, caller))
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

/* Into the table of its own partition and, where it passes through, of its VM. */
static int insert_addresses(struct broker *broker, struct listener *listener) {
        struct listener_key key = {listener->partition->vm_id, listener->vm_id, listener->service_id};
        struct table *own = &broker->listeners_by_address, *vms = &broker->through_by_address;
        int r = table_insert(own, &listener->address_link, table_hash(own, &key, sizeof key));
        if (r || !listener->through)
                return r;
        key.partition = listener->through->key.partition;
        r = table_insert(vms, &listener->through_link, table_hash(vms, &key, sizeof key));
        if (r)
                table_remove(own, &listener->address_link);
        return r;
}

static void count_listener(struct listener *listener) {
        struct partition *partition = listener->partition;
        partition->listener_count++;
        partition->counters.listeners_now++;
        partition->counters.listeners_total++;
        if (listener->service) {
                listener->service->counters.listeners_now++;
                listener->service->counters.listeners_total++;
        }
}

static int put_listener(struct broker *broker, const struct bind_request *request, struct listener **ret_listener) {
        const struct caller *caller = request->caller;
        struct partition *partition = caller->partition;
        bool passthru = request->passthru && partition->passthru; /* a restored one may have lost the right to */
        const struct partition *vm = passthru ? virtual_machine_of(partition) : partition;
        struct user *user = user_of(broker, caller->uid, partition);
        struct post *post = post_of(broker, &partition->vm_id, &request->service_id);
        struct post *through = vm == partition ? NULL : post_of(broker, &vm->vm_id, &request->service_id);
        struct listener *listener = calloc(1, sizeof *listener);
        if (!user || !post || (vm != partition && !through) || !listener)
                goto no_memory;
        *listener = (struct listener){
                .partition = partition,
                .vm_id = request->vm_id,
                .service_id = request->service_id,
                .socket_type = request->socket_type,
                .pid = caller->pid,
                .uid = caller->uid,
                .passthru = passthru,
                .on_demand = request->on_demand,
                .since_ms = request->now_ms,
                .service = registry_by_id(broker, &request->service_id),
                .post = post,
                .through = through,
        };
        if (insert_addresses(broker, listener))
                goto no_memory;
        list_init(&listener->channels);
        list_append(&broker->listeners, &listener->all_link);
        list_append(&partition->listeners, &listener->partition_link);
        list_insert_before(listener->uid ? post->listeners.next : &post->listeners, &listener->post_link);
        if (through)
                through->through_count++;
        user->listeners++;
        count_listener(listener);
        broker_tell(broker, &(struct event){.kind = EVENT_LISTEN, .listener = listener});
        *ret_listener = listener;
        return 0;

no_memory:
        free(listener);
        post_settle(broker, through);
        post_settle(broker, post);
        if (user)
                user_settle(broker, user);
        return -ENOMEM;
}

int broker_bind(struct broker *broker, const struct bind_request *request, struct verdict *ret_verdict,
                struct listener **ret_listener) {
        struct listener *listener = NULL;
        struct verdict verdict = judge_bind(broker, request, &listener);
        int r = verdict.error ? 0 : put_listener(broker, request, &listener);
        if (r)
                return r;
        *ret_verdict = verdict;
        *ret_listener = listener;
        return 0;
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
        bool crosses;
        struct verdict verdict =
                address_bindable(broker, caller->partition, vm_id, listener && listener->passthru, &crosses);
        if (verdict.error)
                return verdict;
        if (crosses && !service)
                return REFUSED(EACCES, RULE_NOT_REGISTERED);
        if (service && !service->definition.enabled)
                return REFUSED(EINVAL, RULE_DISABLED);
        if (!access_allows(service ? &service->definition.bind : &access_default, &broker->owner, caller))
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
        table_remove(&broker->listeners_by_address, &listener->address_link);
        if (listener->through) {
                table_remove(&broker->through_by_address, &listener->through_link);
                listener->through->through_count--;
        }
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
