/* SPDX-License-Identifier: MIT */

/* hv_epoll_*(), and hv_poll() where the library is asked: epoll's meaning, on rings, sockets and whatever else. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <sys/epoll.h>
#include <sys/resource.h>
#include <unistd.h>

static uint8_t bytes[1 << 16];

static struct pair carrier_pair(enum hv_carrier carrier) {
        struct pair pair = pair_open(SOCK_STREAM);
        ask_for(pair.connector, carrier);
        ask_for(pair.acceptor, carrier);
        for (unsigned i = 0; i < 3; i++) {
                must(hv_send(pair.connector, "x", 1, 0));
                must(hv_recv(pair.acceptor, bytes, 1, 0));
        }
        check_equal(carrier_state(pair.acceptor), carrier == HV_CARRIER_SHM ? HV_RECEIVES_SHM : 0);
        return pair;
}

#define EACH_CARRIER(carrier) \
        for (enum hv_carrier carrier = HV_CARRIER_UNIX; carrier <= HV_CARRIER_SHM; carrier++)

static int set_of(int fd, uint32_t events, uint64_t data) {
        int set = (int)must(hv_epoll_create1(EPOLL_CLOEXEC));
        struct epoll_event event = {.events = events, .data.u64 = data};
        must(hv_epoll_ctl(set, EPOLL_CTL_ADD, fd, &event));
        return set;
}

/* The events that are there now of the one member. */
static uint32_t now(int set, uint64_t data) {
        struct epoll_event events[2];
        int count = (int)must(hv_epoll_wait(set, events, 2, 0));
        check(count <= 1);
        if (count)
                check_equal(events[0].data.u64, data);
        return count ? events[0].events : 0;
}

TEST(a_member_is_reported_as_long_as_there_is_something) {
        EACH_CARRIER(carrier) {
                struct pair pair = carrier_pair(carrier);
                int set = set_of(pair.acceptor, EPOLLIN, 0x1234567890abcdef);
                for (unsigned i = 0; i < 100; i++) {
                        check_equal(now(set, 0x1234567890abcdef), 0);
                        must(hv_send(pair.connector, "hello", 5, 0));
                        check_equal(now(set, 0x1234567890abcdef), EPOLLIN);
                        check_equal(must(hv_recv(pair.acceptor, bytes, 3, 0)), 3);
                        check_equal(now(set, 0x1234567890abcdef), EPOLLIN);
                        check_equal(must(hv_recv(pair.acceptor, bytes, 3, 0)), 2);
                }
                must(hv_close(set));
                pair_close(&pair);
        }
}

TEST(edge_triggered_each_arrival_is_reported_once) {
        EACH_CARRIER(carrier) {
                struct pair pair = carrier_pair(carrier);
                int set = set_of(pair.acceptor, EPOLLIN | EPOLLET, 1);
                (void)now(set, 1);
                for (unsigned i = 0; i < 50; i++) {
                        must(hv_send(pair.connector, "hello", 5, 0));
                        check_equal(now(set, 1), EPOLLIN);
                        check_equal(now(set, 1), 0);
                        if (i % 2)
                                must(hv_recv(pair.acceptor, bytes, 100, 0));
                }
                must(hv_close(set));
                pair_close(&pair);
        }
}

TEST(a_oneshot_member_is_reported_once_until_it_is_armed_again) {
        EACH_CARRIER(carrier) {
                struct pair pair = carrier_pair(carrier);
                int set = set_of(pair.acceptor, EPOLLIN | EPOLLONESHOT, 7);
                for (unsigned i = 0; i < 10; i++) {
                        must(hv_send(pair.connector, "hello", 5, 0));
                        check_equal(now(set, 7), EPOLLIN);
                        must(hv_send(pair.connector, "hello", 5, 0));
                        check_equal(now(set, 7), 0);
                        struct epoll_event event = {.events = EPOLLIN | EPOLLONESHOT, .data.u64 = 7};
                        must(hv_epoll_ctl(set, EPOLL_CTL_MOD, pair.acceptor, &event));
                        check_equal(now(set, 7), EPOLLIN);
                        must(hv_recv(pair.acceptor, bytes, 100, 0));
                        must(hv_epoll_ctl(set, EPOLL_CTL_MOD, pair.acceptor, &event));
                }
                must(hv_close(set));
                pair_close(&pair);
        }
}

