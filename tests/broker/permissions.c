/* SPDX-License-Identifier: MIT */

/* Who may: every principal against every kind of caller. */

#include "base/guid.h"
#include "world.h"

#include <stdio.h>

#define ALICE 1000u
#define BOB 1001u
#define STAFF 300u
#define OWNER 4242u

static int lookup(enum principal_kind kind, const char *name, uint32_t *ret_id) {
        if (kind == PRINCIPAL_USER && !strcmp(name, "alice"))
                *ret_id = ALICE;
        else if (kind == PRINCIPAL_GROUP && !strcmp(name, "staff"))
                *ret_id = STAFF;
        else
                return -ENOENT;
        return 0;
}

static const uint32_t GROUPS[] = {17, STAFF}, HVSOCK[] = {ADMINISTRATORS};

struct callers {
        struct caller root, owner, alice, bob_of_staff, administrator, unmapped; /* on the host */
        struct caller guest_root, guest_alice, guest_unmapped, container_root;   /* in web01, in web01/db */
};

static struct callers callers_in(struct world *world) {
        struct callers callers = {
                .root = root_in(world->host),
                .owner = user_in(world->host, OWNER),
                .alice = user_in(world->host, ALICE),
                .bob_of_staff = user_in(world->host, BOB),
                .administrator = user_in(world->host, BOB),
                .unmapped = user_in(world->host, CALLER_UNMAPPED),
                .guest_root = root_in(world->web01),
                .guest_alice = user_in(world->web01, ALICE),
                .guest_unmapped = user_in(world->web01, CALLER_UNMAPPED),
                .container_root = root_in(world->db),
        };
        callers.bob_of_staff.groups = GROUPS;
        callers.bob_of_staff.group_count = 2;
        callers.administrator.groups = HVSOCK;
        callers.administrator.group_count = 1;
        return callers;
}

/* One letter a caller, in the order of struct callers: 'y' may, '-' may not. */
static void check_row(struct world *world, const struct owner *owner, const char *text, const char *expected) {
        struct callers callers = callers_in(world);
        const struct caller *each = &callers.root;
        struct access access;
        char why[TEXT_EXPECTED_SIZE], row[32] = "";
        check_ok(access_parse(text, lookup, &access, why));
        for (unsigned i = 0; i < sizeof callers / sizeof *each; i++)
                row[i] = access_allows(&access, owner, each + i) ? 'y' : '-';
        if (strcmp(row, expected))
                test_fail(__FILE__, __LINE__, "\"%s\" lets %s, expected %s", text, row, expected);
}

TEST(each_principal_lets_in_whom_it_names_and_root_on_the_host) {
        WORLD(world);
        struct owner machine = {0, ADMINISTRATORS};
        char one[80], other[80], guid[HV_GUID_TEXT_SIZE];
        guid_format(&world.web01->vm_id, guid);
        snprintf(one, sizeof one, "partition:%s", guid);
        guid_format(&world.host->vm_id, guid);
        snprintf(other, sizeof other, "partition:{%s}", guid);
        /*                              root owner alice bob adm. unm. | root alice unm. | container */
        check_row(&world, &machine, "", "y---y-yyyy");
        check_row(&world, &machine, "default", "y---y-yyyy");
        check_row(&world, &machine, "everyone", "yyyyyyyyyy");
        check_row(&world, &machine, "nobody", "y---------");
        check_row(&world, &machine, "user:alice", "y-y-------");
        check_row(&world, &machine, "user:1000", "y-y-------");
        check_row(&world, &machine, "user:0", "y---------");
        check_row(&world, &machine, "group:staff", "y--y------");
        check_row(&world, &machine, "group:300", "y--y------");
        check_row(&world, &machine, "host", "yyyyyy----");
        check_row(&world, &machine, "children", "y-----yyyy");
        check_row(&world, &machine, "vms", "y-----yyy-");
        check_row(&world, &machine, "containers", "y--------y");
        check_row(&world, &machine, one, "y-----yyy-");
        check_row(&world, &machine, other, "yyyyyy----");
        check_row(&world, &machine, "user:alice group:staff containers", "y-yy-----y");
}

TEST(in_a_users_own_world_that_user_may_what_root_may) {
        WORLD(world);
        struct owner user = {OWNER, CALLER_UNMAPPED};
        check_row(&world, &user, "default", "yy----yyyy");
        check_row(&world, &user, "nobody", "yy--------");
        check_row(&world, &user, "vms", "yy----yyy-");
}

TEST(ids_that_do_not_map_are_nobodys) {
        WORLD(world);
        struct caller stranger = user_in(world.host, CALLER_UNMAPPED);
        struct owner nobody = {CALLER_UNMAPPED, CALLER_UNMAPPED};
        struct access access = {.count = 1, .principals = {{.kind = PRINCIPAL_USER, .id = CALLER_UNMAPPED}}};
        struct access by_default = {.is_default = true};
        check(!access_allows(&access, &nobody, &stranger));
        check(!access_allows(&by_default, &nobody, &stranger));
        access.principals[0].kind = PRINCIPAL_GROUP;
        check(!access_allows(&access, &nobody, &stranger));
}

