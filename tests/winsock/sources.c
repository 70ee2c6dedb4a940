/* SPDX-License-Identifier: MIT */

/*
 * Sources that were written for Windows, as somebody else builds them: with the
 * compiler and `pkg-config --cflags --libs hvsock-winsock`, as C and as C++, and
 * without a warning. $HVSOCK_SOURCE/tests/winsock/sources has them.
 */

#include "cli/shell.h"

#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WARNINGS "-Wall -Wextra -Werror"

static char directory[PATH_MAX]; /* of this test's programs */

static void begin(void) {
        const char *build = getenv("HVSOCK_BUILD");
        char path[PATH_MAX];
        check(build && getenv("HVSOCK_SOURCE"));
        snprintf(path, sizeof path, "%s/meson-uninstalled", build);
        setenv("PKG_CONFIG_PATH", path, 1);
        setenv("LD_LIBRARY_PATH", build, 1);
        if (sh("command -v pkg-config")->code)
                test_skip("pkg-config is not installed");
        strcpy(directory, sh_text("mktemp -d"));
}

static void end(void) {
        sh_text("rm -r %s", directory);
}

/* sources/NAME.c becomes the program NAME. `compiler` is "cc" or "c++" with its options. */
static void build(const char *compiler, const char *name) {
        sh_text("%s " WARNINGS " %s $HVSOCK_SOURCE/tests/winsock/sources/%s.c -o %s/%s "
                "$(pkg-config --cflags --libs hvsock-winsock)",
                compiler, strncmp(compiler, "c++", 3) ? "" : "-x c++", name, directory, name);
}

static void require_cxx(void) {
        if (sh("command -v c++")->code)
                test_skip("there is no C++ compiler");
}

/* What a client that dials `dialled` in one partition gets from a server that is bound to `bound` in another. */
static const struct outcome *meet(const char *server, const char *bound, const char *client, const char *dialled) {
        return sh("cd %s && rm -f said && { %s ./tutorial_server %s >said & } && "
                  "until grep -q listening said; do kill -0 $! || exit 9; sleep 0.01; done; "
                  "%s ./tutorial_client %s 'hello, host'; code=$?; "
                  "test $code = 0 && wait $! && exit 0; kill $!; wait $!; exit $code",
                  directory, server, bound, client, dialled);
}

static void check_meet(const char *server, const char *bound, const char *client, const char *dialled) {
        const struct outcome *outcome = meet(server, bound, client, dialled);
        check_equal(outcome->code, 0);
        check_string(outcome->out, "hello, host\n");
}

#define ON_HOST ""
#define IN_VM "hvsock run web01 --"
#define WEB01 "11111111-2222-3333-4444-555555555555"

static void check_tutorial(const char *compiler) {
        struct sandbox sandbox;
        begin();
        build(compiler, "tutorial_server");
        build(compiler, "tutorial_client");
        sandbox_open(&sandbox, "--vm web01=" WEB01 " --service 3049197c-9a4e-4fbf-9367-97f792f16994='HV Socket Demo'");

        check_meet(ON_HOST, "HV_GUID_ZERO", IN_VM, "HV_GUID_PARENT");
        check_meet(ON_HOST, "HV_GUID_WILDCARD", IN_VM, "HV_GUID_PARENT");
        check_meet(ON_HOST, "HV_GUID_CHILDREN", IN_VM, "HV_GUID_PARENT");
        check_meet(ON_HOST, WEB01, IN_VM, "HV_GUID_PARENT");
        check_meet(IN_VM, "HV_GUID_PARENT", ON_HOST, WEB01);
        check_meet(IN_VM, "HV_GUID_WILDCARD", ON_HOST, WEB01);
        check_meet(IN_VM, "HV_GUID_LOOPBACK", IN_VM, "HV_GUID_LOOPBACK");
        check_meet(ON_HOST, "HV_GUID_LOOPBACK", ON_HOST, "HV_GUID_LOOPBACK");

        static const char *const never[] = {"HV_GUID_ZERO", "HV_GUID_WILDCARD", "HV_GUID_CHILDREN", "HV_GUID_BROADCAST"};
        for (size_t i = 0; i < sizeof never / sizeof *never; i++) {
                check_equal(meet(ON_HOST, "HV_GUID_WILDCARD", IN_VM, never[i])->code, 1);
                check_string(sh("cd %s && ./tutorial_client %s x", directory, never[i])->err, "connect: 10049\n");
        }
        check_string(sh("%s/tutorial_server HV_GUID_BROADCAST", directory)->err, "bind: 10049\n");
        check_string(sh("%s/tutorial_server HV_GUID_PARENT", directory)->err, "bind: 10049\n");
        check_string(sh("%s/tutorial_client HV_GUID_PARENT x", directory)->err, "connect: 10049\n");
        check_string(sh("hvsock run web01 -- %s/tutorial_client HV_GUID_PARENT x", directory)->err, "connect: 10061\n");

        sandbox_close(&sandbox);
        end();
}

