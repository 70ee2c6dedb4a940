/* SPDX-License-Identifier: MIT */

/* DESIGN section 2, second table: from whom a bound VmId accepts, and which listener wins. */

#include "base/guid.h"
#include "world.h"

/* Who of web01's neighbours gets through to a listener in web01 that is bound to `vm_id`. */
static void check_web01_accepts(struct world *world, const GUID *vm_id, bool itself, bool parent, bool db, bool cache) {
        struct {
                struct partition *from;
                const GUID *dialled;
                bool is_accepted;
        } callers[] = {
                {world->web01, &HV_GUID_LOOPBACK, itself}, {world->web01, &world->web01->vm_id, itself},
                {world->host, &world->web01->vm_id, parent}, {world->db, &HV_GUID_PARENT, db},
                {world->db, &HV_GUID_SILOHOST, db},        {world->cache, &HV_GUID_PARENT, cache},
        };
        struct listener *listener = listening(world, world->web01, vm_id);
        for (size_t i = 0; i < sizeof callers / sizeof *callers; i++)
                if (callers[i].is_accepted)
                        check(route_of(world, callers[i].from, callers[i].dialled).listener == listener);
                else
                        check_refused(dial(world, callers[i].from, callers[i].dialled), ECONNREFUSED,
                                      RULE_LISTENER_EXCLUDES);
        broker_listener_gone(world->broker, listener);
}

TEST(a_wildcard_listener_accepts_parent_children_and_itself) {
        WORLD(world);
        check_web01_accepts(&world, &HV_GUID_WILDCARD, true, true, true, true);
        check_web01_accepts(&world, &HV_GUID_ZERO, true, true, true, true);
}

TEST(a_children_listener_accepts_only_its_children) {
        WORLD(world);
        check_web01_accepts(&world, &HV_GUID_CHILDREN, false, false, true, true);
}

TEST(a_loopback_listener_accepts_only_itself) {
        WORLD(world);
        check_web01_accepts(&world, &HV_GUID_LOOPBACK, true, false, false, false);
}

TEST(a_listener_at_its_own_vm_id_accepts_only_itself) {
        WORLD(world);
        check_web01_accepts(&world, &world.web01->vm_id, true, false, false, false);
}

TEST(a_parent_listener_accepts_only_its_parent) {
        WORLD(world);
        check_web01_accepts(&world, &HV_GUID_PARENT, false, true, false, false);
}

TEST(a_listener_at_a_childs_vm_id_accepts_only_that_child) {
        WORLD(world);
        check_web01_accepts(&world, &world.db->vm_id, false, false, true, false);
}

TEST(a_parent_listener_on_the_root_is_no_address) {
        WORLD(world);
        check_refused(bind_at(&world, world.host, &HV_GUID_PARENT), EADDRNOTAVAIL, RULE_NO_PARENT);
}

TEST(a_silohost_listener_in_a_container_accepts_only_its_host) {
        WORLD(world);
        struct listener *listener = listening(&world, world.db, &HV_GUID_SILOHOST);
        check(route_of(&world, world.web01, &world.db->vm_id).listener == listener);
        check_refused(dial(&world, world.inner, &HV_GUID_PARENT), ECONNREFUSED, RULE_LISTENER_EXCLUDES);
        check_refused(dial(&world, world.db, &HV_GUID_LOOPBACK), ECONNREFUSED, RULE_LISTENER_EXCLUDES);
}

TEST(a_silohost_listener_outside_a_container_is_no_address) {
        WORLD(world);
        check_refused(bind_at(&world, world.host, &HV_GUID_SILOHOST), EADDRNOTAVAIL, RULE_NO_SILO_HOST);
        check_refused(bind_at(&world, world.web01, &HV_GUID_SILOHOST), EADDRNOTAVAIL, RULE_NO_SILO_HOST);
}

TEST(broadcast_is_never_bound) {
        WORLD(world);
        check_refused(bind_at(&world, world.host, &HV_GUID_BROADCAST), EADDRNOTAVAIL, RULE_NOT_BINDABLE);
        check_refused(bind_at(&world, world.db, &HV_GUID_BROADCAST), EADDRNOTAVAIL, RULE_NOT_BINDABLE);
}

