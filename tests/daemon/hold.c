/* SPDX-License-Identifier: MIT */

/* hvsockd's side of the holder, with one that takes nothing: what waits for it is bounded. */

#include "daemon/hold.h"

#include "base/fd.h"
#include "daemon/place.h"
#include "daemon/vms.h"
#include "test.h"
#include "vm/holder_packet.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct world world;
static char directory[64];
static pid_t holder;

void vms_say_held(struct world *any) {
}

/* Answers that it has nothing, and then sleeps. */
__attribute__((noreturn)) static void be_holder(int listen_fd) {
        struct holder_packet packet = {.kind = HOLDER_DONE};
        must(fcntl(listen_fd, F_SETFL, 0));
        int fd = (int)must(accept(listen_fd, NULL, NULL));
        check_ok(holder_send(fd, &packet, NULL, 0, 0));
        for (;;)
                pause();
}

static void begin(void) {
        struct rlimit limit;
        int listen_fd;
        must(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_max;
        must(setrlimit(RLIMIT_NOFILE, &limit));
        if (limit.rlim_cur < 2 * HOLD_QUEUE_FDS_MAX)
                test_skip("fewer than %u descriptors are allowed", 2 * HOLD_QUEUE_FDS_MAX);
        strcpy(directory, "hold-XXXXXX");
        check(mkdtemp(directory));
        world.runtime_fd = (int)must(open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC));
        must(mkdirat(world.runtime_fd, "listeners", 0700));
        world.listeners_fd = (int)must(openat(world.runtime_fd, "listeners", O_PATH | O_DIRECTORY | O_CLOEXEC));
        must(fchdir(world.listeners_fd));
        check_ok(place_socket(world.runtime_fd, "holder", SOCK_SEQPACKET, 0600, world.listeners_fd, &listen_fd));
        if (!(holder = (pid_t)must(fork())))
                be_holder(listen_fd);
        fd_close(listen_fd);
        check_ok(loop_new(&world.loop));
        check_ok(hold_open(&world));
}

static void end(void) {
        hold_close(&world);
        loop_free(world.loop);
        must(kill(holder, SIGKILL));
        must(waitpid(holder, NULL, 0));
        must(unlinkat(world.runtime_fd, "holder", 0));
        must(unlinkat(world.runtime_fd, "listeners", AT_REMOVEDIR));
        must(chdir("../.."));
        must(rmdir(directory));
        fd_close(world.listeners_fd);
        fd_close(world.runtime_fd);
}

TEST(no_more_packets_than_the_limit_wait) {
        begin();
        unsigned packets = 0;
        for (uint64_t number; (number = hold_end(&world, 0)); packets++) { /* each a packet: they cannot be joined */
                packets++;
                hold_forget_end(&world, number);
        }
        check_equal(packets, HOLD_QUEUE_MAX);
        end();
}

TEST(no_more_descriptors_than_the_limit_wait) {
        begin();
        unsigned ends = 0;
        while (hold_end(&world, 0))
                ends++;
        check_equal(ends, HOLD_QUEUE_FDS_MAX);
        struct vm_held *held = calloc(1, sizeof *held);
        check(held);
        held->fds[held->count++] = (int)must(eventfd(0, EFD_CLOEXEC));
        GUID vm_id = {.Data1 = 1};
        int fd = held->fds[0];
        hold_vm(&world, &vm_id, held);
        while (fcntl(fd, F_GETFD) >= 0) /* a thread closes it */
                poll(NULL, 0, 1);
        end();
}

TEST(what_nobody_took_is_dropped_when_all_have_taken_theirs) {
        begin();
        GUID vm_id = {.Data1 = 1};
        check(!hold_take(&world, &vm_id));
        check_ok(hold_settle(&world));
        check(!hold_take(&world, &vm_id));
        end();
}
