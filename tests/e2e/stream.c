/* SPDX-License-Identifier: MIT */

/* Streams keep order and lose nothing; what ends badly is a reset to every hv_* caller, never a silent end. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#define LOT (4u << 20)

static long send_lot(void *fd) {
        static __thread uint8_t bytes[30011];
        uint64_t position = 0;
        while (position < LOT) {
                size_t size = position % sizeof bytes + 1, done = 0;
                fill_sequence(&position, bytes, size);
                while (done < size)
                        done += (size_t)must(hv_send(*(int *)fd, bytes + done, size - done, 0));
        }
        return hv_shutdown(*(int *)fd, SHUT_WR);
}

static long receive_lot(void *fd) {
        static __thread uint8_t bytes[16001];
        uint64_t position = 0;
        for (ssize_t got; (got = must(hv_read(*(int *)fd, bytes, sizeof bytes)));)
                check_sequence(&position, bytes, (size_t)got);
        return (long)position;
}

TEST(both_directions_carry_everything_in_order_at_once) {
        struct pair pair = pair_open(SOCK_STREAM);
        struct thread *senders[] = {thread_start(send_lot, &pair.connector), thread_start(send_lot, &pair.acceptor)};
        struct thread *receiver = thread_start(receive_lot, &pair.connector);
        check(receive_lot(&pair.acceptor) >= LOT);
        check(thread_join(receiver) >= LOT);
        must(thread_join(senders[0]));
        must(thread_join(senders[1]));
        pair_close(&pair);
}

TEST(what_was_sent_before_a_close_arrives_and_then_the_end) {
        struct pair pair = pair_open(SOCK_STREAM);
        char text[16] = "";
        check_equal(must(hv_send(pair.connector, "farewell", 8, 0)), 8);
        must(hv_close(pair.connector));
        pair.connector = -1;
        check_equal(must(hv_recv(pair.acceptor, text, 4, 0)), 4);
        check_equal(must(hv_recv(pair.acceptor, text + 4, sizeof text - 4, 0)), 4);
        check_string(text, "farewell");
        for (unsigned i = 0; i < 3; i++)
                check_equal(must(hv_recv(pair.acceptor, text, sizeof text, 0)), 0);
        pair_close(&pair);
}

static void check_half_close(int closing, int other) {
        char text[16] = "";
        check_equal(must(hv_send(closing, "question", 8, 0)), 8);
        must(hv_shutdown(closing, SHUT_WR));
        check_equal(must(hv_recv(other, text, sizeof text, 0)), 8);
        check_equal(must(hv_recv(other, text, sizeof text, 0)), 0);
        for (unsigned i = 0; i < 3; i++) {
                check_equal(must(hv_send(other, "answer", 6, 0)), 6);
                check_equal(must(hv_recv(closing, text, sizeof text, 0)), 6);
        }
        must(hv_close(other));
        check_equal(must(hv_recv(closing, text, sizeof text, 0)), 0);
}

TEST(a_half_closed_channel_still_carries_data_the_other_way) {
        struct pair pair = pair_open(SOCK_STREAM);
        check_half_close(pair.connector, pair.acceptor);
        pair.acceptor = -1;
        pair_close(&pair);

        pair = pair_open(SOCK_STREAM);
        check_half_close(pair.acceptor, pair.connector);
        pair.connector = -1;
        pair_close(&pair);
}

TEST(sending_to_a_peer_that_closed_is_a_reset_and_raises_no_signal) {
        struct pair pair = pair_open(SOCK_STREAM);
        must(hv_close(pair.acceptor));
        pair.acceptor = -1;
        struct iovec vector = {.iov_base = (char *)"x", .iov_len = 1};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        check(signal(SIGPIPE, SIG_DFL) != SIG_ERR);
        check_errno(hv_send(pair.connector, "x", 1, 0), ECONNRESET);
        check_errno(hv_write(pair.connector, "x", 1), ECONNRESET);
        check_errno(hv_writev(pair.connector, &vector, 1), ECONNRESET);
        check_errno(hv_sendmsg(pair.connector, &message, 0), ECONNRESET);
        must(hv_shutdown(pair.connector, SHUT_WR));
        check_errno(hv_write(pair.connector, "x", 1), EPIPE);
        pair_close(&pair);
}

TEST(a_last_word_is_heard_although_answering_it_fails) {
        struct pair pair = pair_open(SOCK_STREAM);
        char text[16] = "";
        check_equal(must(hv_send(pair.acceptor, "bye", 3, 0)), 3);
        must(hv_close(pair.acceptor));
        pair.acceptor = -1;
        check_errno(hv_send(pair.connector, "x", 1, 0), ECONNRESET);
        check_equal(must(hv_recv(pair.connector, text, sizeof text, 0)), 3);
        check_string(text, "bye");
        pair_close(&pair);
}

/* ---- resets ---- */

