/* SPDX-License-Identifier: MIT */

/*
 * The tables of addresses.
 *
 * Theory of operation. A dialled VmId names a target; how the connector stands
 * to that target (itself, its parent, its child, a sibling) says both which
 * bound VmIds let it in and under which VmId the acceptor would dial it back.
 * A container that passes through is replaced by its VM before anything else is
 * looked at, so no rule below knows of it.
 */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>

#define ALLOWED ((struct verdict){0, RULE_ALLOWED})
#define REFUSED(error, rule) ((struct verdict){error, rule})

struct partition *virtual_machine_of(struct partition *container) {
        for (struct partition *at = container; at; at = at->parent)
                if (at->kind == HV_PARTITION_VM)
                        return at;
        return container;
}

static bool are_seeing_siblings(const struct partition *a, const struct partition *b) {
        return a != b && a->parent && a->parent == b->parent && a->sees_siblings && b->sees_siblings;
}

/* The partition that `vm_id` names for `source`. */
static struct verdict find_target(const struct broker *broker, struct partition *source, const GUID *vm_id,
                                  struct partition **ret_target) {
        if (guid_equal(vm_id, &HV_GUID_WILDCARD) || guid_equal(vm_id, &HV_GUID_CHILDREN) ||
            guid_equal(vm_id, &HV_GUID_BROADCAST))
                return REFUSED(EADDRNOTAVAIL, RULE_LISTENERS_ONLY);
        struct partition *target;
        if (guid_equal(vm_id, &HV_GUID_LOOPBACK)) {
                target = source;
        } else if (guid_equal(vm_id, &HV_GUID_PARENT)) {
                if (!source->parent)
                        return REFUSED(EADDRNOTAVAIL, RULE_NO_PARENT);
                target = source->parent;
        } else if (guid_equal(vm_id, &HV_GUID_SILOHOST)) {
                if (source->kind != HV_PARTITION_CONTAINER)
                        return REFUSED(EADDRNOTAVAIL, RULE_NO_SILO_HOST);
                target = source->parent;
        } else {
                target = partition_by_id(broker, vm_id);
                if (!target || (target != source && target->parent != source && !are_seeing_siblings(source, target)))
                        return REFUSED(EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        }
        *ret_target = target;
        return ALLOWED;
}

static void relate(struct resolution *resolution) {
        const struct partition *source = resolution->source, *target = resolution->target;
        if (source == target) {
                resolution->relation = RELATION_SELF;
                resolution->dial_back_vm_id = HV_GUID_LOOPBACK;
        } else if (target->parent == source) {
                resolution->relation = RELATION_PARENT;
                resolution->dial_back_vm_id = HV_GUID_PARENT;
        } else {
                resolution->relation = source->parent == target ? RELATION_CHILD : RELATION_SIBLING;
                resolution->dial_back_vm_id = source->vm_id;
        }
}

struct verdict address_resolve(const struct broker *broker, struct partition *from, const GUID *vm_id, bool passthru,
                               struct resolution *ret) {
        struct resolution resolution = {.source = from};
        if (passthru) {
                if (from->kind != HV_PARTITION_CONTAINER || !from->passthru)
                        return REFUSED(EACCES, RULE_PASSTHRU_DENIED);
                resolution.source = virtual_machine_of(from);
        }
        bool own = guid_equal(vm_id, &HV_GUID_LOOPBACK) || guid_equal(vm_id, &from->vm_id);
        if (own)
                resolution.source = from;
        struct verdict verdict = find_target(broker, resolution.source, vm_id, &resolution.target);
        if (verdict.error)
                return verdict;
        relate(&resolution);
        resolution.through_vm = resolution.target->kind == HV_PARTITION_VM && resolution.relation != RELATION_SELF &&
                                resolution.relation != RELATION_CHILD;
        *ret = resolution;
        return ALLOWED;
}

struct verdict address_bindable(const struct broker *broker, struct partition *partition, const GUID *vm_id,
                                bool *ret_crosses) {
        bool crosses = true;
        if (guid_equal(vm_id, &HV_GUID_BROADCAST))
                return REFUSED(EADDRNOTAVAIL, RULE_NOT_BINDABLE);
        if (guid_equal(vm_id, &HV_GUID_PARENT)) {
                if (!partition->parent)
                        return REFUSED(EADDRNOTAVAIL, RULE_NO_PARENT);
        } else if (guid_equal(vm_id, &HV_GUID_SILOHOST)) {
                if (partition->kind != HV_PARTITION_CONTAINER)
                        return REFUSED(EADDRNOTAVAIL, RULE_NO_SILO_HOST);
        } else if (guid_equal(vm_id, &HV_GUID_LOOPBACK) || guid_equal(vm_id, &partition->vm_id)) {
                crosses = false;
        } else if (!guid_equal(vm_id, &HV_GUID_WILDCARD) && !guid_equal(vm_id, &HV_GUID_CHILDREN)) {
                const struct partition *peer = partition_by_id(broker, vm_id);
                if (!peer || (peer->parent != partition && !are_seeing_siblings(partition, peer)))
                        return REFUSED(EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        }
        *ret_crosses = crosses;
        return ALLOWED;
}

unsigned address_match(const GUID *bound, const struct partition *listening_in, const struct resolution *from) {
        if (guid_equal(bound, &HV_GUID_WILDCARD))
                return 1;
        if (guid_equal(bound, &HV_GUID_LOOPBACK))
                return from->relation == RELATION_SELF ? 2 : 0;
        if (guid_equal(bound, &HV_GUID_PARENT))
                return from->relation == RELATION_PARENT ? 2 : 0;
        if (guid_equal(bound, &HV_GUID_CHILDREN))
                return from->relation == RELATION_CHILD ? 2 : 0;
        if (guid_equal(bound, &HV_GUID_SILOHOST))
                return from->relation == RELATION_PARENT && listening_in->kind == HV_PARTITION_CONTAINER ? 2 : 0;
        return guid_equal(bound, &from->source->vm_id) && from->relation != RELATION_PARENT ? 3 : 0;
}
