/* SPDX-License-Identifier: MIT */

/* Channels in the books: opened, found, closed. */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdlib.h>

static void count_opened(struct channel *channel) {
        channel->from->counters.channels_total++;
        if (channel->to != channel->from)
                channel->to->counters.channels_total++;
        if (channel->service)
                channel->service->counters.channels_total++;
}

/* A copy of `channel` goes into the books. */
static int put_channel(struct broker *broker, const struct channel *channel, struct channel **ret_channel) {
        struct user *user = user_of(broker, channel->from_uid, channel->from);
        if (!user)
                return -ENOMEM;
        struct channel *put = malloc(sizeof *put);
        if (!put)
                goto no_memory;
        *put = *channel;
        put->service = registry_by_id(broker, &put->service_id);
        uint64_t hash = table_hash(&broker->channels_by_id, &put->ephemeral_id, sizeof put->ephemeral_id);
        if (table_insert(&broker->channels_by_id, &put->id_link, hash))
                goto no_memory;
        list_append(&broker->channels, &put->all_link);
        list_init(&put->listener_link);
        if (put->listener) {
                list_append(&put->listener->channels, &put->listener_link);
                put->listener->channel_count++;
        }
        user->channels++;
        put->from->opened_count++;
        put->from->channel_count++;
        put->from->counters.channels_now++;
        if (put->to != put->from) {
                put->to->channel_count++;
                put->to->counters.channels_now++;
        }
        if (put->service)
                put->service->counters.channels_now++;
        *ret_channel = put;
        return 0;

no_memory:
        free(put);
        user_settle(broker, user);
        return -ENOMEM;
}

int broker_opened(struct broker *broker, const struct connect_request *request, const struct route *route,
                  const GUID *ephemeral_id, int64_t now_ms, struct channel **ret_channel) {
        const struct caller *caller = request->caller;
        struct listener *listener = route->listener; /* of a VM's guest: none */
        struct channel *channel;
        int r = put_channel(broker,
                            &(struct channel){.ephemeral_id = *ephemeral_id,
                                              .from = caller->partition,
                                              .to = listener ? listener->partition : route->vm,
                                              .listener = listener,
                                              .service_id = request->service_id,
                                              .dialled_vm_id = request->vm_id,
                                              .from_pid = caller->pid,
                                              .from_uid = caller->uid,
                                              .to_pid = listener ? listener->pid : 0,
                                              .to_uid = listener ? listener->uid : 0,
                                              .socket_type = listener ? listener->socket_type : request->socket_type,
                                              .since_ms = now_ms},
                            &channel);
        if (r)
                return r;
        count_opened(channel);
        broker_tell(broker, &(struct event){.kind = EVENT_OPEN, .channel = channel});
        *ret_channel = channel;
        return 0;
}

int broker_restore_channel(struct broker *broker, const struct channel *channel, struct channel **ret_channel) {
        if (broker_channel_find(broker, &channel->ephemeral_id))
                return -EEXIST;
        return put_channel(broker, channel, ret_channel);
}

void broker_closed(struct broker *broker, struct channel *channel) {
        broker_tell(broker, &(struct event){.kind = EVENT_CLOSE, .channel = channel});
        table_remove(&broker->channels_by_id, &channel->id_link);
        list_unlink(&channel->all_link);
        list_unlink(&channel->listener_link);
        if (channel->listener)
                channel->listener->channel_count--;
        struct user *user = user_find(broker, channel->from_uid, channel->from);
        user->channels--;
        user_settle(broker, user);
        channel->from->opened_count--;
        channel->from->channel_count--;
        channel->from->counters.channels_now--;
        if (channel->to != channel->from) {
                channel->to->channel_count--;
                channel->to->counters.channels_now--;
        }
        if (channel->service)
                channel->service->counters.channels_now--;
        free(channel);
}

static uint64_t sum(uint64_t a, uint64_t b) {
        return a + b < a || a + b > INT64_MAX ? INT64_MAX : a + b;
}

void broker_counted(struct channel *channel, enum direction direction, uint64_t bytes) {
        uint64_t *counted = &channel->bytes[direction];
        if (bytes > INT64_MAX) /* as much as management can tell */
                bytes = INT64_MAX;
        if (bytes <= *counted)
                return;
        if (channel->service)
                channel->service->counters.bytes[direction] = sum(channel->service->counters.bytes[direction], bytes - *counted);
        *counted = bytes;
}

struct channel *broker_channel_find(const struct broker *broker, const GUID *ephemeral_id) {
        uint64_t hash = table_hash(&broker->channels_by_id, ephemeral_id, sizeof *ephemeral_id);
        for (struct table_link *link = NULL; (link = table_find(&broker->channels_by_id, hash, link));) {
                struct channel *channel = container_of(link, struct channel, id_link);
                if (guid_equal(&channel->ephemeral_id, ephemeral_id))
                        return channel;
        }
        return NULL;
}

struct channel *broker_channel_next(const struct broker *broker, const struct channel *after) {
        const struct list *next = after ? after->all_link.next : broker->channels.next;
        return next == &broker->channels ? NULL : container_of(next, struct channel, all_link);
}