/* What is left is a beginning of what was sent, then ECONNRESET, and that for ever and for every call. */
static uint64_t check_reset(int fd) {
        static uint8_t bytes[65536];
        uint64_t position = 0;
        ssize_t got;
        while ((got = hv_recv(fd, bytes, sizeof bytes, 0)) > 0)
                check_sequence(&position, bytes, (size_t)got);
        check_equal(got, -1);
        check_equal(errno, ECONNRESET);
        struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        check_errno(hv_recv(fd, bytes, sizeof bytes, 0), ECONNRESET);
        check_errno(hv_recv(fd, bytes, sizeof bytes, MSG_PEEK), ECONNRESET);
        check_errno(hv_read(fd, bytes, sizeof bytes), ECONNRESET);
        check_errno(hv_readv(fd, &vector, 1), ECONNRESET);
        check_errno(hv_recvmsg(fd, &message, 0), ECONNRESET);
        check_errno(hv_send(fd, bytes, 1, 0), ECONNRESET);
        return position;
}

static long send_sequence_until_full(int fd) {
        static uint8_t bytes[32768];
        uint64_t position = 0, sent = 0;
        for (ssize_t done;; sent += (uint64_t)done) {
                position = sent;
                fill_sequence(&position, bytes, sizeof bytes);
                if ((done = hv_send(fd, bytes, sizeof bytes, MSG_DONTWAIT)) < 0)
                        break;
        }
        check_equal(errno, EAGAIN);
        return (long)sent;
}

TEST(an_abort_is_a_reset) {
        struct pair pair = pair_open(SOCK_STREAM);
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        check_equal(check_reset(pair.acceptor), 0);
        pair_close(&pair);
}

TEST(an_abort_by_the_acceptor_is_a_reset) {
        struct pair pair = pair_open(SOCK_STREAM);
        must(ends_abruptly(pair.acceptor));
        pair.acceptor = -1;
        check_equal(check_reset(pair.connector), 0);
        pair_close(&pair);
}

TEST(an_abort_behind_unread_data_is_a_reset) {
        struct pair pair = pair_open(SOCK_STREAM);
        uint64_t position = 0;
        uint8_t bytes[1000];
        fill_sequence(&position, bytes, sizeof bytes);
        check_equal(must(hv_send(pair.connector, bytes, sizeof bytes, 0)), sizeof bytes);
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        check(check_reset(pair.acceptor) <= sizeof bytes);
        pair_close(&pair);
}

TEST(an_abort_behind_full_buffers_is_a_reset) {
        struct pair pair = pair_open(SOCK_STREAM);
        long sent = send_sequence_until_full(pair.connector);
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        check(check_reset(pair.acceptor) <= (uint64_t)sent);
        pair_close(&pair);
}

TEST(an_abort_behind_buffers_of_any_size_that_are_full_is_a_reset) {
        const int sizes[] = {2048, 4096, 65536, 1 << 20, 1 << 30};
        for (unsigned i = 0; i < sizeof sizes / sizeof *sizes; i++) {
                struct pair pair = pair_open(SOCK_STREAM);
                must(hv_setsockopt(pair.connector, SOL_SOCKET, SO_SNDBUF, &sizes[i], sizeof sizes[i]));
                send_sequence_until_full(pair.connector);
                must(ends_abruptly(pair.connector));
                pair.connector = -1;
                check_reset(pair.acceptor);
                pair_close(&pair);
        }
}

