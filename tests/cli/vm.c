/* SPDX-License-Identifier: MIT */

/* hvsock vm: virtual machines as a user adds them, and what their VMMs are to be started with. */

#include "shell.h"

#include "test.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define ID "11111111-2222-3333-4444-555555555555"

/* Some of what it printed last. */
static void check_says(const char *text, const char *part) {
        if (!strstr(text, part))
                test_fail(__FILE__, __LINE__, "\"%s\" does not say \"%s\"", text, part);
}

TEST(a_vm_is_one_that_a_vmm_comes_for) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        check_string(sh_text("hvsock vm add web01 --uuid " ID), ID);
        struct json_object *reply = sh_json("hvsock vm show web01 --json");
        char socket[PATH_MAX + 64];
        snprintf(socket, sizeof socket, "%s/runtime/" ID "/vhost-user", sandbox.directory);
        check_string(text_at(reply, "/partition/reach"), "vm");
        check_string(text_at(reply, "/partition/socket"), socket);
        check_equal(number_at(reply, "/partition/cid"), 3);
        check(!json_object_get_boolean(at(reply, "/partition/running")));
        check_string(text_at(reply, "/vm/state"), "stopped");
        check(!json_object_get_boolean(at(reply, "/vm/hasVmm")));
        check_string(text_at(reply, "/vm/problem"), "");
        json_object_put(reply);
        check_says(sh_text("hvsock vm show web01"), "CID        3\n");
        check_says(sh_text("hvsock vm show web01"), "State      stopped\n");
        check_says(sh_text("hvsock vm show web01"), "VMM        not there\n");
        check_says(sh_text("hvsock vm show web01"), "\n  hvsock vm args web01");
        check(sh("test -S %s", socket)->code == 0);
        check(sh("test -S \"$(hvsock vm show web01 | sed -n 's/^CONNECT *//p')\"")->code == 0);
        sandbox_close(&sandbox);
}

TEST(cids_are_counted_up_or_chosen_and_nobodys_twice) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        sh_text("hvsock vm add first && hvsock vm add chosen --cid 4294967294 && hvsock vm add second");
        check_string(sh_text("hvsock vm list --json | sed -n 's/.*\"cid\": \\(.*\\),/\\1/p' | tr '\\n' ' '"),
                     "4294967294 3 4 ");
        check_says(sh_text("hvsock vm list"), "4294967294");
        check_equal(sh_refused("hvsock vm add third --cid 4"), 1);
        check_says(sh("hvsock vm add third --cid 4")->err, "4: there is such a CID already\n  try: hvsock vm list\n");
        static const char *const wrong[] = {"0",  "1",  "2",    "4294967295", "18446744073709551619",
                                            "''", "3x", "0x10", "-1"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
                check_equal(sh_refused("hvsock vm add third --cid=%s", wrong[i]), 2);
        check_equal(sh_refused("hvsock id third"), 3);
        sh_text("hvsock vm remove first && hvsock vm add third");
        check_equal(sh("hvsock vm show third | grep 'CID *3$'")->code, 0);
        sandbox_close(&sandbox);
}

TEST(a_simulated_vm_has_programs_of_this_machine_and_a_cid_as_containers_have) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        sh_text("hvsock vm add web01 --simulated && hvsock vm add web02");
        check_string(sh_text("hvsock run web01 -- hvsock id"), sh_text("hvsock id web01"));
        check_equal(sh("hvsock vm show web01 | grep VMM")->code, 1);
        check_says(sh_text("hvsock vm show web01"), "CID        3\n");
        check_says(sh_text("hvsock vm show web01"), "State      running\n");
        check_equal(sh_refused("hvsock vm args web01"), 1);
        check_equal(sh_refused("hvsock run web02 -- true"), 125);
        sh_text("hvsock vm add web03 --simulated --cid 7 && hvsock container add web03/db --cid 8");
        check_says(sh_text("hvsock container show web03/db"), "CID        8\n");
        check_says(sh_text("hvsock container list"), " 8");
        check_equal(sh_refused("hvsock container add other --cid 8"), 1);
        check_equal(sh_refused("hvsock container add other --cid 0"), 2);
        check_equal(sh_refused("hvsock vm add web03 --simulated --hybrid /run/v"), 2);
        sandbox_close(&sandbox);
}

