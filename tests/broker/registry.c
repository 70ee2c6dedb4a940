/* SPDX-License-Identifier: MIT */

/* The registry: services by GUID, by name and in order. */

#include "base/guid.h"
#include "world.h"

#include <stdio.h>

static struct service *put(struct broker *broker, const char *name, uint32_t number) {
        GUID service_id = guid_numbered(number);
        struct service_definition definition = service_called(name, &service_id);
        return must_register(broker, &definition);
}

static int find(struct broker *broker, const char *name, struct service **ret_service) {
        struct service *untouched = (struct service *)broker;
        *ret_service = untouched;
        int r = registry_by_name(broker, name, ret_service);
        check((r == 0) == (*ret_service != untouched));
        return r;
}

TEST(a_service_is_found_by_name_guid_and_port) {
        WORLD(world);
        struct service *found, *port;
        GUID port_id = HV_GUID_VSOCK_TEMPLATE;
        port_id.Data1 = 5002;
        struct service_definition definition = service_called("port", &port_id);
        port = must_register(world.broker, &definition);
        check_ok(find(world.broker, "HV Socket Demo", &found));
        check(found == world.service);
        check_ok(find(world.broker, "{3C2A8F5E-9F0D-4C49-9B0E-6F7A6B1D2E10}", &found));
        check(found == world.service);
        check_ok(find(world.broker, "vsock:5002", &found));
        check(found == port);
        check_equal(find(world.broker, "vsock:5002x", &found), -ENOENT);
        check_equal(find(world.broker, "vsock:+5002", &found), -ENOENT);
        check_equal(find(world.broker, "vsock: 5002", &found), -ENOENT);
        check_ok(find(world.broker, "0000138a-facb-11e6-bd58-64006a7986d3", &found));
        check(found == port);
}

TEST(what_is_not_registered_is_not_found) {
        WORLD(world);
        struct service *found;
        const char *names[] = {"", "hv socket demo", "HV Socket Dem", "HV Socket Demo ", "vsock:1", "vsock:",
                               "vsock:-1", "vsock:2147483648", "vsock:99999999999999999999", "vsock:5002x",
                               "3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e11"};
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
                check_equal(find(world.broker, names[i], &found), -ENOENT);
}

TEST(the_largest_port_is_a_service_and_a_leading_zero_is_decimal) {
        WORLD(world);
        struct service *found;
        GUID port = HV_GUID_VSOCK_TEMPLATE;
        port.Data1 = HV_PORT_MAX;
        struct service_definition definition = service_called("last", &port);
        struct service *last = must_register(world.broker, &definition);
        check_ok(find(world.broker, "vsock:2147483647", &found));
        check(found == last);
        port.Data1 = 90;
        definition = service_called("ninety", &port);
        struct service *ninety = must_register(world.broker, &definition);
        check_ok(find(world.broker, "vsock:90", &found));
        check(found == ninety);
        check_ok(find(world.broker, "vsock:090", &found));
        check(found == ninety);
}

TEST(a_name_that_two_services_share_finds_neither) {
        WORLD(world);
        struct service *found, *second = put(world.broker, "HV Socket Demo", 1);
        check_equal(find(world.broker, "HV Socket Demo", &found), -ENOTUNIQ);
        put(world.broker, "HV Socket Demo", 2);
        check_equal(find(world.broker, "HV Socket Demo", &found), -ENOTUNIQ);
        registry_remove(world.broker, second);
        registry_remove(world.broker, world.service);
        check_ok(find(world.broker, "HV Socket Demo", &found));
        check_equal(found->definition.service_id.Data4[3], 2);
}

