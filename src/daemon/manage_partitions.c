/* SPDX-License-Identifier: MIT */

/* Management of partitions: add, remove, list, show. */

#include "daemon/manage_request.h"

#include "base/guid.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define PATH_TEXT_SIZE (PARTITION_DEPTH_MAX * HV_LABEL_SIZE)

static const char *kind_name(enum hv_partition_kind kind) {
        switch (kind) {
        case HV_PARTITION_HOST:
                return "host";
        case HV_PARTITION_VM:
                return "vm";
        case HV_PARTITION_CONTAINER:
                return "container";
        }
        return "unknown";
}

void put_path(struct json_object *object, const char *key, const struct partition *partition) {
        char path[PATH_TEXT_SIZE];
        partition_path(partition, path, sizeof path);
        put_string(object, key, path);
}

struct partition *partition_after(const struct partition *partition) {
        if (!list_is_empty(&partition->children))
                return container_of(partition->children.next, struct partition, sibling_link);
        for (; partition->parent; partition = partition->parent)
                if (partition->sibling_link.next != &partition->parent->children)
                        return container_of(partition->sibling_link.next, struct partition, sibling_link);
        return NULL;
}

struct json_object *json_of_partition(const struct world *world, const struct partition *partition) {
        char directory[PATH_MAX], path[PATH_MAX + 16];
        bool is_vm = partition->reach == REACH_VM;
        world_partition_directory(world, partition, directory);
        if (*partition->hybrid)
                snprintf(path, sizeof path, "%s", partition->hybrid);
        else
                snprintf(path, sizeof path, "%s/%s", directory, is_vm ? "vhost-user" : "control");

        struct json_object *object = json_object_new_object();
        put_guid(object, "id", &partition->vm_id);
        put_string(object, "label", partition->label);
        put_path(object, "path", partition);
        put_string(object, "kind", kind_name(partition->kind));
        put_string(object, "reach", is_vm ? "vm" : "local");
        put_bool(object, "running", partition->running);
        if (partition->parent)
                put_guid(object, "parent", &partition->parent->vm_id);
        put_bool(object, "passthru", partition->passthru);
        put_bool(object, "siblings", partition->sees_siblings);
        put_int(object, "cid", (int64_t)partition->cid);
        if (*partition->hybrid)
                put_string(object, "hybrid", partition->hybrid);
        if (*partition->vmm_user)
                put_string(object, "user", partition->vmm_user);
        put_string(object, "directory", directory);
        put_string(object, "socket", path);
        put_int(object, "clients", partition->client_count);
        json_object_object_add(object, "counters", json_of_counters(&partition->counters));
        return object;
}

static void reply_partition(struct request *request, const struct partition *partition) {
        struct json_object *reply = json_object_new_object();
        json_object_object_add(reply, "partition", json_of_partition(request->world, partition));
        request_reply(request, reply);
}

static void refuse_partition(struct request *request, const struct partition_definition *definition, int error) {
        switch (error) {
        case -EEXIST: {
                char id[HV_GUID_TEXT_SIZE], cid[32];
                const struct broker *broker = request->world->broker;
                guid_format(&definition->vm_id, id);
                snprintf(cid, sizeof cid, "%" PRIu64, definition->cid);
                if (partition_by_cid(broker, definition->cid))
                        request_exists(request, "CID", cid);
                else
                        request_exists(request, "partition",
                                       partition_by_id(broker, &definition->vm_id) ? id : definition->label);
                return;
        }
        case -EINVAL:
                request_invalid(request, "kind",
                                "a VM in a host or a VM, or a container anywhere; passthru only for a container, reach "
                                "vm only for a VM, hybrid and user only with reach vm");
                return;
        case -ENOSPC: {
                const struct partition *parent = partition_by_id(request->world->broker, &definition->parent_vm_id);
                bool too_deep = parent && parent->depth >= PARTITION_DEPTH_MAX;
                request_limit(request, too_deep ? "depth of partitions" : "partitions",
                              too_deep ? PARTITION_DEPTH_MAX : PARTITIONS_MAX);
                return;
        }
        default:
                request_failed(request, "the partition was not added", error);
        }
}

/* How a partition is reached, into the definition. */
static bool take_reach(struct request *request, const char *reach, int64_t cid, const char *hybrid, const char *user,
                       struct partition_definition *definition) {
        uint32_t uid;
        if (strcmp(reach, "vm") == 0) {
                definition->reach = REACH_VM;
        } else if (strcmp(reach, "local") != 0) {
                request_invalid(request, "reach", "local or vm");
                return false;
        }
        if (cid && (cid < CID_FIRST || cid > CID_LAST)) {
                request_invalid(request, "cid", "a number from 3 to 4294967294");
                return false;
        }
        if (hybrid && !hybrid_path_is_valid(hybrid)) {
                request_invalid(request, "hybrid", "an absolute path of at most 96 bytes");
                return false;
        }
        if (user && (strlen(user) >= VMM_USER_SIZE || world_principal_lookup(PRINCIPAL_USER, user, &uid) < 0)) {
                request_invalid(request, "user", "the name of a user of this machine");
                return false;
        }
        definition->cid = (uint64_t)cid;
        snprintf(definition->hybrid, sizeof definition->hybrid, "%s", hybrid ? hybrid : "");
        snprintf(definition->vmm_user, sizeof definition->vmm_user, "%s", user ? user : "");
        return true;
}

