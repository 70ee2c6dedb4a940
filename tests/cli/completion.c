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
        check_string(offered("hvsock nc --ca"), "--carrier ");
        check_string(offered("hvsock nc --carrier ''"), "auto unix shm ");
        check_string(offered("hvsock nc -l --carrier s"), "shm ");
        check_string(offered("hvsock vm args --vmm ''"), "qemu cloud-hypervisor ");
        check_string(offered("hvsock vm ''"), "add args remove list show ");
        check_string(offered("hvsock vm add --hybrid ''"), ":files ");
        check_string(offered("hvsock nc --carrier shm --carrier u"), "unix ");
        check_string(offered("hvsock __"), "");
}

TEST(partitions_and_services_come_from_the_world) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --container web01/db --service Echo --service 'HV Socket Demo'");
        check_string(offered("hvsock run w"), "web01 web01/db ");
        check_string(offered("hvsock container show web01/"), "web01/db ");
        check_string(offered("hvsock vm show ''"), "web01 ");
        check_string(offered("hvsock vm args --memory 1G ''"), "web01 ");
        check_string(offered("hvsock container remove ''"), "web01/db ");
        check_string(offered("hvsock nc ''"), "parent loopback children wildcard silohost host web01 web01/db Echo "
                                              "HV Socket Demo ");
        check_string(offered("hvsock id -s E"), "Echo ");
        check_string(offered("hvsock id E"), "");
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

TEST(bash_completes_a_name_with_spaces_in_open_quotes_too) {
        if (sh("command -v bash")->code != 0)
                test_skip("no bash");
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service 'HV Socket Demo' --service \"it's\"");
        sh_text("hvsock completion bash >%s/script", sandbox.directory);
        static const struct {
                const char *typed, *completed;
        } words[] = {{"HV", "HV Socket Demo"},      {"\\'HV", "HV Socket Demo"},   {"\\\"HV", "HV Socket Demo"},
                     {"'HV\\ So'", "HV Socket Demo"}, {"\"\\\"it'\"", "it's"}};
        for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
                sh_text("cat >%s/line <<'end'\nsource %s/script; COMP_WORDS=(hvsock service show %s); COMP_CWORD=3; "
                        "_hvsock; printf '%%s\\n' \"${COMPREPLY[@]}\"\nend\n",
                        sandbox.directory, sandbox.directory, words[i].typed);
                check_string(sh_text("bash %s/line", sandbox.directory), words[i].completed);
        }
        sandbox_close(&sandbox);
}

/* A bash at a terminal that takes what is written into `typed`. */
static pid_t bash_begin(const struct sandbox *sandbox) {
        sh_text("cd %s && hvsock completion bash >rc && mkfifo typed", sandbox->directory);
        return sh_begin("cd %s && exec script -qc 'bash --noprofile --rcfile rc -i' /dev/null <typed >screen 2>&1",
                        sandbox->directory);
}

TEST(bash_takes_a_word_with_a_colon_for_one) {
        if (sh("command -v bash script")->code != 0)
                test_skip("no bash, or no script to give it a terminal");
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service Echo --service =db:main");
        pid_t shell = bash_begin(&sandbox);
        sh_text("cd %s && printf 'hvsock() { echo \"$*\" >>asked; command hvsock \"$@\"; }\\n"
                "hvsock nc --help vsock:5 Ec\\t\\n"
                "hvsock sandbox --service vsock:5=Five --verb\\t --help\\n"
                "hvsock service show --help db:ma\\t\\n"
                "hvsock service show --help db:\\t\\n"
                "exit\\n' >typed",
                sandbox.directory);
        sh_end(shell);
        check_string(sh_text("cd %s && grep -v __complete asked", sandbox.directory),
                     "nc --help vsock:5 Echo\n"
                     "sandbox --service vsock:5=Five --verbose --help\n"
                     "service show --help db:main\n"
                     "service show --help db:main");
        sandbox_close(&sandbox);
}

TEST(bash_quotes_what_it_completes) {
        if (sh("command -v bash script")->code != 0)
                test_skip("no bash, or no script to give it a terminal");
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service 'HV Socket Demo'");
        sh_text("mkdir %s/show", sandbox.directory);
        pid_t shell = bash_begin(&sandbox);
        sh_text("cd %s && printf 'hvsock service sho\\t HV\\t>1\\nhvsock service show \"HV\\t >2\\nexit\\n' >typed",
                sandbox.directory);
        sh_end(shell);
        sh_text("cd %s && grep HV 1 && grep HV 2", sandbox.directory);
        sandbox_close(&sandbox);
}

TEST(zsh_completes_and_quotes_a_name_with_spaces) {
        if (sh("command -v zsh")->code != 0)
                test_skip("no zsh");
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service 'HV Socket Demo'");
        sh_text("cat >%s/script <<'end'\n"
                "cd $1; zmodload zsh/zpty; zpty shell zsh -f -i\n"
                "zpty -w shell 'source <(hvsock completion zsh); bindkey \"^I\" complete-word; touch ready'\n"
                "until [[ -e ready ]]; do sleep 0.01; done\n"
                "zpty -w shell $'hvsock service show HV\\t>1'\n"
                "zpty -w shell $'hvsock service show \"HV\\t >2; touch done'\n"
                "until [[ -e done ]]; do sleep 0.01; done\n"
                "grep HV 1 && grep HV 2\n"
                "end\n",
                sandbox.directory);
        sh_text("ZDOTDIR=%s HOME=%s zsh -f %s/script %s", sandbox.directory, sandbox.directory, sandbox.directory,
                sandbox.directory);
        sandbox_close(&sandbox);
}

TEST(fish_completes_a_name_with_spaces) {
        if (sh("command -v fish")->code != 0)
                test_skip("no fish");
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--vm web01 --service 'HV Socket Demo'");
        static const struct {
                const char *typed, *completed;
        } lines[] = {{"hvsock service show H", "HV Socket Demo"},
                     {"hvsock service show \"HV", "HV Socket Demo"},
                     {"hvsock vm show w", "web01"},
                     {"hvsock nc --se", "--seqpacket"}};
        for (size_t i = 0; i < sizeof lines / sizeof *lines; i++)
                check_string(sh_text("HOME=%s fish -c 'hvsock completion fish | source; complete -C $argv' -- '%s'",
                                     sandbox.directory, lines[i].typed),
                             lines[i].completed);
        sandbox_close(&sandbox);
}
