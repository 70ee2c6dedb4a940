/* SPDX-License-Identifier: MIT */

/* Which rule would decide a connect: the broker is asked as it would be, and nothing is connected. */

#include "daemon/manage_request.h"

#include "base/guid.h"
#include "daemon/activation.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define GROUPS_MAX 65536u /* the kernel's NGROUPS_MAX */

/* The dialled VmId. A person names the partition; what `from` would dial for itself or its parent is a word. */
static bool dialled_vm_id(struct request *request, struct partition *from, const char *text, GUID *ret) {
        const GUID *word = guid_by_word(text);
        if (word || guid_parse(text, ret) == 0) {
                if (word)
                        *ret = *word;
                return true;
        }
        struct broker *broker = request->world->broker;
        const struct partition *to = partition_by_name(broker, from, text);
        if (!to && !(to = request_partition(request, text)))
                return false;
        *ret = to == from ? HV_GUID_LOOPBACK : to == from->parent ? HV_GUID_PARENT : to->vm_id;
        return true;
}

static bool service_id_of(struct request *request, const char *text, GUID *ret) {
        int r = guid_parse_service(text, ret);
        if (r == 0)
                return true;
        if (r == -ERANGE) {
                request_invalid(request, "service", PORT_EXPECTED);
                return false;
        }
        const struct service *service = request_service(request, text);
        if (service)
                *ret = service->definition.service_id;
        return service;
}

/* The supplementary groups of who asks, as the kernel tells them. Caller frees. */
static uint32_t *peer_groups(int fd, unsigned *ret_count) {
        socklen_t size = 0;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, NULL, &size) == 0 || errno != ERANGE)
                return NULL;
        if (size > GROUPS_MAX * sizeof(uint32_t))
                return NULL;
        uint32_t *groups = malloc(size);
        if (!groups || getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &size) < 0) {
                free(groups);
                return NULL;
        }
        *ret_count = size / sizeof *groups;
        return groups;
}

static uint32_t *given_groups(struct json_object *array, unsigned *ret_count) {
        size_t count = json_object_array_length(array);
        uint32_t *groups = calloc(count ? count : 1, sizeof *groups);
        if (!groups)
                return NULL;
        for (size_t i = 0; i < count; i++)
                groups[i] = (uint32_t)json_object_get_int64(json_object_array_get_idx(array, i));
        *ret_count = (unsigned)count;
        return groups;
}

static void reply_why(struct request *request, const struct connect_request *connect) {
        struct broker *broker = request->world->broker;
        struct route route = {};
        activation_refresh(request->world, &connect->service_id);
        struct verdict verdict = broker_route(broker, connect, &route);
        bool allowed = verdict.error == 0;
        char text[HV_REFUSAL_TEXT_SIZE], advice[RULE_ADVICE_SIZE];
        rule_advice(verdict.rule, &connect->service_id, advice);
        broker_explain(broker, connect->caller, &connect->vm_id, &connect->service_id, &verdict, text, sizeof text);

        struct json_object *reply = json_object_new_object();
        put_bool(reply, "allowed", allowed);
        put_string(reply, "error", allowed ? "" : strerrorname_np(verdict.error));
        put_string(reply, "rule", rule_name(verdict.rule));
        put_string(reply, "sentence", rule_sentence(verdict.rule));
        put_string(reply, "text", text);
        put_string(reply, "next", advice);
        put_guid(reply, "vmId", &connect->vm_id);
        put_guid(reply, "serviceId", &connect->service_id);
        if (route.listener)
                json_object_object_add(reply, "listener", json_of_listener(request->world, route.listener));
        if (route.vm)
                put_path(reply, "guest", route.vm);
        request_reply(request, reply);
}

void manage_why(struct request *request) {
        const char *from_name = NULL, *vm_id = NULL, *service = NULL;
        int64_t uid = -1;
        struct json_object *groups_given = NULL;
        struct connect_request connect = {};
        const struct parameter parameters[] = {
                {"from", PARAMETER_STRING, &from_name, .required = true},
                {"vmId", PARAMETER_STRING, &vm_id, .required = true},
                {"service", PARAMETER_STRING, &service, .required = true},
                {"uid", PARAMETER_INT, &uid},
                {"groups", PARAMETER_INTS, &groups_given},
                {"passthru", PARAMETER_BOOL, &connect.passthru},
        };
        if (!request_parameters(request, parameters, sizeof parameters / sizeof *parameters))
                return;
        if (uid < -1 || uid > UINT32_MAX || (groups_given && json_object_array_length(groups_given) > GROUPS_MAX)) {
                request_invalid(request, uid < -1 || uid > UINT32_MAX ? "uid" : "groups", "ids from 0 to 4294967295");
                return;
        }
        struct partition *from = request_partition(request, from_name);
        if (!from || !dialled_vm_id(request, from, vm_id, &connect.vm_id) ||
            !service_id_of(request, service, &connect.service_id))
                return;

        bool is_caller = uid == -1 || uid == request->connection->uid;
        struct caller caller = {.partition = from,
                                .uid = is_caller ? request->connection->uid : (uint32_t)uid,
                                .gid = is_caller ? request->connection->gid : CALLER_UNMAPPED};
        if (from->reach == REACH_VM) /* whoever asks in a guest */
                caller.uid = 0;
        unsigned count = 0;
        uint32_t *groups = groups_given ? given_groups(groups_given, &count)
                           : is_caller  ? peer_groups(request->connection->fd, &count)
                                        : NULL;
        caller.groups = groups;
        caller.group_count = count;
        connect.caller = &caller;
        world_probe_all(request->world);
        reply_why(request, &connect);
        free(groups);
}
