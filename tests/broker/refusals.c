/* SPDX-License-Identifier: MIT */

/* DESIGN section 3: what callers get told, and which of several reasons counts. */

#include "base/guid.h"
#include "world.h"
#include <stdio.h>

TEST(an_unregistered_service_does_not_cross_a_partitions_boundary) {
        WORLD(world);
        struct caller guest = root_in(world.web01), host = root_in(world.host), container = root_in(world.db);
        check_allowed(bind_as(&world, &guest, &HV_GUID_WILDCARD, &UNREGISTERED, NULL));
        check_refused(broker_listen(world.broker, &guest, &HV_GUID_WILDCARD, &UNREGISTERED), EACCES,
                      RULE_NOT_REGISTERED);
        check_refused(dial_as(&world, &host, &world.web01->vm_id, &UNREGISTERED), EACCES, RULE_NOT_REGISTERED);
        check_refused(dial_as(&world, &guest, &HV_GUID_PARENT, &UNREGISTERED), EACCES, RULE_NOT_REGISTERED);
        check_refused(dial_as(&world, &container, &HV_GUID_SILOHOST, &UNREGISTERED), EACCES, RULE_NOT_REGISTERED);
}

TEST(every_address_but_ones_own_needs_registration_to_listen) {
        WORLD(world);
        struct caller container = root_in(world.db);
        const GUID *crossing[] = {&HV_GUID_WILDCARD, &HV_GUID_CHILDREN, &HV_GUID_PARENT, &HV_GUID_SILOHOST,
                                  &world.inner->vm_id};
        for (size_t i = 0; i < sizeof crossing / sizeof *crossing; i++)
                check_refused(broker_listen(world.broker, &container, crossing[i], &UNREGISTERED), EACCES,
                              RULE_NOT_REGISTERED);
        check_allowed(broker_listen(world.broker, &container, &HV_GUID_LOOPBACK, &UNREGISTERED));
        check_allowed(broker_listen(world.broker, &container, &world.db->vm_id, &UNREGISTERED));
}

TEST(inside_one_partition_no_registration_is_needed) {
        WORLD(world);
        struct partition *all[] = {world.host, world.web01, world.db};
        for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
                struct caller caller = root_in(all[i]);
                check_allowed(bind_as(&world, &caller, &HV_GUID_LOOPBACK, &UNREGISTERED, NULL));
                check_allowed(broker_listen(world.broker, &caller, &HV_GUID_LOOPBACK, &UNREGISTERED));
                check_allowed(dial_as(&world, &caller, &HV_GUID_LOOPBACK, &UNREGISTERED));
                check_allowed(dial_as(&world, &caller, &all[i]->vm_id, &UNREGISTERED));
        }
}

TEST(a_removed_service_is_an_unregistered_one) {
        WORLD(world);
        listening(&world, world.web01, &HV_GUID_WILDCARD);
        registry_remove(world.broker, world.service);
        check_refused(dial(&world, world.host, &world.web01->vm_id), EACCES, RULE_NOT_REGISTERED);
        check(registry_by_id(world.broker, &SERVICE) == NULL);
}

TEST(a_disabled_service_is_bound_but_neither_listened_on_nor_connected_to) {
        WORLD(world);
        change_service(&world, false, true);
        struct caller guest = root_in(world.web01);
        check_allowed(bind_at(&world, world.web01, &HV_GUID_WILDCARD));
        check_refused(broker_listen(world.broker, &guest, &HV_GUID_WILDCARD, &SERVICE), EINVAL, RULE_DISABLED);
        check_refused(dial(&world, world.host, &world.web01->vm_id), EINVAL, RULE_DISABLED);
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), EINVAL, RULE_DISABLED);
}

TEST(a_disabled_service_is_disabled_inside_a_partition_too) {
        WORLD(world);
        change_service(&world, false, true);
        struct caller guest = root_in(world.web01);
        check_allowed(bind_at(&world, world.web01, &HV_GUID_LOOPBACK));
        check_refused(broker_listen(world.broker, &guest, &HV_GUID_LOOPBACK, &SERVICE), EINVAL, RULE_DISABLED);
        check_refused(dial(&world, world.web01, &HV_GUID_LOOPBACK), EINVAL, RULE_DISABLED);
}

