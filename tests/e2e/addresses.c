/* SPDX-License-Identifier: MIT */

/* What a dialled VmId reaches, and from whom a bound one accepts: both tables, from every kind of partition. */

#include "program.h"
#include "test.h"

/* A connect to WILDCARD-bound listeners, so that only the dialled VmId decides. */
static int dialled(struct world *world, const char *from, const GUID *vm_id, const char *to) {
        return reach(world, from, vm_id, to, &HV_GUID_WILDCARD, &ECHO);
}

static const char *const everywhere[] = {"host", "web01", "web01/db", "web02", "box", "box/inner"};
#define PLACES (sizeof everywhere / sizeof *everywhere)

/* ---- connect to VmId ---- */

TEST(dialling_loopback_reaches_the_own_partition) {
        struct world *world = world_family();
        for (unsigned i = 0; i < PLACES; i++)
                check_equal(dialled(world, everywhere[i], &HV_GUID_LOOPBACK, everywhere[i]), 0);
        world_end(world);
}

TEST(dialling_the_own_vm_id_reaches_the_own_partition) {
        struct world *world = world_family();
        for (unsigned i = 0; i < PLACES; i++)
                check_equal(dialled(world, everywhere[i], world_id(world, everywhere[i]), everywhere[i]), 0);
        world_end(world);
}

TEST(dialling_parent_reaches_the_parent) {
        struct world *world = world_family();
        check_equal(dialled(world, "web01", &HV_GUID_PARENT, "host"), 0);
        check_equal(dialled(world, "box", &HV_GUID_PARENT, "host"), 0);
        check_equal(dialled(world, "web01/db", &HV_GUID_PARENT, "web01"), 0);
        check_equal(dialled(world, "box/inner", &HV_GUID_PARENT, "box"), 0);
        world_end(world);
}

TEST(the_parent_of_a_container_in_a_vm_is_that_vm_and_not_its_host) {
        struct world *world = world_family();
        check_equal(dialled(world, "web01/db", &HV_GUID_PARENT, "host"), ECONNREFUSED);
        world_end(world);
}

TEST(the_root_has_no_parent) {
        struct world *world = world_family();
        check_equal(dialled(world, "host", &HV_GUID_PARENT, "web01"), EADDRNOTAVAIL);
        world_end(world);
}

TEST(dialling_silohost_reaches_the_partition_that_hosts_a_container) {
        struct world *world = world_family();
        check_equal(dialled(world, "web01/db", &HV_GUID_SILOHOST, "web01"), 0);
        check_equal(dialled(world, "box", &HV_GUID_SILOHOST, "host"), 0);
        check_equal(dialled(world, "box/inner", &HV_GUID_SILOHOST, "box"), 0);
        world_end(world);
}

TEST(only_containers_have_a_silohost) {
        struct world *world = world_family();
        check_equal(dialled(world, "web01", &HV_GUID_SILOHOST, "host"), EADDRNOTAVAIL);
        check_equal(dialled(world, "host", &HV_GUID_SILOHOST, "host"), EADDRNOTAVAIL);
        world_end(world);
}

TEST(dialling_a_childs_vm_id_reaches_that_child) {
        struct world *world = world_family();
        check_equal(dialled(world, "host", world_id(world, "web01"), "web01"), 0);
        check_equal(dialled(world, "host", world_id(world, "web01"), "web02"), ECONNREFUSED);
        check_equal(dialled(world, "host", world_id(world, "box"), "box"), 0);
        check_equal(dialled(world, "web01", world_id(world, "web01/db"), "web01/db"), 0);
        check_equal(dialled(world, "box", world_id(world, "box/inner"), "box/inner"), 0);
        world_end(world);
}

TEST(listeners_vm_ids_cannot_be_dialled) {
        struct world *world = world_family();
        for (unsigned i = 0; i < PLACES; i++) {
                check_equal(dialled(world, everywhere[i], &HV_GUID_ZERO, everywhere[i]), EADDRNOTAVAIL);
                check_equal(dialled(world, everywhere[i], &HV_GUID_WILDCARD, everywhere[i]), EADDRNOTAVAIL);
                check_equal(dialled(world, everywhere[i], &HV_GUID_CHILDREN, everywhere[i]), EADDRNOTAVAIL);
                check_equal(dialled(world, everywhere[i], &HV_GUID_BROADCAST, everywhere[i]), EADDRNOTAVAIL);
        }
        world_end(world);
}

