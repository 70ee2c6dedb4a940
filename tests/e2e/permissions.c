/* SPDX-License-Identifier: MIT */

/* Users: who may bind and connect on the host, and whose a ServiceId is. */

#include "program.h"
#include "test.h"

#include <unistd.h>

/* Nobody's on any machine. */
#define ALICE 61001
#define BOB 61002
#define STAFF 61100

TEST(on_the_host_an_ordinary_user_may_neither_bind_nor_connect_by_default) {
        world_require_root();
        struct world *world = world_family();
        struct program *alice = program_as(world, "host", ALICE, ALICE), *host = program_in(world, "host");
        check_errno(serve(alice, &HV_GUID_WILDCARD, &ECHO), EACCES);
        check_string(last_refusal(alice).rule_name, "bind-denied");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        check_errno(dial(alice, &HV_GUID_LOOPBACK, &ECHO), EACCES);
        check_string(last_refusal(alice).rule_name, "connect-denied");
        must(close_in(host, listener));
        program_end(alice);
        world_end(world);
}

TEST(in_a_child_partition_every_user_may) {
        world_require_root();
        struct world *world = world_family();
        struct program *alice = program_as(world, "web01", ALICE, ALICE), *host = program_in(world, "host");
        int listener = (int)must(serve(alice, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(host, world_id(world, "web01"), &ECHO));
        must(close_in(alice, check_meets(host, connected, alice, listener)));
        must(close_in(host, connected));
        must(close_in(alice, listener));
        program_end(alice);
        world_end(world);
}

TEST(a_service_says_which_users_and_groups_may) {
        world_require_root();
        struct world *world = world_family();
        GUID service_id = service_numbered(5);
        struct program *alice = program_as(world, "host", ALICE, ALICE), *bob = program_as(world, "host", BOB, STAFF);
        world_write_service(world, &service_id, "Shared", "Bind=user:61001\nConnect=group:61100\n");
        world_await_service(world, &service_id, "/name", "Shared");
        check_errno(serve(bob, &HV_GUID_WILDCARD, &service_id), EACCES);
        int listener = (int)must(serve(alice, &HV_GUID_WILDCARD, &service_id));
        check_errno(dial(alice, &HV_GUID_LOOPBACK, &service_id), EACCES);
        int connected = (int)must(dial(bob, &HV_GUID_LOOPBACK, &service_id));
        must(close_in(alice, check_meets(bob, connected, alice, listener)));
        must(close_in(bob, connected));
        must(close_in(alice, listener));
        program_end(alice);
        program_end(bob);
        world_end(world);
}

TEST(a_users_id_in_a_child_partition_is_not_that_user_on_the_host) {
        world_require_root();
        struct world *world = world_family();
        GUID service_id = service_numbered(5);
        struct program *alice = program_as(world, "web01", ALICE, ALICE);
        world_write_service(world, &service_id, "Shared", "Bind=user:61001\nConnect=user:61001\n");
        world_await_service(world, &service_id, "/name", "Shared");
        check_errno(serve(alice, &HV_GUID_WILDCARD, &service_id), EACCES);
        check_errno(dial(alice, &HV_GUID_PARENT, &service_id), EACCES);
        program_end(alice);
        world_end(world);
}

TEST(root_in_a_child_partition_has_no_privilege) {
        struct world *world = world_family();
        GUID service_id = service_numbered(6);
        world_write_service(world, &service_id, "Host only", "Bind=nobody\nConnect=nobody\n");
        world_await_service(world, &service_id, "/name", "Host only");
        check_errno(serve(program_in(world, "web01"), &HV_GUID_WILDCARD, &service_id), EACCES);
        check_errno(dial(program_in(world, "web01"), &HV_GUID_PARENT, &service_id), EACCES);
        world_end(world);
}

TEST(within_a_partition_a_service_id_belongs_to_one_user_at_a_time) {
        world_require_root();
        struct world *world = world_family();
        struct program *alice = program_as(world, "web01", ALICE, ALICE), *bob = program_as(world, "web01", BOB, BOB);
        int listener = (int)must(serve(alice, &HV_GUID_WILDCARD, &ECHO));
        check_errno(serve(bob, &HV_GUID_PARENT, &ECHO), EADDRINUSE);
        check_string(last_refusal(bob).rule_name, "another-users");
        int second = (int)must(serve(alice, &HV_GUID_PARENT, &ECHO));
        must(close_in(alice, listener));
        must(close_in(alice, second));
        listener = (int)must(serve(bob, &HV_GUID_PARENT, &ECHO));
        must(close_in(bob, listener));
        program_end(alice);
        program_end(bob);
        world_end(world);
}

TEST(another_users_dead_listener_does_not_keep_a_service_id) {
        world_require_root();
        struct world *world = world_family();
        struct program *alice = program_as(world, "web01", ALICE, ALICE), *bob = program_as(world, "web01", BOB, BOB);
        must(serve(alice, &HV_GUID_WILDCARD, &ECHO));
        program_kill(alice);
        int listener = (int)must(serve(bob, &HV_GUID_PARENT, &ECHO));
        must(close_in(bob, listener));
        program_end(bob);
        world_end(world);
}

/* ---- quotas ---- */

TEST(a_partition_has_at_most_so_many_listeners) {
        struct world *world = world_new();
        world_define(world, "web01", "vm", "");
        world_configure(world, "ListenersPerPartition=3\n");
        world_start(world);
        struct program *web01 = program_in(world, "web01"), *host = program_in(world, "host");
        int listeners[3];
        GUID service_id;
        for (unsigned i = 0; i < 3; i++) {
                service_id = service_numbered(10 + i);
                listeners[i] = (int)must(serve(web01, &HV_GUID_LOOPBACK, &service_id));
        }
        service_id = service_numbered(13);
        check_errno(serve(web01, &HV_GUID_LOOPBACK, &service_id), ENOBUFS);
        check_string(last_refusal(web01).rule_name, "quota");
        int elsewhere = (int)must(serve(host, &HV_GUID_LOOPBACK, &service_id));
        must(close_in(host, elsewhere));
        must(close_in(web01, listeners[0]));
        check(await((listeners[0] = serve(web01, &HV_GUID_LOOPBACK, &service_id)) >= 0));
        for (unsigned i = 0; i < 3; i++)
                must(close_in(web01, listeners[i]));
        world_end(world);
}

static void check_channel_quota(const char *line) {
        struct world *world = world_new();
        world_define(world, "web01", "vm", "");
        world_write_service(world, &ECHO, ECHO_NAME, "");
        world_configure(world, line);
        world_start(world);
        struct program *web01 = program_in(world, "web01"), *host = program_in(world, "host");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO)), connected[4];
        for (unsigned i = 0; i < 4; i++)
                connected[i] = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        check_errno(dial(web01, &HV_GUID_PARENT, &ECHO), ENOBUFS);
        check_string(last_refusal(web01).rule_name, "quota");
        must(close_in(web01, connected[0]));
        check(await((connected[0] = dial(web01, &HV_GUID_PARENT, &ECHO)) >= 0));
        for (unsigned i = 0; i < 4; i++)
                must(close_in(web01, connected[i]));
        must(close_in(host, listener));
        world_end(world);
}

