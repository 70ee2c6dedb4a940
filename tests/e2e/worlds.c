/* SPDX-License-Identifier: MIT */

/* Worlds beside each other, of other users, in deep directories, and found where they are by default. */

#include "program.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ALICE 61001
#define BOB 61002

TEST(two_worlds_do_not_see_each_other) {
        struct world *first = world_family(), *second = world_family();
        struct program *host = program_in(first, "host");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        check_errno(dial(program_in(second, "web01"), &HV_GUID_PARENT, &ECHO), ECONNREFUSED);
        check_errno(dial(program_in(second, "host"), &HV_GUID_LOOPBACK, &ECHO), ECONNREFUSED);
        int other = (int)must(serve(program_in(second, "host"), &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(program_in(first, "web01"), &HV_GUID_PARENT, &ECHO));
        must(close_in(host, check_meets(program_in(first, "web01"), connected, host, listener)));
        must(close_in(program_in(first, "web01"), connected));
        connected = (int)must(dial(program_in(second, "web01"), &HV_GUID_PARENT, &ECHO));
        must(close_in(program_in(second, "host"),
                      check_meets(program_in(second, "web01"), connected, program_in(second, "host"), other)));
        check_equal(service_counter(first, &ECHO, "channelsTotal"), 1);
        check_equal(service_counter(second, &ECHO, "channelsTotal"), 1);
        world_kill(second);
        check_equal(reach(first, "web02", &HV_GUID_PARENT, "host", world_id(first, "web02"), &ECHO), 0);
        world_start(second);
        must(close_in(program_in(second, "web01"), connected));
        must(close_in(program_in(second, "host"), other));
        must(close_in(host, listener));
        world_end(first);
        world_end(second);
}

/* A world of ALICE's, with her programs in it. */
static struct world *world_of_alice(void) {
        struct world *world = world_new();
        world_define(world, "web01", "vm", "");
        world_write_service(world, &ECHO, ECHO_NAME, "");
        world->uid = ALICE;
        world_start(world);
        return world;
}

static void check_reaches_both_ways(struct program *host, struct program *web01, const GUID *web01_id) {
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        must(close_in(host, check_meets(web01, connected, host, listener)));
        must(close_in(web01, connected));
        must(close_in(host, listener));
        listener = (int)must(serve(web01, &HV_GUID_WILDCARD, &ECHO));
        connected = (int)must(dial(host, web01_id, &ECHO));
        must(close_in(web01, check_meets(host, connected, web01, listener)));
        must(close_in(host, connected));
        must(close_in(web01, listener));
}

TEST(a_user_can_have_a_world_without_root) {
        world_require_reach(); /* to become that user */
        struct world *world = world_of_alice();
        struct program *host = program_as(world, "host", ALICE, ALICE);
        struct program *web01 = program_as(world, "web01", ALICE, ALICE);
        check_reaches_both_ways(host, web01, world_id(world, "web01"));
        program_end(host);
        program_end(web01);
        world_end(world);
}

TEST(a_world_survives_its_broker_without_root_too) {
        world_require_reach();
        struct world *world = world_of_alice();
        struct program *host = program_as(world, "host", ALICE, ALICE);
        struct program *web01 = program_as(world, "web01", ALICE, ALICE);
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        world_kill(world);
        world_start(world);
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        must(close_in(host, check_meets(web01, connected, host, listener)));
        must(close_in(web01, connected));
        must(close_in(host, listener));
        program_end(host);
        program_end(web01);
        world_end(world);
}

TEST(in_a_users_world_others_may_not_connect_on_the_host) {
        world_require_reach();
        struct world *world = world_of_alice();
        struct program *bob = program_as(world, "host", BOB, BOB), *host = program_as(world, "host", ALICE, ALICE);
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        check(dial(bob, &HV_GUID_LOOPBACK, &ECHO) < 0);
        check(errno == EACCES || errno == ENETDOWN);
        check(serve(bob, &HV_GUID_WILDCARD, &ECHO) < 0);
        check(errno == EACCES || errno == ENETDOWN);
        must(close_in(host, listener));
        program_end(host);
        program_end(bob);
        world_end(world);
}

TEST(a_world_in_directories_with_long_paths_works) {
        struct world *world = world_new();
        char deep[PATH_MAX];
        world_define(world, "web01", "vm", "");
        world_write_service(world, &ECHO, ECHO_NAME, "");
        snprintf(deep, sizeof deep, "%.200s", world->root);
        for (unsigned i = 0; i < 6; i++) {
                strcat(deep, "/a-directory-with-quite-a-long-name-0123456789");
                must(mkdir(deep, 0755));
        }
        strcat(deep, "/run");
        strcpy(world->runtime, deep);
        world_start(world);
        check_reaches_both_ways(program_in(world, "host"), program_in(world, "web01"), world_id(world, "web01"));
        int listener = (int)must(serve(program_in(world, "host"), &HV_GUID_WILDCARD, &ECHO));
        world_kill(world);
        world_start(world);
        int connected = (int)must(dial(program_in(world, "web01"), &HV_GUID_PARENT, &ECHO));
        must(close_in(program_in(world, "host"),
                      check_meets(program_in(world, "web01"), connected, program_in(world, "host"), listener)));
        must(close_in(program_in(world, "web01"), connected));
        must(close_in(program_in(world, "host"), listener));
        world_end(world);
}

/* ---- where a world is when nobody says ---- */

struct home {
        struct world *world;
        uid_t uid;
};

static void enter_home(void *argument) {
        const struct home *home = argument;
        unsetenv("HVSOCK_SOCKET");
        must(setenv("XDG_RUNTIME_DIR", home->world->root, 1));
        if (home->uid != geteuid()) {
                must(setresgid(home->uid, home->uid, home->uid));
                must(setresuid(home->uid, home->uid, home->uid));
        }
}

static struct world *world_at_home(uid_t uid) {
        struct world *world = world_new();
        snprintf(world->runtime, sizeof world->runtime, "%.200s/hvsock", world->root);
        world->uid = uid;
        world_start(world);
        return world;
}

TEST(a_users_world_is_found_in_the_runtime_directory) {
        struct world *world = world_at_home(geteuid());
        struct home home = {.world = world, .uid = geteuid()};
        struct program *program = program_with(enter_home, &home);
        int listener = (int)must(serve(program, &HV_GUID_LOOPBACK, &ECHO));
        int connected = (int)must(dial(program, &HV_GUID_LOOPBACK, &ECHO));
        must(close_in(program, check_meets(program, connected, program, listener)));
        must(close_in(program, connected));
        must(close_in(program, listener));
        program_end(program);
        world_end(world);
}

TEST(another_users_broker_is_not_trusted_unless_it_is_named) {
        world_require_reach();
        struct world *world = world_at_home(BOB);
        struct home home = {.world = world, .uid = ALICE};
        struct program *program = program_with(enter_home, &home);
        check(serve(program, &HV_GUID_LOOPBACK, &ECHO) < 0);
        check(dial(program, &HV_GUID_LOOPBACK, &ECHO) < 0);
        world_check_quiet(world);
        program_end(program);
        world_end(world);
}
