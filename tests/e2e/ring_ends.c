/* SPDX-License-Identifier: MIT */

/* How a channel in shared memory ends: closed, shut down, aborted, killed. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static uint8_t bytes[1 << 20];

static long peek_one(void *fd) {
        char byte;
        return hv_recv(*(int *)fd, &byte, 1, MSG_PEEK);
}

TEST(half_closing_a_ring_leaves_the_other_one_open) {
        struct pair pair = ring_pair(SOCK_STREAM);
        must(hv_send(pair.connector, "last", 4, 0));
        must(hv_shutdown(pair.connector, SHUT_WR));
        check_errno(hv_send(pair.connector, "more", 4, 0), EPIPE);
        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 4);
        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 0);
        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 0);
        pass_on(pair.acceptor, pair.connector, "still here");
        pair_close(&pair);
}

TEST(who_shuts_down_reading_is_sent_nothing_more) {
        struct pair pair = ring_pair(SOCK_STREAM);
        must(hv_shutdown(pair.acceptor, SHUT_RD));
        check_errno(hv_send(pair.connector, "more", 4, 0), EPIPE);
        pass_on(pair.acceptor, pair.connector, "the other way");
        pair_close(&pair);
}

TEST(what_is_in_the_ring_when_it_is_closed_arrives_and_then_the_end) {
        struct pair pair = ring_pair(SOCK_STREAM);
        must(hv_send(pair.connector, "farewell", 8, 0));
        must(hv_close(pair.connector));
        pair.connector = -1;
        check_equal(must(hv_recv(pair.acceptor, bytes, 4, 0)), 4);
        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 4);
        for (unsigned i = 0; i < 3; i++)
                check_equal(must(hv_recv(pair.acceptor, bytes, 100, i ? MSG_DONTWAIT : 0)), 0);
        check_errno(hv_send(pair.acceptor, "?", 1, 0), ECONNRESET);
        pair_close(&pair);
}

TEST(closing_with_bytes_unread_in_the_ring_is_a_reset) {
        struct pair pair = ring_pair(SOCK_STREAM);
        must(hv_send(pair.connector, "unread", 6, 0));
        must(hv_send(pair.acceptor, "before", 6, 0));
        must(hv_close(pair.acceptor));
        pair.acceptor = -1;
        check_equal(must(hv_recv(pair.connector, bytes, 100, 0)), 6);
        for (unsigned i = 0; i < 3; i++)
                check_errno(hv_recv(pair.connector, bytes, 100, 0), ECONNRESET);
        check_errno(hv_send(pair.connector, "?", 1, 0), ECONNRESET);
        pair_close(&pair);
}

TEST(an_abort_is_a_reset_after_what_was_in_the_ring) {
        for (int type = SOCK_STREAM; type != 0; type = type == SOCK_STREAM ? SOCK_SEQPACKET : 0) {
                struct pair pair = ring_pair(type);
                must(hv_send(pair.connector, "before", 6, 0));
                must(ends_abruptly(pair.connector));
                pair.connector = -1;
                check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 6);
                for (unsigned i = 0; i < 3; i++)
                        check_errno(hv_recv(pair.acceptor, bytes, 100, 0), ECONNRESET);
                pair_close(&pair);
        }
}

/* A child holds the acceptor alone, having said so, and waits to be killed. */
static pid_t start_victim(struct pair *pair, bool sends, bool receives) {
        pid_t child = (pid_t)must(fork());
        if (!child) {
                must(hv_close(pair->connector));
                must(hv_close(pair->listener));
                if (sends)
                        must(hv_send(pair->acceptor, "alive", 5, 0));
                for (;;)
                        if (receives)
                                must(hv_recv(pair->acceptor, bytes, 100, 0));
                        else
                                pause();
        }
        must(hv_close(pair->acceptor));
        pair->acceptor = -1;
        return child;
}

TEST(a_peers_death_is_the_end_also_to_one_that_sleeps) {
        struct pair pair = ring_pair(SOCK_STREAM);
        pid_t victim = start_victim(&pair, true, false);
        check_equal(must(hv_recv(pair.connector, bytes, 100, 0)), 5);
        struct thread *thread = thread_start(peek_one, &pair.connector);
        check(await(thread_is_asleep(thread)));
        must(kill(victim, SIGKILL));
        check_equal(must(thread_join(thread)), 0);
        check_equal(must(hv_recv(pair.connector, bytes, 100, 0)), 0);
        await_child(victim);
        pair_close(&pair);
}

TEST(a_peers_death_with_bytes_unread_is_a_reset) {
        struct pair pair = ring_pair(SOCK_STREAM);
        must(hv_send(pair.connector, "unread", 6, 0));
        pid_t victim = start_victim(&pair, true, false);
        check_equal(must(hv_recv(pair.connector, bytes, 100, 0)), 5);
        must(kill(victim, SIGKILL));
        await_child(victim);
        check_errno(hv_recv(pair.connector, bytes, 100, 0), ECONNRESET);
        check_errno(hv_send(pair.connector, "?", 1, 0), ECONNRESET);
        pair_close(&pair);
}

TEST(a_sender_learns_of_a_receiver_that_was_killed) {
        struct pair pair = ring_pair(SOCK_STREAM);
        pid_t victim = start_victim(&pair, true, true);
        check_equal(must(hv_recv(pair.connector, bytes, 100, 0)), 5);
        must(hv_send(pair.connector, "hello", 5, 0));
        must(kill(victim, SIGKILL));
        await_child(victim);
        ssize_t sent = 0;
        for (unsigned i = 0; i < 1000 && sent >= 0; i++)
                sent = hv_send(pair.connector, "hello", 5, 0);
        check_equal(sent, -1);
        check_equal(errno, ECONNRESET);
        pair_close(&pair);
}

static long send_much(void *fd) {
        return hv_send(*(int *)fd, bytes, sizeof bytes, 0) < 0 ? errno : 0;
}

TEST(a_sender_that_waits_for_room_learns_of_its_peers_death) {
        struct pair pair = ring_pair(SOCK_STREAM);
        pid_t victim = start_victim(&pair, true, false);
        check_equal(must(hv_recv(pair.connector, bytes, 100, 0)), 5);
        fill_ring(pair.connector);
        struct thread *thread = thread_start(send_much, &pair.connector);
        check(await(thread_is_asleep(thread)));
        must(kill(victim, SIGKILL));
        check_equal(thread_join(thread), ECONNRESET);
        await_child(victim);
        pair_close(&pair);
}
