/* SPDX-License-Identifier: MIT */

/* Every quota at its edge: up to the limit, not past it, and again after something was released. */

#include "base/guid.h"
#include "world.h"

#define PLENTY 1000

#define NO_QUOTA                                                                                  \
        .listeners_per_partition = PLENTY, .listeners_per_user = PLENTY,                          \
        .channels_per_partition = PLENTY, .channels_per_user = PLENTY,                            \
        .channels_per_listener = PLENTY, .clients_per_partition = PLENTY, .clients_per_user = PLENTY

#pragma GCC diagnostic ignored "-Woverride-init"

static struct verdict bind_numbered(struct world *world, const struct caller *caller, uint32_t number,
                                    struct listener **ret_listener) {
        GUID service_id = guid_numbered(0x7000 + number);
        return bind_as(world, caller, &HV_GUID_LOOPBACK, &service_id, ret_listener);
}

TEST(listeners_per_partition) {
        WORLD_WITH(world, NO_QUOTA, .listeners_per_partition = 3);
        struct caller alice = user_in(world.web01, 1000), bob = user_in(world.web01, 1001);
        struct caller elsewhere = user_in(world.web02, 1000);
        struct listener *first;
        check_allowed(bind_numbered(&world, &alice, 1, &first));
        check_allowed(bind_numbered(&world, &alice, 2, NULL));
        check_allowed(bind_numbered(&world, &bob, 3, NULL));
        check_refused(bind_numbered(&world, &bob, 4, NULL), ENOBUFS, RULE_QUOTA);
        check_allowed(bind_numbered(&world, &elsewhere, 4, NULL));
        broker_listener_gone(world.broker, first);
        check_allowed(bind_numbered(&world, &bob, 4, NULL));
        check_refused(bind_numbered(&world, &bob, 5, NULL), ENOBUFS, RULE_QUOTA);
}

TEST(listeners_per_user) {
        WORLD_WITH(world, NO_QUOTA, .listeners_per_user = 2);
        struct caller alice = user_in(world.web01, 1000), elsewhere = user_in(world.web02, 1000);
        struct caller bob = user_in(world.web01, 1001);
        struct listener *first;
        check_allowed(bind_numbered(&world, &alice, 1, &first));
        check_allowed(bind_numbered(&world, &alice, 2, NULL));
        check_refused(bind_numbered(&world, &alice, 3, NULL), ENOBUFS, RULE_QUOTA);
        check_allowed(bind_numbered(&world, &elsewhere, 3, NULL));
        check_allowed(bind_numbered(&world, &bob, 3, NULL));
        broker_listener_gone(world.broker, first);
        check_allowed(bind_numbered(&world, &alice, 4, NULL));
        check_refused(bind_numbered(&world, &alice, 5, NULL), ENOBUFS, RULE_QUOTA);
}

TEST(a_listener_in_the_way_is_told_before_a_quota) {
        WORLD_WITH(world, NO_QUOTA, .listeners_per_partition = 1);
        struct caller root = root_in(world.web01);
        check_allowed(bind_numbered(&world, &root, 1, NULL));
        check_refused(bind_numbered(&world, &root, 1, NULL), EADDRINUSE, RULE_ADDRESS_IN_USE);
}

TEST(restored_listeners_are_counted_but_never_refused) {
        WORLD_WITH(world, NO_QUOTA, .listeners_per_partition = 1);
        struct caller root = root_in(world.web01);
        struct listener *listeners[2];
        for (uint32_t i = 0; i < 2; i++) {
                struct bind_request request = {.caller = &root,
                                               .vm_id = HV_GUID_LOOPBACK,
                                               .service_id = guid_numbered(i),
                                               .socket_type = SOCK_STREAM};
                check_ok(broker_restore_listener(world.broker, &request, &listeners[i]));
                check_equal(broker_restore_listener(world.broker, &request, &listeners[i]), -EEXIST);
        }
        check_equal(world.web01->listener_count, 2);
        broker_listener_gone(world.broker, listeners[0]);
        check_refused(bind_numbered(&world, &root, 1, NULL), ENOBUFS, RULE_QUOTA);
        broker_listener_gone(world.broker, listeners[1]);
        check_allowed(bind_numbered(&world, &root, 1, NULL));
}

TEST(channels_per_partition_are_charged_to_the_connector) {
        WORLD_WITH(world, NO_QUOTA, .channels_per_partition = 2);
        struct caller guest = user_in(world.web01, 1000), other = user_in(world.web02, 1000);
        struct caller host = root_in(world.host);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel *first = connected(&world, &guest, &HV_GUID_PARENT);
        connected(&world, &guest, &HV_GUID_PARENT);
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), ENOBUFS, RULE_QUOTA);
        connected(&world, &other, &HV_GUID_PARENT); /* what the host accepts costs it nothing */
        connected(&world, &host, &HV_GUID_LOOPBACK);
        connected(&world, &host, &HV_GUID_LOOPBACK);
        check_refused(dial(&world, world.host, &HV_GUID_LOOPBACK), ENOBUFS, RULE_QUOTA);
        broker_closed(world.broker, first);
        connected(&world, &guest, &HV_GUID_PARENT);
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), ENOBUFS, RULE_QUOTA);
}

