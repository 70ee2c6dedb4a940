/* SPDX-License-Identifier: MIT */

/* HVSOCKET_CONTAINER_PASSTHRU: towards what is outside its VM, a container stands in that VM's place. */

#include "base/guid.h"
#include "world.h"

TEST(only_a_container_added_with_passthru_may_pass_through) {
        WORLD(world);
        struct partition *others[] = {world.host, world.web01, world.db, world.inner, world.jail};
        for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
                check_refused(dial_passing(&world, others[i], &HV_GUID_LOOPBACK), EACCES, RULE_PASSTHRU_DENIED);
                check_refused(bind_passing(&world, others[i], &HV_GUID_LOOPBACK), EACCES, RULE_PASSTHRU_DENIED);
                check_refused(dial_passing(&world, others[i], &HV_GUID_PARENT), EACCES, RULE_PASSTHRU_DENIED);
                check_refused(bind_passing(&world, others[i], &HV_GUID_WILDCARD), EACCES, RULE_PASSTHRU_DENIED);
        }
}

TEST(parent_then_means_the_vms_host_which_sees_the_vm) {
        WORLD(world);
        struct listener *host = listening(&world, world.host, &HV_GUID_WILDCARD);
        struct listener *vm = listening(&world, world.web01, &HV_GUID_WILDCARD);
        struct route route = route_passing(&world, world.proxy, &HV_GUID_PARENT);
        check(route.listener == host);
        check(route.resolution.source == world.web01);
        check_guid(&route.resolution.dial_back_vm_id, &world.web01->vm_id);
        check(route_of(&world, world.proxy, &HV_GUID_PARENT).listener == vm);
}

TEST(a_listener_for_the_vm_accepts_the_container_that_stands_in_its_place) {
        WORLD(world);
        struct listener *exact = listening(&world, world.host, &world.web01->vm_id);
        check(route_passing(&world, world.proxy, &HV_GUID_PARENT).listener == exact);
}

TEST(a_nested_container_passes_through_the_nearest_vm) {
        WORLD(world);
        struct partition_definition vm = partition_called("nested-vm", HV_PARTITION_VM, world.web01);
        struct partition *nested_vm = must_add(world.broker, &vm);
        struct partition_definition outer = partition_called("outer", HV_PARTITION_CONTAINER, nested_vm);
        struct partition *between = must_add(world.broker, &outer);
        struct partition_definition inner = partition_called("inner", HV_PARTITION_CONTAINER, between);
        inner.passthru = true;
        struct partition *container = must_add(world.broker, &inner);
        struct listener *listener = listening(&world, world.web01, &HV_GUID_CHILDREN);
        struct route route = route_passing(&world, container, &HV_GUID_PARENT);
        check(route.listener == listener);
        check_guid(&route.resolution.dial_back_vm_id, &nested_vm->vm_id);
}

TEST(without_a_vm_around_it_passthru_changes_nothing) {
        WORLD(world);
        struct partition_definition definition = partition_called("lonely", HV_PARTITION_CONTAINER, world.host);
        definition.passthru = true;
        struct partition *lonely = must_add(world.broker, &definition);
        struct listener *host = listening(&world, world.host, &HV_GUID_CHILDREN);
        struct route route = route_passing(&world, lonely, &HV_GUID_PARENT);
        check(route.listener == host);
        check_guid(&route.resolution.dial_back_vm_id, &lonely->vm_id);

        struct listener *own = listening_passing(&world, lonely, &HV_GUID_PARENT);
        check(route_of(&world, world.host, &lonely->vm_id).listener == own);
}

