/* SPDX-License-Identifier: MIT */

/* The host's end of a VM's channel, against an application that uses the library. */

#include "vm/end.h"

#include "base/fd.h"
#include "test.h"
#include <hvsock.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define ROOM 3732u /* of a Linux guest's RX buffer */

static struct end end;
static int application;
static uint64_t given, heard, taken, told; /* positions in the two streams */
static uint8_t bytes[1 << 20];

static uint8_t byte_of(uint64_t position) {
        return (uint8_t)((position * 0x9e3779b97f4a7c15u) >> 56);
}

static void write_sequence(uint64_t *position, uint8_t *to, size_t size) {
        for (size_t i = 0; i < size; i++)
                to[i] = byte_of((*position)++);
}

static void read_sequence(uint64_t *position, const uint8_t *from, size_t size) {
        for (size_t i = 0; i < size; i++)
                check_equal(from[i], byte_of((*position)++));
}

static void begin(int type) {
        int ends[2];
        const int on = 1;
        must(socketpair(AF_UNIX, type, 0, ends));
        for (unsigned i = 0; i < 2; i++) /* as the broker does: what has a name is told from an end */
                must(bind(ends[i], &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)));
        must(setsockopt(ends[0], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on)); /* as hv_socket() does, for aborts */
        application = ends[0];
        check_ok(end_begin(&end, ends[1]));
        given = heard = taken = told = 0;
}

static void finish(void) {
        if (end.fd >= 0)
                end_close(&end);
        must(hv_close(application));
}

static int ready_now(int fd, short events) {
        struct pollfd descriptor = {.fd = fd, .events = events};
        return must(poll(&descriptor, 1, 0)) ? descriptor.revents : 0;
}

static int state(void) {
        int state;
        socklen_t length = sizeof state;
        must(hv_getsockopt(application, SOL_HVSOCKET, HVSOCKET_CARRIER_STATE, &state, &length));
        return state;
}

/* Into a buffer of the guest's that lies in three pieces. */
static ssize_t give(uint8_t *to, size_t room, bool *ret_is_whole, bool *ret_has_more) {
        struct iovec pieces[] = {{to, room / 3}, {to + room / 3, room / 5}, {to + room / 3 + room / 5, room - room / 3 - room / 5}};
        return end_give(&end, pieces, 3, room, ret_is_whole, ret_has_more);
}

static ssize_t take(uint8_t *from, size_t size) {
        struct iovec pieces[] = {{from, size / 2}, {from + size / 2, size - size / 2}};
        return end_take(&end, pieces, 2, size);
}

/* `size` bytes from the application to the guest. */
static void pass_to_guest(size_t size) {
        static uint8_t buffer[ROOM];
        bool is_whole = false, has_more;
        write_sequence(&given, bytes, size);
        check_equal(must(hv_send(application, bytes, size, MSG_DONTWAIT)), size);
        for (size_t left = size; left || (end.type == SOCK_SEQPACKET && !is_whole);) {
                ssize_t length = give(buffer, ROOM, &is_whole, &has_more);
                check(length >= 0 && (size_t)length <= left);
                read_sequence(&heard, buffer, (size_t)length);
                left -= (size_t)length;
                check(end.type == SOCK_STREAM || is_whole == !left);
        }
        check_equal(give(buffer, ROOM, &is_whole, &has_more), -EAGAIN);
}

static void pass_to_application(size_t size) {
        write_sequence(&taken, bytes, size);
        check_equal(take(bytes, size), size);
        for (size_t left = size; left;) {
                ssize_t length = must(hv_recv(application, bytes, left, MSG_DONTWAIT));
                check(length > 0);
                read_sequence(&told, bytes, (size_t)length);
                left -= (size_t)length;
        }
        check_errno(hv_recv(application, bytes, 1, MSG_DONTWAIT), EAGAIN);
}

static void begin_in_rings(int type) {
        begin(type);
        for (unsigned i = 0; i < 70; i++) {
                pass_to_guest(10);
                pass_to_application(10);
        }
        check_equal(state(), HV_SENDS_SHM | HV_RECEIVES_SHM);
}

#define EACH_TYPE(type) for (int type = SOCK_STREAM; type; type = type == SOCK_STREAM ? SOCK_SEQPACKET : 0)

TEST(what_is_sent_arrives_both_ways_and_moves_into_rings_when_it_pays) {
        EACH_TYPE(type) {
                begin(type);
                check_equal(state(), 0);
                for (unsigned i = 0; i < 400; i++) {
                        pass_to_guest(1 + i * 977 % 60000);
                        pass_to_application(1 + i * 1999 % 60000);
                }
                check_equal(state(), HV_SENDS_SHM | HV_RECEIVES_SHM);
                finish();
        }
}