TEST(a_partition_that_cannot_be_addressed_looks_like_one_that_does_not_exist) {
        struct world *world = world_family();
        GUID nobody = service_numbered(4711);
        for (unsigned i = 0; i < PLACES; i++)
                check_equal(dialled(world, everywhere[i], &nobody, everywhere[i]), EADDRNOTAVAIL);
        check_equal(dialled(world, "web01", world_id(world, "web02"), "web02"), EADDRNOTAVAIL);
        check_equal(dialled(world, "web01/db", world_id(world, "web01/cache"), "web01/cache"), EADDRNOTAVAIL);
        check_equal(dialled(world, "web01/db", world_id(world, "web01"), "web01"), EADDRNOTAVAIL);
        check_equal(dialled(world, "web01", world_id(world, "host"), "host"), EADDRNOTAVAIL);
        check_equal(dialled(world, "host", world_id(world, "web01/db"), "web01/db"), EADDRNOTAVAIL);
        check_equal(dialled(world, "web02", world_id(world, "web01/db"), "web01/db"), EADDRNOTAVAIL);
        world_end(world);
}

TEST(siblings_meet_only_when_the_administrator_said_so_of_both) {
        struct world *world = world_new();
        world_define(world, "a", "vm", "Siblings=yes\n");
        world_define(world, "b", "vm", "Siblings=yes\n");
        world_define(world, "c", "vm", "");
        world_write_service(world, &ECHO, ECHO_NAME, "");
        world_start(world);
        check_equal(dialled(world, "a", world_id(world, "b"), "b"), 0);
        check_equal(dialled(world, "b", world_id(world, "a"), "a"), 0);
        check_equal(dialled(world, "a", world_id(world, "c"), "c"), EADDRNOTAVAIL);
        check_equal(dialled(world, "c", world_id(world, "a"), "a"), EADDRNOTAVAIL);
        world_end(world);
}

/* ---- bind to VmId ---- */

/* Listening in web01, which has a parent, children and itself: who gets through? */
static void check_accepts(struct world *world, const GUID *bound, bool from_parent, bool from_db, bool from_cache,
                          bool from_itself) {
        const GUID *web01 = world_id(world, "web01");
        check_equal(reach(world, "host", web01, "web01", bound, &ECHO), from_parent ? 0 : ECONNREFUSED);
        check_equal(reach(world, "web01/db", &HV_GUID_PARENT, "web01", bound, &ECHO), from_db ? 0 : ECONNREFUSED);
        check_equal(reach(world, "web01/cache", &HV_GUID_PARENT, "web01", bound, &ECHO), from_cache ? 0 : ECONNREFUSED);
        check_equal(reach(world, "web01", &HV_GUID_LOOPBACK, "web01", bound, &ECHO), from_itself ? 0 : ECONNREFUSED);
        check_equal(reach(world, "web01", web01, "web01", bound, &ECHO), from_itself ? 0 : ECONNREFUSED);
}

TEST(bound_to_wildcard_it_accepts_from_all_who_can_reach_it) {
        struct world *world = world_family();
        check_accepts(world, &HV_GUID_WILDCARD, true, true, true, true);
        check_accepts(world, &HV_GUID_ZERO, true, true, true, true);
        world_end(world);
}

TEST(bound_to_children_it_accepts_from_the_children_only) {
        struct world *world = world_family();
        check_accepts(world, &HV_GUID_CHILDREN, false, true, true, false);
        world_end(world);
}

TEST(bound_to_loopback_it_accepts_from_itself_only) {
        struct world *world = world_family();
        check_accepts(world, &HV_GUID_LOOPBACK, false, false, false, true);
        check_accepts(world, world_id(world, "web01"), false, false, false, true);
        world_end(world);
}

TEST(bound_to_parent_it_accepts_from_the_parent_only) {
        struct world *world = world_family();
        check_accepts(world, &HV_GUID_PARENT, true, false, false, false);
        world_end(world);
}

TEST(bound_to_a_childs_vm_id_it_accepts_from_that_child_only) {
        struct world *world = world_family();
        check_accepts(world, world_id(world, "web01/db"), false, true, false, false);
        world_end(world);
}

TEST(bound_to_silohost_a_container_accepts_from_its_host_only) {
        struct world *world = world_family();
        check_equal(reach(world, "web01", world_id(world, "web01/db"), "web01/db", &HV_GUID_SILOHOST, &ECHO), 0);
        check_equal(reach(world, "host", world_id(world, "box"), "box", &HV_GUID_SILOHOST, &ECHO), 0);
        check_equal(reach(world, "box/inner", &HV_GUID_PARENT, "box", &HV_GUID_SILOHOST, &ECHO), ECONNREFUSED);
        check_equal(reach(world, "box", &HV_GUID_LOOPBACK, "box", &HV_GUID_SILOHOST, &ECHO), ECONNREFUSED);
        world_end(world);
}

