/* SPDX-License-Identifier: MIT */

/*
 * Every program of examples/ builds on both systems, by the commands that README.md
 * and docs/porting.md print, and without a warning.
 */

#include "cli/shell.h"

#include "test.h"
#include <stdio.h>
#include <stdlib.h>

#define WARNINGS "-Wall -Wextra -Werror"
#define STRICT "-std=c11 -Wpedantic -Wshadow -Wundef -Wconversion -Wno-sign-conversion"

/* The line of `page` that begins with `begins`, with the installed headers for Windows replaced by those of the tree. */
static const char *printed(const char *page, const char *begins) {
        return sh_text("grep -m 1 '^%s' $HVSOCK_SOURCE/%s | sed \"s|-I[^ ]*/hvsock-windows|-I$HVSOCK_SOURCE/include/windows|\"",
                       begins, page);
}

static void require(const char *program) {
        if (sh("command -v %s", program)->code)
                test_skip("%s is not installed", program);
}

/* Each example in its turn is my_server.c in an empty directory, where `command` makes `product` of it. */
static void check_each(const char *command, const char *product) {
        const struct outcome *outcome = sh("directory=$(mktemp -d) && cd $directory && "
                                           "for example in $HVSOCK_SOURCE/examples/*.c; do "
                                           "cp $example my_server.c && %s && test -s %s || exit 1; rm %s; "
                                           "done; rm -r $directory",
                                           command, product, product);
        check_string(outcome->err, "");
        check_equal(outcome->code, 0);
}

TEST(every_example_builds_on_linux_by_the_command_in_the_readme) {
        char command[1024], path[PATH_MAX];
        require("pkg-config");
        snprintf(path, sizeof path, "%s/meson-uninstalled", getenv("HVSOCK_BUILD"));
        setenv("PKG_CONFIG_PATH", path, 1);
        snprintf(command, sizeof command, "%s " WARNINGS, printed("README.md", "cc my_server.c"));
        check_each(command, "my_server");
}

TEST(every_example_builds_for_windows_by_the_command_in_docs_porting) {
        char command[1024];
        require("x86_64-w64-mingw32-gcc");
        snprintf(command, sizeof command, "%s " WARNINGS,
                 printed("docs/porting.md", "x86_64-w64-mingw32-gcc"));
        check_each(command, "my_server.exe");
}

TEST(the_header_for_windows_is_quiet_under_strict_options_and_in_two_files_of_a_program) {
        require("x86_64-w64-mingw32-gcc");
        const struct outcome *outcome =
                sh("directory=$(mktemp -d) && cd $directory && printf '#include <hvsock.h>\\n' >a.c && "
                   "printf '#include <hvsock.h>\\nint main(void) { return hv_close(0); }\\n' >b.c && "
                   "x86_64-w64-mingw32-gcc " WARNINGS " " STRICT " -I$HVSOCK_SOURCE/include/windows a.c b.c -lws2_32; "
                   "code=$?; rm -r $directory; exit $code");
        check_string(outcome->err, "");
        check_equal(outcome->code, 0);
}

#define CALLS_OF_WINDOWS "sed -n '/hv_windows_/d; s/^static inline \\(.*hv_.*)\\) {$/\\1;/p' $HVSOCK_SOURCE/include/windows/hvsock.h"

/* So that a source that uses them builds on Linux, too. */
TEST(the_header_for_windows_declares_each_call_as_libhvsock_does) {
        check(atoi(sh_text(CALLS_OF_WINDOWS " | wc -l")) >= 24);
        check_string(sh_text(CALLS_OF_WINDOWS " | while read -r call; do "
                             "grep -qF \"$call\" $HVSOCK_SOURCE/include/hvsock.h || echo \"$call\"; done"),
                     "");
}