TEST(channels_per_user) {
        WORLD_WITH(world, NO_QUOTA, .channels_per_user = 2);
        struct caller alice = user_in(world.web01, 1000), elsewhere = user_in(world.web02, 1000);
        struct caller bob = user_in(world.web01, 1001);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel *first = connected(&world, &alice, &HV_GUID_PARENT);
        connected(&world, &alice, &HV_GUID_PARENT);
        check_refused(dial_as(&world, &alice, &HV_GUID_PARENT, &SERVICE), ENOBUFS, RULE_QUOTA);
        connected(&world, &elsewhere, &HV_GUID_PARENT);
        connected(&world, &bob, &HV_GUID_PARENT);
        broker_closed(world.broker, first);
        connected(&world, &alice, &HV_GUID_PARENT);
        check_refused(dial_as(&world, &alice, &HV_GUID_PARENT, &SERVICE), ENOBUFS, RULE_QUOTA);
}

TEST(users_whose_ids_do_not_map_share_an_account_in_their_partition_only) {
        WORLD_WITH(world, NO_QUOTA, .channels_per_user = 1, .listeners_per_user = 1, .clients_per_user = 1);
        struct caller one = user_in(world.web01, CALLER_UNMAPPED), other = user_in(world.web02, CALLER_UNMAPPED);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        connected(&world, &one, &HV_GUID_PARENT);
        check_refused(dial_as(&world, &one, &HV_GUID_PARENT, &SERVICE), ENOBUFS, RULE_QUOTA);
        connected(&world, &other, &HV_GUID_PARENT);
        check_allowed(bind_numbered(&world, &one, 1, NULL));
        check_refused(bind_numbered(&world, &one, 2, NULL), ENOBUFS, RULE_QUOTA);
        check_allowed(bind_numbered(&world, &other, 1, NULL));
        check_allowed(broker_client_opened(world.broker, &one));
        check_refused(broker_client_opened(world.broker, &one), ENOBUFS, RULE_QUOTA);
        check_allowed(broker_client_opened(world.broker, &other));
}

TEST(channels_per_listener) {
        WORLD_WITH(world, NO_QUOTA, .channels_per_listener = 2);
        struct caller guest = root_in(world.web01), other = root_in(world.web02);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel *first = connected(&world, &guest, &HV_GUID_PARENT);
        connected(&world, &other, &HV_GUID_PARENT);
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), ENOBUFS, RULE_QUOTA);
        listening(&world, world.host, &world.web01->vm_id);
        connected(&world, &guest, &HV_GUID_PARENT);
        check_refused(dial(&world, world.web02, &HV_GUID_PARENT), ENOBUFS, RULE_QUOTA);
        broker_closed(world.broker, first);
        check_allowed(dial(&world, world.web02, &HV_GUID_PARENT));
}

TEST(channels_whose_listener_is_gone_stay_charged_until_they_close) {
        WORLD_WITH(world, NO_QUOTA, .channels_per_partition = 1);
        struct caller guest = root_in(world.web01);
        struct listener *listener = listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel *channel = connected(&world, &guest, &HV_GUID_PARENT);
        broker_listener_gone(world.broker, listener);
        check(channel->listener == NULL);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), ENOBUFS, RULE_QUOTA);
        broker_closed(world.broker, channel);
        check_allowed(dial(&world, world.web01, &HV_GUID_PARENT));
}

TEST(clients_per_partition) {
        WORLD_WITH(world, NO_QUOTA, .clients_per_partition = 2);
        struct caller alice = user_in(world.web01, 1000), bob = user_in(world.web01, 1001);
        struct caller elsewhere = user_in(world.web02, 1000);
        check_allowed(broker_client_opened(world.broker, &alice));
        check_allowed(broker_client_opened(world.broker, &bob));
        check_refused(broker_client_opened(world.broker, &alice), ENOBUFS, RULE_QUOTA);
        check_allowed(broker_client_opened(world.broker, &elsewhere));
        broker_client_closed(world.broker, &bob);
        check_allowed(broker_client_opened(world.broker, &alice));
        check_refused(broker_client_opened(world.broker, &bob), ENOBUFS, RULE_QUOTA);
}

TEST(clients_per_user) {
        WORLD_WITH(world, NO_QUOTA, .clients_per_user = 2);
        struct caller alice = user_in(world.web01, 1000), elsewhere = user_in(world.web02, 1000);
        struct caller bob = user_in(world.web01, 1001);
        check_allowed(broker_client_opened(world.broker, &alice));
        check_allowed(broker_client_opened(world.broker, &alice));
        check_refused(broker_client_opened(world.broker, &alice), ENOBUFS, RULE_QUOTA);
        check_allowed(broker_client_opened(world.broker, &elsewhere));
        check_allowed(broker_client_opened(world.broker, &bob));
        broker_client_closed(world.broker, &alice);
        check_allowed(broker_client_opened(world.broker, &alice));
}

TEST(the_defaults_are_as_documented) {
        struct quotas quotas = QUOTAS_DEFAULT;
        check_equal(quotas.listeners_per_partition, 4096);
        check_equal(quotas.listeners_per_user, 4096);
        check_equal(quotas.channels_per_partition, 65536);
        check_equal(quotas.channels_per_user, 65536);
        check_equal(quotas.channels_per_listener, 65536);
        check_equal(quotas.clients_per_partition, 4096);
        check_equal(quotas.clients_per_user, 4096);
}
