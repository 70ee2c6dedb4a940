/* SPDX-License-Identifier: MIT */

/* Listeners, channels, counters and events; and that all of it stays right when there are many. */

#include "base/guid.h"
#include "world.h"

#include <stdlib.h>

TEST(a_channel_says_who_talks_to_whom_about_what) {
        WORLD(world);
        struct caller guest = user_in(world.web01, 1000);
        struct listener *listener = listening(&world, world.host, &HV_GUID_CHILDREN);
        struct channel *channel = connected(&world, &guest, &HV_GUID_PARENT);
        check(channel->from == world.web01 && channel->to == world.host);
        check(channel->listener == listener && channel->service == world.service);
        check_guid(&channel->service_id, &SERVICE);
        check_guid(&channel->dialled_vm_id, &HV_GUID_PARENT);
        check_equal(channel->from_pid, 812);
        check_equal(channel->from_uid, 1000);
        check_equal(channel->to_pid, 812);
        check_equal(channel->socket_type, SOCK_STREAM);
        check_equal(channel->since_ms, 2000);
        check(!channel->ended);
}

TEST(a_listener_says_who_listens_where) {
        WORLD(world);
        struct caller guest = user_in(world.web01, 1000);
        struct bind_request request = {.caller = &guest,
                                       .vm_id = HV_GUID_PARENT,
                                       .service_id = SERVICE,
                                       .socket_type = SOCK_SEQPACKET,
                                       .on_demand = true,
                                       .now_ms = 4711};
        struct listener *listener;
        struct verdict verdict;
        check_ok(broker_bind(world.broker, &request, &verdict, &listener));
        check(listener->partition == world.web01 && listener->service == world.service);
        check_guid(&listener->vm_id, &HV_GUID_PARENT);
        check_guid(&listener->service_id, &SERVICE);
        check_equal(listener->socket_type, SOCK_SEQPACKET);
        check_equal(listener->pid, 812);
        check_equal(listener->uid, 1000);
        check(listener->on_demand && !listener->passthru);
        check_equal(listener->since_ms, 4711);
        check(broker_listener_find(world.broker, world.web01, &HV_GUID_PARENT, &SERVICE) == listener);
        check(!broker_listener_find(world.broker, world.web02, &HV_GUID_PARENT, &SERVICE));
        check(!broker_listener_find(world.broker, world.web01, &HV_GUID_WILDCARD, &SERVICE));
        check(!broker_listener_find(world.broker, world.web01, &HV_GUID_PARENT, &UNREGISTERED));
        check(broker_listener_next(world.broker, NULL) == listener);
        check(!broker_listener_next(world.broker, listener));
}

TEST(channels_count_at_both_ends_and_once_within_a_partition) {
        WORLD(world);
        struct caller guest = root_in(world.web01), host = root_in(world.host);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel *across = connected(&world, &guest, &HV_GUID_PARENT);
        struct channel *within = connected(&world, &host, &HV_GUID_LOOPBACK);
        check_equal(world.web01->counters.channels_now, 1);
        check_equal(world.host->counters.channels_now, 2);
        check_equal(world.web02->counters.channels_now, 0);
        check_equal(world.service->counters.channels_now, 2);
        broker_closed(world.broker, across);
        broker_closed(world.broker, within);
        check_equal(world.web01->counters.channels_now, 0);
        check_equal(world.host->counters.channels_now, 0);
        check_equal(world.service->counters.channels_now, 0);
        check_equal(world.web01->counters.channels_total, 1);
        check_equal(world.host->counters.channels_total, 2);
        check_equal(world.service->counters.channels_total, 2);
}

TEST(listeners_count_in_their_partition_and_service) {
        WORLD(world);
        struct caller guest = root_in(world.web01);
        struct listener *unregistered;
        struct listener *listener = listening(&world, world.web01, &HV_GUID_WILDCARD);
        check_allowed(bind_as(&world, &guest, &HV_GUID_LOOPBACK, &UNREGISTERED, &unregistered));
        check_equal(world.web01->counters.listeners_now, 2);
        check_equal(world.service->counters.listeners_now, 1);
        broker_listener_gone(world.broker, listener);
        broker_listener_gone(world.broker, unregistered);
        check_equal(world.web01->counters.listeners_now, 0);
        check_equal(world.web01->counters.listeners_total, 2);
        check_equal(world.service->counters.listeners_now, 0);
        check_equal(world.service->counters.listeners_total, 1);
        check_equal(world.host->counters.listeners_total, 0);
}

