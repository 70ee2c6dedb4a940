/* SPDX-License-Identifier: MIT */

/* The command line itself, and the verbs that manage. */

#include "shell.h"

#include "test.h"
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MISSING "11111111-2222-3333-4444-555555555555"

TEST(help_names_every_verb_and_every_exit_code) {
        const char *text = sh_text("hvsock --help");
        static const char *const words[] = {
                "sandbox", "run",  "service add", "vm add", "container show", "id",  "tree", "ls", "monitor",
                "why",     "stat", "nc",          "bench",  "doctor",         "completion", "124", "126", "127"};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                check(strstr(text, words[i]) != NULL);
        check(strstr(text, "__complete") == NULL);
}

TEST(every_verb_has_help_that_names_its_options) {
        check(strstr(sh_text("hvsock service add --help"), "--no-wildcard") != NULL);
        check(strstr(sh_text("hvsock help nc"), "--seqpacket") != NULL);
        check(strstr(sh_text("hvsock service --help"), "service import") != NULL);
        sh_text("for verb in $(hvsock help | sed -n 's/^  \\([a-z][a-z ]*[a-z]\\)  .*/\\1/p' | tr ' ' :); do "
                "hvsock $(echo $verb | tr : ' ') --help >/dev/null || exit 1; done");
}

TEST(a_verbs_help_names_the_exit_codes_it_has) {
        check(strstr(sh_text("hvsock tree --help"), "  5  no hvsockd") && !strstr(sh_text("hvsock tree --help"), "125"));
        check(strstr(sh_text("hvsock run --help"), "  126  ") != NULL);
        check(strstr(sh_text("hvsock completion --help"), "no hvsockd") == NULL);
}

TEST(the_version_is_printed) {
        check(strncmp(sh_text("hvsock --version"), "hvsock ", 7) == 0);
}

TEST(a_wrong_command_line_is_told_and_exits_with_2) {
        check_equal(sh_refused("hvsock frobnicate"), 2);
        check_equal(sh_refused("hvsock service"), 2);
        check_equal(sh_refused("hvsock service frobnicate"), 2);
        check_equal(sh_refused("hvsock tree --frobnicate"), 2);
        check_equal(sh_refused("hvsock tree -q"), 2);
        check_equal(sh_refused("hvsock service add"), 2);
        check_equal(sh_refused("hvsock service add --id"), 2);
        check_equal(sh_refused("hvsock why host web01"), 2);
        check_equal(sh_refused("hvsock tree extra"), 2);
        check_equal(sh_refused("hvsock stat --watch=never"), 2);
        check_equal(sh_refused("hvsock nc --keep loopback vsock:1"), 2);
        check_equal(sh_refused("hvsock completion tcsh"), 2);
        check_equal(sh("hvsock")->code, 2);
}

TEST(without_a_broker_the_exit_code_is_5) {
        check_equal(sh_refused("HVSOCK_SOCKET=/nowhere/control hvsock bench"), 5);
        check_equal(sh_refused("HVSOCK_MANAGE=/nowhere/manage hvsock tree"), 5);
        check_equal(sh_refused("HVSOCK_MANAGE=/nowhere/manage hvsock service list --json"), 5);
        check_equal(sh_refused("HVSOCK_MANAGE=/nowhere/manage hvsock run host true"), 5);
        check_equal(sh_refused("HVSOCK_SOCKET=/nowhere hvsock id"), 5);
        check_equal(sh_refused("HVSOCK_SOCKET=/nowhere hvsock nc loopback vsock:1 </dev/null"), 5);
}

TEST(an_error_says_what_was_expected_and_the_next_command) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --service Echo");
        check(strstr(sh("hvsock why host")->err, "expected FROM TO SERVICE") != NULL);
        check(strstr(sh("hvsock service add HV Socket Demo")->err, "in quotes") != NULL);
        check(strstr(sh("hvsock vm add web01")->err, "try: hvsock tree") != NULL);
        check(strstr(sh("hvsock run web01 -- hvsock nc nobody Echo")->err, "try: on the host: hvsock tree") != NULL);
        check(strstr(sh("hvsock id Echo")->err, "try: hvsock id -s Echo") != NULL);
        check(strstr(sh("hvsock service import /nowhere")->err, "try: hvsock service import --help") != NULL);
        check(strstr(sh("hvsock service add --exec /nowhere X")->err, "/services/") != NULL);
        sandbox_close(&sandbox);
}

