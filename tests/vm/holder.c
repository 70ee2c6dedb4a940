/* SPDX-License-Identifier: MIT */

/* The holder, spoken to as hvsockd does: in a process of its own, so that it outlives connections. */

#include "base/fd.h"
#include "base/guid.h"
#include "test.h"
#include "vm/holder.h"
#include "vm/holder_packet.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_MS 10000

static const struct holder_limits SMALL = {.keep_ms = PATIENCE_MS, .sets_max = 3, .ends_max = 5};
static struct sockaddr_un name; /* abstract, its own */
static socklen_t name_length;
static pid_t pid;

static void discard(int fd, const GUID *vm_id) {
        fd_close(fd);
}

static void begin(const struct holder_limits *limits) {
        int fd = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        must(bind(fd, (struct sockaddr *)&(struct sockaddr_un){.sun_family = AF_UNIX}, sizeof name.sun_family));
        name_length = sizeof name;
        must(getsockname(fd, (struct sockaddr *)&name, &name_length));
        must(listen(fd, 4));
        if (!(pid = (pid_t)must(fork())))
                _exit(holder_run(fd, limits, discard) < 0);
        fd_close(fd);
}

static int meet(void) {
        int fd = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        must(connect(fd, (struct sockaddr *)&name, name_length));
        return fd;
}

/* It ends by itself. */
static void end(void) {
        int status;
        check_equal(must(waitpid(pid, &status, 0)), pid);
        check_equal(status, 0);
}

static GUID vm(unsigned number) {
        return (GUID){.Data1 = number};
}

static void say(int daemon, struct holder_packet packet, const int *fds, unsigned count) {
        check_ok(holder_send(daemon, &packet, fds, count, 0));
}

static void wait_for(int fd) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        check_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
}

static struct holder_packet hear(int daemon, int fds[HOLDER_FDS_MAX], unsigned *ret_count) {
        struct holder_packet packet;
        wait_for(daemon);
        check_ok(holder_receive(daemon, &packet, fds, ret_count));
        return packet;
}

/* Says HELLO; how many sets there are, whose descriptors are closed again. */
static unsigned count_sets(int daemon) {
        int fds[HOLDER_FDS_MAX];
        unsigned count, sets = 0;
        say(daemon, (struct holder_packet){.kind = HOLDER_HELLO, .generation = HOLDER_VERSION}, NULL, 0);
        for (; hear(daemon, fds, &count).kind == HOLDER_SET; sets++)
                while (count)
                        fd_close(fds[--count]);
        return sets;
}

static void expect_end(int daemon) {
        struct holder_packet packet;
        int fds[HOLDER_FDS_MAX];
        unsigned count;
        wait_for(daemon);
        check_equal(holder_receive(daemon, &packet, fds, &count), -ECONNRESET);
}

/* A VMM, whose end is returned, and a set of so many descriptors. */
static int hold_vm(int daemon, unsigned number, unsigned count) {
        int ends[2], fds[VM_HELD_MAX];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        for (unsigned i = 0; i < count; i++)
                fds[i] = i ? (int)must(eventfd(i, EFD_CLOEXEC | EFD_NONBLOCK)) : ends[1];
        struct holder_packet set = {.kind = HOLDER_SET, .vm_id = vm(number), .generation = number + 7};
        say(daemon, set, fds, count);
        for (unsigned i = 0; i < count; i++)
                fd_close(fds[i]);
        return ends[0];
}

/* The application's end of a channel that is held. */
static int hold_end(int daemon, uint64_t number, int type) {
        int ends[2];
        must(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ends));
        say(daemon, (struct holder_packet){.kind = HOLDER_ENDS, .count = 1, .numbers = {number}}, &ends[1], 1);
        (void)count_sets(daemon); /* it has it */
        fd_close(ends[1]);
        return ends[0];
}