TEST(what_has_no_meaning_in_a_partition_cannot_be_bound_there) {
        struct world *world = world_family();
        GUID nobody = service_numbered(4711);
        check_errno(serve(program_in(world, "host"), &HV_GUID_PARENT, &ECHO), EADDRNOTAVAIL);
        check_errno(serve(program_in(world, "host"), &HV_GUID_SILOHOST, &ECHO), EADDRNOTAVAIL);
        check_errno(serve(program_in(world, "web01"), &HV_GUID_SILOHOST, &ECHO), EADDRNOTAVAIL);
        for (unsigned i = 0; i < PLACES; i++) {
                check_errno(serve(program_in(world, everywhere[i]), &HV_GUID_BROADCAST, &ECHO), EADDRNOTAVAIL);
                check_errno(serve(program_in(world, everywhere[i]), &nobody, &ECHO), EADDRNOTAVAIL);
        }
        check_errno(serve(program_in(world, "web01"), world_id(world, "web02"), &ECHO), EADDRNOTAVAIL);
        check_errno(serve(program_in(world, "host"), world_id(world, "web01/db"), &ECHO), EADDRNOTAVAIL);
        world_end(world);
}

/* ---- the most specific listener ---- */

/* Both listen in web01; the connector meets `winner`, whichever was first. */
static void check_wins(struct world *world, const char *from, const GUID *dialled_vm_id, const GUID *winner,
                       const GUID *loser) {
        struct program *web01 = program_in(world, "web01"), *connector = program_in(world, from);
        for (int order = 0; order < 2; order++) {
                int first = (int)must(serve(web01, order ? winner : loser, &ECHO));
                int second = (int)must(serve(web01, order ? loser : winner, &ECHO));
                int connected = (int)must(dial(connector, dialled_vm_id, &ECHO));
                must(close_in(web01, check_meets(connector, connected, web01, order ? first : second)));
                must(close_in(connector, connected));
                must(close_in(web01, first));
                must(close_in(web01, second));
        }
}

TEST(the_most_specific_listener_wins) {
        struct world *world = world_family();
        const GUID *web01 = world_id(world, "web01"), *db = world_id(world, "web01/db");
        check_wins(world, "host", web01, &HV_GUID_PARENT, &HV_GUID_WILDCARD);
        check_wins(world, "web01/db", &HV_GUID_PARENT, &HV_GUID_CHILDREN, &HV_GUID_WILDCARD);
        check_wins(world, "web01/db", &HV_GUID_PARENT, db, &HV_GUID_CHILDREN);
        check_wins(world, "web01/db", &HV_GUID_PARENT, db, &HV_GUID_WILDCARD);
        check_wins(world, "web01/cache", &HV_GUID_PARENT, &HV_GUID_CHILDREN, db);
        check_wins(world, "web01", &HV_GUID_LOOPBACK, &HV_GUID_LOOPBACK, &HV_GUID_WILDCARD);
        check_wins(world, "web01", &HV_GUID_LOOPBACK, web01, &HV_GUID_LOOPBACK);
        check_wins(world, "web01", &HV_GUID_LOOPBACK, web01, &HV_GUID_WILDCARD);
        world_end(world);
}

TEST(silohost_is_more_specific_than_wildcard) {
        struct world *world = world_family();
        struct program *box = program_in(world, "box"), *host = program_in(world, "host");
        int wildcard = (int)must(serve(box, &HV_GUID_WILDCARD, &ECHO));
        int silo_host = (int)must(serve(box, &HV_GUID_SILOHOST, &ECHO));
        int connected = (int)must(dial(host, world_id(world, "box"), &ECHO));
        must(close_in(box, check_meets(host, connected, box, silo_host)));
        must(close_in(host, connected));
        must(close_in(box, wildcard));
        must(close_in(box, silo_host));
        world_end(world);
}

TEST(when_the_more_specific_listener_is_gone_the_next_one_is_met) {
        struct world *world = world_family();
        struct program *web01 = program_in(world, "web01"), *host = program_in(world, "host");
        int wildcard = (int)must(serve(web01, &HV_GUID_WILDCARD, &ECHO));
        int parent = (int)must(serve(web01, &HV_GUID_PARENT, &ECHO));
        must(close_in(web01, parent));
        int connected = (int)must(dial(host, world_id(world, "web01"), &ECHO));
        must(close_in(web01, check_meets(host, connected, web01, wildcard)));
        must(close_in(host, connected));
        must(close_in(web01, wildcard));
        world_end(world);
}
