/* SPDX-License-Identifier: MIT */

/* VMs by virtio-vsock: their CIDs, and routes to and from their guests. */

#include "base/guid.h"
#include "world.h"

#include <stdio.h>

#define PORT 5000u

/* A world with the services vsock:5000 and vsock:5001; `gone` runs. */
struct machines {
        struct world world;
        GUID port, other_port;
        struct service *service;
};

static GUID port_id(uint32_t port) {
        GUID service_id = HV_GUID_VSOCK_TEMPLATE;
        service_id.Data1 = port;
        return service_id;
}

static struct machines machines_open(const struct quotas *quotas) {
        struct machines machines = {
                .world = world_open(quotas), .port = port_id(PORT), .other_port = port_id(PORT + 1)};
        struct service_definition definition = service_called("a port", &machines.port),
                                  other = service_called("another port", &machines.other_port);
        machines.service = must_register(machines.world.broker, &definition);
        must_register(machines.world.broker, &other);
        machines.world.gone->running = true;
        return machines;
}

static void machines_close(struct machines *machines) {
        world_close(&machines->world);
}

#define MACHINES(name) \
        __attribute__((cleanup(machines_close))) struct machines name = machines_open(&QUOTAS_DEFAULT)

static struct partition_definition vm_called(const struct world *world, const char *label, uint64_t cid) {
        struct partition_definition definition = partition_called(label, HV_PARTITION_VM, world->host);
        definition.reach = REACH_VM;
        definition.cid = cid;
        return definition;
}

static int add(struct world *world, struct partition_definition definition) {
        struct partition *partition;
        return partition_add(world->broker, &definition, &partition);
}

static struct partition *added(struct world *world, const char *label, uint64_t cid) {
        struct partition_definition definition = vm_called(world, label, cid);
        return must_add(world->broker, &definition);
}

static struct verdict ask(struct machines *machines, const struct caller *caller, const GUID *vm_id,
                          const GUID *service_id, struct route *ret_route) {
        struct connect_request request = {
                .caller = caller, .vm_id = *vm_id, .service_id = *service_id, .socket_type = SOCK_STREAM};
        return broker_route(machines->world.broker, &request, ret_route);
}

static struct verdict dial_guest(struct machines *machines) {
        struct caller host = root_in(machines->world.host);
        return dial_as(&machines->world, &host, &machines->world.gone->vm_id, &machines->port);
}

/* ---- CIDs ---- */

static struct broker *host_alone(struct partition **ret_host) {
        struct broker *broker = bare_broker();
        struct partition_definition definition = partition_called("host", HV_PARTITION_HOST, NULL);
        *ret_host = must_add(broker, &definition);
        return broker;
}

static struct partition *container_added(struct broker *broker, const struct partition *parent, const char *label,
                                         uint64_t cid) {
        struct partition_definition definition = partition_called(label, HV_PARTITION_CONTAINER, parent);
        definition.cid = cid;
        return must_add(broker, &definition);
}

TEST(each_partition_gets_the_first_cid_that_is_free_and_the_host_has_2) {
        struct partition *host;
        struct broker *broker = host_alone(&host);
        check_equal(host->cid, 2);
        struct partition *three = container_added(broker, host, "three", 0);
        check_equal(three->cid, 3);
        check_equal(container_added(broker, three, "four", 4)->cid, 4);
        struct partition *five = container_added(broker, host, "five", 0);
        check_equal(five->cid, 5);
        check_equal(container_added(broker, five, "six", 0)->cid, 6);
        check_equal(container_added(broker, host, "eight", 8)->cid, 8);
        check_ok(partition_remove(broker, container_added(broker, host, "seven", 0)));
        check_equal(container_added(broker, host, "again", 0)->cid, 7);
        check_equal(container_added(broker, host, "nine", 0)->cid, 9);
        broker_free(broker);
}

TEST(a_partition_is_found_by_its_cid_while_it_is_there) {
        WORLD(world);
        struct partition *vm = added(&world, "vm", CID_LAST);
        check(partition_by_cid(world.broker, CID_LAST) == vm);
        check(partition_by_cid(world.broker, world.gone->cid) == world.gone);
        check(partition_by_cid(world.broker, 2) == world.host);
        check(!partition_by_cid(world.broker, 0));
        check(!partition_by_cid(world.broker, CID_LAST - 1));
        check_ok(partition_remove(world.broker, vm));
        check(!partition_by_cid(world.broker, CID_LAST));
}

