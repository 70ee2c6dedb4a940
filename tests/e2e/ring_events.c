/* SPDX-License-Identifier: MIT */

/* What the kernel says of a socket whose data is in rings, and what the calls' flags and options mean there. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <linux/sockios.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <unistd.h>

static uint8_t bytes[1 << 20];

static int count_readable(int fd) {
        int count = -1;
        must(hv_ioctl(fd, FIONREAD, &count));
        return count;
}

/* ---- readiness ---- */

static bool select_says_readable(int fd) {
        fd_set set;
        struct timeval now = {};
        FD_ZERO(&set);
        FD_SET(fd, &set);
        return must(select(fd + 1, &set, NULL, NULL, &now)) == 1;
}

static void check_readable(int fd, int epoll_fd, bool expected) {
        struct epoll_event event;
        check_equal(events_now(fd, POLLIN), expected ? POLLIN : 0);
        check_equal(select_says_readable(fd), expected);
        check_equal(must(epoll_wait(epoll_fd, &event, 1, 0)), expected);
}

static int epoll_on(int fd, uint32_t events) {
        int epoll_fd = (int)must(epoll_create1(EPOLL_CLOEXEC));
        struct epoll_event event = {.events = events};
        must(epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &event));
        return epoll_fd;
}

TEST(the_kernel_says_readable_exactly_while_there_is_something_in_the_ring) {
        for (int type = SOCK_STREAM; type != 0; type = type == SOCK_STREAM ? SOCK_SEQPACKET : 0) {
                struct pair pair = ring_pair(type);
                int epoll_fd = epoll_on(pair.acceptor, EPOLLIN);
                for (unsigned i = 0; i < 200; i++) {
                        check_readable(pair.acceptor, epoll_fd, false);
                        check_equal(must(hv_send(pair.connector, bytes, 10, 0)), 10);
                        check_readable(pair.acceptor, epoll_fd, true);
                        if (i % 2) {
                                check_equal(must(hv_send(pair.connector, bytes, 20, 0)), 20);
                                check_equal(must(hv_recv(pair.acceptor, bytes, 10, i % 3 ? MSG_DONTWAIT : 0)), 10);
                                check_readable(pair.acceptor, epoll_fd, true);
                        }
                        check(must(hv_recv(pair.acceptor, bytes, 100, i % 5 ? MSG_DONTWAIT : 0)) >= 10);
                        if (i % 7 == 0)
                                check_errno(hv_recv(pair.acceptor, bytes, 100, MSG_DONTWAIT), EAGAIN);
                }
                close(epoll_fd);
                pair_close(&pair);
        }
}

TEST(an_edge_comes_with_what_comes_after_the_ring_was_emptied) {
        struct pair pair = ring_pair(SOCK_STREAM);
        int epoll_fd = epoll_on(pair.acceptor, EPOLLIN | EPOLLET);
        struct epoll_event event;
        set_nonblocking(pair.acceptor, true);
        (void)epoll_wait(epoll_fd, &event, 1, 0);
        for (unsigned i = 0; i < 100; i++) {
                check_equal(must(epoll_wait(epoll_fd, &event, 1, 0)), 0);
                check_equal(must(hv_send(pair.connector, bytes, 100, 0)), 100);
                check_equal(must(epoll_wait(epoll_fd, &event, 1, 0)), 1);
                check_equal(must(epoll_wait(epoll_fd, &event, 1, 0)), 0);
                check_equal(must(hv_recv(pair.acceptor, bytes, 60, 0)), 60);
                check_equal(must(hv_recv(pair.acceptor, bytes, 60, 0)), 40);
                check_errno(hv_recv(pair.acceptor, bytes, 60, 0), EAGAIN);
        }
        close(epoll_fd);
        pair_close(&pair);
}

TEST(a_full_ring_is_a_socket_that_is_not_writable_until_half_of_it_was_read) {
        struct pair pair = ring_pair(SOCK_STREAM);
        int epoll_fd = epoll_on(pair.connector, EPOLLOUT | EPOLLET);
        struct epoll_event event;
        for (unsigned round = 0; round < 20; round++) {
                (void)epoll_wait(epoll_fd, &event, 1, 0);
                check_equal(events_now(pair.connector, POLLOUT), POLLOUT);
                size_t filled = fill_ring(pair.connector), taken = 0;
                check(filled >= 65536);
                check_equal(events_now(pair.connector, POLLOUT), 0);
                check_equal(must(epoll_wait(epoll_fd, &event, 1, 0)), 0);
                while (taken < filled / 2 + 4096)
                        taken += (size_t)must(hv_recv(pair.acceptor, bytes, 4096, MSG_DONTWAIT));
                check_equal(events_now(pair.connector, POLLOUT), POLLOUT);
                check_equal(must(epoll_wait(epoll_fd, &event, 1, 0)), 1);
                check_equal(events_now(pair.acceptor, POLLIN), POLLIN);
                while (taken < filled)
                        taken += (size_t)must(hv_recv(pair.acceptor, bytes, sizeof bytes, MSG_DONTWAIT));
                check_equal(events_now(pair.acceptor, POLLIN), 0);
        }
        close(epoll_fd);
        pair_close(&pair);
}

TEST(after_a_send_that_filled_the_ring_in_part_there_is_no_room) {
        struct pair pair = ring_pair(SOCK_STREAM);
        for (unsigned i = 0; i < 5; i++) {
                fill_ring(pair.connector);
                size_t taken = 0;
                while (!events_now(pair.connector, POLLOUT))
                        taken += (size_t)must(hv_recv(pair.acceptor, bytes, 10000, 0));
                ssize_t sent = must(hv_send(pair.connector, bytes, sizeof bytes, MSG_DONTWAIT));
                check(sent > 0 && (size_t)sent <= taken);
                check_equal(events_now(pair.connector, POLLOUT), 0);
        }
        pair_close(&pair);
}