struct waiter {
        int set, timeout_ms;
};

static long wait_for_one(void *argument) {
        struct waiter *waiter = argument;
        struct epoll_event event;
        int count = hv_epoll_wait(waiter->set, &event, 1, waiter->timeout_ms);
        return count == 1 ? (long)event.data.u64 : count;
}

TEST(a_sleeping_wait_is_woken_by_whatever_comes) {
        EACH_CARRIER(carrier) {
                struct pair pair = carrier_pair(carrier);
                int ends[2], set = set_of(pair.acceptor, EPOLLIN, 1);
                must(pipe(ends));
                struct epoll_event event = {.events = EPOLLIN, .data.u64 = 2};
                must(hv_epoll_ctl(set, EPOLL_CTL_ADD, ends[0], &event));
                struct waiter waiter = {set, -1};
                for (unsigned i = 0; i < 20; i++) {
                        struct thread *thread = thread_start(wait_for_one, &waiter);
                        check(await(thread_is_asleep(thread)));
                        if (i % 2)
                                must(hv_send(pair.connector, "ring", 4, 0));
                        else
                                must(write(ends[1], "pipe", 4));
                        check_equal(must(thread_join(thread)), i % 2 ? 1 : 2);
                        must(i % 2 ? hv_recv(pair.acceptor, bytes, 100, 0) : read(ends[0], bytes, 100));
                }
                must(close(ends[0]));
                must(close(ends[1]));
                must(hv_close(set));
                pair_close(&pair);
        }
}

TEST(a_wait_ends_when_its_time_is_up_and_uses_no_processor) {
        struct pair pair = carrier_pair(HV_CARRIER_SHM);
        struct epoll_event event;
        struct rusage before, after;
        int set = set_of(pair.acceptor, EPOLLIN, 1);
        must(getrusage(RUSAGE_SELF, &before));
        check_equal(must(hv_epoll_wait(set, &event, 1, 100)), 0);
        must(getrusage(RUSAGE_SELF, &after));
        check(after.ru_nvcsw - before.ru_nvcsw < 20);
        must(hv_close(set));
        pair_close(&pair);
}

TEST(the_end_of_the_peer_and_room_are_reported_too) {
        EACH_CARRIER(carrier) {
                struct pair pair = carrier_pair(carrier);
                int set = set_of(pair.acceptor, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 1);
                check_equal(now(set, 1), EPOLLOUT);
                must(hv_send(pair.connector, "x", 1, 0));
                bool in = false, out = false;
                for (unsigned i = 0; i < 40; i++) {
                        uint32_t events = now(set, 1);
                        in |= (events & EPOLLIN) != 0;
                        out |= (events & EPOLLOUT) != 0;
                }
                check(in && out);
                must(hv_recv(pair.acceptor, bytes, 100, 0));
                must(hv_shutdown(pair.connector, SHUT_WR));
                check_equal(now(set, 1), EPOLLIN | EPOLLOUT | EPOLLRDHUP);
                check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 0);
                must(hv_close(pair.connector));
                pair.connector = -1;
                check(now(set, 1) & EPOLLHUP);
                must(hv_close(set));
                pair_close(&pair);
        }
}

TEST(members_with_the_same_data_are_told_apart) {
        struct pair pair = carrier_pair(HV_CARRIER_SHM);
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u64 = 5}, events[8];
        int ends[2], set = set_of(pair.acceptor, EPOLLIN | EPOLLOUT, 5);
        must(pipe(ends));
        must(hv_epoll_ctl(set, EPOLL_CTL_ADD, ends[1], &event));
        must(hv_send(pair.connector, "x", 1, 0));
        bool all = false;
        for (unsigned i = 0; i < 40; i++)
                all |= must(hv_epoll_wait(set, events, 8, 0)) == 2 && (events[0].events ^ events[1].events) == EPOLLIN;
        check(all);
        must(close(ends[0]));
        must(close(ends[1]));
        must(hv_close(set));
        pair_close(&pair);
}