TEST(an_abort_with_data_unread_on_both_sides_is_a_reset) {
        struct pair pair = pair_open(SOCK_STREAM);
        send_sequence_until_full(pair.connector);
        send_sequence_until_full(pair.acceptor);
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        check_reset(pair.acceptor);
        pair_close(&pair);
}

TEST(an_abort_after_a_half_close_is_a_reset) {
        struct pair pair = pair_open(SOCK_STREAM);
        char byte;
        must(hv_shutdown(pair.acceptor, SHUT_WR));
        check_equal(must(hv_recv(pair.connector, &byte, 1, 0)), 0);
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        check_errno(hv_recv(pair.acceptor, &byte, 1, 0), ECONNRESET);
        pair_close(&pair);
}

static long receive_one(void *fd) {
        char byte;
        return hv_recv(*(int *)fd, &byte, 1, 0);
}

TEST(an_abort_wakes_a_blocked_receive) {
        struct pair pair = pair_open(SOCK_STREAM);
        struct thread *receiving = thread_start(receive_one, &pair.acceptor);
        check(await(thread_is_asleep(receiving)));
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        check_errno(thread_join(receiving), ECONNRESET);
        pair_close(&pair);
}

TEST(an_abort_wakes_poll) {
        struct pair pair = pair_open(SOCK_STREAM);
        check_equal(events_now(pair.acceptor, POLLIN), 0);
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        check(events_now(pair.acceptor, POLLIN) & POLLIN);
        check_reset(pair.acceptor);
        pair_close(&pair);
}

