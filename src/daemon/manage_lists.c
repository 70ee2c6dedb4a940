/* SPDX-License-Identifier: MIT */

/*
 * Listeners and channels. Dead ones are forgotten first.
 *
 * Theory of operation. A list may be longer than a reply. With "more" it comes
 * in parts of LIST_PART: its keys are noted when it is asked for, and a part is
 * made when the one before has been read, of those of the next keys that are
 * still in the books. So the loop is never held up for longer than a part takes,
 * and what waits for a slow reader is one part and the keys.
 */

#include "daemon/manage_request.h"
#include "daemon/revoke.h"
#include "daemon/rings.h"

#include "base/guid.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define LIST_PART 256u /* elements */

/* By what an element is found again. */
struct list_key {
        GUID id; /* of a channel; of a listener's partition */
        GUID vm_id, service_id; /* a listener's */
};

struct manage_list {
        const char *name; /* of the reply's parameter */
        struct json_object *(*describe)(const struct world *world, const struct list_key *key); /* NULL: it is gone */
        size_t count, done;
        struct list_key keys[];
};

static const char *type_name(int socket_type) {
        return socket_type == SOCK_SEQPACKET ? "seqpacket" : "stream";
}

static void put_vm_id_name(const struct world *world, struct json_object *object, const GUID *vm_id) {
        const char *word = guid_word(vm_id);
        const struct partition *partition = word ? NULL : partition_by_id(world->broker, vm_id);
        if (partition)
                put_path(object, "vmIdName", partition);
        else
                put_string(object, "vmIdName", word ? word : "");
}

struct json_object *json_of_listener(const struct world *world, const struct listener *listener) {
        struct json_object *object = json_object_new_object();
        put_guid(object, "partition", &listener->partition->vm_id);
        put_path(object, "partitionPath", listener->partition);
        put_guid(object, "vmId", &listener->vm_id);
        put_vm_id_name(world, object, &listener->vm_id);
        put_guid(object, "serviceId", &listener->service_id);
        put_service_name(world, object, &listener->service_id);
        put_string(object, "type", type_name(listener->socket_type));
        put_int(object, "pid", listener->pid);
        put_int(object, "uid", listener->uid);
        put_command(object, "command", listener->pid);
        put_int(object, "sinceMs", listener->since_ms);
        put_string(object, "state", listener->on_demand ? "on-demand" : "listening");
        put_int(object, "channels", listener->channel_count);
        return object;
}

static const char *state_of(const struct channel *channel) {
        bool is_disabled = channel->service && !channel->service->definition.enabled;
        return channel->ended ? "ended" : is_disabled ? "remaining" : "open";
}

static struct json_object *json_of_channel(const struct world *world, const struct channel *channel) {
        struct json_object *object = json_object_new_object();
        put_guid(object, "id", &channel->ephemeral_id);
        put_guid(object, "from", &channel->from->vm_id);
        put_path(object, "fromPath", channel->from);
        put_guid(object, "to", &channel->to->vm_id);
        put_path(object, "toPath", channel->to);
        put_guid(object, "serviceId", &channel->service_id);
        put_service_name(world, object, &channel->service_id);
        put_string(object, "type", type_name(channel->socket_type));
        put_string(object, "carrier", channel_carrier(channel));
        put_int(object, "bytesFromConnector", (int64_t)channel->bytes[FROM_CONNECTOR]);
        put_int(object, "bytesFromAcceptor", (int64_t)channel->bytes[FROM_ACCEPTOR]);
        put_int(object, "fromPid", channel->from_pid);
        put_int(object, "fromUid", channel->from_uid);
        put_command(object, "fromCommand", channel->from_pid);
        put_int(object, "toPid", channel->to_pid);
        put_command(object, "toCommand", channel->to_pid);
        put_bool(object, "fromGuest", channel->from->reach == REACH_VM);
        put_bool(object, "toGuest", channel->to->reach == REACH_VM);
        put_int(object, "sinceMs", channel->since_ms);
        put_string(object, "state", state_of(channel));
        return object;
}