TEST(an_example_that_fails_says_the_next_command) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --service Echo");
        static const char unknown[] = "0badcafe-0000-4000-8000-000000000000";
        check(strstr(sh("$HVSOCK_BUILD/examples/echo_server Nope")->err,
                     "try: on the host: hvsock service add 'Nope'\n") != NULL);
        check(strstr(sh("$HVSOCK_BUILD/examples/echo_server %s", unknown)->err,
                     "try: on the host: hvsock service add --id") != NULL);
        check(strstr(sh("$HVSOCK_BUILD/examples/echo_client web01 hi %s", unknown)->err,
                     "hvsock service add --id") != NULL);
        check(strstr(sh("$HVSOCK_BUILD/examples/echo_client nobody hi Echo")->err,
                     "try: on the host: hvsock tree") != NULL);
        check(strstr(sh("HVSOCK_SOCKET=/nowhere $HVSOCK_BUILD/examples/echo_server")->err,
                     "try: hvsock doctor\n") != NULL);
        sandbox_close(&sandbox);
}

TEST(a_service_is_added_under_a_new_guid_and_found_by_its_name) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        char id[64];
        strcpy(id, sh_text("hvsock service add 'HV Socket Demo'"));
        check_equal(strlen(id), 36);
        check_string(sh_text("hvsock id --service 'HV Socket Demo'"), id);
        struct json_object *shown = sh_json("hvsock service show --json 'HV Socket Demo'");
        check_string(text_at(shown, "/service/id"), id);
        check_string(text_at(shown, "/service/enabled"), "true");
        check_string(text_at(shown, "/service/bind"), "default");
        json_object_put(shown);
        check_equal(sh_refused("hvsock service add 'HV Socket Demo'"), 1);
        sandbox_close(&sandbox);
}

TEST(the_options_of_service_add_arrive) {
        struct sandbox sandbox;
        char user[64]; /* nobody else will do unless this is root */
        snprintf(user, sizeof user, "%s", sh_text("id -un"));
        sandbox_open(&sandbox, "--vm web01");
        check_string(
                sh_text("hvsock service add --id %s --bind user:root --connect 'host vms' --disabled "
                        "--exec '/bin/cat -u' --user %s --accept --partition web01 Cat",
                        MISSING, user),
                MISSING);
        struct json_object *shown = sh_json("hvsock service show --json %s", MISSING);
        check_string(text_at(shown, "/service/name"), "Cat");
        check_string(text_at(shown, "/service/bind"), "user:root");
        check_string(text_at(shown, "/service/connect"), "host vms");
        check_string(text_at(shown, "/service/enabled"), "false");
        check_string(text_at(shown, "/service/exec"), "/bin/cat -u");
        check_string(text_at(shown, "/service/user"), user);
        check_string(text_at(shown, "/service/accept"), "true");
        check_string(text_at(shown, "/service/partition"), "web01");
        json_object_put(shown);
        shown = sh_json("hvsock service add --no-wildcard --json Closed");
        check_string(text_at(shown, "/service/wildcardBinds"), "false");
        json_object_put(shown);
        sandbox_close(&sandbox);
}