TEST(qemu_is_told_the_vm_id_the_socket_and_memory_that_is_shared) {
        struct sandbox sandbox;
        char expected[PATH_MAX + 512];
        sandbox_open(&sandbox, "");
        sh_text("hvsock vm add web01 --id " ID);
        snprintf(expected, sizeof expected,
                 "-uuid " ID " \\\n"
                 "-m 1G \\\n"
                 "-object memory-backend-memfd,id=hvsock-memory,size=1G,share=on \\\n"
                 "-machine memory-backend=hvsock-memory \\\n"
                 "-chardev socket,id=hvsock,path=%s/runtime/" ID "/vhost-user \\\n"
                 "-device vhost-user-vsock-pci,id=hvsock-device,chardev=hvsock", sandbox.directory);
        check_string(sh_text("hvsock vm args web01"), expected);
        check_string(sh_text("hvsock vm args --vmm qemu " ID), expected);
        check_string(sh_text("eval \"set -- $(hvsock vm args web01)\"; echo $#, $1 ${12}"),
                     "12, -uuid vhost-user-vsock-pci,id=hvsock-device,chardev=hvsock");
        sandbox_close(&sandbox);
}

TEST(memory_has_a_size_and_a_unit) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        sh_text("hvsock vm add web01");
        static const struct {
                const char *given, *printed;
        } sizes[] = {{"512", "512M"}, {"4g", "4G"}, {"999999999K", "999999999K"}, {"2M", "2M"}};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                char part[64];
                const char *printed = sh_text("hvsock vm args web01 --memory %s", sizes[i].given);
                snprintf(part, sizeof part, "-m %s \\\n", sizes[i].printed);
                check_says(printed, part);
                snprintf(part, sizeof part, ",size=%s,share=on", sizes[i].printed);
                check_says(printed, part);
        }
        static const char *const wrong[] = {"''", "0", "00M", "G", "1T", "1GiB", "1.5G", "-1", "1000000000", "' 1'"};
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
                check_equal(sh_refused("hvsock vm args web01 --memory=%s", wrong[i]), 2);
        sandbox_close(&sandbox);
}

TEST(a_hybrid_vm_is_cloud_hypervisors_and_not_qemus) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        sh_text("hvsock vm add fc --id " ID " --cid 7 --hybrid /run/vm/fc.vsock && hvsock vm add web01");
        struct json_object *reply = sh_json("hvsock vm show fc --json");
        check_string(text_at(reply, "/partition/hybrid"), "/run/vm/fc.vsock");
        check_string(text_at(reply, "/partition/socket"), "/run/vm/fc.vsock");
        json_object_put(reply);
        const char *expected = "--platform uuid=" ID " \\\n--memory size=2G \\\n--vsock cid=7,socket=/run/vm/fc.vsock";
        check_string(sh_text("hvsock vm args fc --memory 2G"), expected);
        check_string(sh_text("hvsock vm args fc --memory 2G --vmm cloud-hypervisor"), expected);
        check_equal(sh_refused("hvsock vm args fc --vmm qemu"), 1);
        check_equal(sh_refused("hvsock vm args web01 --vmm cloud-hypervisor"), 1);
        check_says(sh("hvsock vm args web01 --vmm cloud-hypervisor")->err, " --cid 3 --hybrid '<PATH>'\n");
        check_says(sh("hvsock vm args fc --vmm qemu")->err,
                   "try: hvsock vm remove fc && hvsock vm add fc --id " ID " --cid 7\n");
        check_equal(sh_refused("hvsock vm args web01 --vmm firecracker"), 2);
        check_equal(sh_refused("hvsock vm args fc --bus pci.1"), 2);
        check_says(sh_text("hvsock vm args web01 --bus pci.1"), ",chardev=hvsock,bus=pci.1");
        sandbox_close(&sandbox);
}

TEST(a_hybrid_path_is_made_absolute_and_bounded) {
        struct sandbox sandbox;
        char path[PATH_MAX];
        sandbox_open(&sandbox, "");
        sh_text("cd / && hvsock vm add here --hybrid 'v,sock'");
        check_string(sh_text("hvsock vm show here --json | sed -n 's/.*\"hybrid\": \"\\(.*\\)\",/\\1/p'"), "/v,sock");
        check_says(sh_text("hvsock vm args here"), "'cid=3,socket=\"/v,sock\"'");
        memset(path, 'a', sizeof path);
        path[95] = 0;
        sh_text("hvsock vm add long --hybrid /%s", path);
        path[95] = 'a';
        path[96] = 0;
        check_equal(sh_refused("hvsock vm add longer --hybrid /%s", path), 2);
        check_equal(sh_refused("hvsock vm add empty --hybrid /"), 2);
        sandbox_close(&sandbox);
}

