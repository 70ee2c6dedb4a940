/* SPDX-License-Identifier: MIT */

/* The registry's tables: services by GUID, by friendly name, in order. */

#include "broker/registry.h"

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare(const struct service_definition *a, const struct service_definition *b) {
        int order = strcmp(a->name, b->name);
        if (order)
                return order;
        uint8_t a_bytes[16], b_bytes[16];
        guid_to_network(&a->service_id, a_bytes);
        guid_to_network(&b->service_id, b_bytes);
        return memcmp(a_bytes, b_bytes, 16);
}

static void insert_in_order(struct broker *broker, struct service *service) {
        struct list *at = broker->service_order.next;
        while (at != &broker->service_order &&
               compare(&container_of(at, struct service, order_link)->definition, &service->definition) < 0)
                at = at->next;
        list_insert_before(at, &service->order_link);
}

static uint64_t hash_name(const struct broker *broker, const char *name) {
        return table_hash(&broker->names, name, strlen(name));
}

/* What already listens and talks under this ServiceId is counted under the name it now has, or no more. */
static void adopt(struct broker *broker, const GUID *service_id, struct service *service) {
        list_for_each(link, &broker->listeners) {
                struct listener *listener = container_of(link, struct listener, all_link);
                if (guid_equal(&listener->service_id, service_id)) {
                        listener->service = service;
                        if (service)
                                service->counters.listeners_now++;
                }
        }
        list_for_each(link, &broker->channels) {
                struct channel *channel = container_of(link, struct channel, all_link);
                if (guid_equal(&channel->service_id, service_id)) {
                        channel->service = service;
                        if (service)
                                service->counters.channels_now++;
                }
        }
}

static int add(struct broker *broker, const struct service_definition *definition, struct service **ret_service) {
        if (broker->services.count >= SERVICES_MAX)
                return -ENOSPC;
        struct service *service = calloc(1, sizeof *service);
        if (!service)
                return -ENOMEM;
        service->definition = *definition;
        uint64_t hash = table_hash(&broker->services, &definition->service_id, sizeof definition->service_id);
        if (table_insert(&broker->services, &service->id_link, hash)) {
                free(service);
                return -ENOMEM;
        }
        if (table_insert(&broker->names, &service->name_link, hash_name(broker, definition->name))) {
                table_remove(&broker->services, &service->id_link);
                free(service);
                return -ENOMEM;
        }
        insert_in_order(broker, service);
        adopt(broker, &definition->service_id, service);
        *ret_service = service;
        return 0;
}

static int replace(struct broker *broker, struct service *service, const struct service_definition *definition) {
        if (strcmp(service->definition.name, definition->name)) {
                table_remove(&broker->names, &service->name_link);
                /* Room that a removal has just left is there for the insertion. */
                int r = table_insert(&broker->names, &service->name_link, hash_name(broker, definition->name));
                if (r)
                        return r;
        }
        list_unlink(&service->order_link);
        service->definition = *definition;
        insert_in_order(broker, service);
        return 0;
}

int registry_put(struct broker *broker, const struct service_definition *definition, struct service **ret_service) {
        struct service *service = registry_by_id(broker, &definition->service_id);
        int r = service ? replace(broker, service, definition) : add(broker, definition, &service);
        if (!r && ret_service)
                *ret_service = service;
        return r;
}

void registry_remove(struct broker *broker, struct service *service) {
        table_remove(&broker->services, &service->id_link);
        table_remove(&broker->names, &service->name_link);
        list_unlink(&service->order_link);
        adopt(broker, &service->definition.service_id, NULL);
        free(service);
}

struct service *registry_by_id(const struct broker *broker, const GUID *service_id) {
        uint64_t hash = table_hash(&broker->services, service_id, sizeof *service_id);
        for (struct table_link *link = NULL; (link = table_find(&broker->services, hash, link));) {
                struct service *service = container_of(link, struct service, id_link);
                if (guid_equal(&service->definition.service_id, service_id))
                        return service;
        }
        return NULL;
}

static int guid_of_port(const char *name, GUID *ret_guid) {
        char *end;
        if (strncmp(name, "vsock:", 6) || name[6] < '0' || name[6] > '9')
                return -EINVAL;
        errno = 0;
        unsigned long port = strtoul(name + 6, &end, 0);
        if (*end || errno || port > HV_PORT_MAX)
                return -EINVAL;
        *ret_guid = HV_GUID_VSOCK_TEMPLATE;
        ret_guid->Data1 = (uint32_t)port;
        return 0;
}

int registry_by_name(const struct broker *broker, const char *name, struct service **ret_service) {
        GUID guid;
        struct service *found = NULL;
        if (!guid_parse(name, &guid) || !guid_of_port(name, &guid)) {
                found = registry_by_id(broker, &guid);
        } else {
                uint64_t hash = hash_name(broker, name);
                for (struct table_link *link = NULL; (link = table_find(&broker->names, hash, link));) {
                        struct service *service = container_of(link, struct service, name_link);
                        if (strcmp(service->definition.name, name))
                                continue;
                        if (found)
                                return -ENOTUNIQ;
                        found = service;
                }
        }
        if (!found)
                return -ENOENT;
        *ret_service = found;
        return 0;
}

struct service *registry_next(const struct broker *broker, const struct service *after) {
        const struct list *next = after ? after->order_link.next : broker->service_order.next;
        return next == &broker->service_order ? NULL : container_of(next, struct service, order_link);
}