TEST(refusals_count_by_rule_in_the_callers_partition_and_the_service) {
        WORLD(world);
        struct caller guest = root_in(world.web01);
        struct verdict verdict = dial(&world, world.web01, &HV_GUID_PARENT);
        broker_refused(world.broker, &guest, &HV_GUID_PARENT, &SERVICE, &verdict);
        broker_refused(world.broker, &guest, &HV_GUID_PARENT, &SERVICE, &verdict);
        verdict = (struct verdict){EACCES, RULE_NOT_REGISTERED};
        broker_refused(world.broker, &guest, &HV_GUID_PARENT, &UNREGISTERED, &verdict);
        check_equal(world.web01->counters.refused[RULE_NO_LISTENER], 2);
        check_equal(world.web01->counters.refused[RULE_NOT_REGISTERED], 1);
        check_equal(world.service->counters.refused[RULE_NO_LISTENER], 2);
        check_equal(world.service->counters.refused[RULE_NOT_REGISTERED], 0);
        check_equal(world.host->counters.refused[RULE_NO_LISTENER], 0);
}

TEST(deciding_changes_nothing) {
        WORLD(world);
        struct caller guest = root_in(world.web01);
        struct listener *listener = listening(&world, world.host, &HV_GUID_WILDCARD);
        for (unsigned i = 0; i < 3; i++) {
                check_allowed(dial(&world, world.web01, &HV_GUID_PARENT));
                check_refused(dial(&world, world.web01, &HV_GUID_LOOPBACK), ECONNREFUSED, RULE_NO_LISTENER);
                check_allowed(broker_listen(world.broker, &guest, &HV_GUID_PARENT, &SERVICE));
                check_refused(bind_at(&world, world.host, &HV_GUID_WILDCARD), EADDRINUSE, RULE_ADDRESS_IN_USE);
        }
        check_equal(listener->channel_count, 0);
        check_equal(world.host->listener_count, 1);
        check_equal(world.service->counters.refused[RULE_NO_LISTENER], 0);
        check(!broker_channel_next(world.broker, NULL));
}

struct heard {
        unsigned count;
        struct event events[8];
};

static void hear(const struct event *event, void *userdata) {
        struct heard *heard = userdata;
        check(heard->count < 8);
        heard->events[heard->count++] = *event;
}

TEST(an_observer_hears_every_event_in_order) {
        WORLD(world);
        struct heard heard = {};
        struct caller guest = root_in(world.web01);
        broker_observe(world.broker, hear, &heard);
        struct listener *listener = listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel *channel = connected(&world, &guest, &HV_GUID_PARENT);
        broker_closed(world.broker, channel);
        broker_listener_gone(world.broker, listener);
        struct verdict verdict = dial(&world, world.web01, &HV_GUID_PARENT);
        broker_refused(world.broker, &guest, &HV_GUID_PARENT, &SERVICE, &verdict);
        broker_observe(world.broker, NULL, NULL);
        listening(&world, world.host, &HV_GUID_WILDCARD);

        check_equal(heard.count, 5);
        const struct event *events = heard.events;
        check(events[0].kind == EVENT_LISTEN && events[0].listener == listener);
        check(events[1].kind == EVENT_OPEN && events[1].channel == channel);
        check(events[2].kind == EVENT_CLOSE && events[2].channel == channel);
        check(events[3].kind == EVENT_UNLISTEN && events[3].listener == listener);
        check(events[4].kind == EVENT_REFUSE && events[4].caller == &guest);
        check_refused(events[4].verdict, ECONNREFUSED, RULE_NO_LISTENER);
        check_guid(&events[4].vm_id, &HV_GUID_PARENT);
        check_guid(&events[4].service_id, &SERVICE);
}

TEST(a_channel_is_found_by_its_ephemeral_id_until_it_closes) {
        WORLD(world);
        struct caller host = root_in(world.host);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel *channel = connected(&world, &host, &HV_GUID_LOOPBACK);
        GUID ephemeral_id = channel->ephemeral_id;
        check(broker_channel_find(world.broker, &ephemeral_id) == channel);
        check(!broker_channel_find(world.broker, &SERVICE));
        broker_closed(world.broker, channel);
        check(!broker_channel_find(world.broker, &ephemeral_id));
}

static struct channel found_open(struct world *world, struct listener *listener, uint32_t id) {
        return (struct channel){
                .ephemeral_id = guid_numbered(id),
                .from = world->web01,
                .to = world->host,
                .listener = listener,
                .service_id = SERVICE,
                .dialled_vm_id = HV_GUID_PARENT,
                .from_pid = 812,
                .from_uid = 1000,
                .to_pid = 813,
                .socket_type = SOCK_STREAM,
        };
}

