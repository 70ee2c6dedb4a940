/* SPDX-License-Identifier: MIT */
#include "vm_world.h"

#include "test.h"
#include <linux/sockios.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

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

int vm_connect(const char *label) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char path[PATH_MAX + 16];
        vm_socket_path(label, path);
        check(strlen(path) < sizeof address.sun_path);
        strcpy(address.sun_path, path);
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(fd, (struct sockaddr *)&address, sizeof address));
        return fd;
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

int vm_listen(int type) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_CHILDREN, .ServiceId = service_id};
        int fd = (int)must(hv_socket(AF_HYPERV, type, HV_PROTOCOL_RAW));
        must(hv_bind(fd, (struct sockaddr *)&address, sizeof address));
        must(hv_listen(fd, 8));
        return fd;
}

int vm_accept(int listener, uint32_t guest_port, int type) {
        enum vsock_type guest_type = type == SOCK_STREAM ? VSOCK_STREAM : VSOCK_SEQPACKET;
        driver_send(driver_packet(PORT, guest_port, VSOCK_REQUEST, guest_type), NULL, 0);
        int fd = (int)must(hv_accept(listener, NULL, NULL));
        check_equal(driver_expect(VSOCK_RESPONSE).target_port, guest_port);
        return fd;
}

static pid_t find_holder(void) {
        char path[64];
        int pid, found = 0;
        snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
        FILE *children = fopen(path, "re");
        check(children);
        while (fscanf(children, "%d", &pid) == 1) {
                char name[64] = "";
                snprintf(path, sizeof path, "/proc/%d/cmdline", pid);
                FILE *line = fopen(path, "re");
                if (line && fread(name, 1, sizeof name - 1, line) > 8 && !strcmp(name + strlen(name) + 1, "--hold"))
                        found = pid;
                if (line)
                        fclose(line);
        }
        fclose(children);
        return found;
}

pid_t vm_holder(void) {
        check(await(find_holder()));
        return find_holder();
}