TEST(a_member_that_is_taken_out_is_the_kernels_again) {
        struct pair pair = carrier_pair(HV_CARRIER_SHM);
        int set = set_of(pair.acceptor, EPOLLIN, 1);
        must(hv_send(pair.connector, "x", 1, 0));
        check_equal(now(set, 1), EPOLLIN);
        must(hv_epoll_ctl(set, EPOLL_CTL_DEL, pair.acceptor, NULL));
        check_equal(now(set, 1), 0);
        must(hv_recv(pair.acceptor, bytes, 100, 0));
        for (unsigned i = 0; i < 10; i++) {
                check_equal(events_now(pair.acceptor, POLLIN), 0);
                must(hv_send(pair.connector, "x", 1, 0));
                check_equal(events_now(pair.acceptor, POLLIN), POLLIN);
                must(hv_recv(pair.acceptor, bytes, 100, 0));
        }
        check_errno(hv_epoll_ctl(set, EPOLL_CTL_DEL, pair.acceptor, NULL), ENOENT);
        must(hv_close(set));
        pair_close(&pair);
}

TEST(a_member_that_was_closed_is_not_its_successor) {
        struct pair pair = carrier_pair(HV_CARRIER_SHM), other;
        int set = set_of(pair.acceptor, EPOLLIN, 1), old = pair.acceptor;
        other.connector = new_socket(SOCK_STREAM);
        must(connect_loopback(other.connector));
        must(hv_close(pair.acceptor));
        check_equal(must(hv_accept(pair.listener, NULL, NULL)), old);
        for (unsigned i = 0; i < 100; i++) {
                must(hv_send(other.connector, "x", 1, 0));
                check_equal(now(set, 1), 0);
                must(hv_recv(old, bytes, 1, 0));
        }
        must(hv_close(old));
        must(hv_close(other.connector));
        pair.acceptor = -1;
        must(hv_close(set));
        pair_close(&pair);
}

TEST(a_channel_that_moves_into_a_ring_while_it_is_a_member_goes_on) {
        struct pair pair = pair_open(SOCK_STREAM);
        int set = set_of(pair.acceptor, EPOLLIN, 1);
        ask_for(pair.connector, HV_CARRIER_AUTO);
        ask_for(pair.acceptor, HV_CARRIER_AUTO);
        struct epoll_event event;
        for (unsigned i = 0; i < 200; i++) {
                must(hv_send(pair.connector, "hello", 5, 0));
                check_equal(must(hv_epoll_wait(set, &event, 1, WORLD_WAIT_MS)), 1);
                check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 5);
                check_equal(now(set, 1), 0);
        }
        must(hv_close(set));
        pair_close(&pair);
}

static long echo_by_set(void *argument) {
        int fd = *(int *)argument, set = set_of(fd, EPOLLIN, 1);
        struct epoll_event event;
        ssize_t got;
        do {
                check_equal(must(hv_epoll_wait(set, &event, 1, -1)), 1);
                got = must(hv_recv(fd, bytes, 64, 0));
                if (got)
                        must(hv_send(fd, bytes, (size_t)got, 0));
        } while (got);
        must(hv_close(set));
        return 0;
}

TEST(echoes_through_a_set_are_never_lost) {
        struct pair pair = carrier_pair(HV_CARRIER_SHM);
        struct thread *thread = thread_start(echo_by_set, &pair.acceptor);
        uint64_t sent = 0, heard = 0;
        uint8_t some[64];
        for (unsigned i = 0; i < 20000; i++) {
                size_t size = 1 + i % sizeof some, got = 0;
                fill_sequence(&sent, some, size);
                check_equal(must(hv_send(pair.connector, some, size, 0)), size);
                while (got < size)
                        got += (size_t)must(hv_recv(pair.connector, some + got, size - got, 0));
                check_sequence(&heard, some, size);
                if (i % 1000 == 0)
                        world_pause_ms(1);
        }
        must(hv_shutdown(pair.connector, SHUT_WR));
        must(thread_join(thread));
        pair_close(&pair);
}

TEST(polling_by_the_library_is_right_in_either_readiness) {
        EACH_CARRIER(carrier)
                for (uint32_t readiness = HV_READINESS_KERNEL; readiness <= HV_READINESS_LIBRARY; readiness++) {
                        struct pair pair = carrier_pair(carrier);
                        must(hv_setsockopt(pair.acceptor, SOL_HVSOCKET, HVSOCKET_READINESS, &readiness, sizeof readiness));
                        for (unsigned i = 0; i < 50; i++) {
                                struct pollfd descriptor = {.fd = pair.acceptor, .events = POLLIN};
                                check_equal(must(hv_poll(&descriptor, 1, i % 10 ? 0 : 1)), 0);
                                must(hv_send(pair.connector, "hello", 5, 0));
                                check_equal(must(hv_poll(&descriptor, 1, i % 2 ? 0 : -1)), 1);
                                check_equal(descriptor.revents, POLLIN);
                                check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 5);
                        }
                        pair_close(&pair);
                }
}