TEST(no_two_partitions_have_one_cid) {
        WORLD(world);
        struct partition *vm = added(&world, "vm", 100);
        check_equal(add(&world, vm_called(&world, "twin", 100)), -EEXIST);
        struct partition_definition nested = partition_called("nested", HV_PARTITION_VM, vm);
        nested.reach = REACH_VM;
        nested.cid = 100;
        check_equal(add(&world, nested), -EEXIST);
        nested.reach = REACH_LOCAL;
        check_equal(add(&world, nested), -EEXIST);
}

TEST(reserved_cids_are_nobodys) {
        WORLD(world);
        const uint64_t reserved[] = {1, 2, 0xffffffff, 0x100000000, 0x100000003, UINT64_MAX};
        for (size_t i = 0; i < sizeof reserved / sizeof *reserved; i++)
                check_equal(add(&world, vm_called(&world, "vm", reserved[i])), -EINVAL);
        check_ok(add(&world, vm_called(&world, "vm", CID_LAST)));
        struct broker *broker = bare_broker();
        struct partition *host;
        struct partition_definition definition = partition_called("host", HV_PARTITION_HOST, NULL);
        definition.cid = 3;
        check_equal(partition_add(broker, &definition, &host), -EINVAL);
        broker_free(broker);
}

TEST(only_a_vm_is_reached_as_one) {
        WORLD(world);
        struct partition_definition definition = partition_called("a", HV_PARTITION_CONTAINER, world.host);
        definition.reach = REACH_VM;
        check_equal(add(&world, definition), -EINVAL);
        definition = partition_called("a", HV_PARTITION_VM, world.host);
        strcpy(definition.hybrid, "/run/a");
        check_equal(add(&world, definition), -EINVAL);
        definition.reach = REACH_VM;
        check_ok(add(&world, definition));
        check_string(partition_by_id(world.broker, &definition.vm_id)->hybrid, "/run/a");
}

TEST(a_hybrid_path_is_absolute_printable_and_short) {
        WORLD(world);
        struct partition_definition definition = vm_called(&world, "vm", 0);
        const char *bad[] = {"a", "./a", "/", "/a\nb", "/\033"};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                strcpy(definition.hybrid, bad[i]);
                check_equal(add(&world, definition), -EINVAL);
        }
        memset(definition.hybrid, '/', sizeof definition.hybrid);
        check_equal(add(&world, definition), -EINVAL);
        definition.hybrid[sizeof definition.hybrid - 1] = 0;
        check_ok(add(&world, definition));
}

/* ---- to a guest ---- */

TEST(a_route_to_a_guest_is_its_vm_and_the_port) {
        MACHINES(machines);
        struct caller host = root_in(machines.world.host);
        struct route route;
        check_allowed(ask(&machines, &host, &machines.world.gone->vm_id, &machines.port, &route));
        check(route.vm == machines.world.gone);
        check_equal(route.port, PORT);
        check(!route.listener);
        check(route.service == machines.service);
        check_guid(&route.resolution.dial_back_vm_id, &HV_GUID_PARENT);
}

TEST(a_route_to_a_listener_is_no_vms) {
        MACHINES(machines);
        struct caller host = root_in(machines.world.host), guest = root_in(machines.world.web01);
        struct route route;
        check_allowed(bind_as(&machines.world, &guest, &HV_GUID_PARENT, &machines.port, NULL));
        check_allowed(ask(&machines, &host, &machines.world.web01->vm_id, &machines.port, &route));
        check(route.listener && !route.vm);
}

TEST(a_vm_that_is_known_but_not_running_is_unreachable) {
        MACHINES(machines);
        machines.world.gone->running = false;
        check_refused(dial_guest(&machines), EHOSTUNREACH, RULE_NOT_RUNNING);
        machines.world.gone->running = true;
        check_allowed(dial_guest(&machines));
}

TEST(a_guest_has_vsock_ports_and_no_other_services) {
        MACHINES(machines);
        struct world *world = &machines.world;
        struct caller host = root_in(world->host);
        GUID past = port_id(HV_PORT_MAX), nearly = machines.port;
        check_refused(dial_as(world, &host, &world->gone->vm_id, &SERVICE), EADDRNOTAVAIL, RULE_NOT_A_PORT);
        check_refused(dial_as(world, &host, &world->gone->vm_id, &UNREGISTERED), EADDRNOTAVAIL, RULE_NOT_A_PORT);
        check_refused(dial_as(world, &host, &world->gone->vm_id, &past), EACCES, RULE_NOT_REGISTERED);
        past.Data1++;
        check_refused(dial_as(world, &host, &world->gone->vm_id, &past), EADDRNOTAVAIL, RULE_NOT_A_PORT);
        nearly.Data4[7] ^= 1;
        check_refused(dial_as(world, &host, &world->gone->vm_id, &nearly), EADDRNOTAVAIL, RULE_NOT_A_PORT);
}

