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
        bool from_outside_vm;       /* the target is a VM: after its own listeners, its passthru containers' count */
};

/*
 * What dialling `vm_id` from `from` reaches. With `passthru` (HVSOCKET_CONTAINER_PASSTHRU) a container stands in its
 * VM's place towards all that is outside that VM: PARENT, and siblings that the VM sees. Inside it stays itself.
 */
struct verdict address_resolve(const struct broker *broker, struct partition *from, const GUID *vm_id, bool passthru,
                               struct resolution *ret);

/* May a listener in `partition` be bound to `vm_id`? *ret_crosses: does it accept from other partitions? */
struct verdict address_bindable(const struct broker *broker, struct partition *partition, const GUID *vm_id,
                                bool passthru, bool *ret_crosses);

/* The bound VmIds that accept this connector, the most specific first. Returns how many. */
#define ADDRESS_ACCEPTING_MAX 3u
unsigned address_accepting(const struct resolution *from, GUID ret_vm_ids[ADDRESS_ACCEPTING_MAX]);

/*
 * The way back: which partition opened a channel to a listener of `target` that dials it back at `dial_back_vm_id`.
 * `is_source` knows it; asked are only those whom the tables allow, which are two at most, and containers that pass
 * through a VM, for each of which that is looked at *budget goes down by one. NULL: none, or the budget is spent.
 */
struct partition *address_source(const struct broker *broker, struct partition *target, const GUID *dial_back_vm_id,
                                 unsigned *budget, bool (*is_source)(const struct partition *partition, void *userdata),
                                 void *userdata);
