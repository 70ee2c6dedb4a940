/* SPDX-License-Identifier: MIT */

/* A stock Linux guest under a stock QEMU, on the core of src/vm alone: echo_device.h is the host. */

#include "echo_device.h"
#include "guest.h"
#include "test.h"
#include "vm/vsock_packet.h"

#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define CID 4711u
#define LIMIT 300 /* seconds; TCG, a sanitizer and a busy machine at once */
#define MEGABYTE 1000000

struct host {
        char directory[64], socket[96], chardev[128];
        pid_t device;
        int starts_fd;
        struct guest *guest;
};

/* The driver has set its queues up `count` times more. */
static void await_starts(struct host *host, unsigned count) {
        for (char byte; count; count--) {
                struct pollfd event = {.fd = host->starts_fd, .events = POLLIN};
                check_equal(must(poll(&event, 1, GUEST_BOOT_MS)), 1);
                check_equal(read(host->starts_fd, &byte, 1), 1);
        }
}

static struct guest *boot(struct host *host, const char *device) {
        snprintf(host->chardev, sizeof host->chardev, "socket,id=hvsock,path=%s", host->socket);
        struct guest *guest = guest_start((const char *[]){
                "-object", "memory-backend-memfd,id=memory,size=256M,share=on", "-machine", "memory-backend=memory",
                "-chardev", host->chardev, "-device", device, NULL});
        guest_await_ready(guest);
        await_starts(host, 1);
        check_equal(guest->cid, CID);
        return guest;
}

static void begin(struct host *host, const char *device) {
        guest_require();
        int pipes[2];
        const char *temporary = getenv("TMPDIR");
        check(snprintf(host->directory, sizeof host->directory, "%s/guest-XXXXXX", temporary ? temporary : "/tmp") <
              (int)sizeof host->directory);
        check(mkdtemp(host->directory));
        snprintf(host->socket, sizeof host->socket, "%s/vhost-user", host->directory);
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        memcpy(address.sun_path, host->socket, sizeof host->socket);
        int listener = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(bind(listener, (struct sockaddr *)&address, sizeof address));
        must(listen(listener, 4));
        must(pipe(pipes));
        pid_t parent = getpid();
        host->device = (pid_t)must(fork());
        if (!host->device) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                close(pipes[0]);
                if (getppid() == parent)
                        echo_device_serve(listener, CID, pipes[1]);
                _exit(1);
        }
        close(listener);
        close(pipes[1]);
        host->starts_fd = pipes[0];
        host->guest = boot(host, device);
}

/* The device was there until the end: it ends itself for whatever should not be. */
static void end_device(struct host *host) {
        int status;
        check_equal(waitpid(host->device, &status, WNOHANG), 0);
        must(kill(host->device, SIGKILL));
        must(waitpid(host->device, &status, 0));
        close(host->starts_fd);
        unlink(host->socket);
        must(rmdir(host->directory));
}

static void end(struct host *host) {
        guest_power_off(host->guest);
        end_device(host);
}

#define DEVICE "vhost-user-vsock-pci,chardev=hvsock"

TEST_LIMITED(a_guest_reaches_the_host_with_streams_and_messages, LIMIT) {
        struct host host;
        begin(&host, DEVICE);
        guest_do(host.guest, "echo 2 7 stream 1 %d", 20 * MEGABYTE);
        guest_do(host.guest, "echo 2 7 seqpacket 1 %d", 5 * MEGABYTE);
        check_string(guest_do(host.guest, "refused 2 %u stream", ECHO_DEVICE_CLOSED), "ECONNRESET");
        check_string(guest_do(host.guest, "refused 2 %u seqpacket", ECHO_DEVICE_CLOSED), "ECONNRESET");
        end(&host);
}

