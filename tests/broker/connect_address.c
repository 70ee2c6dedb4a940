/* SPDX-License-Identifier: MIT */

/* DESIGN section 2, first table: what a dialled VmId reaches, and what the two ends are then called. */

#include "base/guid.h"
#include "world.h"

/* `from` dials `vm_id`: a wildcard listener in `target` answers, and would dial back at `back`. */
static void check_reaches(struct world *world, struct partition *from, const GUID *vm_id, struct partition *target,
                          const GUID *back) {
        struct listener *listener = listening(world, target, &HV_GUID_WILDCARD);
        struct route route = route_of(world, from, vm_id);
        check(route.listener == listener);
        check(route.resolution.target == target);
        check(route.service == world->service);
        check_guid(&route.resolution.dial_back_vm_id, back);
        broker_listener_gone(world->broker, listener);
}

TEST(loopback_reaches_the_callers_own_partition) {
        WORLD(world);
        struct partition *all[] = {world.host, world.web01, world.db, world.inner, world.jail, world.proxy};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                check_reaches(&world, all[i], &HV_GUID_LOOPBACK, all[i], &HV_GUID_LOOPBACK);
}

TEST(ones_own_vm_id_reaches_ones_own_partition) {
        WORLD(world);
        struct partition *all[] = {world.host, world.web01, world.db, world.inner, world.jail, world.proxy};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                check_reaches(&world, all[i], &all[i]->vm_id, all[i], &HV_GUID_LOOPBACK);
}

TEST(parent_from_a_vm_reaches_its_host) {
        WORLD(world);
        check_reaches(&world, world.web01, &HV_GUID_PARENT, world.host, &world.web01->vm_id);
}

TEST(parent_from_a_container_on_the_host_reaches_the_host) {
        WORLD(world);
        check_reaches(&world, world.jail, &HV_GUID_PARENT, world.host, &world.jail->vm_id);
}

TEST(parent_from_a_container_in_a_vm_reaches_that_vm) {
        WORLD(world);
        check_reaches(&world, world.db, &HV_GUID_PARENT, world.web01, &world.db->vm_id);
}

TEST(parent_from_a_nested_container_reaches_the_container_around_it) {
        WORLD(world);
        check_reaches(&world, world.inner, &HV_GUID_PARENT, world.db, &world.inner->vm_id);
}

TEST(parent_on_the_root_is_no_address) {
        WORLD(world);
        check_refused(dial(&world, world.host, &HV_GUID_PARENT), EADDRNOTAVAIL, RULE_NO_PARENT);
}

TEST(silohost_from_a_container_reaches_the_partition_that_hosts_it) {
        WORLD(world);
        check_reaches(&world, world.jail, &HV_GUID_SILOHOST, world.host, &world.jail->vm_id);
        check_reaches(&world, world.db, &HV_GUID_SILOHOST, world.web01, &world.db->vm_id);
        check_reaches(&world, world.inner, &HV_GUID_SILOHOST, world.db, &world.inner->vm_id);
}

TEST(silohost_outside_a_container_is_no_address) {
        WORLD(world);
        check_refused(dial(&world, world.host, &HV_GUID_SILOHOST), EADDRNOTAVAIL, RULE_NO_SILO_HOST);
        check_refused(dial(&world, world.web01, &HV_GUID_SILOHOST), EADDRNOTAVAIL, RULE_NO_SILO_HOST);
}

TEST(a_childs_vm_id_reaches_that_child) {
        WORLD(world);
        check_reaches(&world, world.host, &world.web01->vm_id, world.web01, &HV_GUID_PARENT);
        check_reaches(&world, world.host, &world.jail->vm_id, world.jail, &HV_GUID_PARENT);
        check_reaches(&world, world.web01, &world.db->vm_id, world.db, &HV_GUID_PARENT);
        check_reaches(&world, world.db, &world.inner->vm_id, world.inner, &HV_GUID_PARENT);
}

TEST(vm_ids_for_listeners_are_never_dialled) {
        WORLD(world);
        const GUID *for_listeners[] = {&HV_GUID_ZERO, &HV_GUID_WILDCARD, &HV_GUID_CHILDREN, &HV_GUID_BROADCAST};
        struct partition *all[] = {world.host, world.web01, world.db};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++)
                for (size_t j = 0; j < sizeof for_listeners / sizeof *for_listeners; j++)
                        check_refused(dial(&world, all[i], for_listeners[j]), EADDRNOTAVAIL, RULE_LISTENERS_ONLY);
}

