/* SPDX-License-Identifier: MIT */

/* What a VM by virtio-vsock is doing. */

#include "daemon/manage_request.h"
#include "daemon/vms.h"

#include <stdio.h>

static struct json_object *json_of_features(uint64_t features) {
        static const struct {
                uint64_t bit;
                const char *name;
        } names[] = {
                {VHOST_USER_FEATURE_SEQPACKET, "seqpacket"},
                {VHOST_USER_FEATURE_INDIRECT, "indirect-descriptors"},
                {VHOST_USER_FEATURE_EVENT_INDEX, "event-index"},
                {VHOST_USER_FEATURE_VERSION_1, "version-1"},
        };
        struct json_object *array = json_object_new_array();
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
                if (features & names[i].bit)
                        json_object_array_add(array, json_object_new_string(names[i].name));
        return array;
}

static const char *problem_of(const struct vm_view *view) {
        enum vhost_user_problem problem = view->needs_replug ? VHOST_USER_LOST : view->problem;
        return problem == VHOST_USER_FINE ? "" : vhost_user_problem_text(problem);
}

const char *problem_of_vm(struct world *world, const struct partition *partition) {
        struct vm_view view;
        vm_view(world, partition, &view);
        return problem_of(&view);
}

static struct json_object *json_of_vm(struct world *world, const struct partition *partition) {
        struct vm_view view;
        char directory[PATH_MAX], path[PATH_MAX + 8];
        world_partition_directory(world, partition, directory);
        snprintf(path, sizeof path, "%s/vsock", directory);
        vm_view(world, partition, &view);
        const struct vm_state *state = &view.state;
        struct json_object *object = json_object_new_object();
        put_string(object, "state", state->is_running ? "running" : state->is_paused ? "paused" : "stopped");
        put_bool(object, "hasVmm", view.has_front_end);
        json_object_object_add(object, "features", json_of_features(state->features));
        put_int(object, "memory", (int64_t)state->memory);
        put_int(object, "regions", state->regions);
        put_int(object, "connections", state->connections);
        put_int(object, "packetsToGuest", (int64_t)state->packets_to_guest);
        put_int(object, "packetsFromGuest", (int64_t)state->packets_from_guest);
        put_string(object, "connectSocket", path);
        put_string(object, "problem", problem_of(&view));
        put_bool(object, "needsReplug", view.needs_replug);
        return object;
}

void manage_get_vm(struct request *request) {
        const char *name = NULL;
        const struct parameter parameters[] = {{"partition", PARAMETER_STRING, &name, .required = true}};
        if (!request_parameters(request, parameters, 1))
                return;
        const struct partition *partition = request_partition(request, name);
        if (!partition)
                return;
        if (partition->reach != REACH_VM) {
                request_invalid(request, "partition", "a partition whose reach is vm");
                return;
        }
        world_probe_all(request->world);
        struct json_object *reply = json_object_new_object();
        json_object_object_add(reply, "partition", json_of_partition(request->world, partition));
        json_object_object_add(reply, "vm", json_of_vm(request->world, partition));
        request_reply(request, reply);
}
