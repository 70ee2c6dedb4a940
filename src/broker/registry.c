/* SPDX-License-Identifier: MIT */

/* The registry's books: services by GUID, and in order of friendly name. */

#include "broker/registry.h"

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct place {
        const char *name;
        const GUID *service_id;
};

static int compare(const void *key, const void *item) {
        const struct place *place = key;
        const struct service *service = item;
        int order = strcmp(place->name, service->definition.name);
        if (order)
                return order;
        uint8_t a[16], b[16];
        guid_to_network(place->service_id, a);
        guid_to_network(&service->definition.service_id, b);
        return memcmp(a, b, sizeof a);
}

static size_t place_of(const struct broker *broker, const struct service *service) {
        struct place place = {service->definition.name, &service->definition.service_id};
        return order_place(&broker->services_in_order, compare, &place);
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
        size_t place = place_of(broker, service);
        int r = order_insert(&broker->services_in_order, place, service);
        if (!r && (r = table_insert(&broker->services, &service->id_link, hash)))
                order_remove(&broker->services_in_order, place);
        if (r) {
                free(service);
                return r;
        }
        adopt(broker, &definition->service_id, service);
        *ret_service = service;
        return 0;
}

int registry_put(struct broker *broker, const struct service_definition *definition, struct service **ret_service) {
        struct service *service = registry_by_id(broker, &definition->service_id);
        int r;
        if (service) {
                order_remove(&broker->services_in_order, place_of(broker, service));
                service->definition = *definition;
                r = order_insert(&broker->services_in_order, place_of(broker, service), service);
        } else {
                r = add(broker, definition, &service);
        }
        if (!r && ret_service)
                *ret_service = service;
        return r;
}

void registry_remove(struct broker *broker, struct service *service) {
        order_remove(&broker->services_in_order, place_of(broker, service));
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

static struct service *service_at(const struct broker *broker, size_t place) {
        const struct order *order = &broker->services_in_order;
        return place < order->count ? order->items[place] : NULL;
}

static bool has_name(const struct service *service, const char *name) {
        return service && !strcmp(service->definition.name, name);
}

int registry_by_name(const struct broker *broker, const char *name, struct service **ret_service) {
        GUID guid;
        struct service *found = NULL;
        if (!guid_parse_service(name, &guid)) {
                found = registry_by_id(broker, &guid);
        } else {
                size_t first = order_place(&broker->services_in_order, compare, &(struct place){name, &HV_GUID_ZERO});
                if (has_name(service_at(broker, first), name))
                        found = service_at(broker, first);
                if (has_name(service_at(broker, first + 1), name))
                        return -ENOTUNIQ;
        }
        if (!found)
                return -ENOENT;
        *ret_service = found;
        return 0;
}

struct service *registry_next(const struct broker *broker, const struct service *after) {
        return service_at(broker, after ? place_of(broker, after) + 1 : 0);
}
