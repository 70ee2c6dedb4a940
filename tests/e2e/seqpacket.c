/* SPDX-License-Identifier: MIT */

/* SOCK_SEQPACKET keeps message boundaries, up to 64 KiB or SO_SNDBUF. */

#include "pair.h"
#include "test.h"

#include <stdlib.h>
#include <sys/uio.h>

static uint8_t message[HV_SEQPACKET_MAX + 1], heard[HV_SEQPACKET_MAX + 1];

static void set_buffer(int fd, int size) {
        must(hv_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size));
}

static int get_buffer(int fd) {
        int size;
        socklen_t length = sizeof size;
        must(hv_getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length));
        return size;
}

TEST(each_receive_gives_one_message) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        const size_t sizes[] = {1, 7, 4096, 1, 20000};
        uint64_t position = 0, expected = 0;
        for (unsigned i = 0; i < 5; i++) {
                fill_sequence(&position, message, sizes[i]);
                check_equal(must(hv_send(pair.connector, message, sizes[i], 0)), sizes[i]);
        }
        for (unsigned i = 0; i < 5; i++) {
                check_equal(must(hv_recv(pair.acceptor, heard, sizeof heard, 0)), sizes[i]);
                check_sequence(&expected, heard, sizes[i]);
        }
        pair_close(&pair);
}

TEST(a_message_that_does_not_fit_is_cut_and_the_next_one_is_whole) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        struct iovec vector = {.iov_base = heard, .iov_len = 4};
        struct msghdr header = {.msg_iov = &vector, .msg_iovlen = 1};
        must(hv_send(pair.connector, "first message", 13, 0));
        must(hv_send(pair.connector, "second", 6, 0));
        check_equal(must(hv_recvmsg(pair.acceptor, &header, 0)), 4);
        check(header.msg_flags & MSG_TRUNC);
        check_equal(must(hv_recv(pair.acceptor, heard, sizeof heard, 0)), 6);
        check(!memcmp(heard, "second", 6));
        pair_close(&pair);
}

TEST(a_message_of_64_kib_passes_in_one_piece) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        for (unsigned i = 0; i < 4; i++) {
                uint64_t position = i, expected = i;
                fill_sequence(&position, message, HV_SEQPACKET_MAX);
                check_equal(must(hv_send(pair.connector, message, HV_SEQPACKET_MAX, 0)), HV_SEQPACKET_MAX);
                check_equal(must(hv_recv(pair.acceptor, heard, sizeof heard, 0)), HV_SEQPACKET_MAX);
                check_sequence(&expected, heard, HV_SEQPACKET_MAX);
        }
        pair_close(&pair);
}

TEST(a_message_beyond_the_limit_is_emsgsize_and_nothing_of_it_is_sent) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        set_buffer(pair.connector, HV_SEQPACKET_MAX / 4);
        check_equal(must(hv_send(pair.connector, message, 4096, 0)), 4096);
        check_equal(must(hv_recv(pair.acceptor, heard, sizeof heard, 0)), 4096);
        check(get_buffer(pair.connector) <= HV_SEQPACKET_MAX);
        check_errno(hv_send(pair.connector, message, HV_SEQPACKET_MAX + 1, 0), EMSGSIZE);
        struct iovec halves[] = {{.iov_base = message, .iov_len = HV_SEQPACKET_MAX / 2},
                                 {.iov_base = message, .iov_len = HV_SEQPACKET_MAX / 2 + 1}};
        check_errno(hv_writev(pair.connector, halves, 2), EMSGSIZE);
        check_equal(events_now(pair.acceptor, POLLIN), 0);
        pair_close(&pair);
}

TEST(the_default_buffer_has_its_limit_too) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        size_t size = (size_t)get_buffer(pair.connector) + 1;
        size = size > HV_SEQPACKET_MAX ? size : HV_SEQPACKET_MAX + 1;
        void *large = calloc(1, size);
        check(large);
        check_errno(hv_send(pair.connector, large, size, 0), EMSGSIZE);
        free(large);
        pair_close(&pair);
}

TEST(messages_before_a_close_arrive_and_then_the_end) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        must(hv_send(pair.connector, "one", 3, 0));
        must(hv_send(pair.connector, "three", 5, 0));
        must(hv_close(pair.connector));
        pair.connector = -1;
        check_equal(must(hv_recv(pair.acceptor, heard, sizeof heard, 0)), 3);
        check_equal(must(hv_recv(pair.acceptor, heard, sizeof heard, 0)), 5);
        check_equal(must(hv_recv(pair.acceptor, heard, sizeof heard, 0)), 0);
        pair_close(&pair);
}

TEST(half_closing_works_both_ways) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        must(hv_shutdown(pair.connector, SHUT_WR));
        check_equal(must(hv_recv(pair.acceptor, heard, sizeof heard, 0)), 0);
        must(hv_send(pair.acceptor, "still here", 10, 0));
        check_equal(must(hv_recv(pair.connector, heard, sizeof heard, 0)), 10);
        check_errno(hv_send(pair.connector, "x", 1, 0), EPIPE);
        pair_close(&pair);
}

static void check_reset(int fd) {
        ssize_t got;
        while ((got = hv_recv(fd, heard, sizeof heard, 0)) > 0)
                check_equal(got, 1000);
        check_equal(got, -1);
        check_equal(errno, ECONNRESET);
        check_errno(hv_recv(fd, heard, sizeof heard, 0), ECONNRESET);
        check_errno(hv_send(fd, "x", 1, 0), ECONNRESET);
}

TEST(an_abort_is_a_reset) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        must(ends_abruptly(pair.acceptor));
        pair.acceptor = -1;
        check_reset(pair.connector);
        pair_close(&pair);
}

TEST(an_abort_behind_full_buffers_is_a_reset) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        while (hv_send(pair.connector, message, 1000, MSG_DONTWAIT) > 0)
                ;
        check_equal(errno, EAGAIN);
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        check_reset(pair.acceptor);
        pair_close(&pair);
}

TEST(an_abort_with_data_unread_on_both_sides_is_a_reset) {
        struct pair pair = pair_open(SOCK_SEQPACKET);
        must(hv_send(pair.connector, message, 1000, 0));
        must(hv_send(pair.acceptor, message, 1000, 0));
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        check_reset(pair.acceptor);
        pair_close(&pair);
}