TEST(what_no_drop_in_can_hold_is_refused) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        check_equal(sh_refused("hvsock service add ''"), 2);
        check_equal(sh_refused("hvsock service add \"$(printf 'a\\nExec=/bin/sh')\""), 2);
        check_equal(sh_refused("hvsock service add " MISSING), 2);
        check_equal(sh_refused("hvsock service add vsock:1"), 2);
        check_equal(sh_refused("hvsock service add ' space'"), 2);
        check_equal(sh_refused("hvsock service add --id nonsense X"), 2);
        check_equal(sh_refused("hvsock service add --bind nonsense X"), 2);
        check_equal(sh_refused("hvsock service add --exec relative X"), 2);
        check_equal(sh_refused("hvsock service add --exec '/bin/echo \"' X"), 2);
        check_equal(sh_refused("hvsock service add --exec /bin/cat --no-wildcard X"), 2);
        check_equal(sh_refused("hvsock service add --accept X"), 2);
        check_equal(sh_refused("hvsock service add --user root X"), 2);
        check_equal(sh_refused("hvsock service add --partition host X"), 2);
        check_equal(sh_refused("hvsock service add \"$(head -c 256 /dev/zero | tr '\\0' x)\""), 2);
        sh_text("hvsock service add \"$(head -c 255 /dev/zero | tr '\\0' x)\"");
        sandbox_close(&sandbox);
}

TEST(services_are_disabled_enabled_and_removed) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service Echo");
        sh_text("hvsock service disable Echo");
        check_string(sh_text("hvsock service list --json | grep -c '\"enabled\": false'"), "1");
        sh_text("hvsock service enable Echo");
        check_string(sh_text("hvsock service list --json | grep -c '\"enabled\": true'"), "1");
        sh_text("hvsock service remove Echo");
        check_equal(sh_refused("hvsock service show Echo"), 3);
        check_equal(sh_refused("hvsock service remove Echo"), 3);
        check_equal(sh_refused("hvsock service disable %s", MISSING), 3);
        sandbox_close(&sandbox);
}

TEST(a_removed_services_listener_goes_on_within_its_partition) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --service vsock:5=Five");
        pid_t server = sh_begin("cd %s && exec hvsock nc -lk wildcard vsock:5 </dev/null >got", sandbox.directory);
        sh_text("echo first | hvsock run web01 -- hvsock nc --wait parent vsock:5");
        sh_text("hvsock service remove vsock:5");
        check_equal(sh_refused("echo second | hvsock run web01 -- hvsock nc parent vsock:5"), 4);
        sh_text("echo third | hvsock nc loopback vsock:5");
        await_success("cd %s && grep third got", sandbox.directory);
        check_string(sh_text("cat %s/got", sandbox.directory), "first\nthird");
        must(kill(server, SIGTERM));
        sh_end(server);
        sandbox_close(&sandbox);
}

TEST(a_service_is_a_vsock_port) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service vsock:5=Five");
        check_string(sh_text("hvsock id --service Five"), "00000005-facb-11e6-bd58-64006a7986d3");
        check_string(sh_text("hvsock service add --id vsock:2147483647 Last"), "7fffffff-facb-11e6-bd58-64006a7986d3");
        check_equal(sh_refused("hvsock service add --id vsock:2147483648 More"), 2);
        sh_text("hvsock service show vsock:5 && hvsock service remove vsock:5");
        check_equal(sh_refused("hvsock service show Five"), 3);
        sandbox_close(&sandbox);
}

TEST(of_several_services_each_is_removed_on_its_own) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service A --service B --service C");
        check_equal(sh_refused("hvsock service remove A nosuch B"), 3);
        check_string(sh_text("hvsock service list --json | grep -o '\"name\": .*'"), "\"name\": \"C\",");
        sandbox_close(&sandbox);
}

TEST(a_drop_in_with_a_mistake_is_listed_with_its_place_and_can_be_removed) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service Echo");
        sh_text("printf 'Format=1\nElementName=X\nEnabled=maybe\n' >%s/services/" MISSING ".conf", sandbox.directory);
        await_success("hvsock service list | grep '" MISSING " mistake .*" MISSING ".conf:3: expected'");
        struct json_object *list = sh_json("hvsock service list --json");
        check_string(text_at(list, "/problems/0/id"), MISSING);
        json_object_put(list);
        sh_text("hvsock service remove " MISSING);
        check(strstr(sh_text("hvsock service list"), "mistake") == NULL);
        sh_text("hvsock service show Echo");
        check_equal(sh_refused("hvsock service remove " MISSING), 3);
        sandbox_close(&sandbox);
}