TEST(a_siblings_view_is_the_vms) {
        WORLD(world);
        struct partition_definition definition = partition_called("agent", HV_PARTITION_CONTAINER, world.east);
        definition.passthru = true;
        struct partition *agent = must_add(world.broker, &definition);
        struct listener *listener = listening(&world, world.west, &world.east->vm_id);
        struct route route = route_passing(&world, agent, &world.west->vm_id);
        check(route.listener == listener);
        check_guid(&route.resolution.dial_back_vm_id, &world.east->vm_id);
        check_refused(dial(&world, agent, &world.west->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);

        struct listener *passing = listening_passing(&world, agent, &world.west->vm_id);
        check(route_of(&world, world.west, &world.east->vm_id).listener == passing);
}

TEST(inside_its_vm_a_container_that_passes_through_stays_itself) {
        WORLD(world);
        struct listener *own = listening(&world, world.proxy, &HV_GUID_LOOPBACK);
        listening(&world, world.web01, &HV_GUID_LOOPBACK);
        check(route_passing(&world, world.proxy, &HV_GUID_LOOPBACK).listener == own);
        check(route_passing(&world, world.proxy, &world.proxy->vm_id).listener == own);
        check_refused(dial_passing(&world, world.proxy, &world.web01->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(dial_passing(&world, world.proxy, &world.db->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(bind_passing(&world, world.proxy, &world.db->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
}

TEST(silohost_is_still_the_vm_which_sees_the_container) {
        WORLD(world);
        struct listener *vm = listening(&world, world.web01, &HV_GUID_CHILDREN);
        struct route route = route_passing(&world, world.proxy, &HV_GUID_SILOHOST);
        check(route.listener == vm);
        check_guid(&route.resolution.dial_back_vm_id, &world.proxy->vm_id);

        struct listener *silo_host = listening_passing(&world, world.proxy, &HV_GUID_SILOHOST);
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_LISTENER_EXCLUDES);
        check(route_of(&world, world.web01, &world.proxy->vm_id).listener == silo_host);
}

TEST(a_listener_that_passes_through_is_reached_under_the_vms_vm_id) {
        WORLD(world);
        struct listener *listener = listening_passing(&world, world.proxy, &HV_GUID_WILDCARD);
        struct route route = route_of(&world, world.host, &world.web01->vm_id);
        check(route.listener == listener);
        check(route.resolution.target == world.web01);
        check_guid(&route.resolution.dial_back_vm_id, &HV_GUID_PARENT);
}

TEST(a_listener_that_does_not_pass_through_is_not) {
        WORLD(world);
        listening(&world, world.proxy, &HV_GUID_WILDCARD);
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_NO_LISTENER);
}

TEST(the_vms_own_listeners_come_first_however_unspecific) {
        WORLD(world);
        struct listener *container = listening_passing(&world, world.proxy, &HV_GUID_PARENT);
        struct listener *vm = listening(&world, world.web01, &HV_GUID_WILDCARD);
        check(route_of(&world, world.host, &world.web01->vm_id).listener == vm);
        broker_listener_gone(world.broker, vm);
        check(route_of(&world, world.host, &world.web01->vm_id).listener == container);
        broker_listener_gone(world.broker, container);
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_NO_LISTENER);
}

TEST(bound_to_parent_it_accepts_the_vms_parent_and_not_the_vm) {
        WORLD(world);
        struct listener *listener = listening_passing(&world, world.proxy, &HV_GUID_PARENT);
        check(route_of(&world, world.host, &world.web01->vm_id).listener == listener);
        check_refused(dial(&world, world.web01, &world.proxy->vm_id), ECONNREFUSED, RULE_LISTENER_EXCLUDES);
}

TEST(bound_to_loopback_or_children_it_accepts_nobody_from_outside) {
        WORLD(world);
        listening_passing(&world, world.proxy, &HV_GUID_LOOPBACK);
        listening_passing(&world, world.proxy, &HV_GUID_CHILDREN);
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_LISTENER_EXCLUDES);
}

TEST(neither_the_vm_nor_its_containers_reach_it_under_the_vms_vm_id) {
        WORLD(world);
        struct listener *listener = listening_passing(&world, world.proxy, &HV_GUID_WILDCARD);
        check_refused(dial(&world, world.db, &HV_GUID_PARENT), ECONNREFUSED, RULE_NO_LISTENER);
        check_refused(dial(&world, world.web01, &HV_GUID_LOOPBACK), ECONNREFUSED, RULE_NO_LISTENER);
        check_refused(dial(&world, world.web01, &world.web01->vm_id), ECONNREFUSED, RULE_NO_LISTENER);
        check(route_of(&world, world.web01, &world.proxy->vm_id).listener == listener);
}

TEST(of_two_containers_with_the_same_address_the_first_is_reached) {
        WORLD(world);
        struct partition_definition definition = partition_called("proxy2", HV_PARTITION_CONTAINER, world.web01);
        definition.passthru = true;
        struct partition *proxy2 = must_add(world.broker, &definition);
        struct listener *first = listening_passing(&world, world.proxy, &HV_GUID_WILDCARD);
        struct listener *second = listening_passing(&world, proxy2, &HV_GUID_WILDCARD);
        check(route_of(&world, world.host, &world.web01->vm_id).listener == first);
        broker_listener_gone(world.broker, first);
        check(route_of(&world, world.host, &world.web01->vm_id).listener == second);
}

TEST(without_wildcard_binds_a_wildcard_that_passes_through_is_refused_too) {
        WORLD(world);
        listening_passing(&world, world.proxy, &HV_GUID_WILDCARD);
        change_service(&world, true, false);
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_WILDCARD_FORBIDDEN);
}

TEST(a_restored_listener_passes_through_only_if_its_container_still_may) {
        WORLD(world);
        struct caller may = root_in(world.proxy), may_not = root_in(world.db);
        struct bind_request request = {.caller = &may_not,
                                       .vm_id = HV_GUID_WILDCARD,
                                       .service_id = SERVICE,
                                       .socket_type = SOCK_STREAM,
                                       .passthru = true};
        struct listener *listener;
        check_ok(broker_restore_listener(world.broker, &request, &listener));
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_NO_LISTENER);
        request.caller = &may;
        check_ok(broker_restore_listener(world.broker, &request, &listener));
        check(route_of(&world, world.host, &world.web01->vm_id).listener == listener);
}
