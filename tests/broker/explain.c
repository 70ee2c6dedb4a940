/* SPDX-License-Identifier: MIT */

/* The sentence for a refusal: who, both addresses, the service, the rule. */

#include "base/guid.h"
#include "base/utf8.h"
#include "world.h"

#include <stdio.h>

static void check_explained(struct world *world, const struct caller *caller, const GUID *vm_id, const GUID *service_id,
                            enum rule rule, const char *expected) {
        char text[HV_REFUSAL_TEXT_SIZE];
        struct verdict verdict = {EACCES, rule};
        broker_explain(world->broker, caller, vm_id, service_id, &verdict, text, sizeof text);
        check_string(text, expected);
}

TEST(it_names_both_ends_the_service_and_the_rule) {
        WORLD(world);
        struct caller container = user_in(world.db, 1000);
        char expected[HV_REFUSAL_TEXT_SIZE], db[HV_GUID_TEXT_SIZE];
        guid_format(&world.db->vm_id, db);
        snprintf(expected, sizeof expected,
                 "the caller is not among those who may connect to the service [connect-denied]: "
                 "container web01/db (%s), process 812 of user 1000, to parent, "
                 "service \"HV Socket Demo\" (3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e10)", db);
        check_explained(&world, &container, &HV_GUID_PARENT, &SERVICE, RULE_CONNECT_DENIED, expected);
}

TEST(a_partition_is_named_by_its_path_and_an_unknown_one_by_its_guid) {
        WORLD(world);
        struct caller host = user_in(world.host, CALLER_UNMAPPED);
        char expected[HV_REFUSAL_TEXT_SIZE], machine[HV_GUID_TEXT_SIZE], web01[HV_GUID_TEXT_SIZE];
        guid_format(&world.host->vm_id, machine);
        guid_format(&world.web01->vm_id, web01);
        snprintf(expected, sizeof expected,
                 "nobody listens to the service there [no-listener]: host machine (%s), "
                 "process 812 of an unmapped user, to web01 (%s), service (3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e11)",
                 machine, web01);
        check_explained(&world, &host, &world.web01->vm_id, &UNREGISTERED, RULE_NO_LISTENER, expected);
        snprintf(expected, sizeof expected,
                 "no such partition, or one that the caller cannot address [unknown-partition]: host machine (%s), "
                 "process 812 of an unmapped user, to deadbeef-0000-0000-0000-000000000000, "
                 "service (3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e11)", machine);
        check_explained(&world, &host, &NOWHERE, &UNREGISTERED, RULE_UNKNOWN_PARTITION, expected);
}

TEST(a_program_that_cannot_be_started_is_told_with_the_cause) {
        WORLD(world);
        struct caller caller = root_in(world.web01);
        struct verdict verdict = {ECONNREFUSED, RULE_EXEC_FAILED};
        char text[HV_REFUSAL_TEXT_SIZE];
        strcpy(world.service->cannot_start, "it exited with 1");
        broker_explain(world.broker, &caller, &HV_GUID_PARENT, &SERVICE, &verdict, text, sizeof text);
        check(!strncmp(text, "the service's program cannot be started: it exited with 1 [exec-failed]: vm web01", 80));
}

TEST(a_caller_does_not_learn_whose_vm_id_it_must_not_address) {
        WORLD(world);
        struct caller container = root_in(world.jail);
        struct verdict verdict = {EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION};
        char text[HV_REFUSAL_TEXT_SIZE];
        broker_explain(world.broker, &container, &world.web01->vm_id, &SERVICE, &verdict, text, sizeof text);
        check(!strstr(text, "web01"));
}

TEST(it_is_one_line_of_whole_characters_in_any_room) {
        WORLD(world);
        struct service_definition definition = world.service->definition;
        for (size_t at = 0; at + 2 < sizeof definition.name; at += 2)
                memcpy(definition.name + at, "\xc3\xa9", 3);
        must_register(world.broker, &definition);
        struct caller caller = root_in(world.inner);
        struct verdict verdict = {ENOBUFS, RULE_QUOTA};
        for (size_t size = 1; size <= HV_REFUSAL_TEXT_SIZE; size++) {
                char text[HV_REFUSAL_TEXT_SIZE + 1];
                memset(text, '\n', sizeof text);
                broker_explain(world.broker, &caller, &HV_GUID_PARENT, &SERVICE, &verdict, text, size);
                check(strlen(text) < size);
                check(service_name_is_valid(text));
                check_equal(text[size], '\n');
        }
}