/* As the library sees it. */
static void check_reset(int fd) {
        int type;
        socklen_t length = sizeof type;
        must(getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length));
        const int on = 1;
        if (type == SOCK_STREAM)
                must(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
        for (;;) {
                union {
                        struct cmsghdr header;
                        char bytes[CMSG_SPACE(sizeof(int))];
                } control;
                char bytes[4096];
                struct iovec piece = {bytes, sizeof bytes};
                struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control,
                                         .msg_controllen = sizeof control};
                wait_for(fd);
                ssize_t size = recvmsg(fd, &message, MSG_CMSG_CLOEXEC);
                if (size < 0) { /* as the kernel says it, where data was not read */
                        check_equal(errno, ECONNRESET);
                        break;
                }
                if (!CMSG_FIRSTHDR(&message)) {
                        check(size > 0);
                        continue;
                }
                int mark;
                memcpy(&mark, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof mark);
                fd_close(mark);
                break;
        }
        fd_close(fd);
}

TEST(a_set_comes_back_as_it_was_given_as_often_as_it_is_asked_for) {
        int fds[HOLDER_FDS_MAX];
        unsigned count;
        begin(&SMALL);
        int daemon = meet(), vmm = hold_vm(daemon, 1, VM_HELD_MAX);
        for (unsigned deaths = 0; deaths < 3; deaths++) {
                fd_close(daemon);
                daemon = meet();
                say(daemon, (struct holder_packet){.kind = HOLDER_HELLO, .generation = HOLDER_VERSION}, NULL, 0);
                struct holder_packet packet = hear(daemon, fds, &count);
                check_equal(packet.kind, HOLDER_SET);
                check_equal(packet.vm_id.Data1, 1);
                check_equal(packet.generation, 8);
                check_equal(count, VM_HELD_MAX);
                for (unsigned i = 1; i < count; i++) {
                        eventfd_t value;
                        check_ok(eventfd_read(fds[i], &value));
                        check_equal(value, i);
                        check_ok(eventfd_write(fds[i], i));
                }
                while (count)
                        fd_close(fds[--count]);
                check_equal(hear(daemon, fds, &count).kind, HOLDER_DONE);
        }
        fd_close(vmm);
        fd_close(daemon);
        end();
}

TEST(a_set_replaces_the_one_of_before_and_goes_when_it_is_dropped) {
        int fds[HOLDER_FDS_MAX];
        unsigned count;
        begin(&SMALL);
        int daemon = meet(), old = hold_vm(daemon, 1, 2), vmm = hold_vm(daemon, 1, 3);
        check_equal(count_sets(daemon), 1);
        char byte;
        check_equal(must(recv(old, &byte, 1, 0)), 0); /* nobody has it any more */
        say(daemon, (struct holder_packet){.kind = HOLDER_HELLO, .generation = HOLDER_VERSION}, NULL, 0);
        check_equal(hear(daemon, fds, &count).kind, HOLDER_SET);
        check_equal(count, 3);
        while (count)
                fd_close(fds[--count]);
        check_equal(hear(daemon, fds, &count).kind, HOLDER_DONE);
        say(daemon, (struct holder_packet){.kind = HOLDER_DROP_SET, .vm_id = vm(1)}, NULL, 0);
        check_equal(count_sets(daemon), 0);
        check_equal(must(recv(vmm, &byte, 1, 0)), 0);
        fd_close(old);
        fd_close(vmm);
        fd_close(daemon);
        end();
}

TEST(no_more_sets_than_the_limit_are_held) {
        int vmms[4];
        begin(&SMALL);
        int daemon = meet();
        for (unsigned i = 0; i < 4; i++)
                vmms[i] = hold_vm(daemon, i, 2);
        check_equal(count_sets(daemon), SMALL.sets_max);
        char byte;
        check_equal(must(recv(vmms[3], &byte, 1, 0)), 0);
        for (unsigned i = 0; i < 4; i++)
                fd_close(vmms[i]);
        while (count_sets(daemon)) /* until it has seen that their VMMs are gone */
                poll(NULL, 0, 1);
        fd_close(daemon);
        end();
}