TEST(only_a_childs_vm_id_is_bound) {
        WORLD(world);
        check_refused(bind_at(&world, world.web01, &NOWHERE), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(bind_at(&world, world.web01, &world.host->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(bind_at(&world, world.web01, &world.web02->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(bind_at(&world, world.web01, &world.inner->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
        check_refused(bind_at(&world, world.host, &world.db->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
}

TEST(a_seen_sibling_is_accepted_by_its_vm_id_and_by_wildcard_only) {
        WORLD(world);
        struct listener *listener = listening(&world, world.west, &world.east->vm_id);
        check(route_of(&world, world.east, &world.west->vm_id).listener == listener);
        broker_listener_gone(world.broker, listener);

        listener = listening(&world, world.west, &HV_GUID_WILDCARD);
        check(route_of(&world, world.east, &world.west->vm_id).listener == listener);
        broker_listener_gone(world.broker, listener);

        listening(&world, world.west, &HV_GUID_PARENT);
        listening(&world, world.west, &HV_GUID_CHILDREN);
        listening(&world, world.west, &HV_GUID_LOOPBACK);
        check_refused(dial(&world, world.east, &world.west->vm_id), ECONNREFUSED, RULE_LISTENER_EXCLUDES);
        check_refused(bind_at(&world, world.west, &world.web01->vm_id), EADDRNOTAVAIL, RULE_UNKNOWN_PARTITION);
}

/* Binds them from the least to the most specific, then again the other way round. */
static void check_order(struct world *world, struct partition *listens, struct partition *from, const GUID *dialled,
                        const GUID *exact, const GUID *word) {
        const GUID *bound[] = {&HV_GUID_WILDCARD, word, exact};
        for (unsigned reversed = 0; reversed < 2; reversed++) {
                struct listener *listeners[3];
                for (unsigned i = 0; i < 3; i++) {
                        unsigned which = reversed ? 2 - i : i;
                        if (bound[which])
                                listeners[which] = listening(world, listens, bound[which]);
                }
                for (unsigned i = 3; i--;)
                        if (bound[i]) {
                                check(route_of(world, from, dialled).listener == listeners[i]);
                                broker_listener_gone(world->broker, listeners[i]);
                        }
                check_refused(dial(world, from, dialled), ECONNREFUSED, RULE_NO_LISTENER);
        }
}

TEST(the_most_specific_listener_wins_whatever_the_order_of_binding) {
        WORLD(world);
        check_order(&world, world.web01, world.db, &HV_GUID_PARENT, &world.db->vm_id, &HV_GUID_CHILDREN);
        check_order(&world, world.web01, world.web01, &HV_GUID_LOOPBACK, &world.web01->vm_id, &HV_GUID_LOOPBACK);
        check_order(&world, world.web01, world.host, &world.web01->vm_id, NULL, &HV_GUID_PARENT);
        check_order(&world, world.db, world.web01, &world.db->vm_id, NULL, &HV_GUID_SILOHOST);
        check_order(&world, world.west, world.east, &world.west->vm_id, &world.east->vm_id, NULL);
}

TEST(a_listener_that_excludes_the_caller_does_not_hide_a_less_specific_one) {
        WORLD(world);
        listening(&world, world.web01, &world.db->vm_id);
        struct listener *children = listening(&world, world.web01, &HV_GUID_CHILDREN);
        check(route_of(&world, world.cache, &HV_GUID_PARENT).listener == children);
}

TEST(listeners_of_other_services_and_partitions_do_not_count) {
        WORLD(world);
        struct caller root = root_in(world.web01);
        check_allowed(bind_as(&world, &root, &HV_GUID_WILDCARD, &UNREGISTERED, NULL));
        listening(&world, world.web02, &HV_GUID_WILDCARD);
        listening(&world, world.host, &HV_GUID_WILDCARD);
        check_refused(dial(&world, world.host, &world.web01->vm_id), ECONNREFUSED, RULE_NO_LISTENER);
}
