/* SPDX-License-Identifier: MIT */

/* VMMs that mean harm to hvsockd, whose other clients notice nothing. */

#include "../vm/fake_driver.h"
#include "base/fd.h"
#include "lingering.h"
#include "pair.h"
#include "test.h"
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define VMMS 16u
#define PATIENCE_SECONDS 20

static struct world *world;
static int deaf[VMMS]; /* the peers of lingering sockets, which never read */

static void begin(void) {
        char lines[64];
        world = world_new();
        snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\n", FAKE_CID);
        world_define(world, "guest", "vm", lines);
        world_start(world);
        world_enter(world, "host");
}

static int connect_vmm(void) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        char directory[PATH_MAX];
        world_directory(world, "guest", directory);
        check(snprintf(address.sun_path, sizeof address.sun_path, "%s/vhost-user", directory) < (int)sizeof address.sun_path);
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
        begin();
        must(kill(world->broker, SIGSTOP));
        for (unsigned i = 0; i < VMMS; i++) {
                cleanup(fd_closep) int vmm = connect_vmm();
                send_lingering(vmm, "x", 1, 1, &deaf[i]);
        }
        must(kill(world->broker, SIGCONT));
        for (unsigned i = 0; i < 2 * VMMS; i++)
                check_answers();
        for (unsigned i = 0; i < VMMS; i++)
                close(deaf[i]);
        world_end(world);
}