static long poll_for_ever(void *argument) {
        struct pollfd descriptor = {.fd = *(int *)argument, .events = POLLIN};
        return hv_poll(&descriptor, 1, -1);
}

TEST(a_poll_that_sleeps_is_woken_in_either_readiness) {
        for (uint32_t readiness = HV_READINESS_KERNEL; readiness <= HV_READINESS_LIBRARY; readiness++) {
                struct pair pair = carrier_pair(HV_CARRIER_SHM);
                must(hv_setsockopt(pair.acceptor, SOL_HVSOCKET, HVSOCKET_READINESS, &readiness, sizeof readiness));
                for (unsigned i = 0; i < 20; i++) {
                        struct thread *thread = thread_start(poll_for_ever, &pair.acceptor);
                        check(await(thread_is_asleep(thread)));
                        must(hv_send(pair.connector, "hello", 5, 0));
                        check_equal(must(thread_join(thread)), 1);
                        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 5);
                }
                pair_close(&pair);
        }
}

/* ---- a peer that sends tokens for nothing ---- */

static long wait_for_event(void *set) {
        struct epoll_event event;
        return must(hv_epoll_wait(*(int *)set, &event, 1, -1));
}

static long poll_for_event(void *fd) {
        return must(hv_poll(&(struct pollfd){.fd = *(int *)fd, .events = POLLIN}, 1, -1));
}

TEST(a_token_for_nothing_is_no_event_and_keeps_nobody_awake) {
        struct pair pair = carrier_pair(HV_CARRIER_SHM);
        int set = set_of(pair.acceptor, EPOLLIN, 1);
        struct epoll_event event;
        long (*const waits[])(void *) = {wait_for_event, poll_for_event};
        for (unsigned i = 0; i < 2; i++) {
                check_equal(must(send(pair.connector, "TTTTT", 5, 0)), 5); /* natively: no ring counts them */
                check_equal(must(hv_epoll_wait(set, &event, 1, 20)), 0);
                check_equal(must(send(pair.connector, "TTTTT", 5, 0)), 5);
                check_equal(must(hv_poll(&(struct pollfd){.fd = pair.acceptor, .events = POLLIN}, 1, 20)), 0);
                check_equal(must(send(pair.connector, "TTTTT", 5, 0)), 5);
                struct thread *thread = thread_start(waits[i], i ? &pair.acceptor : &set);
                check(await(thread_is_asleep(thread) && !events_now(pair.acceptor, POLLIN)));
                pass_on(pair.connector, pair.acceptor, "and this is something");
                must(hv_send(pair.connector, "x", 1, 0));
                check_equal(must(thread_join(thread)), 1);
                check_equal(must(hv_recv(pair.acceptor, bytes, 1, 0)), 1);
        }
        must(hv_close(set));
        pair_close(&pair);
}

TEST(a_poll_that_a_ring_keeps_busy_tells_of_the_end_of_another_peer_all_the_same) {
        struct pair pair = carrier_pair(HV_CARRIER_SHM);
        int connector = new_socket(SOCK_STREAM);
        must(connect_loopback(connector));
        int acceptor = (int)must(hv_accept(pair.listener, NULL, NULL));
        ask_for(connector, HV_CARRIER_SHM);
        for (unsigned i = 0; i < 4; i++)
                pass_on(connector, acceptor, "into a ring, too");
        struct pollfd descriptors[] = {{.fd = pair.acceptor, .events = POLLIN}, {.fd = acceptor, .events = POLLIN}};
        must(hv_send(pair.connector, "unread", 6, 0));
        must(hv_close(connector));
        for (unsigned i = 0; i < 100 && !descriptors[1].revents; i++) {
                check(must(hv_poll(descriptors, 2, -1)) > 0);
                check_equal(descriptors[0].revents, POLLIN);
        }
        check(descriptors[1].revents & POLLHUP);
        must(hv_close(acceptor));
        pair_close(&pair);
}
