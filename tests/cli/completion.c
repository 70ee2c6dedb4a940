/* SPDX-License-Identifier: MIT */

/* Completion: what the hidden verb offers, and that bash takes it. */

#include "shell.h"

#include "test.h"
#include <stdio.h>
#include <stdlib.h>

/* What is offered for the last word of `line`, on one line. */
static const char *offered(const char *line) {
        return sh_text("set -- %s; hvsock __complete $(($# - 1)) \"$@\" | tr '\\n' ' '", line);
}

TEST(verbs_and_options_come_from_the_table) {
        check(strstr(offered("hvsock ''"), "sandbox run service vm container id ") != NULL);
        check_string(offered("hvsock se"), "service ");
        check_string(offered("hvsock service ex"), "export ");
        check_string(offered("hvsock service ''"), "add remove enable disable list show import export ");
        check_string(offered("hvsock nc --se"), "--seqpacket ");
        check_string(offered("hvsock nc --seqpacket --w"), "--wait ");
        check_string(offered("hvsock completion ''"), "bash zsh fish ");
        check_string(offered("hvsock help do"), "doctor ");
        check_string(offered("hvsock __"), "");
}

TEST(partitions_and_services_come_from_the_world) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --container web01/db --service Echo --service 'HV Socket Demo'");
        check_string(offered("hvsock run w"), "wildcard web01 web01/db ");
        check_string(offered("hvsock vm show web01/"), "web01/db ");
        check_string(offered("hvsock service show E"), "Echo ");
        check_string(offered("hvsock nc web01 H"), "HV Socket Demo ");
        check_string(offered("hvsock why web01 pa"), "parent ");
        check_string(offered("hvsock service add --partition web01/"), "web01/db ");
        check_string(offered("hvsock run web01 ''"), ":command ");
        check_string(offered("hvsock run web01 ls ''"), ":command ");
        check_string(offered("hvsock service import ''"), ":files ");
        sandbox_close(&sandbox);
}

TEST(without_a_broker_completion_is_silent) {
        const struct outcome *outcome = sh("HVSOCK_MANAGE=/nowhere hvsock __complete 3 hvsock service show ''");
        check_equal(outcome->code, 0);
        check_string(outcome->out, "");
        check_string(outcome->err, "");
}

TEST(bash_completes_a_name_with_spaces) {
        if (sh("command -v bash")->code != 0)
                test_skip("no bash");
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service 'HV Socket Demo'");
        check_string(
                sh_text("bash -c 'source <(hvsock completion bash); COMP_WORDS=(hvsock service show HV); COMP_CWORD=3; "
                        "_hvsock; printf \"%%s\" \"${COMPREPLY[@]}\"'"),
                "HV\\ Socket\\ Demo");
        sandbox_close(&sandbox);
}

TEST(the_scripts_of_other_shells_parse) {
        sh_text("hvsock completion zsh | grep -q compdef");
        sh_text("hvsock completion fish | grep -q 'complete -c hvsock'");
        if (sh("command -v zsh")->code == 0)
                sh_text("hvsock completion zsh | zsh -n");
        if (sh("command -v fish")->code == 0)
                sh_text("hvsock completion fish | fish -n");
}
