/* SPDX-License-Identifier: MIT */

/* VMMs that mean harm to hvsockd, whose other clients notice nothing. */

#include "base/fd.h"
#include "deaf_file.h"
#include "lingering.h"
#include "test.h"
#include "vm/worker.h"
#include "vm_world.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define VMMS 16u
#define HELD_UP 12u
#define DEAF_SIZE 65536u
#define PATIENCE_SECONDS 20

static int deaf[VMMS]; /* the peers of lingering sockets, which never read */

static int connect_vmm(const char *label) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char path[PATH_MAX + 16];
        vm_socket_path(label, path);
        check(strlen(path) < sizeof address.sun_path);
        strcpy(address.sun_path, path);
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(fd, (struct sockaddr *)&address, sizeof address));
        return fd;
}

static void check_answers(void) {
        alarm(PATIENCE_SECONDS);
        json_object_put(manage(world, "GetPartition", "{\"partition\": \"guest\"}"));
        alarm(0);
}

/* More of them than may wait for their turn, and all gone before hvsockd sees them. */
TEST(a_vmm_that_leaves_descriptors_whose_close_waits_holds_up_nobody) {
        vm_world_open("", "");
        must(kill(world->broker, SIGSTOP));
        for (unsigned i = 0; i < VMMS; i++) {
                cleanup(fd_closep) int vmm = connect_vmm("guest");
                send_lingering(vmm, "x", 1, 1, &deaf[i]);
        }
        must(kill(world->broker, SIGCONT));
        for (unsigned i = 0; i < 2 * VMMS; i++)
                check_answers();
        for (unsigned i = 0; i < VMMS; i++)
                close(deaf[i]);
        world_end(world);
}

/* The memory of a guest that has none of its own: a file that nobody serves. */
static void share(struct deaf_file *file) {
        const uint64_t table[5] = {1, FAKE_BASE, DEAF_SIZE, FAKE_BASE + FAKE_USER_OFFSET, 0};
        fake_guest_init(&guest);
        guest.socket = connect_vmm("guest");
        fake_realize(&guest);
        must(kill(world->broker, SIGSTOP));
        fake_message(&guest, VHOST_USER_SET_MEM_TABLE, VHOST_USER_NEED_REPLY, table, sizeof table, &file->fd, 1);
        deaf_file_stop(file);
        must(kill(world->broker, SIGCONT));
        for (uint32_t header[3] = {}; header[0] != VHOST_USER_SET_MEM_TABLE;) {
                char payload[VHOST_USER_PAYLOAD_MAX];
                await_readable(guest.socket);
                check_equal(must(recv(guest.socket, header, sizeof header, MSG_WAITALL)), sizeof header);
                if (header[2])
                        check_equal(must(recv(guest.socket, payload, header[2], MSG_WAITALL)), header[2]);
        }
}

/* What goes to the holder is closed; so are the copies in the process that becomes the holder, if it is not there yet. */
TEST(a_vmm_whose_memory_is_a_file_that_nobody_serves_holds_up_nobody) {
        struct deaf_file file;
        if (!deaf_file_open(&file, DEAF_SIZE))
                test_skip("no FUSE server may be started here");
        vm_world_open("", "");
        share(&file);
        check_answers();
        for (uint64_t ring = 0; ring < 2; ring++)
                fake_message(&guest, VHOST_USER_SET_VRING_CALL, 0, &ring, sizeof ring, &guest.call_fds[ring], 1);
        for (unsigned i = 0; i < 10; i++)
                check_answers();
        deaf_file_close(&file);
        fake_guest_free(&guest);
        world_end(world);
}

/* Its thread waits in the call that it asks for. */
static int hold_up(struct fake_guest *vmm, const char *label) {
        static const char bytes[65536];
        const uint64_t ring = VHOST_USER_RX;
        int ends[2];
        must(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
        while (write(ends[1], bytes, sizeof bytes) > 0 || write(ends[1], bytes, 1) > 0)
                ;
        must(fcntl(ends[1], F_SETFL, 0));
        fake_guest_init(vmm);
        vmm->socket = connect_vmm(label);
        fake_message(vmm, VHOST_USER_SET_VRING_CALL, 0, &ring, sizeof ring, &ends[1], 1);
        close(ends[1]);
        check(await(!vm_unheard(vmm)));
        return ends[0];
}

/* All of them at once: one after the other would take longer than anything is waited for here. */
TEST(threads_that_are_held_up_keep_hvsockd_from_ending_only_for_a_while) {
        static struct fake_guest vmms[HELD_UP];
        int readers[HELD_UP];
        char label[16], lines[64];
        check(HELD_UP * VM_STOP_MS > WORLD_WAIT_MS);
        world = world_new();
        for (unsigned i = 0; i < HELD_UP; i++) {
                snprintf(label, sizeof label, "guest%u", i);
                snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\n", FAKE_CID + i);
                world_define(world, label, "vm", lines);
        }
        world_start(world);
        for (unsigned i = 0; i < HELD_UP; i++) {
                snprintf(label, sizeof label, "guest%u", i);
                readers[i] = hold_up(&vmms[i], label);
        }
        world_pause_ms(50);
        world_stop(world);
        for (unsigned i = 0; i < HELD_UP; i++) {
                close(readers[i]);
                fake_guest_free(&vmms[i]);
        }
        world_end(world);
}