TEST_LIMITED(the_host_reaches_a_guest_with_streams_and_messages, LIMIT) {
        struct host host;
        begin(&host, DEVICE);
        check_string(guest_do(host.guest, "refused 2 %u stream", ECHO_DEVICE_RELAY + 22), "ECONNRESET");
        guest_do(host.guest, "serve 22 stream");
        guest_do(host.guest, "serve 23 seqpacket");
        guest_do(host.guest, "echo 2 %u stream 1 %d", ECHO_DEVICE_RELAY + 22, 10 * MEGABYTE);
        guest_do(host.guest, "echo 2 %u seqpacket 1 %d", ECHO_DEVICE_RELAY + 23, 2 * MEGABYTE);
        end(&host);
}

TEST_LIMITED(two_hundred_connections_at_once_lose_no_byte, LIMIT) {
        struct host host;
        begin(&host, DEVICE);
        guest_do(host.guest, "serve 22 stream");
        guest_do(host.guest, "echo 2 7 stream 200 %d", MEGABYTE / 5);
        guest_do(host.guest, "echo 2 %u stream 100 %d", ECHO_DEVICE_RELAY + 22, MEGABYTE / 10);
        end(&host);
}

TEST_LIMITED(a_guest_that_reboots_is_served_on, LIMIT) {
        struct host host;
        begin(&host, DEVICE);
        guest_do(host.guest, "echo 2 7 stream 3 %d", MEGABYTE);
        guest_tell(host.guest, "reboot");
        guest_await_ready(host.guest);
        await_starts(&host, 1);
        guest_do(host.guest, "echo 2 7 stream 3 %d", MEGABYTE);
        end(&host);
}

TEST_LIMITED(a_vmm_that_is_killed_makes_room_for_the_next_one, LIMIT) {
        struct host host;
        begin(&host, DEVICE);
        guest_tell(host.guest, "echo 2 7 stream 20 %d", 1000 * MEGABYTE); /* it dies in the middle */
        guest_kill(host.guest);
        host.guest = boot(&host, DEVICE);
        guest_do(host.guest, "echo 2 7 stream 3 %d", MEGABYTE);
        end(&host);
}

TEST_LIMITED(a_guest_without_event_index_and_indirect_tables_is_served, LIMIT) {
        struct host host;
        begin(&host, DEVICE ",event_idx=off,indirect_desc=off");
        guest_do(host.guest, "serve 22 stream");
        guest_do(host.guest, "echo 2 7 stream 10 %d", MEGABYTE);
        guest_do(host.guest, "echo 2 %u stream 10 %d", ECHO_DEVICE_RELAY + 22, MEGABYTE);
        end(&host);
}

/* Both its sides run in the guest, and meet through both directions of the device. */
TEST_LIMITED(the_kernels_own_tests_pass, LIMIT) {
        struct host host;
        guest_require_kernel_suite();
        begin(&host, DEVICE);
        guest_do(host.guest, "run ifconfig lo 127.0.0.1; (vsock_test --mode=server --control-port=1 --peer-cid=2 "
                             "2>&1; echo server $? >/tmp/server) >/tmp/server.log & "
                             "until netstat -ltn | grep -q :1; do sleep 0.1; done; "
                             "vsock_test --mode=client --control-host=127.0.0.1 --control-port=1 --peer-cid=2 2>&1 "
                             "&& wait && grep -q 'server 0' /tmp/server || { cat /tmp/server.log; exit 1; }");
        end(&host);
}

TEST_LIMITED(socat_in_a_guest_talks_both_ways, LIMIT) {
        struct host host;
        if (system("command -v socat >/dev/null"))
                test_skip("socat is not installed");
        begin(&host, DEVICE);
        guest_do(host.guest, "run echo to the host | socat -t 9 - VSOCK-CONNECT:2:7 | grep -x 'to the host'");
        guest_do(host.guest, "run socat VSOCK-LISTEN:22,fork PIPE >/dev/null 2>&1 &");
        /* The listener is not there at once. */
        guest_do(host.guest,
                 "run until echo to the guest | socat -t 9 - VSOCK-CONNECT:2:%u 2>/dev/null | grep -x 'to the guest'; "
                 "do sleep 0.1; done", ECHO_DEVICE_RELAY + 22);
        end(&host);
}