TEST(the_tutorials_server_and_client_talk_as_c) {
        check_tutorial("cc");
}

TEST(the_tutorials_server_and_client_talk_as_cxx) {
        require_cxx();
        check_tutorial("c++");
}

/* ---- headers ---- */

#define ORDERS 8

static const char *const ways_of_c[] = {"-std=gnu17", "-std=c99", "-std=c11 -O2 -D_FORTIFY_SOURCE=2", "-Wpedantic -Wshadow -Wundef"};
static const char *const ways_of_cxx[] = {"-std=c++17", "-std=gnu++20 -O2 -D_FORTIFY_SOURCE=2", "-std=c++11 -Wpedantic -Wshadow -Wundef"};

static void check_orders(const char *compiler, const char *const *ways, size_t count) {
        static const int set_sizes[] = {0, 64, 64, 64, 1024, 512, 64, 64, 64};
        char command[256];
        begin();
        for (int order = 1; order <= ORDERS; order++)
                for (size_t i = 0; i < count; i++) {
                        snprintf(command, sizeof command, "%s %s -DORDER=%d -DSETSIZE=%d", compiler, ways[i], order, set_sizes[order]);
                        build(command, "orders");
                        sh_text("%s/orders", directory);
                }
        end();
}

TEST(headers_go_together_in_any_order_in_c) {
        check_orders("cc", ways_of_c, sizeof ways_of_c / sizeof *ways_of_c);
}

TEST(headers_go_together_in_any_order_in_cxx) {
        require_cxx();
        check_orders("c++", ways_of_cxx, sizeof ways_of_cxx / sizeof *ways_of_cxx);
}

TEST(headers_go_together_in_any_order_with_clang) {
        static const char *const way = "";
        if (sh("command -v clang")->code)
                test_skip("clang is not installed");
        check_orders("clang", &way, 1);
}

static void check_guids(const char *compiler, const char *language) {
        char command[2 * PATH_MAX + 64];
        begin();
        for (int part = 2; part <= 3; part++)
                sh_text("%s " WARNINGS " -DPART=%d %s -c $HVSOCK_SOURCE/tests/winsock/sources/guids.c -o %s/%d.o "
                        "$(pkg-config --cflags hvsock-winsock)",
                        compiler, part, language, directory, part);
        snprintf(command, sizeof command, "%s %s/2.o %s/3.o -DPART=1", compiler, directory, directory);
        build(command, "guids");
        sh_text("%s/guids", directory);
        end();
}

TEST(a_guid_that_several_files_define_is_one_guid) {
        check_guids("cc", "");
        require_cxx();
        check_guids("c++", "-x c++");
}

/* MinGW's headers lack AF_HYPERV. */
TEST(the_same_sources_build_for_windows) {
        static const char *const names[] = {"tutorial_server", "tutorial_client", "orders"};
        if (sh("command -v x86_64-w64-mingw32-gcc")->code)
                test_skip("x86_64-w64-mingw32-gcc is not installed");
        begin();
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
                sh_text("x86_64-w64-mingw32-gcc -DAF_HYPERV=34 -DORDER=1 -DSETSIZE=64 -o %s/%s.exe "
                        "$HVSOCK_SOURCE/tests/winsock/sources/%s.c -lws2_32 -lrpcrt4 -lole32",
                        directory, names[i], names[i]);
        end();
}
