/* SPDX-License-Identifier: MIT */

/* hvsock run: a command as a partition. */

#include "shell.h"

#include "test.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define VM "11111111-2222-3333-4444-555555555555"
#define FAMILY "--vm web01=" VM " --vm web02 --container web01/db --service Echo"

TEST(a_command_is_the_partition_it_runs_as) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        check_string(sh_text("hvsock run web01 -- hvsock id"), VM);
        check_string(sh_text("hvsock run %s hvsock id", VM), VM);
        char db[64];
        strcpy(db, sh_text("hvsock id web01/db"));
        check_string(sh_text("hvsock run web01/db -- hvsock id"), db);
        check_string(sh_text("hvsock run web01 -- hvsock id db"), db);
        sandbox_close(&sandbox);
}

TEST(a_command_sees_no_partition_but_its_own) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        if (strstr(sh("hvsock run web01 -- true")->err, "forbids the namespaces")) {
                sandbox_close(&sandbox);
                test_skip("this system forbids the namespaces that hide partitions (a chroot does)");
        }
        check_string(sh_text("hvsock run web01 -- ls %s/runtime", sandbox.directory), VM);
        check_string(sh_text("hvsock run web01 -- ls -A %s/state", sandbox.directory), "");
        check_string(sh_text("hvsock run web01 -- ls -A %s/services", sandbox.directory), "");
        check_equal(sh("hvsock run web01 -- sh -c '>$HVSOCK_SOCKET/file'")->code != 0, 1);
        check_string(sh_text("hvsock run web01 -- sh -c 'echo ${HVSOCK_MANAGE-unset}'"), "unset");
        check_equal(sh_refused("hvsock run web01 -- hvsock tree"), 5);
        check_equal(sh_refused("hvsock run web01 -- hvsock id web02"), 3);
        sandbox_close(&sandbox);
}

TEST(a_command_keeps_its_user_directory_exit_code_and_signal) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        char here[PATH_MAX], uid[32];
        strcpy(here, sh_text("pwd"));
        check_string(sh_text("hvsock run web01 -- pwd"), here);
        strcpy(uid, sh_text("id -u"));
        check_string(sh_text("hvsock run web01 -- id -u"), uid);
        check_equal(sh("hvsock run web01 -- sh -c 'exit 9'")->code, 9);
        check_equal(sh("hvsock run web01 -- sh -c 'kill -TERM $$'")->code, 128 + SIGTERM);
        check_equal(sh("hvsock run web01 -- /nowhere/command")->code, 127);
        check_equal(sh("hvsock run web01 -- /etc/passwd")->code, 126);
        check_equal(sh_refused("hvsock run nowhere -- true"), 3);
        check_equal(sh_refused("hvsock run web01 --"), 2);
        sandbox_close(&sandbox);
}

TEST(an_ordinary_user_hides_other_partitions_too) {
        if (geteuid() != 0)
                test_skip("to be another user takes root");
        if (sh("setpriv --reuid 65534 --regid 65534 --clear-groups test -x $(command -v hvsock)")->code != 0)
                test_skip("other users cannot reach what was built");
        /* As nobody: its own sandbox, in a directory of its own. */
        const struct outcome *outcome =
                sh("d=$(mktemp -d) && chmod 777 $d && cd / && TMPDIR=$d setpriv --reuid 65534 --regid 65534 "
                   "--clear-groups "
                   "hvsock sandbox --vm web01=" VM " --vm web02 -- sh -c '"
                   "hvsock run web01 -- ls ${HVSOCK_MANAGE%%/manage}; hvsock run web01 -- hvsock id; "
                   "hvsock run web01 -- id -u; hvsock run web01 -- umount ${HVSOCK_MANAGE%%/manage} 2>/dev/null || "
                   "echo no'; "
                   "code=$?; rmdir $d; exit $code");
        if (strstr(outcome->err, "forbids the namespaces"))
                test_skip("this system forbids user namespaces to ordinary users");
        check_equal(outcome->code, 0);
        check_string(outcome->out, VM "\n" VM "\n65534\nno\n");
}

TEST(where_namespaces_are_forbidden_a_command_still_runs_after_a_warning) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, FAMILY);
        /* Without a capability to mount, and with no user namespace to be had. */
        const struct outcome *outcome =
                sh("unshare -U -r sh -c 'echo 0 >/proc/sys/user/max_user_namespaces && "
                   "exec setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin hvsock run web01 -- hvsock id'");
        if (strstr(outcome->err, "unshare") || strstr(outcome->err, "max_user_namespaces"))
                test_skip("this system lets nobody forbid user namespaces");
        check_equal(outcome->code, 0);
        check_string(outcome->out, VM "\n");
        check(strstr(outcome->err, "hvsock: run: ") != NULL);
        sandbox_close(&sandbox);
}