TEST(a_channel_found_open_counts_as_open_but_not_as_opened) {
        WORLD(world);
        struct heard heard = {};
        struct listener *listener = listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel found = found_open(&world, listener, 1), *channel;
        broker_observe(world.broker, hear, &heard);
        check_ok(broker_restore_channel(world.broker, &found, &channel));
        check_equal(heard.count, 0);
        check(channel->service == world.service && channel->listener == listener);
        check_equal(channel->since_ms, 0);
        check(broker_channel_find(world.broker, &found.ephemeral_id) == channel);
        check_equal(listener->channel_count, 1);
        check_equal(world.web01->opened_count, 1);
        check_equal(world.web01->counters.channels_now, 1);
        check_equal(world.host->counters.channels_now, 1);
        check_equal(world.service->counters.channels_now, 1);
        check_equal(world.web01->counters.channels_total, 0);
        check_equal(world.host->counters.channels_total, 0);
        check_equal(world.service->counters.channels_total, 0);
        broker_closed(world.broker, channel);
        check_equal(heard.count, 1);
        check_equal(listener->channel_count, 0);
        check_equal(world.web01->opened_count, 0);
        check_equal(world.service->counters.channels_now, 0);
}

TEST(a_channel_is_found_open_once) {
        WORLD(world);
        struct caller guest = root_in(world.web01);
        struct listener *listener = listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel found = found_open(&world, listener, 1), *channel;
        check_ok(broker_restore_channel(world.broker, &found, &channel));
        check_equal(broker_restore_channel(world.broker, &found, &channel), -EEXIST);
        found.ephemeral_id = connected(&world, &guest, &HV_GUID_PARENT)->ephemeral_id;
        check_equal(broker_restore_channel(world.broker, &found, &channel), -EEXIST);
        check_equal(world.service->counters.channels_now, 2);
}

TEST(a_channel_found_open_may_have_lost_its_listener_and_its_service) {
        WORLD(world);
        struct channel found = found_open(&world, NULL, 1), *channel;
        check_ok(broker_restore_channel(world.broker, &found, &channel));
        registry_remove(world.broker, world.service);
        check(!channel->service && !channel->listener);
        found.ephemeral_id = guid_numbered(2);
        check_ok(broker_restore_channel(world.broker, &found, &channel));
        check(!channel->service);
        check_equal(world.host->channel_count, 2);
        broker_closed(world.broker, channel);
        check_equal(world.host->channel_count, 1);
}

TEST(what_is_found_open_fills_quotas_and_is_refused_by_none) {
        WORLD_WITH(world, .listeners_per_partition = 4, .listeners_per_user = 4, .channels_per_partition = 4,
                   .channels_per_user = 1, .channels_per_listener = 1);
        struct listener *listener = listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel found = found_open(&world, listener, 1), *channel;
        check_ok(broker_restore_channel(world.broker, &found, &channel));
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), ENOBUFS, RULE_QUOTA);
        found.ephemeral_id = guid_numbered(2);
        check_ok(broker_restore_channel(world.broker, &found, &channel));
        check_equal(listener->channel_count, 2);
        broker_closed(world.broker, channel);
        check_refused(dial(&world, world.web01, &HV_GUID_PARENT), ENOBUFS, RULE_QUOTA);
}

TEST(the_world_tells_what_it_was_made_of) {
        WORLD(world);
        check(broker_root(world.broker) == world.host);
        check_equal(broker_owner(world.broker)->group_hvsock, ADMINISTRATORS);
        check_equal(broker_quotas(world.broker)->listeners_per_partition, 4096);
}

TEST(a_world_with_everything_in_it_is_freed_whole) {
        WORLD(world);
        struct heard heard = {};
        struct caller guest = root_in(world.web01), stranger = user_in(world.db, CALLER_UNMAPPED);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        listening_passing(&world, world.proxy, &HV_GUID_WILDCARD);
        connected(&world, &guest, &HV_GUID_PARENT);
        check_allowed(broker_client_opened(world.broker, &guest));
        check_allowed(broker_client_opened(world.broker, &stranger));
        broker_observe(world.broker, hear, &heard);
        world_close(&world);
        check_equal(heard.count, 0);
        check(!broker_free(NULL));
}