void manage_add_partition(struct request *request) {
        const char *label = NULL, *kind = NULL, *parent_name = NULL, *id = NULL;
        const char *reach = "local", *hybrid = NULL, *user = NULL;
        int64_t cid = 0;
        struct partition_definition definition = {.reach = REACH_LOCAL};
        const struct parameter parameters[] = {
                {"label", PARAMETER_STRING, &label, .required = true},
                {"kind", PARAMETER_STRING, &kind, .required = true},
                {"parent", PARAMETER_STRING, &parent_name},
                {"id", PARAMETER_STRING, &id},
                {"passthru", PARAMETER_BOOL, &definition.passthru},
                {"siblings", PARAMETER_BOOL, &definition.sees_siblings},
                {"reach", PARAMETER_STRING, &reach},
                {"cid", PARAMETER_INT, &cid},
                {"hybrid", PARAMETER_STRING, &hybrid},
                {"user", PARAMETER_STRING, &user},
        };
        if (!request_parameters(request, parameters, sizeof parameters / sizeof *parameters))
                return;

        if (!partition_label_is_valid(label)) {
                request_invalid(request, "label", "1 to 63 of A-Z a-z 0-9 . _ - that are no reserved word");
                return;
        }
        snprintf(definition.label, sizeof definition.label, "%s", label);
        if (strcmp(kind, "vm") == 0) {
                definition.kind = HV_PARTITION_VM;
        } else if (strcmp(kind, "container") == 0) {
                definition.kind = HV_PARTITION_CONTAINER;
        } else {
                request_invalid(request, "kind", "vm or container");
                return;
        }
        if (id) {
                if (!request_guid(request, "id", id, &definition.vm_id))
                        return;
                if (guid_word(&definition.vm_id)) {
                        request_invalid(request, "id", "a VmId that is not a well-known one");
                        return;
                }
        }
        if (!take_reach(request, reach, cid, hybrid, user, &definition))
                return;
        struct partition *parent = broker_root(request->world->broker);
        if (parent_name && !(parent = request_partition(request, parent_name)))
                return;
        definition.parent_vm_id = parent->vm_id;

        struct partition *partition;
        int r = world_add_partition(request->world, &definition, &partition);
        if (r < 0)
                refuse_partition(request, &definition, r);
        else
                reply_partition(request, partition);
}

static struct partition *named_partition(struct request *request) {
        const char *name = NULL;
        const struct parameter parameters[] = {{"partition", PARAMETER_STRING, &name, .required = true}};
        return request_parameters(request, parameters, 1) ? request_partition(request, name) : NULL;
}

void manage_remove_partition(struct request *request) {
        struct partition *partition = named_partition(request);
        if (!partition)
                return;
        world_probe_all(request->world);
        char path[PATH_TEXT_SIZE];
        partition_path(partition, path, sizeof path);
        const char *why = !partition->parent             ? "it is the host"
                          : partition->listener_count    ? "programs listen in it"
                          : partition->channel_count     ? "channels of it are open"
                          : partition->reach == REACH_VM ? "its guest runs"
                                                         : "programs are connected to its socket";
        int r = world_remove_partition(request->world, partition);
        if (r == 0) {
                request_reply(request, NULL);
        } else if (r == -ENOTEMPTY || r == -EBUSY) {
                struct json_object *parameters = json_object_new_object();
                put_string(parameters, "what", "partition");
                put_string(parameters, "name", path);
                put_string(parameters, "why", r == -ENOTEMPTY ? "there are partitions in it" : why);
                request_error(request, "io.hvsock.InUse", parameters);
        } else {
                request_failed(request, "the partition was not removed", r);
        }
}

static struct json_object *next_partition(struct request *request, void *state) {
        const struct partition **at = state, *partition = *at;
        if (!partition)
                return NULL;
        *at = partition_after(partition);
        return json_of_partition(request->world, partition);
}

void manage_list_partitions(struct request *request) {
        if (!request_parameters(request, NULL, 0))
                return;
        world_probe_all(request->world);
        const struct partition *at = broker_root(request->world->broker);
        request_list(request, "partitions", next_partition, &at);
}

void manage_get_partition(struct request *request) {
        world_probe_all(request->world);
        const struct partition *partition = named_partition(request);
        if (partition)
                reply_partition(request, partition);
}