TEST(channels_go_on_until_their_service_is_disabled) {
        WORLD(world);
        struct caller guest = root_in(world.web01);
        check_allowed(broker_check(world.broker, &guest, &SERVICE));
        check_allowed(broker_check(world.broker, &guest, &UNREGISTERED));
        change_service(&world, false, true);
        check_refused(broker_check(world.broker, &guest, &SERVICE), EINVAL, RULE_DISABLED);
        change_service(&world, true, true);
        check_allowed(broker_check(world.broker, &guest, &SERVICE));
}

TEST(a_caller_who_may_not_bind_is_told_at_bind_and_at_listen) {
        WORLD(world);
        struct service_definition definition = world.service->definition;
        definition.bind = (struct access){.count = 1, .principals = {{.kind = PRINCIPAL_HOST}}};
        must_register(world.broker, &definition);
        struct caller guest = root_in(world.web01);
        check_refused(bind_at(&world, world.web01, &HV_GUID_PARENT), EACCES, RULE_BIND_DENIED);
        check_refused(bind_at(&world, world.web01, &HV_GUID_LOOPBACK), EACCES, RULE_BIND_DENIED);
        check_refused(broker_listen(world.broker, &guest, &HV_GUID_PARENT, &SERVICE), EACCES, RULE_BIND_DENIED);
        check_allowed(bind_at(&world, world.host, &HV_GUID_WILDCARD));
        check_allowed(dial(&world, world.web01, &HV_GUID_PARENT));
}

TEST(a_caller_who_may_not_connect_is_told_at_connect) {
        WORLD(world);
        struct service_definition definition = world.service->definition;
        definition.connect = (struct access){.count = 1, .principals = {{.kind = PRINCIPAL_HOST}}};
        must_register(world.broker, &definition);
        listening(&world, world.web01, &HV_GUID_WILDCARD);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), EACCES, RULE_CONNECT_DENIED);
        check_refused(dial(&world, world.web01, &HV_GUID_LOOPBACK), EACCES, RULE_CONNECT_DENIED);
        check_allowed(dial(&world, world.host, &world.web01->vm_id));
}

TEST(where_nobody_listens_a_connect_is_refused) {
        WORLD(world);
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_NO_LISTENER);
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), ECONNREFUSED, RULE_NO_LISTENER);
        check_refused(dial(&world, world.host, &HV_GUID_LOOPBACK), ECONNREFUSED, RULE_NO_LISTENER);
}

TEST(where_a_listener_was_and_is_gone_nobody_listens) {
        WORLD(world);
        struct listener *listener = listening(&world, world.web01, &HV_GUID_PARENT);
        check_allowed(dial(&world, world.host, &world.web01->vm_id));
        broker_listener_gone(world.broker, listener);
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_NO_LISTENER);
}

TEST(a_listener_whose_vm_id_excludes_the_caller_refuses) {
        WORLD(world);
        listening(&world, world.web01, &HV_GUID_CHILDREN);
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_LISTENER_EXCLUDES);
}

TEST(without_wildcard_binds_wildcard_and_children_are_bound_but_accept_nobody) {
        WORLD(world);
        change_service(&world, true, false);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        listening(&world, world.host, &HV_GUID_CHILDREN);
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), ECONNREFUSED, RULE_WILDCARD_FORBIDDEN);
        check_refused(dial(&world, world.host, &HV_GUID_LOOPBACK), ECONNREFUSED, RULE_WILDCARD_FORBIDDEN);
        struct listener *exact = listening(&world, world.host, &world.web01->vm_id);
        check(route_of(&world, world.web01, &HV_GUID_PARENT).listener == exact);
        check_refused(dial(&world, world.web02, &HV_GUID_PARENT), ECONNREFUSED, RULE_WILDCARD_FORBIDDEN);
}

TEST(a_service_whose_program_cannot_be_started_refuses_where_its_listener_would_be_chosen) {
        WORLD(world);
        struct caller owner = root_in(world.host);
        struct bind_request request = {.caller = &owner,
                                       .vm_id = HV_GUID_WILDCARD,
                                       .service_id = SERVICE,
                                       .socket_type = SOCK_STREAM,
                                       .on_demand = true};
        struct verdict verdict;
        struct listener *listener;
        check_ok(broker_bind(world.broker, &request, &verdict, &listener));
        check_allowed(verdict);
        check_allowed(dial(&world, world.web01, &HV_GUID_PARENT));
        strcpy(world.service->cannot_start, "No such file or directory");
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), ECONNREFUSED, RULE_EXEC_FAILED);
        /* A listener that needs no program is asked for none. */
        struct listener *exact = listening(&world, world.host, &world.web01->vm_id);
        check(route_of(&world, world.web01, &HV_GUID_PARENT).listener == exact);
        check_refused(dial(&world, world.web02, &HV_GUID_PARENT), ECONNREFUSED, RULE_EXEC_FAILED);
        *world.service->cannot_start = 0;
        check_allowed(dial(&world, world.web02, &HV_GUID_PARENT));
}

