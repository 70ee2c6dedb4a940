/* SPDX-License-Identifier: MIT */

/* VMMs that mean harm to hvsockd, whose other clients notice nothing. */

#include "../vm/fake_driver.h"
#include "base/fd.h"
#include "pair.h"
#include "test.h"
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define VMMS 16u
#define LINGER_SECONDS 3600
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

/* A connected socket with unsent bytes: its last close waits. */
static int lingering_socket(int *ret_deaf) {
        static const char bytes[65536];
        const struct linger linger = {.l_onoff = 1, .l_linger = LINGER_SECONDS};
        const int small = 4096;
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        cleanup(fd_closep) int listening = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
        must(bind(listening, (struct sockaddr *)&address, length));
        must(listen(listening, 1));
        must(getsockname(listening, (struct sockaddr *)&address, &length));
        int fd = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
        must(connect(fd, (struct sockaddr *)&address, length));
        *ret_deaf = (int)must(accept4(listening, NULL, NULL, SOCK_CLOEXEC));
        while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
                ;
        must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        return fd;
}

static void send_with(int socket, int fd) {
        char byte = 0, control[CMSG_SPACE(sizeof fd)] = "";
        struct iovec piece = {&byte, 1};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
        *CMSG_FIRSTHDR(&message) = (struct cmsghdr){
                .cmsg_len = CMSG_LEN(sizeof fd), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(CMSG_FIRSTHDR(&message)), &fd, sizeof fd);
        must(sendmsg(socket, &message, MSG_NOSIGNAL));
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
                int fd = lingering_socket(&deaf[i]);
                send_with(vmm, fd);
                close(fd);
        }
        must(kill(world->broker, SIGCONT));
        for (unsigned i = 0; i < 2 * VMMS; i++)
                check_answers();
        for (unsigned i = 0; i < VMMS; i++)
                close(deaf[i]);
        world_end(world);
}