TEST(ends_are_reset_when_hvsockd_is_gone) {
        begin(&SMALL);
        int daemon = meet();
        int stream = hold_end(daemon, 1, SOCK_STREAM), messages = hold_end(daemon, 2, SOCK_SEQPACKET);
        must(send(messages, "unread", 6, 0));
        fd_close(daemon);
        check_reset(stream);
        check_reset(messages);
        end();
}

TEST(an_end_whose_application_reads_nothing_is_reset_behind_the_data) {
        static char bytes[4096];
        int ends[2];
        begin(&SMALL);
        int daemon = meet();
        const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        int applications[2];
        for (unsigned i = 0; i < 2; i++) {
                must(socketpair(AF_UNIX, types[i] | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends));
                say(daemon, (struct holder_packet){.kind = HOLDER_ENDS, .count = 1, .numbers = {i}}, &ends[1], 1);
                while (send(ends[1], bytes, sizeof bytes, 0) > 0)
                        ;
                while (send(ends[1], bytes, 1, 0) > 0)
                        ;
                (void)count_sets(daemon);
                fd_close(ends[1]);
                applications[i] = ends[0];
        }
        fd_close(daemon);
        check_reset(applications[0]);
        check_reset(applications[1]);
        end();
}

TEST(an_end_that_was_dropped_is_not_reset) {
        begin(&SMALL);
        int daemon = meet(), fd = hold_end(daemon, 1, SOCK_STREAM);
        say(daemon, (struct holder_packet){.kind = HOLDER_DROP_ENDS, .count = 2, .numbers = {1, 99}}, NULL, 0);
        char byte;
        check_equal(must(recv(fd, &byte, 1, 0)), 0);
        fd_close(daemon);
        fd_close(fd);
        end();
}

TEST(a_batch_has_as_many_ends_as_fit_and_no_more_than_the_limit_are_held) {
        struct holder_limits limits = {.keep_ms = PATIENCE_MS, .ends_max = HOLDER_BATCH_MAX - 1};
        struct holder_packet packet = {.kind = HOLDER_ENDS, .count = HOLDER_BATCH_MAX};
        int applications[HOLDER_BATCH_MAX], held[HOLDER_BATCH_MAX];
        begin(&limits);
        int daemon = meet();
        for (unsigned i = 0; i < HOLDER_BATCH_MAX; i++) {
                int ends[2];
                must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
                applications[i] = ends[0];
                held[i] = ends[1];
                packet.numbers[i] = i;
        }
        say(daemon, packet, held, HOLDER_BATCH_MAX);
        (void)count_sets(daemon);
        for (unsigned i = 0; i < HOLDER_BATCH_MAX; i++)
                fd_close(held[i]);
        char byte;
        check_equal(must(recv(applications[HOLDER_BATCH_MAX - 1], &byte, 1, 0)), 0);
        fd_close(applications[HOLDER_BATCH_MAX - 1]);
        fd_close(daemon);
        for (unsigned i = 0; i < HOLDER_BATCH_MAX - 1; i++)
                check_reset(applications[i]);
        end();
}

