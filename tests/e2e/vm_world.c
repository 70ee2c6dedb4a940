/* SPDX-License-Identifier: MIT */
#include "vm_world.h"

#include "test.h"
#include <linux/sockios.h>
#include <sys/ioctl.h>

struct world *world;
GUID vm_id, service_id;

void vm_world_open(const char *vm_lines, const char *service_lines) {
        char lines[256];
        world = world_new();
        snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\n%s", FAKE_CID, vm_lines);
        world_define(world, "guest", "vm", lines);
        vm_id = *world_id(world, "guest");
        service_id = port_service(PORT);
        world_write_service(world, &service_id, "Port", service_lines);
        world_start(world);
        world_enter(world, "host");
}

void vm_world_close(void) {
        check(await(!is_running()));
        world_end(world);
}

void vm_socket_path(const char *label, char ret_path[PATH_MAX + 16]) {
        char directory[PATH_MAX];
        world_directory(world, label, directory);
        snprintf(ret_path, PATH_MAX + 16, "%s/vhost-user", directory);
}

void vm_plug(const char *label) {
        char path[PATH_MAX + 16];
        vm_socket_path(label, path);
        fake_guest_start(&guest);
        driver_plug(path);
        driver_start();
        check(await(partition_is_running(world, label)));
}

bool is_running(void) {
        return partition_is_running(world, "guest");
}

int vm_unheard(const struct fake_guest *vmm) {
        int bytes;
        must(ioctl(vmm->socket, SIOCOUTQ, &bytes));
        return bytes;
}