TEST(what_lists_nothing_says_what_to_type) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        static const char *const lists[] = {"service list", "vm list", "container list", "ls"};
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
                check_equal(sh_refused("hvsock %s", lists[i]), 0);
                check_string(sh("hvsock %s --json", lists[i])->err, "");
        }
        sandbox_close(&sandbox);
}

TEST(a_word_is_a_partition_only_where_it_stands_for_one) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --service Echo");
        check_string(sh_text("hvsock run loopback -- hvsock id"), sh_text("hvsock id host"));
        check(strstr(sh("hvsock why loopback web01 Echo")->out, "no-listener") != NULL);
        sh_text("hvsock container add loopback/box && hvsock container show box");
        check_equal(sh_refused("hvsock vm remove loopback"), 3); /* it is the host */
        static const char *const words[] = {"parent", "silohost", "children", "wildcard"};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
                check_equal(sh_refused("hvsock vm show %s", words[i]), 2);
                check_equal(sh_refused("hvsock vm remove %s", words[i]), 2);
                check_equal(sh_refused("hvsock container add %s/x", words[i]), 2);
                check_equal(sh_refused("hvsock why %s web01 Echo", words[i]), 2);
                check_equal(sh_refused("hvsock run %s -- true", words[i]), 2);
                check(strstr(sh("hvsock run %s -- true", words[i])->err, "expected one partition") != NULL);
        }
        sandbox_close(&sandbox);
}

TEST(a_windows_export_is_imported_and_ours_reads_back) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service " MISSING "=Before");
        sh_text("cd %s && hvsock service export x.reg && head -c 2 x.reg | od -An -tx1 | tr -d ' ' | grep fffe",
                sandbox.directory);
        sh_text("hvsock service remove Before");
        check_string(sh_text("hvsock service import %s/x.reg", sandbox.directory), "1 added, 0 replaced");
        check_string(sh_text("hvsock id --service Before"), MISSING);
        check_string(sh_text("hvsock service export | sed s/Before/After/ | hvsock service import"),
                     "0 added, 1 replaced");
        check_string(sh_text("hvsock id --service After"), MISSING);
        check_equal(sh_refused("echo nonsense | hvsock service import"), 1);
        check_equal(sh_refused("cd %s; hvsock service export |"
                               "sed 4d >bad.reg; hvsock service import bad.reg",
                               sandbox.directory), 1);
        check(strstr(sh("hvsock service import %s/bad.reg", sandbox.directory)->err, "/bad.reg:3: expected") != NULL);
        /* What is not ASCII is UTF-16 on standard output too, since Windows takes anything else for its code page. */
        sh_text("hvsock service add Büro");
        check_string(sh_text("hvsock service export | head -c 4 | od -An -tx1 | tr -d ' '"), "fffe5700");
        check_string(sh_text("hvsock service export | hvsock service import"), "0 added, 2 replaced");
        sh_text("hvsock service show Büro");
        check_equal(sh("printf '\\377\\376a' | hvsock service import")->code, 1);
        check_equal(sh("hvsock service import /nowhere.reg")->code, 3);
        sandbox_close(&sandbox);
}

TEST(partitions_are_added_listed_shown_and_removed) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        char id[64];
        strcpy(id, sh_text("hvsock vm add web01"));
        check_equal(strlen(id), 36);
        check_string(sh_text("hvsock id web01"), id);
        check_string(sh_text("hvsock vm add web02 --uuid {" MISSING "}"), MISSING);
        sh_text("hvsock container add web01/db --passthru");
        sh_text("hvsock container add alone --siblings");

        struct json_object *tree = sh_json("hvsock tree --json");
        check_equal(json_object_array_length(at(tree, "/partitions")), 5);
        check_string(text_at(tree, "/partitions/0/path"), "host");
        json_object_put(tree);
        check_string(sh_text("hvsock container list --json | grep -o '\"path\": .*' | sort | tr -d '\\n'"),
                     "\"path\": \"alone\",\"path\": \"web01/db\",");
        check(strstr(sh_text("hvsock tree"), "db") != NULL);

        check_equal(sh_refused("hvsock vm add web01"), 1);
        check_equal(sh_refused("hvsock vm add web03 --id " MISSING), 1);
        check_equal(sh_refused("hvsock vm add parent"), 2);
        check_equal(sh_refused("hvsock vm add 'a b'"), 2);
        check_equal(sh_refused("hvsock vm add web03 --id 90db8b89-0d35-4f79-8ce9-49ea0ac8b7cd"), 2);
        check_equal(sh_refused("hvsock container add nowhere/db"), 3);
        check_equal(sh_refused("hvsock vm remove web01"), 1); /* db is in it */
        check_equal(sh_refused("hvsock vm remove alone"), 3); /* it is a container */
        check_equal(sh_refused("hvsock vm show nowhere"), 3);
        sh_text("hvsock container remove web01/db");
        sh_text("hvsock vm remove web01");
        check_equal(sh_refused("hvsock id web01"), 3);
        sandbox_close(&sandbox);
}