static struct json_object *describe_listener(const struct world *world, const struct list_key *key) {
        const struct partition *partition = partition_by_id(world->broker, &key->id);
        const struct listener *listener =
                partition ? broker_listener_find(world->broker, partition, &key->vm_id, &key->service_id) : NULL;
        return listener ? json_of_listener(world, listener) : NULL;
}

static struct json_object *describe_channel(const struct world *world, const struct list_key *key) {
        struct channel *channel = broker_channel_find(world->broker, &key->id);
        if (channel)
                rings_count(channel);
        return channel ? json_of_channel(world, channel) : NULL;
}

static struct manage_list *list_of_listeners(const struct broker *broker) {
        size_t count = 0;
        for (const struct listener *at = NULL; (at = broker_listener_next(broker, at));)
                count++;
        struct manage_list *list = malloc(sizeof *list + count * sizeof list->keys[0]);
        if (!list)
                return NULL;
        *list = (struct manage_list){.name = "listeners", .describe = describe_listener};
        for (const struct listener *at = NULL; (at = broker_listener_next(broker, at));)
                list->keys[list->count++] = (struct list_key){at->partition->vm_id, at->vm_id, at->service_id};
        return list;
}

static struct manage_list *list_of_channels(const struct broker *broker) {
        size_t count = 0;
        for (const struct channel *at = NULL; (at = broker_channel_next(broker, at));)
                count++;
        struct manage_list *list = malloc(sizeof *list + count * sizeof list->keys[0]);
        if (!list)
                return NULL;
        *list = (struct manage_list){.name = "channels", .describe = describe_channel};
        for (const struct channel *at = NULL; (at = broker_channel_next(broker, at));)
                list->keys[list->count++] = (struct list_key){.id = at->ephemeral_id};
        return list;
}

static int write_elements(const struct world *world, struct manage_list *list, size_t most, struct byte_queue *queue) {
        struct varlink_list reply;
        size_t end = most < list->count - list->done ? list->done + most : list->count;
        int r = varlink_list_begin(&reply, queue, MANAGE_BACKLOG_MAX, list->name);
        while (r == 0 && list->done < end) {
                struct json_object *element = list->describe(world, &list->keys[list->done++]);
                if (element)
                        r = varlink_list_add(&reply, element);
        }
        if (r == 0)
                r = varlink_list_end(&reply, list->done < list->count);
        if (r < 0)
                varlink_list_abandon(&reply);
        return r;
}

int manage_list_continue(struct manage_connection *connection) {
        int r = write_elements(connection->manage->world, connection->list, LIST_PART, &connection->unsent);
        if (r < 0 || connection->list->done == connection->list->count)
                connection->list = manage_list_end(connection->list);
        return r;
}

struct manage_list *manage_list_end(struct manage_list *list) {
        free(list);
        return NULL;
}

static void answer(struct request *request, struct manage_list *list) {
        if (!list) {
                request->failure = -ENOMEM;
        } else if (request->call.more && !request->call.oneway) {
                request->connection->list = list;
                return;
        } else if (!request->call.oneway) {
                int r = write_elements(request->world, list, list->count, &request->connection->unsent);
                if (r == -ENOBUFS)
                        request_limit(request, "bytes in a reply without \"more\"", MANAGE_BACKLOG_MAX);
                else
                        request->failure = r;
        }
        manage_list_end(list);
}

void manage_list_listeners(struct request *request) {
        if (!request_parameters(request, NULL, 0))
                return;
        world_probe_all(request->world);
        answer(request, list_of_listeners(request->world->broker));
}

void manage_list_channels(struct request *request) {
        if (!request_parameters(request, NULL, 0))
                return;
        world_probe_all(request->world);
        revoke_find_ended(request->world);
        answer(request, list_of_channels(request->world->broker));
}
