/* SPDX-License-Identifier: MIT */

/* Sending and receiving without copying. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <sched.h>

static uint8_t bytes[1 << 20];

/* Sends and receives so on whatever carrier, over many turns of the ring. */
static void check_copies_nothing(struct pair *pair, bool is_stream) {
        uint64_t written = 0, read = 0;
        const void *heard;
        void *span;
        for (unsigned i = 0; i < 400; i++) {
                size_t size = 1 + i * 1999 % 60000;
                check(must(hv_reserve(pair->connector, size, &span, 0)) >= (long long)size);
                fill_sequence(&written, span, size);
                check_equal(events_now(pair->acceptor, POLLIN), 0);
                check_equal(must(hv_commit(pair->connector, size)), size);
                check_equal(events_now(pair->acceptor, POLLIN), POLLIN);
                for (size_t left = size; left;) {
                        size_t length = (size_t)must(hv_peek(pair->acceptor, &heard, 0));
                        check(is_stream ? length <= left : length == left);
                        size_t part = is_stream && length > 1000 ? 1000 + length / 2 : length;
                        part = part < length ? part : length;
                        check_sequence(&read, heard, part);
                        must(hv_consume(pair->acceptor, part));
                        left -= part;
                        check_equal(events_now(pair->acceptor, POLLIN), left ? POLLIN : 0);
                }
        }
        check_errno(hv_peek(pair->acceptor, &heard, MSG_DONTWAIT), EAGAIN);
        check_errno(hv_reserve(pair->connector, HV_RESERVE_MAX + 1, &span, 0), EMSGSIZE);
        check_errno(hv_commit(pair->connector, 1), EINVAL);
}

TEST(bytes_are_written_and_read_where_they_lie) {
        for (int type = SOCK_STREAM; type != 0; type = type == SOCK_STREAM ? SOCK_SEQPACKET : 0) {
                struct pair pair = ring_pair(type);
                check_copies_nothing(&pair, type == SOCK_STREAM);
                check_errno(hv_consume(pair.acceptor, 1), EINVAL);
                pair_close(&pair);
        }
}

TEST(the_calls_that_copy_nothing_work_on_a_plain_socket_too) {
        for (int type = SOCK_STREAM; type != 0; type = type == SOCK_STREAM ? SOCK_SEQPACKET : 0) {
                struct pair pair = pair_open(type);
                ask_for(pair.connector, HV_CARRIER_UNIX);
                check_copies_nothing(&pair, type == SOCK_STREAM);
                pair_close(&pair);
        }
}

TEST(a_peek_that_ends_where_the_ring_begins_is_no_reset) {
        struct pair pair = pair_open(SOCK_STREAM);
        const void *heard;
        ask_for(pair.connector, HV_CARRIER_SHM);
        ask_for(pair.acceptor, HV_CARRIER_SHM);
        must(hv_send(pair.connector, bytes, 5000, 0)); /* with a ring */
        must(hv_send(pair.connector, bytes, 65536, 0));
        check_equal(must(hv_recv(pair.acceptor, bytes, 5000, 0)), 5000);
        must(hv_send(pair.connector, "in the ring", 11, 0));
        check_equal(must(hv_recv(pair.acceptor, bytes, 65536, MSG_PEEK)), 65536);
        for (size_t left = 65536; left;) {
                size_t length = (size_t)must(hv_peek(pair.acceptor, &heard, 0));
                check(length <= left);
                must(hv_consume(pair.acceptor, length));
                left -= length;
        }
        check_equal(must(hv_peek(pair.acceptor, &heard, 0)), 11);
        check(!memcmp(heard, "in the ring", 11));
        pair_close(&pair);
}

TEST(between_reserving_and_committing_nobody_else_sends_and_the_peer_is_not_left) {
        struct pair pair = ring_pair(SOCK_STREAM);
        void *span;
        must(hv_reserve(pair.connector, 100, &span, 0));
        check_errno(hv_send(pair.connector, "x", 1, 0), EBUSY);
        memcpy(span, "reserved", 8);
        check_errno(hv_detach(pair.acceptor), EAGAIN);
        check_equal(must(hv_commit(pair.connector, 8)), 8);
        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 8);
        must(hv_reserve(pair.connector, 100, &span, 0));
        check_equal(must(hv_commit(pair.connector, 0)), 0);
        pass_on(pair.connector, pair.acceptor, "as before");
        fill_ring(pair.connector);
        check_errno(hv_reserve(pair.connector, 65536, &span, MSG_DONTWAIT), EAGAIN);
        pair_close(&pair);
}

#define FAR_BYTES (8u << 20)

static void run_on(int core) {
        cpu_set_t set;
        CPU_ZERO(&set);
        CPU_SET(core, &set);
        must(sched_setaffinity(0, sizeof set, &set));
}

static long peek_on_another_core(void *fd) {
        uint64_t read = 0;
        const void *heard;
        run_on(1);
        while (read < FAR_BYTES) {
                size_t length = (size_t)must(hv_peek(*(int *)fd, &heard, 0));
                check_sequence(&read, heard, length);
                must(hv_consume(*(int *)fd, length));
        }
        return 0;
}

/* Where that is slow, what is reserved is no part of the ring. */
TEST(what_was_reserved_arrives_on_another_core_as_it_was_written) {
        cpu_set_t allowed;
        must(sched_getaffinity(0, sizeof allowed, &allowed));
        if (!CPU_ISSET(0, &allowed) || !CPU_ISSET(1, &allowed))
                test_skip("cores 0 and 1 are not both to be had");
        struct pair pair = ring_pair(SOCK_STREAM);
        struct thread *thread = thread_start(peek_on_another_core, &pair.acceptor);
        uint64_t written = 0;
        run_on(0);
        for (unsigned i = 0; written < FAR_BYTES; i++) {
                size_t size = 1 + i * 1999 % 65536;
                void *span;
                size = size < FAR_BYTES - written ? size : (size_t)(FAR_BYTES - written);
                check(must(hv_reserve(pair.connector, size, &span, 0)) >= (long long)size);
                fill_sequence(&written, span, size);
                check_equal(must(hv_commit(pair.connector, size)), size);
        }
        must(thread_join(thread));
        pair_close(&pair);
}

TEST(the_end_is_an_end_without_copying_too) {
        struct pair pair = ring_pair(SOCK_STREAM);
        const void *heard;
        void *span;
        must(hv_send(pair.connector, "last", 4, 0));
        must(hv_close(pair.connector));
        pair.connector = -1;
        check_equal(must(hv_peek(pair.acceptor, &heard, 0)), 4);
        check(!memcmp(heard, "last", 4));
        must(hv_consume(pair.acceptor, 4));
        check_equal(must(hv_peek(pair.acceptor, &heard, 0)), 0);
        check(hv_reserve(pair.acceptor, 10, &span, 0) < 0 || hv_commit(pair.acceptor, 10) < 0);
        check_equal(errno, ECONNRESET);
        pair_close(&pair);
}