TEST(bytes_only_grow_whatever_their_senders_say_and_no_sum_overflows) {
        WORLD(world);
        struct caller guest = user_in(world.web01, 1000);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel *one = connected(&world, &guest, &HV_GUID_PARENT), *other = connected(&world, &guest, &HV_GUID_PARENT);
        const uint64_t *sums = world.service->counters.bytes;
        broker_counted(one, FROM_CONNECTOR, 100);
        broker_counted(one, FROM_ACCEPTOR, 7);
        broker_counted(other, FROM_CONNECTOR, 20);
        broker_counted(one, FROM_CONNECTOR, 30); /* less than before */
        check_equal(one->bytes[FROM_CONNECTOR], 100);
        check_equal(sums[FROM_CONNECTOR], 120);
        check_equal(sums[FROM_ACCEPTOR], 7);
        broker_counted(one, FROM_CONNECTOR, 150);
        broker_closed(world.broker, one);
        check_equal(sums[FROM_CONNECTOR], 170);
        broker_counted(other, FROM_CONNECTOR, UINT64_MAX);
        check_equal(other->bytes[FROM_CONNECTOR], INT64_MAX);
        check_equal(sums[FROM_CONNECTOR], INT64_MAX);
        broker_closed(world.broker, other);
        struct channel *third = connected(&world, &guest, &HV_GUID_PARENT);
        broker_counted(third, FROM_CONNECTOR, 1000);
        check_equal(sums[FROM_CONNECTOR], INT64_MAX);
        broker_closed(world.broker, third);
}

#define MANY_LISTENERS 1000
#define MANY_CHANNELS 10000

TEST(a_thousand_listeners_of_one_service_each_get_their_own) {
        struct broker *broker = bare_broker();
        struct partition_definition host = partition_called("host", HV_PARTITION_HOST, NULL);
        struct world world = {.broker = broker, .host = must_add(broker, &host)};
        struct service_definition service = service_called("Demo", &SERVICE);
        world.service = must_register(broker, &service);
        struct partition *children[MANY_LISTENERS];
        struct listener *listeners[MANY_LISTENERS];
        for (unsigned i = 0; i < MANY_LISTENERS; i++) {
                char label[] = {'c', (char)('a' + i / 100), (char)('a' + i / 10 % 10), (char)('a' + i % 10), 0};
                struct partition_definition child = partition_called(label, HV_PARTITION_CONTAINER, world.host);
                children[i] = must_add(broker, &child);
                listeners[i] = listening(&world, world.host, &children[i]->vm_id);
        }
        for (unsigned i = 0; i < MANY_LISTENERS; i++)
                check(route_of(&world, children[i], &HV_GUID_PARENT).listener == listeners[i]);
        for (unsigned i = 0; i < MANY_LISTENERS; i += 2)
                broker_listener_gone(broker, listeners[i]);
        struct listener *children_listener = listening(&world, world.host, &HV_GUID_CHILDREN);
        for (unsigned i = 0; i < MANY_LISTENERS; i++) {
                struct listener *expected = i % 2 ? listeners[i] : children_listener;
                check(route_of(&world, children[i], &HV_GUID_PARENT).listener == expected);
        }
        world_close(&world);
}

TEST(ten_thousand_channels_open_and_close_in_any_order) {
        WORLD(world);
        struct channel **channels = calloc(MANY_CHANNELS, sizeof *channels);
        struct caller guest = user_in(world.web01, 1000);
        struct listener *listener = listening(&world, world.host, &HV_GUID_WILDCARD);
        check(channels);
        for (unsigned i = 0; i < MANY_CHANNELS; i++)
                channels[i] = connected(&world, &guest, &HV_GUID_PARENT);
        check_equal(listener->channel_count, MANY_CHANNELS);
        check_equal(world.service->counters.channels_now, MANY_CHANNELS);

        unsigned seen = 0;
        for (struct channel *at = NULL; (at = broker_channel_next(world.broker, at)); seen++)
                check(at == channels[seen]);
        check_equal(seen, MANY_CHANNELS);

        for (unsigned i = 0; i < MANY_CHANNELS; i++) {
                unsigned which = i * 7919 % MANY_CHANNELS;
                check(broker_channel_find(world.broker, &channels[which]->ephemeral_id) == channels[which]);
                broker_closed(world.broker, channels[which]);
        }
        check_equal(listener->channel_count, 0);
        check_equal(world.web01->opened_count, 0);
        check_equal(world.host->channel_count, 0);
        check_equal(world.service->counters.channels_total, MANY_CHANNELS);
        free(channels);
}
