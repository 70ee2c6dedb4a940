/* SPDX-License-Identifier: MIT */

#include "world.h"

#include "base/guid.h"

#include <stdio.h>
#include <stdlib.h>

const GUID SERVICE = {0x3c2a8f5e, 0x9f0d, 0x4c49, {0x9b, 0x0e, 0x6f, 0x7a, 0x6b, 0x1d, 0x2e, 0x10}};
const GUID UNREGISTERED = {0x3c2a8f5e, 0x9f0d, 0x4c49, {0x9b, 0x0e, 0x6f, 0x7a, 0x6b, 0x1d, 0x2e, 0x11}};
const GUID NOWHERE = {0xdeadbeef, 0, 0, {0}};

static const uint8_t KEY[16] = "0123456789abcde";

GUID guid_numbered(uint32_t number) {
        GUID guid = {0x10000000, 0x4000, 0x8000, {0}};
        for (unsigned i = 0; i < 4; i++)
                guid.Data4[i] = (uint8_t)(number >> (24 - 8 * i));
        return guid;
}

struct partition_definition partition_called(const char *label, enum hv_partition_kind kind,
                                             const struct partition *parent) {
        static uint32_t number;
        struct partition_definition definition = {
                .vm_id = guid_numbered(++number),
                .parent_vm_id = parent ? parent->vm_id : HV_GUID_ZERO,
                .kind = kind,
                .reach = REACH_LOCAL,
        };
        snprintf(definition.label, sizeof definition.label, "%s", label);
        return definition;
}

struct partition *must_add(struct broker *broker, const struct partition_definition *definition) {
        struct partition *partition;
        check_ok(partition_add(broker, definition, &partition));
        return partition;
}

static struct partition *add(struct broker *broker, const char *label, enum hv_partition_kind kind,
                             const struct partition *parent) {
        struct partition_definition definition = partition_called(label, kind, parent);
        definition.passthru = !strcmp(label, "proxy");
        definition.sees_siblings = !strcmp(label, "east") || !strcmp(label, "west");
        definition.reach = !strcmp(label, "gone") ? REACH_VM : REACH_LOCAL;
        return must_add(broker, &definition);
}

struct service_definition service_called(const char *name, const GUID *service_id) {
        struct service_definition definition = {
                .service_id = *service_id,
                .enabled = true,
                .wildcard_binds = true,
                .bind.is_default = true,
                .connect.is_default = true,
        };
        snprintf(definition.name, sizeof definition.name, "%s", name);
        return definition;
}

struct service *must_register(struct broker *broker, const struct service_definition *definition) {
        struct service *service;
        check_ok(registry_put(broker, definition, &service));
        return service;
}

void change_service(struct world *world, bool enabled, bool wildcard_binds) {
        struct service_definition definition = world->service->definition;
        definition.enabled = enabled;
        definition.wildcard_binds = wildcard_binds;
        must_register(world->broker, &definition);
}

struct broker *bare_broker(void) {
        struct broker *broker;
        check_ok(broker_new(KEY, &(struct owner){0, ADMINISTRATORS}, &QUOTAS_DEFAULT, &broker));
        return broker;
}

struct world world_open(const struct quotas *quotas) {
        struct world world = {};
        struct broker *broker;
        check_ok(broker_new(KEY, &(struct owner){0, ADMINISTRATORS}, quotas, &broker));
        world.broker = broker;
        world.host = add(broker, "machine", HV_PARTITION_HOST, NULL);
        world.jail = add(broker, "jail", HV_PARTITION_CONTAINER, world.host);
        world.web01 = add(broker, "web01", HV_PARTITION_VM, world.host);
        world.cache = add(broker, "cache", HV_PARTITION_CONTAINER, world.web01);
        world.db = add(broker, "db", HV_PARTITION_CONTAINER, world.web01);
        world.inner = add(broker, "inner", HV_PARTITION_CONTAINER, world.db);
        world.proxy = add(broker, "proxy", HV_PARTITION_CONTAINER, world.web01);
        world.web02 = add(broker, "web02", HV_PARTITION_VM, world.host);
        world.east = add(broker, "east", HV_PARTITION_VM, world.host);
        world.west = add(broker, "west", HV_PARTITION_VM, world.host);
        world.gone = add(broker, "gone", HV_PARTITION_VM, world.host);
        struct service_definition definition = service_called("HV Socket Demo", &SERVICE);
        world.service = must_register(broker, &definition);
        return world;
}