TEST(lingering_for_a_while_is_an_ordinary_close) {
        struct pair pair = pair_open(SOCK_STREAM);
        struct linger linger = {.l_onoff = 1, .l_linger = 5}, got = {};
        socklen_t length = sizeof got;
        char text[8] = "";
        must(hv_setsockopt(pair.connector, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        must(hv_getsockopt(pair.connector, SOL_SOCKET, SO_LINGER, &got, &length));
        check_equal(got.l_onoff, 1);
        check_equal(got.l_linger, 5);
        check_equal(must(hv_send(pair.connector, "bye", 3, 0)), 3);
        must(hv_close(pair.connector));
        pair.connector = -1;
        check_equal(must(hv_recv(pair.acceptor, text, sizeof text, 0)), 3);
        check_equal(must(hv_recv(pair.acceptor, text, sizeof text, 0)), 0);
        pair_close(&pair);
}

TEST(a_native_reader_sees_data_and_then_the_end_where_the_peer_aborted) {
        struct pair pair = pair_open(SOCK_STREAM);
        char text[16] = "";
        check_equal(must(hv_send(pair.connector, "data", 4, 0)), 4);
        must(ends_abruptly(pair.connector));
        pair.connector = -1;
        int off = 0;
        must(setsockopt(pair.acceptor, SOL_SOCKET, SO_OOBINLINE, &off, sizeof off));
        ssize_t got, length = 0;
        while ((got = read(pair.acceptor, text + length, sizeof text - (size_t)length)) > 0)
                length += got;
        check_string(text, "data");
        pair_close(&pair);
}

TEST(a_crash_with_unread_data_is_a_reset) {
        struct world *world = world_family();
        struct program *victim = program_new(world, "web01"), *host = program_in(world, "host");
        char text[16];
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        must(dial(victim, &HV_GUID_PARENT, &ECHO));
        int accepted = (int)must(accept_from(host, listener));
        must(send_text(host, accepted, "never read"));
        program_kill(victim);
        for (unsigned i = 0; i < 3; i++)
                check_errno(receive_text(host, accepted, text, sizeof text), ECONNRESET);
        check_errno(send_text(host, accepted, "x"), ECONNRESET);
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

TEST(so_error_does_not_hide_a_reset) {
        struct pair pair = pair_open(SOCK_STREAM);
        int error = 0;
        char byte;
        socklen_t length = sizeof error;
        must(hv_send(pair.connector, "x", 1, 0));
        must(hv_close(pair.acceptor));
        pair.acceptor = -1;
        must(hv_getsockopt(pair.connector, SOL_SOCKET, SO_ERROR, &error, &length));
        check_equal(error, ECONNRESET);
        check_errno(hv_recv(pair.connector, &byte, 1, 0), ECONNRESET);
        pair_close(&pair);
}

/* ---- flags and vectors ---- */

TEST(peeking_leaves_the_data_there) {
        struct pair pair = pair_open(SOCK_STREAM);
        char text[16] = "";
        must(hv_send(pair.connector, "look", 4, 0));
        for (unsigned i = 0; i < 2; i++) {
                check_equal(must(hv_recv(pair.acceptor, text, sizeof text, MSG_PEEK)), 4);
                check_string(text, "look");
        }
        check_equal(must(hv_recv(pair.acceptor, text, 2, 0)), 2);
        check_equal(must(hv_recv(pair.acceptor, text, sizeof text, MSG_PEEK)), 2);
        check(!memcmp(text, "ok", 2));
        pair_close(&pair);
}

static long receive_eight(void *fd) {
        static char bytes[8];
        return hv_recv(*(int *)fd, bytes, sizeof bytes, MSG_WAITALL);
}

TEST(waitall_waits_for_all_or_the_end) {
        struct pair pair = pair_open(SOCK_STREAM);
        must(hv_send(pair.connector, "1234", 4, 0));
        struct thread *receiving = thread_start(receive_eight, &pair.acceptor);
        check(await(thread_is_asleep(receiving)));
        must(hv_send(pair.connector, "5678", 4, 0));
        check_equal(thread_join(receiving), 8);
        must(hv_send(pair.connector, "123", 3, 0));
        must(hv_shutdown(pair.connector, SHUT_WR));
        check_equal(receive_eight(&pair.acceptor), 3);
        pair_close(&pair);
}

TEST(vectors_gather_and_scatter) {
        struct pair pair = pair_open(SOCK_STREAM);
        char first[4] = "", second[16] = "";
        struct iovec out[] = {{.iov_base = (char *)"gather", .iov_len = 6},
                              {.iov_base = (char *)"", .iov_len = 0},
                              {.iov_base = (char *)"ed", .iov_len = 2}};
        struct iovec in[] = {{.iov_base = first, .iov_len = 3}, {.iov_base = second, .iov_len = sizeof second - 1}};
        struct msghdr message = {.msg_iov = out, .msg_iovlen = 3};
        check_equal(must(hv_writev(pair.connector, out, 3)), 8);
        check_equal(must(hv_readv(pair.acceptor, in, 2)), 8);
        check_string(first, "gat");
        check_string(second, "hered");
        check_equal(must(hv_sendmsg(pair.connector, &message, 0)), 8);
        message = (struct msghdr){.msg_iov = in, .msg_iovlen = 2};
        check_equal(must(hv_recvmsg(pair.acceptor, &message, 0)), 8);
        check_string(second, "hered");
        check_equal(message.msg_controllen, 0);
        pair_close(&pair);
}

TEST(descriptors_cannot_be_passed_over_a_channel) {
        struct pair pair = pair_open(SOCK_STREAM);
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        struct iovec vector = {.iov_base = (char *)"x", .iov_len = 1};
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        memcpy(CMSG_DATA(&control.header), &pair.listener, sizeof pair.listener);
        check_errno(hv_sendmsg(pair.connector, &message, 0), EOPNOTSUPP);
        check_equal(events_now(pair.acceptor, POLLIN), 0);
        pair_close(&pair);
}

TEST(shutting_down_reads_ends_reading_here) {
        struct pair pair = pair_open(SOCK_STREAM);
        char byte;
        must(hv_shutdown(pair.acceptor, SHUT_RD));
        check_equal(hv_recv(pair.acceptor, &byte, 1, 0), 0);
        must(hv_send(pair.acceptor, "x", 1, 0));
        check_equal(must(hv_recv(pair.connector, &byte, 1, 0)), 1);
        pair_close(&pair);
}