TEST(without_wildcard_binds_other_words_accept_as_before) {
        WORLD(world);
        change_service(&world, true, false);
        listening(&world, world.db, &HV_GUID_PARENT);
        listening(&world, world.db, &HV_GUID_LOOPBACK);
        check_allowed(dial(&world, world.web01, &world.db->vm_id));
        check_allowed(dial(&world, world.db, &HV_GUID_LOOPBACK));
}

TEST(the_same_address_is_not_bound_twice_in_a_partition) {
        WORLD(world);
        struct caller guest = root_in(world.web01), host = root_in(world.host);
        struct listener *first, *in_the_way;
        check_allowed(bind_as(&world, &guest, &HV_GUID_WILDCARD, &SERVICE, &first));
        check_refused(bind_as(&world, &guest, &HV_GUID_ZERO, &SERVICE, &in_the_way), EADDRINUSE, RULE_ADDRESS_IN_USE);
        check(in_the_way == first);
        check_allowed(bind_as(&world, &guest, &HV_GUID_PARENT, &SERVICE, NULL));
        check_allowed(bind_as(&world, &guest, &HV_GUID_WILDCARD, &UNREGISTERED, NULL));
        check_allowed(bind_as(&world, &host, &HV_GUID_WILDCARD, &SERVICE, NULL));
        broker_listener_gone(world.broker, first);
        check_allowed(bind_as(&world, &guest, &HV_GUID_WILDCARD, &SERVICE, NULL));
}

TEST(passing_through_makes_no_second_address) {
        WORLD(world);
        listening_passing(&world, world.proxy, &HV_GUID_PARENT);
        check_refused(bind_at(&world, world.proxy, &HV_GUID_PARENT), EADDRINUSE, RULE_ADDRESS_IN_USE);
}

TEST(in_a_partition_a_service_belongs_to_one_user_at_a_time) {
        WORLD(world);
        struct caller alice = user_in(world.web01, 1000), bob = user_in(world.web01, 1001);
        struct caller bob_elsewhere = user_in(world.web02, 1001);
        struct listener *hers, *in_the_way;
        check_allowed(bind_as(&world, &alice, &HV_GUID_WILDCARD, &SERVICE, &hers));
        check_refused(bind_as(&world, &bob, &HV_GUID_PARENT, &SERVICE, &in_the_way), EADDRINUSE, RULE_ANOTHER_USERS);
        check(in_the_way == hers);
        check_allowed(bind_as(&world, &alice, &HV_GUID_CHILDREN, &SERVICE, NULL));
        check_allowed(bind_as(&world, &bob, &HV_GUID_PARENT, &UNREGISTERED, NULL));
        check_allowed(bind_as(&world, &bob_elsewhere, &HV_GUID_PARENT, &SERVICE, NULL));
}

TEST(root_stands_aside_of_that) {
        WORLD(world);
        struct caller alice = user_in(world.web01, 1000), bob = user_in(world.web01, 1001), root = root_in(world.web01);
        struct listener *roots, *hers;
        check_allowed(bind_as(&world, &root, &HV_GUID_LOOPBACK, &SERVICE, &roots));
        check_allowed(bind_as(&world, &alice, &HV_GUID_WILDCARD, &SERVICE, &hers));
        check_allowed(bind_as(&world, &root, &HV_GUID_CHILDREN, &SERVICE, NULL));
        check_refused(bind_as(&world, &bob, &HV_GUID_PARENT, &SERVICE, NULL), EADDRINUSE, RULE_ANOTHER_USERS);
        broker_listener_gone(world.broker, roots);
        check_refused(bind_as(&world, &bob, &HV_GUID_PARENT, &SERVICE, NULL), EADDRINUSE, RULE_ANOTHER_USERS);
        broker_listener_gone(world.broker, hers);
        check_allowed(bind_as(&world, &bob, &HV_GUID_PARENT, &SERVICE, NULL));
}