TEST(what_cannot_be_ends_the_connection_like_a_death) {
        const struct {
                struct holder_packet packet;
                size_t size;
                unsigned fds;
        } mistakes[] = {
                {{.kind = 0}, offsetof(struct holder_packet, numbers), 0},
                {{.kind = HOLDER_DONE}, offsetof(struct holder_packet, numbers), 0},
                {{.kind = HOLDER_DONE + 1}, offsetof(struct holder_packet, numbers), 0},
                {{.kind = HOLDER_HELLO, .generation = HOLDER_VERSION + 1}, offsetof(struct holder_packet, numbers), 0},
                {{.kind = HOLDER_DROP_SET}, offsetof(struct holder_packet, numbers) - 1, 0},
                {{.kind = HOLDER_DROP_SET}, offsetof(struct holder_packet, numbers) + 8, 0},
                {{.kind = HOLDER_DROP_SET}, offsetof(struct holder_packet, numbers), 1},
                {{.kind = HOLDER_SET}, offsetof(struct holder_packet, numbers), 1},
                {{.kind = HOLDER_SET}, offsetof(struct holder_packet, numbers), VM_HELD_MAX + 1},
                {{.kind = HOLDER_SET, .count = 1}, offsetof(struct holder_packet, numbers) + 8, 2},
                {{.kind = HOLDER_ENDS, .count = 2}, offsetof(struct holder_packet, numbers) + 16, 1},
                {{.kind = HOLDER_ENDS, .count = 1}, offsetof(struct holder_packet, numbers) + 8, 2},
                {{.kind = HOLDER_DROP_ENDS, .count = 1}, offsetof(struct holder_packet, numbers) + 8, 1},
                {{.kind = HOLDER_DROP_ENDS, .count = HOLDER_BATCH_MAX + 1}, sizeof(struct holder_packet), 0},
        };
        int fds[VM_HELD_MAX + 1];
        begin(&SMALL);
        for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
                fds[i] = (int)must(eventfd(0, EFD_CLOEXEC));
        int daemon = meet(), vmm = hold_vm(daemon, 1, 2);
        for (unsigned i = 0; i < sizeof mistakes / sizeof mistakes[0]; i++) {
                check_equal(count_sets(daemon), 1);
                int fd = hold_end(daemon, 1, SOCK_STREAM);
                union {
                        struct cmsghdr header;
                        char bytes[CMSG_SPACE(sizeof fds)];
                } control = {};
                struct iovec piece = {(void *)&mistakes[i].packet, mistakes[i].size};
                struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
                if (mistakes[i].fds) {
                        control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(mistakes[i].fds * sizeof(int)),
                                                          .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
                        memcpy(CMSG_DATA(&control.header), fds, mistakes[i].fds * sizeof(int));
                        message.msg_control = &control;
                        message.msg_controllen = CMSG_SPACE(mistakes[i].fds * sizeof(int));
                }
                must(sendmsg(daemon, &message, 0));
                expect_end(daemon);
                check_reset(fd);
                fd_close(daemon);
                daemon = meet();
        }
        fd_close(vmm);
        fd_close(daemon);
        for (unsigned i = 0; i < sizeof fds / sizeof fds[0]; i++)
                fd_close(fds[i]);
        end();
}

TEST(who_comes_later_replaces_who_was_there) {
        begin(&SMALL);
        int first = meet(), vmm = hold_vm(first, 1, 2), fd = hold_end(first, 1, SOCK_STREAM);
        int second = meet();
        check_equal(count_sets(second), 1);
        expect_end(first);
        check_reset(fd);
        fd_close(vmm);
        fd_close(first);
        fd_close(second);
        end();
}

TEST(it_ends_when_its_time_is_over_and_closes_all) {
        struct holder_limits limits = SMALL;
        limits.keep_ms = 50;
        begin(&limits);
        int daemon = meet(), vmm = hold_vm(daemon, 1, 2);
        check_equal(count_sets(daemon), 1);
        fd_close(daemon);
        char byte;
        check_equal(must(recv(vmm, &byte, 1, 0)), 0);
        fd_close(vmm);
        end();
}

TEST(it_ends_when_nobody_ever_comes) {
        struct holder_limits limits = SMALL;
        limits.keep_ms = 50;
        begin(&limits);
        end();
}

TEST(another_users_process_is_not_heard) {
        if (geteuid() != 0)
                test_skip("only root can be another user");
        begin(&SMALL);
        int daemon = meet(), vmm = hold_vm(daemon, 1, 2);
        check_equal(count_sets(daemon), 1);
        pid_t other = (pid_t)must(fork());
        if (!other) {
                must(setuid(65534));
                int stranger = meet();
                expect_end(stranger);
                _exit(0);
        }
        int status;
        check_equal(must(waitpid(other, &status, 0)), other);
        check_equal(status, 0);
        check_equal(count_sets(daemon), 1);
        fd_close(vmm);
        fd_close(daemon);
        end();
}
