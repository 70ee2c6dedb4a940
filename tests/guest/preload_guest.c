/* SPDX-License-Identifier: MIT */

/* The kernel's own tests of AF_VSOCK between a real guest and a preloaded process of its host. */

#include "left_out.h"
#include "test.h"
#include "vm_world.h"

#include <limits.h>
#include <sys/wait.h>
#include <unistd.h>

#define SUITE_PORT 1234
#define GUEST_CONTROL_PORT 1

static struct world *world;
static struct guest *guest;
static char suite[PATH_MAX], skips[LEFT_OUT_TEXT];
static unsigned control_port;

/* Its exit code; what it prints goes to the test's output. */
static int run_on_host(const char *mode, const char *peer_cid) {
        static char output[8192];
        char command[2 * PATH_MAX];
        snprintf(command, sizeof command, "exec timeout 200 '%s' --mode=%s --control-host=127.0.0.1 --control-port=%u --peer-cid=%s%s 2>&1",
                 suite, mode, control_port, peer_cid, skips);
        int code = cli(world, output, sizeof output, "run", "--preload", "host", "--", "sh", "-c", command, NULL);
        printf("%s", output);
        fflush(stdout);
        return code;
}

static void begin(void) {
        GUID service_id = port_service(SUITE_PORT);
        char network[128];
        guest_require_kernel_suite();
        vm_require();
        snprintf(suite, sizeof suite, "%s/vsock_test", getenv("HVSOCK_GUEST"));
        leave_out(suite, skips);
        control_port = 20000 + (unsigned)getpid() % 10000;
        world = world_new();
        world_write_service(world, &service_id, "vsock_test", "");
        world_start(world);
        vm_tell(world, "add", "web01", NULL);
        snprintf(network, sizeof network, "user,id=net,hostfwd=tcp:127.0.0.1:%u-:%u", control_port + 1, GUEST_CONTROL_PORT);
        guest = vm_boot(world, "web01", (const char *[]){"-netdev", network, "-device", "virtio-net-pci,netdev=net,romfile=", NULL});
        guest_await_ready(guest);
        guest_do(guest, "run ifconfig lo 127.0.0.1 && ifconfig eth0 10.0.2.15 netmask 255.255.255.0");
}

TEST_LIMITED(the_kernels_own_tests_pass_between_a_real_guest_and_a_process_of_its_host, VM_LIMIT) {
        char cid[16];
        int status;
        begin();
        snprintf(cid, sizeof cid, "%u", guest->cid);
        pid_t server = (pid_t)must(fork());
        if (!server)
                _exit(run_on_host("server", cid));
        /* A client that comes before the server listens has begun no test yet, and comes again. */
        guest_do(guest, "run for i in 1 2 3 4 5 6 7 8 9; do vsock_test --mode=client --control-host=10.0.2.2 "
                        "--control-port=%u --peer-cid=2%s >/tmp/log 2>&1 && exit; grep -q '^0 - ' /tmp/log && break; "
                        "sleep 1; done; cat /tmp/log; exit 1", control_port, skips);
        check_equal(must(waitpid(server, &status, 0)), server);
        check_equal(status, 0);

        control_port++; /* the guest's, forwarded */
        guest_do(guest, "run vsock_test --mode=server --control-port=%d --peer-cid=2%s >/tmp/log 2>&1 & "
                        "until grep -q ':0001 00000000:0000 0A' /proc/net/tcp; do usleep 100000; done", GUEST_CONTROL_PORT, skips);
        check_equal(run_on_host("client", cid), 0);
        guest_do(guest, "run tail -1 /tmp/log | grep 'ok$'");
        guest_power_off(guest);
        world_end(world);
}