TEST(a_new_ring_is_writable) {
        struct pair pair = ring_pair(SOCK_STREAM);
        check_equal(events_now(pair.connector, POLLOUT | POLLIN), POLLOUT);
        check_equal(events_now(pair.acceptor, POLLOUT | POLLIN), POLLOUT);
        pair_close(&pair);
}

/* ---- flags and options ---- */

TEST(peeking_takes_nothing_and_counting_is_exact) {
        struct pair pair = ring_pair(SOCK_STREAM);
        char text[16] = "";
        int unread;
        check_equal(count_readable(pair.acceptor), 0);
        must(hv_send(pair.connector, "one", 3, 0));
        must(hv_send(pair.connector, "two", 3, 0));
        check_equal(count_readable(pair.acceptor), 6);
        must(hv_ioctl(pair.connector, SIOCOUTQ, &unread));
        check_equal(unread, 6);
        for (unsigned i = 0; i < 3; i++)
                check_equal(must(hv_recv(pair.acceptor, text, 4, MSG_PEEK)), 4);
        check_string(text, "onet");
        check_equal(count_readable(pair.acceptor), 6);
        check_equal(must(hv_recv(pair.acceptor, text, sizeof text, 0)), 6);
        check_equal(count_readable(pair.acceptor), 0);
        must(hv_ioctl(pair.connector, SIOCOUTQ, &unread));
        check_equal(unread, 0);
        check_errno(hv_recv(pair.acceptor, text, 4, MSG_PEEK | MSG_DONTWAIT), EAGAIN);
        check_equal(events_now(pair.acceptor, POLLIN), 0);
        pair_close(&pair);
}

static long peek_one(void *fd) {
        char byte;
        return hv_recv(*(int *)fd, &byte, 1, MSG_PEEK);
}

TEST(a_peek_that_waits_leaves_the_socket_readable) {
        struct pair pair = ring_pair(SOCK_STREAM);
        struct thread *thread = thread_start(peek_one, &pair.acceptor);
        check(await(thread_is_asleep(thread)));
        must(hv_send(pair.connector, "here", 4, 0));
        check_equal(must(thread_join(thread)), 1);
        check_equal(events_now(pair.acceptor, POLLIN), POLLIN);
        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 4);
        check_equal(events_now(pair.acceptor, POLLIN), 0);
        pair_close(&pair);
}

static long receive_all(void *fd) {
        return hv_recv(*(int *)fd, bytes, 600000, MSG_WAITALL);
}

TEST(waitall_waits_for_more_than_a_ring_holds) {
        struct pair pair = ring_pair(SOCK_STREAM);
        static uint8_t sent[600000];
        uint64_t position = 0;
        struct thread *thread = thread_start(receive_all, &pair.acceptor);
        check(await(thread_is_asleep(thread)));
        fill_sequence(&position, sent, sizeof sent);
        for (size_t done = 0; done < sizeof sent; done += 60000)
                check_equal(must(hv_send(pair.connector, sent + done, 60000, 0)), 60000);
        check_equal(must(thread_join(thread)), sizeof sent);
        check(!memcmp(bytes, sent, sizeof sent));
        check_equal(events_now(pair.acceptor, POLLIN), 0);
        pair_close(&pair);
}

TEST(time_outs_end_waiting_both_ways) {
        struct pair pair = ring_pair(SOCK_STREAM);
        struct timeval limit = {.tv_usec = 30000};
        must(hv_setsockopt(pair.acceptor, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit));
        must(hv_setsockopt(pair.connector, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit));
        check_errno(hv_recv(pair.acceptor, bytes, 100, 0), EAGAIN);
        size_t filled = fill_ring(pair.connector);
        check_errno(hv_send(pair.connector, bytes, 100, 0), EAGAIN);
        check_equal(must(hv_recv(pair.acceptor, bytes, filled, MSG_WAITALL)), filled);
        check_equal(must(hv_send(pair.connector, bytes, 100, 0)), 100);
        check_equal(must(hv_recv(pair.acceptor, bytes, 200, 0)), 100);
        check_errno(hv_recv(pair.acceptor, bytes, 100, 0), EAGAIN);
        check_equal(events_now(pair.acceptor, POLLIN), 0);
        pair_close(&pair);
}

TEST(a_message_is_one_message_in_a_ring_too) {
        struct pair pair = ring_pair(SOCK_SEQPACKET);
        for (size_t size = 0; size <= 65536; size = size * 3 + 1) {
                check_equal(must(hv_send(pair.connector, bytes, size, 0)), size);
                check_equal(must(hv_send(pair.connector, "after", 5, 0)), 5);
                check_equal(count_readable(pair.acceptor), size);
                check_equal(must(hv_recv(pair.acceptor, bytes, 7, MSG_TRUNC)), size);
                check_equal(must(hv_recv(pair.acceptor, bytes, sizeof bytes, 0)), 5);
        }
        check_equal(events_now(pair.acceptor, POLLIN), 0);
        pair_close(&pair);
}

TEST(the_send_buffer_is_what_it_was_set_to_and_limits_the_ring) {
        struct pair pair = ring_pair(SOCK_STREAM);
        int size = 40000;
        socklen_t length = sizeof size;
        must(hv_setsockopt(pair.connector, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
        must(hv_getsockopt(pair.connector, SOL_SOCKET, SO_SNDBUF, &size, &length));
        check_equal(size, 80000);
        check_equal(fill_ring(pair.connector), 80000);
        must(hv_getsockopt(pair.connector, SOL_SOCKET, SO_SNDBUF, &size, &length));
        check_equal(size, 80000);
        pair_close(&pair);
}
