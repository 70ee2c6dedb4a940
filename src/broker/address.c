/* SPDX-License-Identifier: MIT */

/*
 * The tables of addresses.
 *
 * Theory of operation. A dialled VmId names a target; how the connector stands
 * to that target (itself, its parent, its child, a sibling) says both which
 * bound VmIds let it in and under which VmId the acceptor would dial it back.
 * A container that passes through is replaced by its VM before anything else is
 * looked at, and only where it names something outside that VM: what its
 * neighbours and the VM itself keep for one another stays closed to it.
 */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>

struct partition *virtual_machine_of(struct partition *container) {
        for (struct partition *at = container; at; at = at->parent)
                if (at->kind == HV_PARTITION_VM)
                        return at;
        return container;
}

static bool are_seeing_siblings(const struct partition *a, const struct partition *b) {
        return a != b && a->parent && a->parent == b->parent && a->sees_siblings && b->sees_siblings;
}

/* Who stands where `partition` uses `vm_id`: itself, or the VM that it passes through. */
static struct verdict stand(const struct broker *broker, struct partition *partition, const GUID *vm_id, bool passthru,
                            struct partition **ret_partition) {
        *ret_partition = partition;
        if (!passthru)
                return ALLOWED;
        if (!partition->passthru)
                return REFUSED(EACCES, RULE_PASSTHRU_DENIED);
        struct partition *vm = virtual_machine_of(partition);
        const struct partition *named = partition_by_id(broker, vm_id);
        if (guid_equal(vm_id, &HV_GUID_PARENT) || (named && are_seeing_siblings(vm, named)))
                *ret_partition = vm;
        return ALLOWED;
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
        resolution->from_outside_vm =
                target->kind == HV_PARTITION_VM &&
                (resolution->relation == RELATION_PARENT || resolution->relation == RELATION_SIBLING);
}

struct verdict address_resolve(const struct broker *broker, struct partition *from, const GUID *vm_id, bool passthru,
                               struct resolution *ret) {
        struct resolution resolution;
        struct verdict verdict = stand(broker, from, vm_id, passthru, &resolution.source);
        if (verdict.error)
                return verdict;
        verdict = find_target(broker, resolution.source, vm_id, &resolution.target);
        if (verdict.error)
                return verdict;
        relate(&resolution);
        *ret = resolution;
        return ALLOWED;
}

struct verdict address_bindable(const struct broker *broker, struct partition *partition, const GUID *vm_id,
                                bool passthru, bool *ret_crosses) {
        struct verdict verdict = stand(broker, partition, vm_id, passthru, &partition);
        if (verdict.error)
                return verdict;
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

unsigned address_accepting(const struct resolution *from, GUID ret_vm_ids[ADDRESS_ACCEPTING_MAX]) {
        unsigned count = 0;
        switch (from->relation) {
        case RELATION_SELF:
                ret_vm_ids[count++] = from->source->vm_id;
                ret_vm_ids[count++] = HV_GUID_LOOPBACK;
                break;
        case RELATION_PARENT:
                ret_vm_ids[count++] = HV_GUID_PARENT;
                if (from->target->kind == HV_PARTITION_CONTAINER)
                        ret_vm_ids[count++] = HV_GUID_SILOHOST;
                break;
        case RELATION_CHILD:
                ret_vm_ids[count++] = from->source->vm_id;
                ret_vm_ids[count++] = HV_GUID_CHILDREN;
                break;
        case RELATION_SIBLING:
                ret_vm_ids[count++] = from->source->vm_id;
                break;
        }
        ret_vm_ids[count++] = HV_GUID_WILDCARD;
        return count;
}

/* Who stands where `target` sees `dial_back_vm_id`: the inverse of relate(). */
static struct partition *standing_at(const struct broker *broker, struct partition *target, const GUID *dial_back_vm_id) {
        if (guid_equal(dial_back_vm_id, &HV_GUID_LOOPBACK))
                return target;
        if (guid_equal(dial_back_vm_id, &HV_GUID_PARENT))
                return target->parent;
        struct partition *source = partition_by_id(broker, dial_back_vm_id);
        bool is_near = source && source != target && source->parent &&
                       (source->parent == target || source->parent == target->parent);
        return is_near ? source : NULL;
}

struct search {
        unsigned *budget;
        bool (*is_source)(const struct partition *partition, void *userdata);
        void *userdata;
};

static struct partition *find_passing(const struct search *search, const struct partition *above) {
        list_for_each(link, &above->children) {
                struct partition *partition = container_of(link, struct partition, sibling_link);
                if (partition->kind != HV_PARTITION_CONTAINER)
                        continue;
                if (*search->budget == 0)
                        return NULL;
                --*search->budget;
                if (partition->passthru && search->is_source(partition, search->userdata))
                        return partition;
                struct partition *found = find_passing(search, partition);
                if (found)
                        return found;
        }
        return NULL;
}

struct partition *address_source(const struct broker *broker, struct partition *target, const GUID *dial_back_vm_id,
                                 unsigned *budget, bool (*is_source)(const struct partition *partition, void *userdata),
                                 void *userdata) {
        const struct search search = {budget, is_source, userdata};
        struct partition *vm = virtual_machine_of(target);
        struct partition *sources[] = {standing_at(broker, target, dial_back_vm_id),
                                       vm == target ? NULL : standing_at(broker, vm, dial_back_vm_id)};
        for (unsigned i = 0; i < 2; i++)
                if (sources[i] && is_source(sources[i], userdata))
                        return sources[i];
        for (unsigned i = 0; i < 2; i++) {
                bool is_passed = sources[i] && sources[i]->kind == HV_PARTITION_VM;
                struct partition *found = is_passed ? find_passing(&search, sources[i]) : NULL;
                if (found)
                        return found;
        }
        return NULL;
}