TEST(a_stream_does_not_meet_a_seqpacket_listener_nor_the_reverse) {
        WORLD(world);
        struct caller guest = root_in(world.web01), host = root_in(world.host);
        struct bind_request bind = {.caller = &guest, .service_id = SERVICE, .socket_type = SOCK_SEQPACKET};
        struct connect_request connect = {
                .caller = &host, .vm_id = world.web01->vm_id, .service_id = SERVICE, .socket_type = SOCK_SEQPACKET};
        struct verdict verdict;
        struct listener *listener;
        struct route route;
        check_ok(broker_bind(world.broker, &bind, &verdict, &listener));
        check_refused(dial(&world, world.host, &world.web01->vm_id), EPROTOTYPE, RULE_SOCKET_TYPE);
        check_allowed(broker_route(world.broker, &connect, &route));
        broker_listener_gone(world.broker, listener);
        listening(&world, world.web01, &HV_GUID_WILDCARD);
        check_refused(broker_route(world.broker, &connect, &route), EPROTOTYPE, RULE_SOCKET_TYPE);
        check(!route.listener);
        connect.socket_type = 0;
        check_allowed(broker_route(world.broker, &connect, &route));
}

TEST(a_listener_of_the_wrong_type_is_not_passed_over_for_a_less_specific_one) {
        WORLD(world);
        struct caller guest = root_in(world.web01);
        struct bind_request bind = {
                .caller = &guest, .vm_id = HV_GUID_PARENT, .service_id = SERVICE, .socket_type = SOCK_SEQPACKET};
        struct verdict verdict;
        struct listener *listener;
        check_ok(broker_bind(world.broker, &bind, &verdict, &listener));
        listening(&world, world.web01, &HV_GUID_WILDCARD);
        check_refused(dial(&world, world.host, &world.web01->vm_id), EPROTOTYPE, RULE_SOCKET_TYPE);
}

/* Everything is wrong at once; one thing after another is put right. */
TEST(of_several_reasons_the_first_in_order_counts) {
        WORLD_WITH(world, .listeners_per_partition = 9, .listeners_per_user = 9);
        struct caller guest = root_in(world.web01), host = user_in(world.host, 1000);
        struct connect_request request = {
                .caller = &host, .vm_id = NOWHERE, .service_id = HV_GUID_ZERO, .socket_type = SOCK_SEQPACKET};
        struct route route;
        check_refused(broker_route(world.broker, &request, &route), EINVAL, RULE_BAD_ADDRESS);
        request.service_id = UNREGISTERED;
        check_refused(broker_route(world.broker, &request, &route), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        request.vm_id = world.web01->vm_id;
        check_refused(broker_route(world.broker, &request, &route), EACCES, RULE_NOT_REGISTERED);
        request.service_id = SERVICE;
        change_service(&world, false, true);
        check_refused(broker_route(world.broker, &request, &route), EINVAL, RULE_DISABLED);
        change_service(&world, true, true);
        check_refused(broker_route(world.broker, &request, &route), EACCES, RULE_CONNECT_DENIED);
        host = root_in(world.host);
        check_refused(broker_route(world.broker, &request, &route), ECONNREFUSED, RULE_NO_LISTENER);
        check_allowed(bind_as(&world, &guest, &HV_GUID_PARENT, &SERVICE, NULL));
        check_refused(broker_route(world.broker, &request, &route), EPROTOTYPE, RULE_SOCKET_TYPE);
        request.socket_type = SOCK_STREAM;
        check_refused(broker_route(world.broker, &request, &route), ENOBUFS, RULE_QUOTA);
}

TEST(every_rule_has_a_name_a_sentence_and_no_two_the_same_name) {
        for (int rule = 0; rule < RULE_COUNT; rule++) {
                check(rule_name(rule) && *rule_name(rule));
                check(*rule_sentence(rule));
                char advice[RULE_ADVICE_SIZE];
                rule_advice(rule, &SERVICE, advice);
                check(strlen(advice) < sizeof advice - 1);
                for (int other = 0; other < rule; other++)
                        check(strcmp(rule_name(rule), rule_name(other)));
        }
        char advice[RULE_ADVICE_SIZE], wanted[RULE_ADVICE_SIZE], guid[HV_GUID_TEXT_SIZE];
        guid_format(&SERVICE, guid);
        snprintf(wanted, sizeof wanted, "hvsock service enable %s", guid);
        rule_advice(RULE_DISABLED, &SERVICE, advice);
        check_string(advice, wanted);
        check(!rule_name(RULE_COUNT));
        check(!rule_name((enum rule)-1));
        check_string(rule_sentence(RULE_COUNT), "");
        rule_advice(RULE_COUNT, &SERVICE, advice);
        check_string(advice, "");
}