TEST(an_empty_message_is_one_on_either_carrier) {
        begin(SOCK_SEQPACKET);
        for (unsigned i = 0; i < 100; i++) {
                pass_to_guest(i % 3);
                check_equal(take(bytes, 0), 0);
                check_equal(must(hv_recv(application, bytes, 10, MSG_DONTWAIT)), 0);
        }
        finish();
}

TEST(a_half_close_passes_each_way_by_itself_and_after_the_data) {
        bool is_whole, has_more;
        for (unsigned rings = 0; rings < 2; rings++) {
                if (rings)
                        begin_in_rings(SOCK_STREAM);
                else
                        begin(SOCK_STREAM);
                must(hv_send(application, "last", 4, 0));
                must(hv_shutdown(application, SHUT_WR));
                check_equal(give(bytes, ROOM, &is_whole, &has_more), 4);
                check_equal(give(bytes, ROOM, &is_whole, &has_more), -ENODATA);
                check_equal(take((uint8_t *)"still", 5), 5);
                end_shut_sending(&end);
                check_equal(must(hv_recv(application, bytes, 100, MSG_DONTWAIT)), 5);
                check_equal(must(hv_recv(application, bytes, 100, MSG_DONTWAIT)), 0);
                finish();
        }
}

TEST(a_close_is_an_end_and_an_abort_a_reset) {
        for (unsigned i = 0; i < 8; i++) {
                bool is_ring = i & 1, is_abort = i & 2;
                int type = i & 4 ? SOCK_SEQPACKET : SOCK_STREAM;
                if (is_ring)
                        begin_in_rings(type);
                else
                        begin(type);
                check_equal(take((uint8_t *)"last", 4), 4);
                (is_abort ? end_abort : end_close)(&end);
                check_equal(must(hv_recv(application, bytes, 100, MSG_DONTWAIT)), 4);
                if (is_abort)
                        check_errno(hv_recv(application, bytes, 100, MSG_DONTWAIT), ECONNRESET);
                else
                        check_equal(must(hv_recv(application, bytes, 100, MSG_DONTWAIT)), 0);
                finish();
        }
}

static void hold_back(size_t size) {
        struct iovec piece = {bytes, size};
        check_equal(end_take_some(&end, &piece, 1, size), size);
}

TEST(what_is_held_back_arrives_with_the_flush_or_the_close) {
        EACH_TYPE(type) {
                begin_in_rings(type);
                for (unsigned i = 0; i < 2; i++) {
                        hold_back(4);
                        check_errno(hv_recv(application, bytes, 100, MSG_DONTWAIT), EAGAIN);
                        check_equal(ready_now(application, POLLIN), 0);
                        if (i)
                                end_close(&end);
                        else
                                check_ok(end_flush(&end));
                        check(ready_now(application, POLLIN) & POLLIN);
                        check_equal(must(hv_recv(application, bytes, 100, MSG_DONTWAIT)), 4);
                }
                check_equal(must(hv_recv(application, bytes, 100, MSG_DONTWAIT)), 0);
                finish();
        }
}

TEST(no_more_is_held_back_than_so_much) {
        begin_in_rings(SOCK_STREAM);
        for (size_t held = 1000; held < END_HELD_MAX; held += 1000) {
                hold_back(1000);
                check_equal(ready_now(application, POLLIN), 0);
        }
        hold_back(1000);
        check_equal(ready_now(application, POLLIN), POLLIN);
        finish();
}