TEST(services_stand_in_order_of_name_then_guid) {
        struct broker *broker = bare_broker();
        const struct {
                const char *name;
                uint32_t number;
        } added[] = {{"m", 5}, {"b", 9}, {"z", 1}, {"b", 3}, {"a", 7}, {"b", 6}, {"B", 2}};
        const uint32_t order[] = {2, 7, 3, 6, 9, 5, 1};
        check(!registry_next(broker, NULL));
        for (size_t i = 0; i < sizeof added / sizeof *added; i++)
                put(broker, added[i].name, added[i].number);
        struct service *at = NULL;
        for (size_t i = 0; i < sizeof order / sizeof *order; i++) {
                at = registry_next(broker, at);
                check(at);
                check_equal(at->definition.service_id.Data4[3], order[i]);
        }
        check(!registry_next(broker, at));
        broker_free(broker);
}

TEST(a_renamed_service_is_the_same_with_its_counters_under_the_new_name) {
        WORLD(world);
        listening(&world, world.web01, &HV_GUID_WILDCARD);
        world.service->shell = &world;
        struct service_definition definition = world.service->definition;
        strcpy(definition.name, "A new name");
        struct service *found;
        check(must_register(world.broker, &definition) == world.service);
        check_equal(find(world.broker, "HV Socket Demo", &found), -ENOENT);
        check_ok(find(world.broker, "A new name", &found));
        check(found == world.service && found->shell == &world);
        check_equal(found->counters.listeners_now, 1);
        check_equal(found->counters.listeners_total, 1);
}

TEST(what_listens_and_talks_already_is_counted_for_a_service_registered_later) {
        WORLD(world);
        struct caller guest = root_in(world.web01);
        struct listener *listener = listening(&world, world.web01, &HV_GUID_LOOPBACK);
        struct channel *channel = connected(&world, &guest, &HV_GUID_LOOPBACK);
        struct service_definition definition = world.service->definition;
        registry_remove(world.broker, world.service);
        check(!listener->service && !channel->service);

        struct service *anew = must_register(world.broker, &definition);
        check_equal(anew->counters.listeners_now, 1);
        check_equal(anew->counters.channels_now, 1);
        check_equal(anew->counters.channels_total, 0);
        broker_closed(world.broker, channel);
        broker_listener_gone(world.broker, listener);
        check_equal(anew->counters.listeners_now, 0);
        check_equal(anew->counters.channels_now, 0);
}

TEST(what_outlives_its_service_ends_without_it) {
        WORLD(world);
        struct caller guest = root_in(world.web01);
        struct listener *listener = listening(&world, world.web01, &HV_GUID_LOOPBACK);
        struct channel *channel = connected(&world, &guest, &HV_GUID_LOOPBACK);
        registry_remove(world.broker, world.service);
        broker_listener_gone(world.broker, listener);
        broker_closed(world.broker, channel);
        check_equal(world.web01->counters.channels_now, 0);
        check_equal(world.web01->counters.listeners_now, 0);
}

TEST(a_world_has_as_many_services_as_the_limit_and_no_more) {
        struct broker *broker = bare_broker();
        char name[16];
        for (uint32_t i = 0; i < SERVICES_MAX; i++) {
                snprintf(name, sizeof name, "service %u", i * 7919 % SERVICES_MAX);
                put(broker, name, i);
        }
        GUID one_more = guid_numbered(SERVICES_MAX);
        struct service_definition definition = service_called("one more", &one_more);
        check_equal(registry_put(broker, &definition, NULL), -ENOSPC);

        struct service *found, *before = NULL;
        unsigned count = 0;
        for (struct service *at = NULL; (at = registry_next(broker, at)); before = at, count++)
                check(!before || strcmp(before->definition.name, at->definition.name) < 0);
        check_equal(count, SERVICES_MAX);
        check_ok(registry_by_name(broker, "service 7919", &found));
        check_equal(found->definition.service_id.Data4[3], 1);

        strcpy(definition.name, "replaced");
        definition.service_id = guid_numbered(0);
        check_ok(registry_put(broker, &definition, NULL));
        registry_remove(broker, found);
        definition.service_id = one_more;
        check_ok(registry_put(broker, &definition, NULL));
        broker_free(broker);
}
