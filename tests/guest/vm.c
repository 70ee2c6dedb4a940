/* SPDX-License-Identifier: MIT */

/* Guests whose VMs were added to a world, as a user adds them: hvsockd between programs of the host and of guests. */

#include "test.h"
#include "vm_world.h"

#include <sys/socket.h>

TEST_LIMITED(programs_of_the_host_and_of_a_guest_talk_both_ways, VM_LIMIT) {
        struct vm_session session = vm_session_begin();
        guest_do(session.guest, "echo 2 %u stream 1 10000000", VM_PORT);
        guest_do(session.guest, "echo 2 %u stream 200 100000", VM_PORT);
        check_string(guest_do(session.guest, "refused 2 %u stream", VM_PORT + 1), "ECONNRESET"); /* registered by nobody */
        guest_do(session.guest, "serve %u stream", VM_PORT);
        talk_to(&session.vm_id, &session.service_id);
        for (unsigned reboots = 0; reboots < vm_times(1); reboots++) {
                guest_tell(session.guest, "reboot");
                guest_await_ready(session.guest);
                guest_do(session.guest, "echo 2 %u stream 3 1000000", VM_PORT);
        }
        vm_session_end(&session);
}

TEST_LIMITED(a_guest_is_served_on_after_hvsockd_was_killed_in_the_middle, VM_LIMIT) {
        struct vm_session session = vm_session_begin();
        guest_do(session.guest, "serve %u stream", VM_PORT);
        for (unsigned deaths = 0; deaths < vm_times(5); deaths++) {
                SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = session.vm_id, .ServiceId = session.service_id};
                int fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
                must(hv_connect(fd, (struct sockaddr *)&address, sizeof address));
                guest_tell(session.guest, "echo 2 %u stream 20 1000000000", VM_PORT);
                check(await(service_counter(session.world, &session.service_id, "channelsNow") == 21));
                world_pause_ms(37 * (deaths % 8));
                world_kill(session.world);
                char byte;
                check_errno(hv_recv(fd, &byte, 1, 0), ECONNRESET); /* while nobody serves */
                must(hv_close(fd));
                world_start(session.world);
                check(!strncmp(guest_answer(session.guest), "failed", 6)); /* it is told */
                guest_do(session.guest, "echo 2 %u stream 20 100000", VM_PORT);
                talk_to(&session.vm_id, &session.service_id);
        }
        vm_session_end(&session);
}

/* A network of two, of Unix sockets, for the suite's own orders; all that it tests is between the VMs. */
static struct guest *boot_neighbour(struct world *world, const char *name, const char *other, unsigned number) {
        char network[3 * PATH_MAX], card[128];
        snprintf(network, sizeof network, "dgram,id=net,local.type=unix,local.path=%s/%s,"
                 "remote.type=unix,remote.path=%s/%s",
                 world->root, name, world->root, other);
        snprintf(card, sizeof card, "virtio-net-pci,netdev=net,romfile=,mac=52:54:00:00:00:%02u", number);
        return vm_boot(world, name, (const char *[]){"-netdev", network, "-device", card, NULL});
}

TEST_LIMITED(the_kernels_own_tests_pass_between_two_guests, VM_LIMIT) {
        guest_require_kernel_suite();
        vm_require();
        struct world *world = world_new();
        GUID service_id = port_service(1234);
        world_write_service(world, &service_id, "vsock_test", "");
        world_start(world);
        vm_tell(world, "add", "left", "--siblings");
        vm_tell(world, "add", "right", "--siblings");
        struct guest *left = boot_neighbour(world, "left", "right", 1),
                     *right = boot_neighbour(world, "right", "left", 2);
        guest_await_ready(left);
        guest_await_ready(right);
        guest_do(left, "run ifconfig eth0 10.0.0.1 netmask 255.255.255.0");
        guest_do(right, "run ifconfig eth0 10.0.0.2 netmask 255.255.255.0");
        guest_tell(left, "run vsock_test --mode=server --control-port=1 --peer-cid=%u 2>&1", right->cid);
        /* Until the server listens; what it runs then is run once. */
        /* A client that comes before the server listens has begun no test yet, and comes again. */
        guest_do(right, "run for i in 1 2 3 4 5 6 7 8 9; do vsock_test --mode=client --control-host=10.0.0.1 "
                        "--control-port=1 --peer-cid=%u >/tmp/log 2>&1 && exit; grep -q '^0 - ' /tmp/log && break; "
                        "sleep 1; done; cat /tmp/log; exit 1", left->cid);
        check_string(guest_answer(left), "ok");
        guest_power_off(left);
        guest_power_off(right);
        world_end(world);
}