TEST(a_path_that_a_shell_or_a_vmm_could_take_for_more_is_shielded) {
        char arguments[OUTPUT_MAX];
        strcpy(arguments, sh_text("d=$(mktemp -d '/tmp/a, b.XXXXXX') && TMPDIR=$d hvsock sandbox -- sh -c "
                                  "'hvsock vm add web01 >/dev/null; eval \"set -- $(hvsock vm args web01)\"; "
                                  "printf \"%%s\\n\" \"$@\"'; rm -r \"$d\""));
        check_says(arguments, "\nsocket,id=hvsock,path=/tmp/a,, b.");
        check_says(arguments, "\n-device\nvhost-user-vsock-pci,id=hvsock-device,chardev=hvsock");
}

TEST(a_socket_that_no_vmm_can_connect_to_is_told) {
        const struct outcome *outcome =
                sh("d=/tmp/$(printf '%%060d' $$) && mkdir $d && TMPDIR=$d hvsock sandbox -- sh -c "
                   "'hvsock vm add web01 && hvsock vm args web01'; code=$?; rm -r $d; exit $code");
        check_equal(outcome->code, 1);
        check_says(outcome->err, "longer than the path of a socket can be");
}

TEST(a_vm_shows_whether_it_runs_and_nobody_counts_listeners_in_its_guest) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        sh_text("hvsock vm add web01");
        check_equal(sh("hvsock tree | grep 'web01 *vm .* stopped *- *0$'")->code, 0);
        check_equal(sh("hvsock vm list | grep 'web01 .* stopped *- *0 *3$'")->code, 0);
        sandbox_close(&sandbox);
}

TEST(the_user_who_runs_a_vms_vmm_gets_its_socket) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        sh_text("hvsock vm add mine --user \"$(id -un)\"");
        const char *socket = sh_text("hvsock vm show mine --json | sed -n 's/.*\"socket\": \"\\(.*\\)\",/\\1/p'");
        check_string(sh_text("stat -c '%%A %%U' %s", socket), sh_text("echo srw-rw---- $(id -un)"));
        check_equal(sh_refused("hvsock vm add other --user 'no such user'"), 2);
        check_equal(sh_refused("hvsock vm add other --user ''"), 2);
        check_equal(sh_refused("hvsock vm add other --simulated --user root"), 2);
        if (geteuid() == 0) {
                sh_text("hvsock vm add theirs --user nobody");
                socket = sh_text("hvsock vm show theirs --json | sed -n 's/.*\"socket\": \"\\(.*\\)\",/\\1/p'");
                check_string(sh_text("stat -c %%U %s", socket), "nobody");
        } else {
                check_equal(sh_refused("hvsock vm add theirs --user root"), 1);
                check_equal(sh_refused("hvsock id theirs"), 3);
        }
        sandbox_close(&sandbox);
}

TEST(what_was_said_of_a_vm_is_what_the_next_broker_reads) {
        struct sandbox sandbox;
        char expected[1024];
        sandbox_open(&sandbox, "");
        sh_text("hvsock vm add web01 --siblings --hybrid /run/v.sock --id " ID);
        snprintf(expected, sizeof expected,
                 "Format=1\nLabel=web01\nKind=vm\nParent=%s\nReach=vm\nPassthru=no\nSiblings=yes\nCid=3\n"
                 "Hybrid=/run/v.sock", sh_text("hvsock id host"));
        check_string(sh_text("cat %s/state/partitions/" ID ".conf", sandbox.directory), expected);
        sandbox_close(&sandbox);
}

TEST(why_names_the_rules_of_guests) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service vsock:5=Five --service Echo");
        sh_text("hvsock vm add web01");
        check_says(sh("hvsock why host web01 vsock:5")->out, "[not-running]");
        check_says(sh("hvsock why host web01 vsock:5")->out, "try: hvsock vm list\n");
        check_says(sh("hvsock why host web01 Echo")->out, "[not-a-port]");
        check_says(sh("hvsock why host web01 vsock:6")->out, "[not-registered]");
        check_says(sh("hvsock why web01 parent vsock:5")->out, "[no-listener]: vm web01 (");
        check_says(sh("hvsock why web01 parent vsock:5")->out, "), a program of its guest, to parent");
        check_equal(sh("hvsock nc web01 vsock:5 </dev/null")->code, 1);
        sandbox_close(&sandbox);
}

TEST(a_removed_vm_is_gone_and_its_cid_is_free) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        sh_text("hvsock vm add web01 --id " ID " && hvsock vm remove web01 && hvsock vm add web02 --cid 3 --id " ID);
        check_equal(sh_refused("hvsock vm show web01"), 3);
        sandbox_close(&sandbox);
}