/* Everything is wrong at once; one thing after another is put right. */
TEST(of_several_reasons_not_to_ask_a_guest_the_first_in_order_counts) {
        MACHINES(machines);
        struct world *world = &machines.world;
        struct caller host = user_in(world->host, 1000);
        struct service_definition definition = machines.service->definition;
        GUID port = port_id(7);
        world->gone->running = false;
        check_refused(dial_as(world, &host, &NOWHERE, &SERVICE), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(dial_as(world, &host, &world->gone->vm_id, &SERVICE), EADDRNOTAVAIL, RULE_NOT_A_PORT);
        check_refused(dial_as(world, &host, &world->gone->vm_id, &port), EACCES, RULE_NOT_REGISTERED);
        definition.enabled = false;
        must_register(world->broker, &definition);
        check_refused(dial_as(world, &host, &world->gone->vm_id, &machines.port), EINVAL, RULE_DISABLED);
        definition.enabled = true;
        must_register(world->broker, &definition);
        check_refused(dial_as(world, &host, &world->gone->vm_id, &machines.port), EACCES, RULE_CONNECT_DENIED);
        host = root_in(world->host);
        check_refused(dial_as(world, &host, &world->gone->vm_id, &machines.port), EHOSTUNREACH, RULE_NOT_RUNNING);
        world->gone->running = true;
        check_allowed(dial_as(world, &host, &world->gone->vm_id, &machines.port));
}

TEST(channels_to_guests_are_charged_to_who_opened_them) {
        struct quotas quotas = QUOTAS_DEFAULT;
        quotas.channels_per_user = 1;
        __attribute__((cleanup(machines_close))) struct machines machines = machines_open(&quotas);
        struct world *world = &machines.world;
        struct caller host = root_in(world->host);
        struct connect_request request = {.caller = &host,
                                          .vm_id = world->gone->vm_id,
                                          .service_id = machines.port,
                                          .socket_type = SOCK_SEQPACKET};
        struct route route;
        struct channel *channel;
        check_allowed(broker_route(world->broker, &request, &route));
        check_ok(broker_opened(world->broker, &request, &route, &NOWHERE, 2000, &channel));
        check(channel->from == world->host && channel->to == world->gone && !channel->listener);
        check_equal(channel->to_pid, 0);
        check_equal(channel->to_uid, 0);
        check_equal(channel->socket_type, SOCK_SEQPACKET);
        check(broker_channel_find(world->broker, &NOWHERE) == channel);
        check_equal(world->gone->counters.channels_now, 1);
        check_equal(machines.service->counters.channels_total, 1);
        check_equal(partition_remove(world->broker, world->gone), -EBUSY);
        check_refused(dial_guest(&machines), ENOBUFS, RULE_QUOTA);
        broker_closed(world->broker, channel);
        check_allowed(dial_guest(&machines));
        check_ok(partition_remove(world->broker, world->gone));
}

/* ---- from a guest ---- */

static struct caller guest_of(struct partition *vm) {
        return (struct caller){.partition = vm, .gid = CALLER_UNMAPPED};
}

TEST(a_guest_reaches_its_parents_listeners) {
        MACHINES(machines);
        struct world *world = &machines.world;
        struct caller host = root_in(world->host), guest = guest_of(world->gone);
        struct listener *listener;
        struct route route;
        check_refused(dial_as(world, &guest, &HV_GUID_PARENT, &machines.port), ECONNREFUSED, RULE_NO_LISTENER);
        check_allowed(bind_as(world, &host, &HV_GUID_CHILDREN, &machines.port, &listener));
        check_allowed(ask(&machines, &guest, &HV_GUID_PARENT, &machines.port, &route));
        check(route.listener == listener && !route.vm);
        check_guid(&route.resolution.dial_back_vm_id, &world->gone->vm_id);
        check_refused(dial_as(world, &guest, &HV_GUID_PARENT, &UNREGISTERED), EACCES, RULE_NOT_REGISTERED);
}

TEST(a_guest_may_what_its_partition_may) {
        MACHINES(machines);
        struct world *world = &machines.world;
        struct caller host = root_in(world->host), guest = guest_of(world->gone);
        struct service_definition definition = machines.service->definition;
        check_allowed(bind_as(world, &host, &HV_GUID_WILDCARD, &machines.port, NULL));
        definition.connect = (struct access){.count = 1, .principals = {{.kind = PRINCIPAL_USER, .id = 0}}};
        must_register(world->broker, &definition);
        check_refused(dial_as(world, &guest, &HV_GUID_PARENT, &machines.port), EACCES, RULE_CONNECT_DENIED);
        definition.connect.principals[0] = (struct principal){.kind = PRINCIPAL_VMS};
        must_register(world->broker, &definition);
        check_allowed(dial_as(world, &guest, &HV_GUID_PARENT, &machines.port));
        definition.connect.principals[0] =
                (struct principal){.kind = PRINCIPAL_PARTITION, .partition = world->web01->vm_id};
        must_register(world->broker, &definition);
        check_refused(dial_as(world, &guest, &HV_GUID_PARENT, &machines.port), EACCES, RULE_CONNECT_DENIED);
}

TEST(guests_reach_each_other_where_both_see_siblings) {
        MACHINES(machines);
        struct world *world = &machines.world;
        struct partition_definition definition = vm_called(world, "north", 0);
        definition.sees_siblings = true;
        struct partition *north = must_add(world->broker, &definition);
        struct caller guest = guest_of(north), hidden = guest_of(world->gone), local = root_in(world->east);
        struct route route;
        definition = vm_called(world, "south", 0);
        definition.sees_siblings = true;
        struct partition *south = must_add(world->broker, &definition);
        check_refused(dial_as(world, &guest, &south->vm_id, &machines.port), EHOSTUNREACH, RULE_NOT_RUNNING);
        south->running = true;
        check_allowed(ask(&machines, &guest, &south->vm_id, &machines.port, &route));
        check(route.vm == south);
        check_guid(&route.resolution.dial_back_vm_id, &north->vm_id);
        check_allowed(ask(&machines, &local, &south->vm_id, &machines.port, &route));
        check(route.vm == south);
        check_refused(dial_as(world, &hidden, &south->vm_id, &machines.port), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(dial_as(world, &guest, &world->gone->vm_id, &machines.port), EADDRNOTAVAIL,
                      RULE_UNKNOWN_PARTITION);
}

TEST(a_guest_is_not_asked_for_itself) {
        MACHINES(machines);
        struct world *world = &machines.world;
        struct caller guest = guest_of(world->gone);
        check_refused(dial_as(world, &guest, &HV_GUID_LOOPBACK, &machines.port), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(dial_as(world, &guest, &world->gone->vm_id, &machines.port), EADDRNOTAVAIL,
                      RULE_UNKNOWN_PARTITION);
}

TEST(a_container_that_passes_through_dials_siblings_guests_as_its_vm) {
        MACHINES(machines);
        struct world *world = &machines.world;
        struct partition_definition definition = vm_called(world, "north", 0);
        definition.sees_siblings = true;
        struct partition *north = must_add(world->broker, &definition);
        struct partition_definition inner = partition_called("passing", HV_PARTITION_CONTAINER, world->east);
        inner.passthru = true;
        struct caller container = root_in(must_add(world->broker, &inner));
        struct connect_request request = {
                .caller = &container, .vm_id = north->vm_id, .service_id = machines.port, .passthru = true};
        struct route route;
        north->running = true;
        check_allowed(broker_route(world->broker, &request, &route));
        check(route.vm == north);
        check_guid(&route.resolution.dial_back_vm_id, &world->east->vm_id);
}

TEST(a_refusal_of_a_guest_names_its_vm_and_no_process_of_the_host) {
        MACHINES(machines);
        struct world *world = &machines.world;
        struct caller guest = guest_of(world->gone);
        struct verdict verdict = {ECONNREFUSED, RULE_NO_LISTENER};
        char text[HV_REFUSAL_TEXT_SIZE], expected[HV_REFUSAL_TEXT_SIZE], gone[HV_GUID_TEXT_SIZE];
        guid_format(&world->gone->vm_id, gone);
        snprintf(expected, sizeof expected,
                 "nobody listens to the service there [no-listener]: vm gone (%s), a program of its guest, to parent, "
                 "service \"a port\" (00001388-facb-11e6-bd58-64006a7986d3)", gone);
        broker_explain(world->broker, &guest, &HV_GUID_PARENT, &machines.port, &verdict, text, sizeof text);
        check_string(text, expected);
}
