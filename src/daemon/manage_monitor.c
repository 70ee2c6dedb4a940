/* SPDX-License-Identifier: MIT */

/*
 * Watching a world: each event is made into JSON once and queued for every
 * watcher. Runs inside the broker's own calls, so it only queues: connections
 * end at their next turn of the loop.
 */

#include "daemon/manage_request.h"

#include <errno.h>
#include <string.h>

void manage_monitor(struct request *request) {
        struct manage_connection *connection = request->connection;
        if (!request_parameters(request, NULL, 0))
                return;
        if (!request->call.more) {
                request_error(request, "org.varlink.service.ExpectedMore", NULL);
                return;
        }
        connection->watches = true;
        if (connection->manage->watcher_count++ == 0)
                world_watch_closes(request->world, true);
}

static const char *kind_name(enum event_kind kind) {
        switch (kind) {
        case EVENT_LISTEN:
                return "listen";
        case EVENT_UNLISTEN:
                return "unlisten";
        case EVENT_OPEN:
                return "open";
        case EVENT_REFUSE:
                return "refuse";
        case EVENT_CLOSE:
                return "close";
        }
        return "unknown";
}

static void put_partition(struct json_object *object, const char *key, const char *path_key,
                          const struct partition *partition) {
        put_guid(object, key, &partition->vm_id);
        put_path(object, path_key, partition);
}

static void put_address(const struct world *world, struct json_object *object, const GUID *vm_id,
                        const GUID *service_id) {
        put_guid(object, "vmId", vm_id);
        put_guid(object, "serviceId", service_id);
        put_service_name(world, object, service_id);
}

static void put_listener(const struct world *world, struct json_object *object, const struct listener *listener) {
        put_partition(object, "to", "toPath", listener->partition);
        put_address(world, object, &listener->vm_id, &listener->service_id);
        put_int(object, "pid", listener->pid);
        put_int(object, "uid", listener->uid);
}

static void put_channel(const struct world *world, struct json_object *object, const struct channel *channel) {
        put_partition(object, "from", "fromPath", channel->from);
        put_partition(object, "to", "toPath", channel->to);
        put_address(world, object, &channel->dialled_vm_id, &channel->service_id);
        put_int(object, "pid", channel->from_pid);
        put_int(object, "uid", channel->from_uid);
}

static void put_refusal(const struct world *world, struct json_object *object, const struct event *event) {
        char text[HV_REFUSAL_TEXT_SIZE];
        broker_explain(world->broker, event->caller, &event->vm_id, &event->service_id, &event->verdict, text,
                       sizeof text);
        const struct partition *dialled = partition_by_id(world->broker, &event->vm_id);
        if (dialled)
                put_partition(object, "to", "toPath", dialled);
        put_partition(object, "from", "fromPath", event->caller->partition);
        put_address(world, object, &event->vm_id, &event->service_id);
        put_int(object, "pid", event->caller->pid);
        put_int(object, "uid", event->caller->uid);
        put_string(object, "error", strerrorname_np(event->verdict.error));
        put_string(object, "rule", rule_name(event->verdict.rule));
        put_string(object, "text", text);
}

static struct json_object *json_of_event(const struct world *world, const struct event *event) {
        struct json_object *object = json_object_new_object();
        put_string(object, "kind", kind_name(event->kind));
        put_int(object, "timeMs", loop_wall_ms());
        switch (event->kind) {
        case EVENT_LISTEN:
        case EVENT_UNLISTEN:
                put_listener(world, object, event->listener);
                break;
        case EVENT_OPEN:
        case EVENT_CLOSE:
                put_channel(world, object, event->channel);
                break;
        case EVENT_REFUSE:
                put_refusal(world, object, event);
                break;
        }
        return object;
}

void manage_observe(const struct event *event, void *userdata) {
        struct manage *manage = userdata;
        if (manage->watcher_count == 0)
                return;
        struct json_object *parameters = json_object_new_object();
        json_object_object_add(parameters, "event", json_of_event(manage->world, event));
        struct byte_queue reply = {};
        int made = varlink_reply(&reply, MANAGE_BACKLOG_MAX, NULL, parameters, true);

        list_for_each(link, &manage->connections) {
                struct manage_connection *connection = container_of(link, struct manage_connection, link);
                if (!connection->watches || connection->broken)
                        continue;
                int r = made;
                if (r == 0)
                        r = byte_queue_append(&connection->unsent, reply.bytes + reply.start, byte_queue_length(&reply),
                                              MANAGE_BACKLOG_MAX);
                manage_queued(connection, r);
        }
        byte_queue_release(&reply);
}
