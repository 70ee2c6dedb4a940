/* SPDX-License-Identifier: MIT */

/* hvsock sandbox: a world, a command, nothing afterwards. */

#include "shell.h"

#include "test.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

TEST(a_command_runs_as_the_host_of_a_world_with_what_was_asked_for) {
        sh_text("hvsock sandbox --vm web01=11111111-2222-3333-4444-555555555555 --container web01/db --container box "
                "--service 22222222-2222-3333-4444-555555555555='HV Socket Demo' --service '=a=b' -- sh -e -c '"
                "test $(hvsock id web01) = 11111111-2222-3333-4444-555555555555;"
                "hvsock id web01/db; hvsock id box; hvsock id host;"
                "test $(hvsock id -s \"HV Socket Demo\") = 22222222-2222-3333-4444-555555555555;"
                "hvsock id -s a=b; hvsock doctor'");
}

TEST(a_service_goes_by_its_port) {
        sh_text("hvsock sandbox --service vsock:5001 --service vsock:71=Other -- sh -e -c '"
                "test $(hvsock id -s \"vsock port 5001\") = 00001389-facb-11e6-bd58-64006a7986d3;"
                "test $(hvsock id -s Other) = 00000047-facb-11e6-bd58-64006a7986d3'");
        check_equal(sh_refused("hvsock sandbox --service vsock:2147483648 -- true"), 2);
        check_equal(sh_refused("hvsock sandbox --service vsock: -- true"), 2);
}

TEST(the_exit_code_is_the_commands) {
        check_equal(sh("hvsock sandbox -- sh -c 'exit 42'")->code, 42);
        check_equal(sh("hvsock sandbox true")->code, 0);
        check_equal(sh("hvsock sandbox -- sh -c 'kill -9 $$'")->code, 128 + SIGKILL);
        check_equal(sh("hvsock sandbox -- /nowhere/command")->code, 127);
        check_equal(sh("hvsock sandbox -- /etc/passwd")->code, 126);
}

TEST(what_hvsock_cannot_do_is_125) {
        check_equal(sh("HVSOCKD=/nowhere/hvsockd hvsock sandbox -- true")->code, 125);
        check_equal(sh("HVSOCKD=/bin/false hvsock sandbox -- true")->code, 125);
        check_equal(sh("TMPDIR=/nowhere hvsock sandbox -- true")->code, 125);
}

TEST(a_world_that_cannot_be_is_a_wrong_command_line) {
        static const char *const wrong[] = {"", "--vm 'a b' true", "--vm twice --vm twice true",
                                            "--container nowhere/db true",
                                            "--service 22222222-2222-3333-4444-55555555555=Short true"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                check_equal(sh_refused("hvsock sandbox %s", wrong[i]), 2);
                check(strstr(sh("hvsock sandbox %s", wrong[i])->err, "try: hvsock sandbox --help\n") != NULL);
        }
}

TEST(a_world_has_the_quotas_of_the_file_that_was_named) {
        const char *config = sh_text("f=$(mktemp) && printf 'Format=1\\nListenersPerPartition=1\\n' >$f && echo $f");
        char path[256];
        snprintf(path, sizeof path, "%s", config);
        sh_text("hvsock sandbox --config %s -- sh -c 'hvsock nc -l loopback vsock:1 & "
                "until hvsock ls | grep -q listening; do sleep 0.01; done; ! hvsock nc -l loopback vsock:2'", path);
        sh_text("printf 'Format=1\\nListenersPerPartition=none\\n' >%s", path);
        check_equal(sh("hvsock sandbox --config %s -- true", path)->code, 125);
        sh_text("rm %s", path);
        check_equal(sh_refused("hvsock sandbox --config %s -- true", path), 2);
}