TEST(a_channel_that_is_over_is_counted_no_more) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service Echo");
        pid_t server = sh_begin("exec hvsock nc -l Echo </dev/null >/dev/null");
        sh_text("hvsock nc --wait loopback Echo </dev/null");
        (void)sh_end(server);
        check_equal(sh("hvsock tree | grep 'host .* running *0 *0$'")->code, 0);
        sandbox_close(&sandbox);
}

TEST(container_show_prints_what_container_engines_want) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--container box=" MISSING);
        const char *text = sh_text("hvsock container show box");
        char option[PATH_MAX + 128];
        snprintf(option, sizeof option, "podman run -v %s/runtime/" MISSING ":/run/hvsock:ro", sandbox.directory);
        check(strstr(text, option) != NULL);
        snprintf(option, sizeof option, "docker run -v %s/runtime/" MISSING ":/run/hvsock:ro", sandbox.directory);
        check(strstr(text, option) != NULL);
        snprintf(option, sizeof option, "systemd-nspawn --bind-ro=%s/runtime/" MISSING ":/run/hvsock",
                 sandbox.directory);
        check(strstr(text, option) != NULL);
        check(access(sh_text("hvsock container show box --json | sed -n 's/.*\"socket\": \"\\(.*\\)\",/\\1/p'"),
                     F_OK) == 0);
        sandbox_close(&sandbox);
}

TEST(everything_that_lists_prints_json) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --container web01/db --service Echo");
        static const char *const lists[] = {"service list", "vm list", "container list", "tree", "ls", "stat", "doctor",
                                            "service show Echo", "vm show web01", "container show web01/db",
                                            "why host loopback vsock:1 || true #"};
        for (size_t i = 0; i < sizeof lists / sizeof *lists; i++) {
                char command[128];
                snprintf(command, sizeof command, "hvsock %s", lists[i]);
                char *end = strstr(command, " ||");
                if (end)
                        strcpy(end, " --json || true");
                else
                        strcat(command, " --json");
                struct json_object *object = sh_json("%s", command);
                check(json_object_is_type(object, json_type_object));
                json_object_put(object);
        }
        sandbox_close(&sandbox);
}

TEST(why_says_the_rule_and_the_next_command) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --service Echo");
        const struct outcome *outcome = sh("hvsock why web01 host Echo");
        check_equal(outcome->code, 1);
        check(strncmp(outcome->out, "no: ", 4) == 0);
        check(strstr(outcome->out, "no-listener") != NULL);
        check(strstr(outcome->out, "ECONNREFUSED") != NULL);
        check(strstr(outcome->out, "try: ") != NULL);

        check(strstr(sh("hvsock why host web01 %s", MISSING)->out, "not-registered") != NULL);
        check(strstr(sh("hvsock why host web01 %s", MISSING)->out, "--id " MISSING) != NULL);
        check(strstr(sh("hvsock why host web01 %s", MISSING)->out, "process 0") == NULL);
        check(strstr(sh("hvsock why host children Echo")->out, "listeners-only") != NULL);
        check(strstr(sh("hvsock why host parent Echo")->out, "no-parent") != NULL);
        check(strstr(sh("hvsock why --passthru web01 parent Echo")->out, "passthru-denied") != NULL);
        sh_text("hvsock service disable Echo");
        check(strstr(sh("hvsock why web01 parent Echo")->out, "disabled") != NULL);
        check_equal(sh_refused("hvsock why nowhere host Echo"), 3);
        check_equal(sh_refused("hvsock why host nowhere Echo"), 3);
        check_equal(sh_refused("hvsock why host web01 Nothing"), 3);
        check_equal(sh_refused("hvsock why --user nobodyatall host web01 Echo"), 3);
        sandbox_close(&sandbox);
}

