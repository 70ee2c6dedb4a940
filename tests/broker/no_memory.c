/* SPDX-License-Identifier: MIT */

/* Memory runs out at each allocation in turn: the answer is ENOMEM, the books are as before, nothing leaks. */

#include "base/guid.h"
#include "world.h"

#include <stdlib.h>

void *__real_calloc(size_t count, size_t size);
void *__real_malloc(size_t size);
void *__real_reallocarray(void *pointer, size_t count, size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_reallocarray(void *pointer, size_t count, size_t size);

static int allocations_left = -1; /* negative: as many as there are */
static unsigned allocations_made;

static bool is_out(void) {
        allocations_made++;
        if (allocations_left < 0)
                return false;
        errno = ENOMEM;
        return !allocations_left || !allocations_left--;
}

void *__wrap_calloc(size_t count, size_t size) {
        return is_out() ? NULL : __real_calloc(count, size);
}

void *__wrap_malloc(size_t size) {
        return is_out() ? NULL : __real_malloc(size);
}

void *__wrap_reallocarray(void *pointer, size_t count, size_t size) {
        return is_out() ? NULL : __real_reallocarray(pointer, count, size);
}

/* Runs `call` with 0, 1, 2, … allocations, until they are enough; checks `unchanged` after each that were not. */
#define check_needs_memory(call, failure, unchanged)                              \
        do {                                                                      \
                int result_ = (failure);                                          \
                unsigned failed_ = 0;                                             \
                for (int given_ = 0; result_ == (failure); given_++) {            \
                        allocations_left = given_;                                \
                        result_ = (call);                                         \
                        allocations_left = -1;                                    \
                        failed_ += result_ != 0;                                  \
                        check(!result_ || (unchanged));                           \
                }                                                                 \
                check(!result_);                                                  \
                check(failed_ > 0);                                               \
        } while (0)

TEST(a_world_is_made_whole_or_not_at_all) {
        static const uint8_t key[16];
        struct owner owner = {0, ADMINISTRATORS};
        struct quotas quotas = QUOTAS_DEFAULT;
        struct broker *broker = NULL;
        check_needs_memory(broker_new(key, &owner, &quotas, &broker), -ENOMEM, !broker);
        broker_free(broker);
}

/* Enough of them that tables and orders have to grow. */
#define MANY 40

TEST(a_partition_is_added_whole_or_not_at_all) {
        WORLD(world);
        for (unsigned i = 0; i < MANY; i++) {
                char label[] = {'n', (char)('a' + i / 10), (char)('a' + i % 10), 0};
                struct partition_definition definition = partition_called(label, HV_PARTITION_VM, world.host);
                struct partition *partition = NULL;
                definition.reach = REACH_VM;
                definition.cid = 100 + i;
                check_needs_memory(partition_add(world.broker, &definition, &partition), -ENOMEM,
                                   !partition && !partition_by_id(world.broker, &definition.vm_id) &&
                                           !partition_by_cid(world.broker, definition.cid) &&
                                           !partition_by_name(world.broker, world.host, label));
                check(partition_by_cid(world.broker, definition.cid) == partition);
                check(partition_by_id(world.broker, &definition.vm_id) == partition);
                check(partition_by_name(world.broker, world.host, label) == partition);
        }
}

TEST(a_service_is_registered_whole_or_not_at_all) {
        WORLD(world);
        struct service *found;
        for (uint32_t i = 0; i < MANY; i++) {
                GUID service_id = guid_numbered(i);
                struct service_definition definition = service_called("new", &service_id);
                definition.name[0] = (char)('A' + i);
                check_needs_memory(registry_put(world.broker, &definition, NULL), -ENOMEM,
                                   !registry_by_id(world.broker, &service_id) &&
                                           registry_by_name(world.broker, definition.name, &found) == -ENOENT);
                check_ok(registry_by_name(world.broker, definition.name, &found));
        }
}

TEST(a_service_is_replaced_without_memory) {
        WORLD(world);
        struct service_definition definition = world.service->definition;
        definition.name[0] = 'X';
        allocations_left = 0;
        int r = registry_put(world.broker, &definition, NULL);
        allocations_left = -1;
        check_ok(r);
        check_string(world.service->definition.name, "XV Socket Demo");
}

TEST(a_listener_is_bound_whole_or_not_at_all) {
        WORLD(world);
        struct caller alice = user_in(world.proxy, 1000), host = root_in(world.host);
        for (uint32_t i = 0; i < MANY; i++) {
                GUID service_id = guid_numbered(i);
                struct service_definition definition = service_called("new", &service_id);
                must_register(world.broker, &definition);
                struct bind_request request = {.caller = &alice,
                                               .vm_id = HV_GUID_PARENT,
                                               .service_id = service_id,
                                               .socket_type = SOCK_STREAM,
                                               .passthru = true};
                struct verdict verdict;
                struct listener *listener = NULL;
                check_needs_memory(
                        broker_bind(world.broker, &request, &verdict, &listener), -ENOMEM,
                        !listener && world.proxy->listener_count == i && world.proxy->counters.listeners_total == i &&
                                !broker_listener_find(world.broker, world.proxy, &HV_GUID_PARENT, &service_id) &&
                                dial_as(&world, &host, &world.web01->vm_id, &service_id).rule == RULE_NO_LISTENER);
                check_allowed(verdict);
                check_allowed(dial_as(&world, &host, &world.web01->vm_id, &service_id));
        }
}

TEST(a_channel_is_opened_whole_or_not_at_all) {
        WORLD(world);
        struct caller guest = user_in(world.web01, 1000);
        struct listener *listener = listening(&world, world.host, &HV_GUID_WILDCARD);
        struct connect_request request = {
                .caller = &guest, .vm_id = HV_GUID_PARENT, .service_id = SERVICE, .socket_type = SOCK_STREAM};
        for (uint32_t i = 0; i < MANY; i++) {
                GUID ephemeral_id = guid_numbered(i);
                struct channel *channel = NULL;
                struct route route;
                check_allowed(broker_route(world.broker, &request, &route));
                check_needs_memory(broker_opened(world.broker, &request, &route, &ephemeral_id, 0, &channel), -ENOMEM,
                                   !channel && listener->channel_count == i && world.web01->opened_count == i &&
                                           world.service->counters.channels_total == i &&
                                           !broker_channel_find(world.broker, &ephemeral_id));
                check(broker_channel_find(world.broker, &ephemeral_id) == channel);
        }
}

TEST(a_client_without_memory_is_over_the_quota) {
        WORLD(world);
        for (uint32_t i = 0; i < MANY; i++) {
                struct caller guest = user_in(world.web01, 1000 + i);
                check_needs_memory(broker_client_opened(world.broker, &guest).error, ENOBUFS,
                                   world.web01->client_count == i);
                check_equal(world.web01->client_count, i + 1);
        }
}

/* Each time, what is done needs the account made anew. */
TEST(an_account_that_holds_nothing_any_more_is_dropped) {
        WORLD_WITH(world, .listeners_per_partition = 8, .listeners_per_user = 8, .channels_per_partition = 8,
                   .channels_per_user = 8, .channels_per_listener = 8, .clients_per_partition = 1,
                   .clients_per_user = 1);
        struct caller alice = user_in(world.web01, 1000), bob = user_in(world.web01, 1001), host = root_in(world.host);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        check_allowed(broker_client_opened(world.broker, &host));
        for (unsigned i = 0; i < 2; i++) {
                allocations_made = 0;
                check_allowed(broker_client_opened(world.broker, &alice));
                check_equal(allocations_made, 1);
                check_refused(broker_client_opened(world.broker, &bob), ENOBUFS, RULE_QUOTA);
                check_equal(allocations_made, 2);
                broker_client_closed(world.broker, &alice);

                allocations_made = 0;
                broker_closed(world.broker, connected(&world, &alice, &HV_GUID_PARENT));
                check_equal(allocations_made, 2);

                struct listener *listener;
                allocations_made = 0;
                check_allowed(bind_as(&world, &alice, &HV_GUID_LOOPBACK, &SERVICE, &listener));
                broker_listener_gone(world.broker, listener);
                check_equal(allocations_made, 3);
        }
}