TEST(a_listener_has_at_most_so_many_channels) {
        check_channel_quota("ChannelsPerListener=4\n");
}

TEST(a_partition_has_at_most_so_many_channels) {
        check_channel_quota("ChannelsPerPartition=4\n");
}

TEST(a_user_has_at_most_so_many_listeners_and_channels) {
        world_require_root();
        struct world *world = world_new();
        world_define(world, "web01", "vm", "");
        world_configure(world, "ListenersPerUser=2\nChannelsPerUser=2\n");
        world_start(world);
        struct program *alice = program_as(world, "web01", ALICE, ALICE), *bob = program_as(world, "web01", BOB, BOB);
        GUID service_ids[] = {service_numbered(1), service_numbered(2), service_numbered(3)};
        int listeners[2], connected[2];
        for (unsigned i = 0; i < 2; i++)
                listeners[i] = (int)must(serve(alice, &HV_GUID_LOOPBACK, &service_ids[i]));
        check_errno(serve(alice, &HV_GUID_LOOPBACK, &service_ids[2]), ENOBUFS);
        for (unsigned i = 0; i < 2; i++)
                connected[i] = (int)must(dial(alice, &HV_GUID_LOOPBACK, &service_ids[i]));
        check_errno(dial(alice, &HV_GUID_LOOPBACK, &service_ids[0]), ENOBUFS);

        int bobs = (int)must(serve(bob, &HV_GUID_LOOPBACK, &service_ids[2]));
        must(close_in(bob, bobs));
        bobs = (int)must(dial(bob, &HV_GUID_LOOPBACK, &service_ids[0]));
        must(close_in(bob, bobs));
        for (unsigned i = 0; i < 2; i++) {
                must(close_in(alice, connected[i]));
                must(close_in(alice, listeners[i]));
        }
        program_end(alice);
        program_end(bob);
        world_end(world);
}