void world_close(struct world *world) {
        world->broker = broker_free(world->broker);
}

struct caller user_in(struct partition *partition, uint32_t uid) {
        return (struct caller){.partition = partition, .pid = 812, .uid = uid, .gid = uid};
}

struct caller root_in(struct partition *partition) {
        return user_in(partition, 0);
}

static struct verdict bind_with(struct world *world, const struct caller *caller, const GUID *vm_id,
                                const GUID *service_id, bool passthru, struct listener **ret_listener) {
        struct bind_request request = {.caller = caller,
                                       .vm_id = *vm_id,
                                       .service_id = *service_id,
                                       .socket_type = SOCK_STREAM,
                                       .passthru = passthru,
                                       .now_ms = 1000};
        struct verdict verdict;
        struct listener *listener;
        check_ok(broker_bind(world->broker, &request, &verdict, &listener));
        check(verdict.error || listener);
        if (ret_listener)
                *ret_listener = listener;
        return verdict;
}

struct verdict bind_as(struct world *world, const struct caller *caller, const GUID *vm_id, const GUID *service_id,
                       struct listener **ret_listener) {
        return bind_with(world, caller, vm_id, service_id, false, ret_listener);
}

struct verdict bind_at(struct world *world, struct partition *partition, const GUID *vm_id) {
        struct caller caller = root_in(partition);
        return bind_with(world, &caller, vm_id, &SERVICE, false, NULL);
}

struct verdict bind_passing(struct world *world, struct partition *partition, const GUID *vm_id) {
        struct caller caller = root_in(partition);
        return bind_with(world, &caller, vm_id, &SERVICE, true, NULL);
}

static struct listener *listening_with(struct world *world, struct partition *partition, const GUID *vm_id,
                                       bool passthru) {
        struct caller caller = root_in(partition);
        struct listener *listener;
        check_allowed(bind_with(world, &caller, vm_id, &SERVICE, passthru, &listener));
        check_allowed(broker_listen(world->broker, &caller, vm_id, &SERVICE));
        return listener;
}

struct listener *listening(struct world *world, struct partition *partition, const GUID *vm_id) {
        return listening_with(world, partition, vm_id, false);
}

struct listener *listening_passing(struct world *world, struct partition *partition, const GUID *vm_id) {
        return listening_with(world, partition, vm_id, true);
}

static struct verdict dial_with(struct world *world, const struct caller *caller, const GUID *vm_id,
                                const GUID *service_id, bool passthru, struct route *ret_route) {
        struct connect_request request = {.caller = caller,
                                          .vm_id = *vm_id,
                                          .service_id = *service_id,
                                          .socket_type = SOCK_STREAM,
                                          .passthru = passthru};
        return broker_route(world->broker, &request, ret_route);
}

struct verdict dial_as(struct world *world, const struct caller *caller, const GUID *vm_id, const GUID *service_id) {
        struct route route;
        return dial_with(world, caller, vm_id, service_id, false, &route);
}

struct verdict dial(struct world *world, struct partition *from, const GUID *vm_id) {
        struct caller caller = root_in(from);
        return dial_as(world, &caller, vm_id, &SERVICE);
}

struct verdict dial_passing(struct world *world, struct partition *from, const GUID *vm_id) {
        struct caller caller = root_in(from);
        struct route route;
        return dial_with(world, &caller, vm_id, &SERVICE, true, &route);
}

static struct route route_with(struct world *world, struct partition *from, const GUID *vm_id, bool passthru) {
        struct caller caller = root_in(from);
        struct route route;
        check_allowed(dial_with(world, &caller, vm_id, &SERVICE, passthru, &route));
        check(route.listener);
        return route;
}

struct route route_of(struct world *world, struct partition *from, const GUID *vm_id) {
        return route_with(world, from, vm_id, false);
}

struct route route_passing(struct world *world, struct partition *from, const GUID *vm_id) {
        return route_with(world, from, vm_id, true);
}

struct channel *connected(struct world *world, const struct caller *caller, const GUID *vm_id) {
        static uint32_t number;
        struct connect_request request = {
                .caller = caller, .vm_id = *vm_id, .service_id = SERVICE, .socket_type = SOCK_STREAM};
        struct route route;
        struct channel *channel;
        GUID ephemeral_id = guid_numbered(0x80000000 | number++);
        check_allowed(broker_route(world->broker, &request, &route));
        check_ok(broker_opened(world->broker, &request, &route, &ephemeral_id, 2000, &channel));
        return channel;
}