TEST(why_judges_as_the_user_that_is_named) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01");
        sh_text("hvsock service add Guarded --connect nobody");
        check(strstr(sh("hvsock why --user 12345 web01 parent Guarded")->out, "connect-denied") != NULL);
        sh_text("hvsock service add Open --connect user:12345");
        check(strstr(sh("hvsock why --user 12345 host loopback Open")->out, "no-listener") != NULL);
        sandbox_close(&sandbox);
}

TEST(doctor_finds_a_mistake_in_a_drop_in_and_says_where) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service Echo");
        check_equal(sh("hvsock doctor")->code, 0);
        sh_text("printf 'Format=1\\nElementName=X\\nEnabled=maybe\\n' >%s/services/" MISSING ".conf",
                sandbox.directory);
        await_success("hvsock doctor | grep '" MISSING ".conf:3: .*expected'");
        check_equal(sh("hvsock doctor")->code, 1);
        check(strstr(sh("hvsock doctor")->out, "fix: ") != NULL);
        sandbox_close(&sandbox);
}

TEST(doctor_finds_what_is_wrong_around_a_world) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        const struct outcome *outcome = sh("HVSOCK_SOCKET=/nowhere hvsock doctor");
        check_equal(outcome->code, 1);
        check(strstr(outcome->out, "fix: unset HVSOCK_SOCKET") != NULL);
        outcome = sh("HVSOCK_MANAGE=/nowhere hvsock doctor");
        check_equal(outcome->code, 1);
        check(strstr(outcome->out, "fix: unset HVSOCK_MANAGE") != NULL);
        check(strstr(sh("ulimit -n 64; hvsock doctor")->out, "fix: ulimit -n") != NULL);
        check(strstr(sh("chmod go+w %s/runtime; hvsock doctor", sandbox.directory)->out, "fix: chmod go-w") != NULL);
        sh_text("chmod go-w %s/runtime", sandbox.directory);
        check_equal(sh("hvsock doctor")->code, 0);
        sandbox_close(&sandbox);
}

TEST(doctor_does_not_wait_for_a_broker_that_is_stopped) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        must(kill(sandbox.broker, SIGSTOP));
        const struct outcome *outcome = sh("timeout 20 hvsock doctor"); /* a call of any other verb waits longer */
        check_equal(outcome->code, 1);
        check(strstr(outcome->out, "is stopped") != NULL);
        sh_text("eval \"$(hvsock doctor | sed -n 's/  fix: //p')\""); /* wakes it */
        check_equal(sh("hvsock doctor")->code, 0);
        sandbox_close(&sandbox);
}

TEST(doctor_says_that_a_named_file_is_no_socket) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        static const char *const wrong[] = {"HVSOCK_SOCKET=/etc/passwd", "HVSOCK_MANAGE=/etc/passwd",
                                            "HVSOCK_SOCKET=$HVSOCK_MANAGE", "HVSOCK_MANAGE=$HVSOCK_SOCKET"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                const struct outcome *outcome = sh("%s hvsock doctor", wrong[i]);
                check_equal(outcome->code, 1);
                check(strstr(outcome->out, "no socket of hvsockd") != NULL);
                check(strstr(outcome->out, "fix: unset HVSOCK_") != NULL);
        }
        sh_text("HVSOCK_MANAGE=$(dirname $HVSOCK_MANAGE) hvsock doctor");
        sandbox_close(&sandbox);
}

