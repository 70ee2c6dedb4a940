/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A world in memory for the broker's tests, with one registered service:
 *
 *     host
 *     ├── jail          container
 *     ├── web01         VM
 *     │   ├── cache     container
 *     │   ├── db        container
 *     │   │   └── inner container
 *     │   └── proxy     container, passthru
 *     ├── web02         VM
 *     ├── east, west    VMs that see siblings
 *     └── gone          VM by virtio-vsock, not running
 */

#include "broker/broker.h"
#include "test.h"

#include <sys/socket.h>

struct world {
        struct broker *broker;
        struct partition *host, *jail, *web01, *cache, *db, *inner, *proxy, *web02, *east, *west, *gone;
        struct service *service;
};

#define WORLD(name) __attribute__((cleanup(world_close))) struct world name = world_open(&QUOTAS_DEFAULT)
#define WORLD_WITH(name, ...) \
        __attribute__((cleanup(world_close))) struct world name = world_open(&(struct quotas){__VA_ARGS__})

#define ADMINISTRATORS 200 /* the group hvsock */

extern const GUID SERVICE;      /* registered as "HV Socket Demo" */
extern const GUID UNREGISTERED; /* not */
extern const GUID NOWHERE;      /* no partition's VmId */

struct world world_open(const struct quotas *quotas);
void world_close(struct world *world);
struct broker *bare_broker(void); /* no partition, no service */

GUID guid_numbered(uint32_t number); /* distinct, and well known to nobody */

struct partition_definition partition_called(const char *label, enum hv_partition_kind kind,
                                             const struct partition *parent);
struct partition *must_add(struct broker *broker, const struct partition_definition *definition);

struct service_definition service_called(const char *name, const GUID *service_id);
/* Registers `definition` anew; the world's service has these defaults: enabled, wildcard binds, default access. */
struct service *must_register(struct broker *broker, const struct service_definition *definition);
/* The world's service, after a change. */
void change_service(struct world *world, bool enabled, bool wildcard_binds);

struct caller user_in(struct partition *partition, uint32_t uid);
struct caller root_in(struct partition *partition);

/* Bind, as a caller of its own kind or as root in `partition`. *ret_listener may be NULL. */
struct verdict bind_as(struct world *world, const struct caller *caller, const GUID *vm_id, const GUID *service_id,
                       struct listener **ret_listener);
struct verdict bind_at(struct world *world, struct partition *partition, const GUID *vm_id);
struct verdict bind_passing(struct world *world, struct partition *partition, const GUID *vm_id);
/* Bind and listen on the world's service, as root; fails the test if refused. */
struct listener *listening(struct world *world, struct partition *partition, const GUID *vm_id);
struct listener *listening_passing(struct world *world, struct partition *partition, const GUID *vm_id);

/* Connect to the world's service, as root. */
struct verdict dial(struct world *world, struct partition *from, const GUID *vm_id);
struct verdict dial_passing(struct world *world, struct partition *from, const GUID *vm_id);
struct verdict dial_as(struct world *world, const struct caller *caller, const GUID *vm_id, const GUID *service_id);
struct route route_of(struct world *world, struct partition *from, const GUID *vm_id); /* must be allowed */
struct route route_passing(struct world *world, struct partition *from, const GUID *vm_id);
/* A channel to the world's service; must be allowed. */
struct channel *connected(struct world *world, const struct caller *caller, const GUID *vm_id);

#define check_allowed(call)                                                                                    \
        do {                                                                                                   \
                struct verdict v_ = (call);                                                                    \
                if (v_.error || v_.rule != RULE_ALLOWED)                                                       \
                        test_fail(__FILE__, __LINE__, "%s gave %s [%s], expected to be allowed", #call,        \
                                  strerrorname_np(v_.error), rule_name(v_.rule));                              \
        } while (0)
#define check_refused(call, expected_error, expected_rule)                                                     \
        do {                                                                                                   \
                struct verdict v_ = (call);                                                                    \
                if (v_.error != (expected_error) || v_.rule != (expected_rule))                                \
                        test_fail(__FILE__, __LINE__, "%s gave %s [%s], expected %s [%s]", #call,              \
                                  strerrorname_np(v_.error), rule_name(v_.rule),                               \
                                  strerrorname_np(expected_error), rule_name(expected_rule));                  \
        } while (0)
#define check_guid(actual, expected)                                                                           \
        do {                                                                                                   \
                char actual_[HV_GUID_TEXT_SIZE], expected_[HV_GUID_TEXT_SIZE];                                 \
                guid_format((actual), actual_);                                                                \
                guid_format((expected), expected_);                                                            \
                if (strcmp(actual_, expected_))                                                                \
                        test_fail(__FILE__, __LINE__, "%s is %s, expected %s", #actual, actual_, expected_);   \
        } while (0)
