/* SPDX-License-Identifier: MIT */

/* HVSOCKET_CONTAINER_PASSTHRU: a container that stands in its VM's place. In the family web01/proxy may. */

#include "program.h"
#include "test.h"

static int dial_through(struct program *program, const GUID *vm_id) {
        return dial_typed(program, vm_id, &ECHO, SOCK_STREAM, true);
}

static int serve_through(struct program *program, const GUID *vm_id) {
        return serve_typed(program, vm_id, &ECHO, SOCK_STREAM, true);
}

/* Closes all four. */
static void check_met(struct program *from, int connected, struct program *to, int listener) {
        must(close_in(to, check_meets(from, connected, to, listener)));
        must(close_in(from, connected));
        must(close_in(to, listener));
}

TEST(passing_through_the_parent_is_the_vms_host) {
        struct world *world = world_family();
        struct program *proxy = program_in(world, "web01/proxy"), *host = program_in(world, "host");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial_through(proxy, &HV_GUID_PARENT));
        check_met(proxy, connected, host, listener);
        world_end(world);
}

TEST(without_the_option_the_parent_is_still_the_vm) {
        struct world *world = world_family();
        struct program *proxy = program_in(world, "web01/proxy"), *web01 = program_in(world, "web01");
        int listener = (int)must(serve(web01, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(proxy, &HV_GUID_PARENT, &ECHO));
        check_met(proxy, connected, web01, listener);
        world_end(world);
}

TEST(what_is_not_outside_the_vm_is_reached_as_without_the_option) {
        struct world *world = world_family();
        struct program *proxy = program_in(world, "web01/proxy"), *web01 = program_in(world, "web01");
        int listener = (int)must(serve(web01, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial_through(proxy, &HV_GUID_SILOHOST));
        check_met(proxy, connected, web01, listener);

        listener = (int)must(serve_through(proxy, &HV_GUID_LOOPBACK));
        connected = (int)must(dial_through(proxy, &HV_GUID_LOOPBACK));
        check_met(proxy, connected, proxy, listener);
        world_end(world);
}

TEST(the_vms_host_sees_a_container_that_passes_through_as_the_vm) {
        struct world *world = world_family();
        struct program *proxy = program_in(world, "web01/proxy"), *host = program_in(world, "host");
        SOCKADDR_HV peer;
        int listener = (int)must(serve(host, world_id(world, "web01"), &ECHO));
        int connected = (int)must(dial_through(proxy, &HV_GUID_PARENT));
        int accepted = (int)must(accept_address(host, listener, &peer));
        check(hv_guid_equal(&peer.VmId, world_id(world, "web01")));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        must(close_in(proxy, connected));
        world_end(world);
}

TEST(a_listener_that_passes_through_is_reached_under_the_vms_vm_id) {
        struct world *world = world_family();
        struct program *proxy = program_in(world, "web01/proxy"), *host = program_in(world, "host");
        int listener = (int)must(serve_through(proxy, &HV_GUID_WILDCARD));
        int connected = (int)must(dial(host, world_id(world, "web01"), &ECHO));
        check_met(host, connected, proxy, listener);
        world_end(world);
}

TEST(a_container_that_passes_through_may_listen_for_its_vms_parent) {
        struct world *world = world_family();
        struct program *proxy = program_in(world, "web01/proxy"), *host = program_in(world, "host");
        int listener = (int)must(serve_through(proxy, &HV_GUID_PARENT));
        int connected = (int)must(dial(host, world_id(world, "web01"), &ECHO));
        check_met(host, connected, proxy, listener);
        world_end(world);
}

TEST(the_vms_own_listener_comes_first) {
        struct world *world = world_family();
        struct program *proxy = program_in(world, "web01/proxy"), *web01 = program_in(world, "web01"),
                       *host = program_in(world, "host");
        int through = (int)must(serve_through(proxy, &HV_GUID_PARENT));
        int own = (int)must(serve(web01, &HV_GUID_WILDCARD, &ECHO));

        int connected = (int)must(dial(host, world_id(world, "web01"), &ECHO));
        check_met(host, connected, web01, own);

        connected = (int)must(dial(host, world_id(world, "web01"), &ECHO));
        check_met(host, connected, proxy, through);
        world_end(world);
}

TEST(a_containers_ordinary_listener_is_not_reached_under_the_vms_vm_id) {
        struct world *world = world_family();
        struct program *proxy = program_in(world, "web01/proxy");
        int listener = (int)must(serve(proxy, &HV_GUID_WILDCARD, &ECHO));
        check_errno(dial(program_in(world, "host"), world_id(world, "web01"), &ECHO), ECONNREFUSED);
        must(close_in(proxy, listener));
        world_end(world);
}

TEST(only_a_container_that_was_allowed_to_may_pass_through) {
        struct world *world = world_family();
        static const char *const others[] = {"host", "web01", "web01/db", "box"};
        for (unsigned i = 0; i < sizeof others / sizeof *others; i++) {
                struct program *program = program_in(world, others[i]);
                check_errno(dial_through(program, &HV_GUID_LOOPBACK), EACCES);
                check_errno(serve_through(program, &HV_GUID_WILDCARD), EACCES);
        }
        check_errno(dial_through(program_in(world, "web01/db"), &HV_GUID_PARENT), EACCES);
        world_end(world);
}
