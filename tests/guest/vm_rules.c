/* SPDX-License-Identifier: MIT */

/* What programs of a real guest are refused, and what they see of it; and what programs of the host see. */

#include "test.h"
#include "vm_world.h"

#include <sys/socket.h>

#define CHANNELS_QUOTA "4"

/* Ports behind VM_PORT, which is a service that everybody may use. */
enum { GUARDED = VM_PORT + 1, SWITCHED_OFF, UNSERVED, UNREGISTERED };

static void add_service(struct world *world, unsigned port, const char *name, const char *lines) {
        GUID service_id = port_service(port);
        world_write_service(world, &service_id, name, lines);
}

static void expect_reset(struct guest *guest, unsigned port) {
        check_string(guest_do(guest, "refused 2 %u stream", port), "ECONNRESET"); /* a time-out is ETIMEDOUT */
}

/* As the host's own program sees it. */
static int connect_error(const GUID *vm_id, unsigned port) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *vm_id, .ServiceId = port_service(port)};
        int fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
        int error = hv_connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? errno : 0;
        must(hv_close(fd));
        return error;
}

TEST_LIMITED(registry_permissions_and_quotas_hold_for_a_real_guest_which_is_told_at_once, VM_LIMIT) {
        char output[256];
        GUID open = port_service(VM_PORT), guarded = port_service(GUARDED), vm_id;
        vm_require();
        struct world *world = world_new();
        world_configure(world, "ChannelsPerPartition=" CHANNELS_QUOTA "\n");
        add_service(world, VM_PORT, "Open", "");
        add_service(world, GUARDED, "Guarded", "Connect=host\n");
        add_service(world, SWITCHED_OFF, "Switched off", "Enabled=no\n");
        add_service(world, UNSERVED, "Unserved", "");
        world_start(world);
        vm_tell(world, "add", "web01", NULL);
        check_equal(cli(world, output, sizeof output, "id", "web01", NULL), 0);
        output[strcspn(output, "\n")] = 0;
        must(hv_guid_parse(output, &vm_id));
        pid_t servers[] = {vm_serve(world, &open), vm_serve(world, &guarded)};
        struct guest *guest = vm_boot(world, "web01", NULL);
        guest_await_ready(guest);

        for (unsigned port = GUARDED; port <= UNREGISTERED; port++)
                expect_reset(guest, port);
        guest_do(guest, "echo 2 %u stream " CHANNELS_QUOTA " 100000", VM_PORT);
        guest_tell(guest, "echo 2 %u stream 20 1000000", VM_PORT);
        check(strstr(guest_answer(guest), "connect: ECONNRESET"));
        guest_do(guest, "echo 2 %u stream " CHANNELS_QUOTA " 100000", VM_PORT);

        guest_do(guest, "serve %u stream", UNREGISTERED);
        guest_do(guest, "serve %u stream", SWITCHED_OFF);
        world_enter(world, "host");
        check_equal(connect_error(&vm_id, UNREGISTERED), EACCES);
        check_equal(connect_error(&vm_id, SWITCHED_OFF), EINVAL);
        check_equal(connect_error(&vm_id, UNSERVED), ECONNREFUSED);
        guest_power_off(guest);
        check(await(connect_error(&vm_id, VM_PORT) == EHOSTUNREACH));
        for (unsigned i = 0; i < 2; i++)
                vm_end_server(servers[i]);
        world_end(world);
}