TEST(an_application_that_aborts_or_leaves_bytes_unread_resets) {
        bool is_whole, has_more;
        for (unsigned i = 0; i < 4; i++) {
                if (i & 1)
                        begin_in_rings(SOCK_STREAM);
                else
                        begin(SOCK_STREAM);
                if (i & 2) {
                        struct linger linger = {.l_onoff = 1};
                        must(hv_setsockopt(application, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
                } else {
                        check_equal(take((uint8_t *)"unread", 6), 6);
                }
                must(hv_close(application));
                check_equal(give(bytes, ROOM, &is_whole, &has_more), -ECONNRESET);
                check_equal(take((uint8_t *)"x", 1), -ECONNRESET);
                end_close(&end);
        }
}

TEST(an_application_that_reads_slowly_is_waited_for_and_loses_nothing) {
        for (unsigned rings = 0; rings < 2; rings++) {
                ssize_t length;
                if (rings)
                        begin_in_rings(SOCK_STREAM);
                else
                        begin(SOCK_STREAM);
                for (;;) {
                        uint64_t before = taken;
                        write_sequence(&taken, bytes, 50000);
                        length = take(bytes, 50000);
                        taken = before + (length > 0 ? (uint64_t)length : 0);
                        if (length < 0)
                                break;
                }
                check_equal(length, -EAGAIN);
                check_equal(ready_now(end.fd, POLLOUT), 0);
                while (told < taken) {
                        length = must(hv_recv(application, bytes, 10000, MSG_DONTWAIT));
                        read_sequence(&told, bytes, (size_t)length);
                }
                check_equal(ready_now(end.fd, POLLOUT), POLLOUT);
                pass_to_application(1000);
                pass_to_guest(1000);
                finish();
        }
}

TEST(an_application_that_sends_faster_than_the_guest_reads_waits) {
        bool is_whole, has_more;
        begin_in_rings(SOCK_STREAM);
        for (;;) {
                uint64_t before = given;
                write_sequence(&given, bytes, 30000);
                ssize_t sent = hv_send(application, bytes, 30000, MSG_DONTWAIT);
                given = before + (sent > 0 ? (uint64_t)sent : 0);
                if (sent < 0)
                        break;
        }
        check_equal(errno, EAGAIN);
        check_equal(ready_now(application, POLLOUT), 0);
        while (heard < given) {
                ssize_t length = give(bytes, ROOM, &is_whole, &has_more);
                check(length > 0);
                read_sequence(&heard, bytes, (size_t)length);
        }
        check_equal(ready_now(application, POLLOUT), POLLOUT);
        pass_to_guest(1000);
        finish();
}

TEST(an_end_that_sleeps_is_told_of_what_comes) {
        EACH_TYPE(type) {
                begin_in_rings(type);
                for (unsigned i = 0; i < 50; i++) {
                        bool is_whole, has_more;
                        check(end_arm(&end));
                        check_equal(ready_now(end.fd, POLLIN), 0);
                        must(hv_send(application, "wake", 4, MSG_DONTWAIT));
                        check_equal(ready_now(end.fd, POLLIN), POLLIN);
                        check(!end_arm(&end) || end.in.is_armed);
                        check_equal(give(bytes, ROOM, &is_whole, &has_more), 4);
                        check_equal(give(bytes, ROOM, &is_whole, &has_more), -EAGAIN);
                }
                must(hv_send(application, "at once", 7, MSG_DONTWAIT));
                check(!end_arm(&end));
                finish();
        }
}

TEST(an_application_that_detaches_goes_on_in_the_socket) {
        bool is_whole, has_more;
        begin_in_rings(SOCK_STREAM);
        must(hv_send(application, "in the ring", 11, 0));
        must(hv_detach(application));
        check_equal(state(), 0);
        must(hv_send(application, "in the socket", 13, 0));
        check_equal(give(bytes, ROOM, &is_whole, &has_more), 11);
        check_equal(give(bytes, ROOM, &is_whole, &has_more), 13);
        for (unsigned i = 0; i < 200; i++) {
                check_equal(take((uint8_t *)"natively", 8), 8);
                check_equal(must(read(application, bytes, sizeof bytes)), 8);
        }
        finish();
}

TEST(an_application_that_reads_natively_is_offered_rings_and_never_notices) {
        begin(SOCK_STREAM);
        for (unsigned i = 0; i < 300; i++) {
                write_sequence(&taken, bytes, 100);
                check_equal(take(bytes, 100), 100);
                check_equal(must(read(application, bytes, sizeof bytes)), 100);
                read_sequence(&told, bytes, 100);
        }
        finish();
}

TEST(bytes_that_are_no_tokens_reset_a_ring) {
        bool is_whole, has_more;
        begin_in_rings(SOCK_STREAM);
        must(send(application, "written natively", 16, 0));
        check_equal(give(bytes, ROOM, &is_whole, &has_more), -ECONNRESET);
        finish();
}

TEST(an_index_that_cannot_be_resets_the_channel) {
        bool is_whole, has_more;
        EACH_TYPE(type)
                for (unsigned i = 0; i < 2; i++) {
                        begin_in_rings(type);
                        if (i) {
                                atomic_fetch_add(&end.out.ring.memory.header->words.tail, 1u << 30);
                                ssize_t length = 0;
                                while (length >= 0)
                                        length = take(bytes, 30000);
                                check_equal(length, -ECONNRESET);
                        } else {
                                atomic_fetch_add(&end.in.ring.memory.header->words.head, 1u << 30);
                                check_equal(give(bytes, ROOM, &is_whole, &has_more), -ECONNRESET);
                        }
                        finish();
                }
}
