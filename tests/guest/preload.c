/* SPDX-License-Identifier: MIT */

/* The kernel's own tests of AF_VSOCK, whose both ends are ordinary processes: all but what no AF_UNIX descriptor can do. */

#include "cli/shell.h"
#include "guest.h"
#include "left_out.h"

#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SERVICE "000004d2-facb-11e6-bd58-64006a7986d3" /* the port that they use */

static char suite[PATH_MAX], skips[LEFT_OUT_TEXT], scratch[PATH_MAX];

/* A client that comes before the server listens has begun no test yet, and comes again. */
static void run_suite(const char *server, const char *of_client, const char *client, const char *of_server) {
        unsigned port = 20000 + (unsigned)getpid() % 10000;
        pid_t pid = sh_begin("exec timeout 100 hvsock run --preload %s -- %s --mode=server --control-port=%u --peer-cid=%s%s >%s/server 2>&1",
                             server, suite, port, of_client, skips, scratch);
        sh("for i in $(seq 50); do timeout 100 hvsock run --preload %s -- %s --mode=client --control-host=127.0.0.1 --control-port=%u "
           "--peer-cid=%s%s >%s/client 2>&1 && exit; grep -q '^0 - ' %s/client && break; sleep 0.2; done",
           client, suite, port, of_server, skips, scratch, scratch);
        int code = sh_end(pid);
        printf("%s", sh_text("cat %s/client %s/server", scratch, scratch));
        check_equal(code, 0);
        int cases = atoi(sh_text("%s --list | grep -c '^[0-9]'", suite));
        check(cases > (int)LEFT_OUT);
        check_equal(atoi(sh_text("grep -c '^[0-9].*ok$' %s/client", scratch)), cases - (int)LEFT_OUT);
        check_equal(atoi(sh_text("grep -c '^[0-9].*ok$' %s/server", scratch)), cases - (int)LEFT_OUT);
}

static void read_cid(const char *vm, char ret_cid[16]) {
        strcpy(ret_cid, sh_text("hvsock vm show %s --json | sed -n 's/.*\"cid\": \\([0-9]*\\).*/\\1/p'", vm));
}

TEST_LIMITED(the_kernels_own_tests_pass_between_a_vm_and_its_host_as_ordinary_processes, 300) {
        struct sandbox sandbox;
        char cid[16];
        guest_require_kernel_suite();
        snprintf(suite, sizeof suite, "%s/vsock_test", getenv("HVSOCK_GUEST"));
        sandbox_open(&sandbox, "--vm web01 --service " SERVICE "='Kernel suite'");
        strcpy(scratch, sh_text("mktemp -d"));
        read_cid("web01", cid);
        leave_out(suite, skips);
        run_suite("host", cid, "web01", "2");
        run_suite("web01", "2", "host", cid);
        sh_text("rm -r %s", scratch);
        sandbox_close(&sandbox);
}

TEST_LIMITED(they_pass_between_two_vms_and_within_one, 300) {
        struct sandbox sandbox;
        char left[16], right[16];
        guest_require_kernel_suite();
        snprintf(suite, sizeof suite, "%s/vsock_test", getenv("HVSOCK_GUEST"));
        sandbox_open(&sandbox, "--service " SERVICE "='Kernel suite'");
        strcpy(scratch, sh_text("mktemp -d"));
        sh_text("hvsock vm add --simulated --siblings left && hvsock vm add --simulated --siblings right");
        read_cid("left", left);
        read_cid("right", right);
        leave_out(suite, skips);
        run_suite("left", right, "right", left);
        run_suite("left", "1", "left", "1");
        sh_text("rm -r %s", scratch);
        sandbox_close(&sandbox);
}