TEST(an_unregistered_service_has_the_default_rule) {
        WORLD(world);
        struct caller alice = user_in(world.host, ALICE), guest = user_in(world.web01, ALICE);
        check_refused(bind_as(&world, &alice, &HV_GUID_LOOPBACK, &UNREGISTERED, NULL), EACCES, RULE_BIND_DENIED);
        check_refused(dial_as(&world, &alice, &HV_GUID_LOOPBACK, &UNREGISTERED), EACCES, RULE_CONNECT_DENIED);
        check_allowed(bind_as(&world, &guest, &HV_GUID_LOOPBACK, &UNREGISTERED, NULL));
        check_allowed(dial_as(&world, &guest, &HV_GUID_LOOPBACK, &UNREGISTERED));
}

static void check_expected(const char *text, const char *expected) {
        struct access access = {.count = 77};
        char why[TEXT_EXPECTED_SIZE] = "";
        check_equal(access_parse(text, lookup, &access, why), -EINVAL);
        check_string(why, expected);
        check_equal(access.count, 77);
}

#define PRINCIPALS_EXPECTED \
        "expected everyone, nobody, host, children, vms, containers, user:NAME, group:NAME or partition:GUID, not "

TEST(a_mistake_in_a_list_of_principals_says_what_was_expected) {
        check_expected("anybody", PRINCIPALS_EXPECTED "\"anybody\"");
        check_expected("Everyone", PRINCIPALS_EXPECTED "\"Everyone\"");
        check_expected("default host", PRINCIPALS_EXPECTED "\"default\"");
        check_expected("host, vms", PRINCIPALS_EXPECTED "\"host,\"");
        check_expected("partition:web01", PRINCIPALS_EXPECTED "\"partition:web01\"");
        check_expected("\033[2J", PRINCIPALS_EXPECTED "\"?[2J\"");
        check_expected("user:carol", "expected a user that exists, not \"user:carol\"");
        check_expected("group:alice", "expected a group that exists, not \"group:alice\"");
        check_expected("user:", "expected a user that exists, not \"user:\"");
        check_expected("user:4294967295", "expected a user that exists, not \"user:4294967295\"");
        check_expected("user:99999999999999999999",
                       "expected a user that exists, not \"user:99999999999999999999\"");
        check_expected("user:9lives", "expected a user that exists, not \"user:9lives\"");
        check_expected("user:-1", "expected a user that exists, not \"user:-1\"");
        check_expected("nobody host", "expected nobody to stand alone");
        check_expected("host nobody", "expected nobody to stand alone");
}

TEST(a_number_is_a_user_up_to_the_largest_that_maps) {
        struct access access;
        char why[TEXT_EXPECTED_SIZE];
        check_ok(access_parse("user:9", lookup, &access, why));
        check_equal(access.principals[0].id, 9);
        check_ok(access_parse("user:4294967294", lookup, &access, why));
        check_equal(access.principals[0].id, 4294967294);
}

TEST(as_many_principals_as_the_limit_are_read_and_one_more_is_not) {
        struct access access;
        char text[PRINCIPALS_MAX * 5 + 8] = "", why[TEXT_EXPECTED_SIZE];
        for (unsigned i = 0; i < PRINCIPALS_MAX; i++)
                strcat(text, "host ");
        check_ok(access_parse(text, lookup, &access, why));
        check_equal(access.count, PRINCIPALS_MAX);
        strcat(text, "vms");
        check_expected(text, "expected at most 16 principals");
}

TEST(a_principal_of_63_bytes_is_read_and_one_of_64_is_not) {
        struct access access;
        char why[TEXT_EXPECTED_SIZE], text[65];
        snprintf(text, sizeof text, "user:%058u", ALICE);
        check_ok(access_parse(text, lookup, &access, why));
        check_equal(access.principals[0].id, ALICE);
        snprintf(text, sizeof text, "user:%059u", ALICE);
        check_expected(text, "expected principals of at most 63 bytes");
}

TEST(what_is_printed_of_a_rule_is_read_as_the_same_rule) {
        const char *texts[] = {"default", "nobody", "everyone", "user:alice group:300 vms containers host children"};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
                struct access access;
                char why[TEXT_EXPECTED_SIZE], text[200], small[8];
                check_ok(access_parse(texts[i], lookup, &access, why));
                access_format(&access, text, sizeof text);
                check_string(text, texts[i]);
                access_format(&access, small, sizeof small);
                check(!strncmp(small, texts[i], sizeof small - 1) && strlen(small) < sizeof small);
        }
}