TEST(the_users_own_world_stays_out_of_it_and_is_given_to_the_command) {
        check_string(sh_text("d=$(mktemp -d) && mkdir -p $d/hvsock/services && cd $d/hvsock/services &&"
                             "printf 'Format=1\\nElementName=Mine\\n' >11111111-2222-3333-4444-555555555555.conf;"
                             "XDG_RUNTIME_DIR=$d XDG_STATE_HOME=$d XDG_CONFIG_HOME=$d hvsock sandbox --service Only -- "
                             "sh -c '"
                             "hvsock service list --json | grep -o \"\\\"name\\\": .*\"; test $XDG_RUNTIME_DIR = '$d; "
                             "code=$?;"
                             "ls -R $d | grep -v ^/ | grep -c .; rm -r $d; exit $code"),
                     "\"name\": \"Only\",\n3");
}

TEST(a_sandbox_leaves_nothing_when_its_command_ends) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01");
        check(access(sandbox.directory, F_OK) == 0);
        sandbox_close(&sandbox);
}

TEST(a_sandbox_leaves_nothing_when_hvsock_is_killed) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01");
        must(kill(sandbox.pid, SIGKILL));
        check_equal(sh_end(sandbox.pid), 128 + SIGKILL);
        sandbox_check_gone(&sandbox);
        close(sandbox.end_fd);
}

TEST(a_sandbox_leaves_nothing_when_hvsock_is_told_to_end) {
        static const int signals[] = {SIGTERM, SIGINT, SIGHUP};
        for (size_t i = 0; i < sizeof signals / sizeof *signals; i++) {
                struct sandbox sandbox;
                sandbox_open(&sandbox, "");
                must(kill(sandbox.pid, signals[i]));
                check_equal(sh_end(sandbox.pid), 128 + signals[i]);
                sandbox_check_gone(&sandbox);
                close(sandbox.end_fd);
        }
}

TEST(a_signal_is_the_commands_to_answer) {
        pid_t pid = sh_begin("exec hvsock sandbox -- sh -c 'trap \"exit 7\" TERM; touch $HVSOCK_MANAGE.ready; "
                             "while :; do sleep 0.01; done'");
        await_success("ls ${TMPDIR:-/tmp}/hvsock-sandbox-*/runtime/manage.ready");
        must(kill(pid, SIGTERM));
        check_equal(sh_end(pid), 7);
}

TEST(what_the_command_left_in_the_background_is_ended_too) {
        char pid[32];
        strcpy(pid, sh_text("hvsock sandbox -- sh -c 'setsid sleep 1000 >/dev/null 2>&1 & echo $!'"));
        check(kill((pid_t)atoi(pid), 0) < 0);
        strcpy(pid, sh_text("hvsock sandbox -- sh -c '(trap \"\" TERM HUP; sleep 1000) >/dev/null 2>&1 & echo $!'"));
        check(kill((pid_t)atoi(pid), 0) < 0);
}

TEST(what_was_started_on_demand_is_ended_too) {
        char pid[32];
        strcpy(pid, sh_text("hvsock sandbox -- sh -e -c '"
                            "hvsock service add Sleeper --accept "
                            "--exec \"/bin/sh -c \\\"echo \\$\\$; exec sleep 1000\\\"\" >/dev/null;"
                            "hvsock nc --wait loopback Sleeper </dev/null >$HVSOCK_MANAGE.pid 2>/dev/null &"
                            "until test -s $HVSOCK_MANAGE.pid; do sleep 0.01; done; cat $HVSOCK_MANAGE.pid'"));
        check(atoi(pid) > 0 && kill((pid_t)atoi(pid), 0) < 0);
}

TEST(a_sandbox_in_a_sandbox_is_another_world) {
        check_string(sh_text("hvsock sandbox --vm outer -- hvsock sandbox --vm inner -- sh -c "
                             "'hvsock vm list --json | grep -o \"\\\"label\\\": .*\"'"),
                     "\"label\": \"inner\",");
}

TEST(a_sandbox_works_below_a_long_path) {
        sh_text("d=$(mktemp -d)/$(head -c 150 /dev/zero | tr '\\0' x); mkdir $d; "
                "TMPDIR=$d hvsock sandbox --vm web01 -- sh -e -c 'hvsock tree; hvsock id web01; hvsock run web01 -- "
                "hvsock id'; "
                "code=$?; rmdir $d $(dirname $d); exit $code");
}
