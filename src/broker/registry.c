/* SPDX-License-Identifier: MIT */

/* The registry's books: services by GUID, and in order of friendly name. */

#include "broker/registry.h"

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static int compare(const char *name, const GUID *service_id, const struct service *service) {
        int order = strcmp(name, service->definition.name);
        if (order)
                return order;
        uint8_t a[16], b[16];
        guid_to_network(service_id, a);
        guid_to_network(&service->definition.service_id, b);
        return memcmp(a, b, sizeof a);
}

/* How many services stand before this name and ServiceId among the first `count`. */
static size_t place_of(const struct broker *broker, size_t count, const char *name, const GUID *service_id) {
        size_t low = 0, high = count;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare(name, service_id, broker->services_in_order[middle]) > 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

static size_t place_of_service(const struct broker *broker, const struct service *service) {
        return place_of(broker, broker->services.count, service->definition.name, &service->definition.service_id);
}

/* `count` services are in order, and there is room for this one. */
static void insert_in_order(struct broker *broker, size_t count, struct service *service) {
        struct service **at = broker->services_in_order +
                              place_of(broker, count, service->definition.name, &service->definition.service_id);
        memmove(at + 1, at, (size_t)(broker->services_in_order + count - at) * sizeof *at);
        *at = service;
}

static void remove_from_order(struct broker *broker, struct service *service) {
        size_t place = place_of_service(broker, service);
        struct service **at = broker->services_in_order + place;
        memmove(at, at + 1, (broker->services.count - place - 1) * sizeof *at);
}

static int make_room(struct broker *broker) {
        if (broker->services.count < broker->services_room)
                return 0;
        size_t room = broker->services_room ? 2 * broker->services_room : 16;
        struct service **services = reallocarray(broker->services_in_order, room, sizeof *services);
        if (!services)
                return -ENOMEM;
        broker->services_in_order = services;
        broker->services_room = room;
        return 0;
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
        if (!service || make_room(broker))
                goto no_memory;
        service->definition = *definition;
        uint64_t hash = table_hash(&broker->services, &definition->service_id, sizeof definition->service_id);
        if (table_insert(&broker->services, &service->id_link, hash))
                goto no_memory;
        insert_in_order(broker, broker->services.count - 1, service);
        adopt(broker, &definition->service_id, service);
        *ret_service = service;
        return 0;

no_memory:
        free(service);
        return -ENOMEM;
}

int registry_put(struct broker *broker, const struct service_definition *definition, struct service **ret_service) {
        struct service *service = registry_by_id(broker, &definition->service_id);
        if (service) {
                remove_from_order(broker, service);
                service->definition = *definition;
                insert_in_order(broker, broker->services.count - 1, service);
        } else {
                int r = add(broker, definition, &service);
                if (r)
                        return r;
        }
        if (ret_service)
                *ret_service = service;
        return 0;
}

void registry_remove(struct broker *broker, struct service *service) {
        remove_from_order(broker, service);
        table_remove(&broker->services, &service->id_link);
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
        unsigned long port = strtoul(name + 6, &end, 10);
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
                size_t count = broker->services.count, place = place_of(broker, count, name, &HV_GUID_ZERO);
                struct service **at = broker->services_in_order + place;
                if (place < count && !strcmp(at[0]->definition.name, name))
                        found = at[0];
                if (found && place + 1 < count && !strcmp(at[1]->definition.name, name))
                        return -ENOTUNIQ;
        }
        if (!found)
                return -ENOENT;
        *ret_service = found;
        return 0;
}

struct service *registry_next(const struct broker *broker, const struct service *after) {
        size_t next = after ? place_of_service(broker, after) + 1 : 0;
        return next < broker->services.count ? broker->services_in_order[next] : NULL;
}
