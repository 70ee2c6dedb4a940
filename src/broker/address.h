/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The two tables of addresses: what a dialled VmId reaches, and from whom a
 * bound VmId accepts. Pure functions over the tree.
 */

#include "broker/partition.h"
#include "broker/verdict.h"

/* How the connector stands to the target, as the target sees it. */
enum relation {
        RELATION_SELF,
        RELATION_PARENT,  /* the connector is the target's parent */
        RELATION_CHILD,   /* the connector is the target's child */
        RELATION_SIBLING, /* both see siblings */
};

struct resolution {
        struct partition *target;
        struct partition *source;   /* the connector, or its VM when it passes through */
        enum relation relation;     /* of source to target */
        GUID dial_back_vm_id;       /* PARENT, LOOPBACK, or the source's VmId */
        bool through_vm;            /* the target is a VM: its passthru containers' listeners come next */
};

/* What dialling `vm_id` from `from` reaches; `passthru` is HVSOCKET_CONTAINER_PASSTHRU. */
struct verdict address_resolve(const struct broker *broker, struct partition *from, const GUID *vm_id, bool passthru,
                               struct resolution *ret);

/* May a listener in `partition` be bound to `vm_id`? Loopback only (no registration needed) goes to *ret_crosses. */
struct verdict address_bindable(const struct broker *broker, struct partition *partition, const GUID *vm_id,
                                bool *ret_crosses);

/* How well a listener's VmId matches: 0 not at all, 1 wildcard, 2 a word, 3 the exact VmId. */
unsigned address_match(const GUID *bound_vm_id, const struct partition *listening_in, const struct resolution *from);