TEST(a_vm_id_that_nobody_has_is_no_address) {
        WORLD(world);
        check_refused(dial(&world, world.host, &NOWHERE), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
}

TEST(only_children_are_addressed_by_vm_id) {
        WORLD(world);
        struct {
                struct partition *from, *to;
        } strangers[] = {
                {world.host, world.db},    /* a grandchild */
                {world.web01, world.host}, /* the parent has a word of its own */
                {world.db, world.web01},   {world.db, world.host},    /* grandparent */
                {world.web01, world.web02}, {world.db, world.cache},  /* siblings */
                {world.web02, world.db},    {world.web01, world.inner},
                {world.jail, world.web01},
        };
        for (size_t i = 0; i < sizeof strangers / sizeof *strangers; i++) {
                listening(&world, strangers[i].to, &HV_GUID_WILDCARD);
                check_refused(dial(&world, strangers[i].from, &strangers[i].to->vm_id), EADDRNOTAVAIL,
                              RULE_UNKNOWN_PARTITION);
                broker_listener_gone(world.broker, broker_listener_next(world.broker, NULL));
        }
}

TEST(siblings_reach_each_other_when_the_administrator_says_so_of_both) {
        WORLD(world);
        check_reaches(&world, world.east, &world.west->vm_id, world.west, &world.east->vm_id);
        check_reaches(&world, world.west, &world.east->vm_id, world.east, &world.west->vm_id);
        check_refused(dial(&world, world.east, &world.web01->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(dial(&world, world.web01, &world.east->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
}

TEST(seeing_siblings_shows_nobody_who_has_another_parent) {
        WORLD(world);
        struct partition_definition definition = partition_called("nephew", HV_PARTITION_CONTAINER, world.west);
        definition.sees_siblings = true;
        struct partition *nephew = must_add(world.broker, &definition);
        check_refused(dial(&world, world.east, &nephew->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(dial(&world, nephew, &world.east->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
}

TEST(both_ends_of_a_vsock_port_are_a_service_like_any_other) {
        WORLD(world);
        GUID port = HV_GUID_VSOCK_TEMPLATE;
        port.Data1 = 0x7fffffff;
        struct service_definition definition = service_called("a port", &port);
        must_register(world.broker, &definition);
        struct caller guest = root_in(world.web01), host = root_in(world.host);
        check_allowed(bind_as(&world, &guest, &HV_GUID_PARENT, &port, NULL));
        check_allowed(dial_as(&world, &host, &world.web01->vm_id, &port));
        check_allowed(bind_as(&world, &host, &HV_GUID_CHILDREN, &port, NULL));
        check_allowed(dial_as(&world, &guest, &HV_GUID_PARENT, &port));
}

TEST(a_service_id_of_zero_is_no_address) {
        WORLD(world);
        struct caller caller = root_in(world.web01);
        check_refused(dial_as(&world, &caller, &HV_GUID_PARENT, &HV_GUID_ZERO), EINVAL, RULE_BAD_ADDRESS);
        check_refused(bind_as(&world, &caller, &HV_GUID_PARENT, &HV_GUID_ZERO, NULL), EINVAL, RULE_BAD_ADDRESS);
}

/* The way back, as a restarted broker goes it. */

static bool is_the_one(const struct partition *partition, void *userdata) {
        return partition == userdata;
}

static struct partition *found_back(struct world *world, struct partition *from, struct partition *to, const GUID *vm_id,
                                    unsigned budget) {
        return address_source(world->broker, to, vm_id, &budget, is_the_one, from);
}

TEST(who_connected_is_found_by_what_the_acceptor_would_dial) {
        WORLD(world);
        struct partition *all[] = {world.host,  world.jail,  world.web01, world.cache, world.db,  world.inner,
                                   world.proxy, world.web02, world.east,  world.west,  world.gone};
        const GUID *words[] = {&HV_GUID_LOOPBACK, &HV_GUID_PARENT, &HV_GUID_SILOHOST};
        unsigned found = 0;
        for (unsigned i = 0; i < sizeof all / sizeof *all; i++)
                for (unsigned j = 0; j < sizeof all / sizeof *all + 3; j++)
                        for (unsigned passthru = 0; passthru <= 1; passthru++) {
                                const GUID *dialled = j < 3 ? words[j] : &all[j - 3]->vm_id;
                                struct resolution resolution;
                                if (address_resolve(world.broker, all[i], dialled, passthru, &resolution).error)
                                        continue;
                                const GUID *back = &resolution.dial_back_vm_id;
                                check(found_back(&world, all[i], resolution.target, back, 100) == all[i]);
                                found++;
                        }
        check(found > 30);
}

TEST(a_connector_to_a_listener_that_passes_through_is_found_where_its_vm_stands) {
        WORLD(world);
        check(found_back(&world, world.host, world.proxy, &HV_GUID_PARENT, 0) == world.host);
        check(found_back(&world, world.web01, world.proxy, &HV_GUID_PARENT, 0) == world.web01);
}

TEST(who_stands_elsewhere_is_not_found) {
        WORLD(world);
        check(!found_back(&world, world.web02, world.host, &HV_GUID_LOOPBACK, 100));
        check(!found_back(&world, world.web02, world.host, &world.web01->vm_id, 100));
        check(!found_back(&world, world.db, world.host, &world.db->vm_id, 100));
        check(!found_back(&world, world.host, world.host, &HV_GUID_PARENT, 100));
        check(!found_back(&world, world.host, world.web01, &world.host->vm_id, 100));
        check(!found_back(&world, world.host, world.host, &NOWHERE, 100));
}

TEST(the_search_for_who_passed_through_ends_with_its_budget) {
        WORLD(world);
        check(found_back(&world, world.proxy, world.host, &world.web01->vm_id, 100) == world.proxy);
        check(!found_back(&world, world.proxy, world.host, &world.web01->vm_id, 0));
        unsigned budget = 100;
        check(!address_source(world.broker, world.host, &world.web01->vm_id, &budget, is_the_one, world.west));
        check_equal(budget, 96);
}