TEST(doctor_says_whose_broker_the_library_does_not_trust) {
        if (geteuid() != 0)
                test_skip("to be another user takes root");
        const struct outcome *outcome =
                sh("d=$(mktemp -d); chmod 711 $d; mkdir $d/hvsock; cp $HVSOCK_BUILD/hvsockd $d; chown -R 65534 $d;"
                   "setpriv --reuid 65534 --clear-groups $d/hvsockd --runtime $d/hvsock --state $d/state --services $d/s "
                   "--config $d/none 2>/dev/null & pid=$!;"
                   "export XDG_RUNTIME_DIR=$d; until test -S $d/hvsock/control; do sleep 0.01; done;"
                   "hvsock doctor; code=$?; kill $pid; wait $pid; rm -r $d; exit $code");
        check_equal(outcome->code, 1);
        check(strstr(outcome->out, "of user 65534") != NULL);
        check(strstr(outcome->out, "fix: unset XDG_RUNTIME_DIR") != NULL);
}

TEST(where_no_broker_is_the_advice_starts_one) {
        if (access("/run/hvsock", F_OK) == 0 || access("/run/systemd/system", F_OK) == 0)
                test_skip("this machine's broker is started otherwise");
        check(strstr(sh("HVSOCKD=\"/a b/it's\" hvsock doctor")->out, "'/a b/it'\\''s' &\n") != NULL);
        check(strstr(sh("HVSOCKD=/broker hvsock tree")->err, "  try: /broker &\n") != NULL ||
              strstr(sh("HVSOCKD=/broker hvsock tree")->err, "export XDG_RUNTIME_DIR=") != NULL);
}

TEST(advice_can_be_typed_as_it_is) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --service \"it's\"");
        check_equal(sh_refused("hvsock service add \"it's\""), 1);
        check(strstr(sh_text("eval \"$(hvsock service add \"it's\" 2>&1 | sed -n 's/  try: //p')\""), "it's") != NULL);
        check(strstr(sh("hvsock vm add 'a b'")->err, "try: hvsock vm add --help\n") != NULL);
        check(strstr(sh("hvsock container add 'a b'")->err, "try: hvsock container add --help\n") != NULL);
        check(strstr(sh("hvsock run web01 -- hvsock service add \"it's\"")->err,
                     "try: on the host: hvsock service add 'it'\\''s'\n") != NULL);
        check(strstr(sh("hvsock run web01 -- hvsock nc parent " MISSING " </dev/null")->err,
                     "try: on the host: hvsock service add --id " MISSING " '<NAME>'\n") != NULL);
        check(strstr(sh("hvsock nc loopback vsock:1 </dev/null")->err, "try: hvsock nc --wait loopback vsock:1\n") != NULL);
        sandbox_close(&sandbox);
}

TEST(doctor_knows_a_stale_socket) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        must(kill(sandbox.broker, SIGKILL));
        await_success("hvsock doctor | grep 'stale socket'");
        check_equal(sh_refused("hvsock tree"), 5);
        sandbox_close(&sandbox);
}

TEST(names_of_strangers_cannot_steer_a_terminal) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        /* The name of a process is its own choice: here a control character, a C1 control and a change of direction. */
        sh_text("cp \"$(command -v hvsock)\" \"%s/$(printf '\\033\\302\\233J\\342\\200\\256evil')\"",
                sandbox.directory);
        pid_t server =
                sh_begin("cd %s && mkfifo open && exec ./*evil nc -l loopback vsock:1 0<>open", sandbox.directory);
        await_success("hvsock ls | grep evil");
        const char *text = sh_text("hvsock ls");
        check(strstr(text, "\033") == NULL && strstr(text, "\xc2\x9b") == NULL && strstr(text, "\xe2\x80\xae") == NULL);
        check(strstr(text, "\\033\\302\\233J") != NULL);
        text = sh_text("hvsock ls --json");
        check(strstr(text, "\033") == NULL && strstr(text, "\xc2\x9b") == NULL && strstr(text, "\xe2\x80\xae") == NULL);
        check(strstr(text, "\\u001b\\u009bJ\\u202eevil") != NULL);
        must(kill(server, SIGKILL));
        sh_end(server);
        check(strstr(sh("HVSOCK_MANAGE=\"$(printf '/\\033[2J')\" hvsock tree")->err, "\033") == NULL);
        sandbox_close(&sandbox);
}
