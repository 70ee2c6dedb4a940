/* SPDX-License-Identifier: MIT */

/* Who else may have a socket whose data is in rings: children, duplicates, other programs, native calls. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <unistd.h>

static uint8_t bytes[1 << 20];

/* ---- who holds it ---- */

TEST(a_ring_is_a_childs_too_and_either_goes_on) {
        struct pair pair = ring_pair(SOCK_STREAM);
        for (unsigned i = 0; i < 3; i++) {
                pass_on(pair.connector, pair.acceptor, "from the parent");
                pid_t child = (pid_t)must(fork());
                if (!child) {
                        pass_on(pair.connector, pair.acceptor, "from the child");
                        pass_on(pair.acceptor, pair.connector, "to the child");
                        must(hv_close(pair.connector));
                        must(hv_close(pair.acceptor));
                        must(hv_close(pair.listener));
                        _exit(0);
                }
                await_checker(child);
                check_equal(events_now(pair.connector, POLLIN | POLLOUT), POLLOUT);
                pass_on(pair.acceptor, pair.connector, "to the parent");
        }
        pair_close(&pair);
}

TEST(a_socket_that_two_processes_use_stays_a_socket) {
        struct pair pair = pair_open(SOCK_STREAM);
        ask_for(pair.connector, HV_CARRIER_SHM);
        ask_for(pair.acceptor, HV_CARRIER_SHM);
        pid_t child = (pid_t)must(fork());
        if (!child) {
                for (unsigned i = 0; i < 100; i++) {
                        pass_on(pair.connector, pair.acceptor, "from the child");
                        pass_on(pair.acceptor, pair.connector, "to the child");
                }
                check_equal(carrier_state(pair.connector), 0);
                _exit(0);
        }
        await_checker(child);
        pass_on(pair.connector, pair.acceptor, "from the parent");
        pass_on(pair.acceptor, pair.connector, "to the parent");
        pair_close(&pair);
}

/* A forked server: its parent keeps the other end. It checks that it got into rings. */
static pid_t start_echo(struct pair *pair) {
        pid_t child = (pid_t)must(fork());
        if (!child) {
                char byte;
                must(hv_close(pair->connector));
                must(hv_close(pair->listener));
                ask_for(pair->acceptor, HV_CARRIER_SHM);
                while (must(hv_recv(pair->acceptor, &byte, 1, 0)) == 1)
                        must(hv_send(pair->acceptor, &byte, 1, 0));
                check_equal(carrier_state(pair->acceptor), HV_SENDS_SHM | HV_RECEIVES_SHM);
                must(hv_close(pair->acceptor));
                _exit(0);
        }
        must(hv_close(pair->acceptor));
        pair->acceptor = -1;
        return child;
}

TEST(a_child_whose_parent_closed_moves_into_rings) {
        struct pair pair = pair_open(SOCK_STREAM);
        pid_t child = start_echo(&pair);
        ask_for(pair.connector, HV_CARRIER_SHM);
        for (unsigned i = 0; i < 10; i++)
                pass_on(pair.connector, pair.connector, "x");
        must(hv_shutdown(pair.connector, SHUT_WR));
        check_equal(must(hv_recv(pair.connector, bytes, 1, 0)), 0);
        await_checker(child);
        pair_close(&pair);
}

TEST(the_broker_is_told_of_a_childs_ring_too) {
        struct pair pair = pair_open(SOCK_STREAM);
        ask_for(pair.connector, HV_CARRIER_SHM);
        pid_t child = start_echo(&pair);
        for (unsigned i = 0; i < 10; i++)
                pass_on(pair.connector, pair.connector, "x");
        struct json_object *reply = manage(pair.world, "ListChannels", "{}");
        check_string(text_at(reply, "/channels/0/carrier"), "shm");
        check(number_at(reply, "/channels/0/bytesFromAcceptor") > 0);
        json_object_put(reply);
        must(hv_shutdown(pair.connector, SHUT_WR));
        check_equal(must(hv_recv(pair.connector, bytes, 1, 0)), 0);
        await_checker(child);
        pair_close(&pair);
}

TEST(a_process_without_the_ring_gets_a_reset_and_never_a_token) {
        struct pair pair = pair_open(SOCK_STREAM);
        int go[2];
        must(pipe(go));
        pid_t child = (pid_t)must(fork());
        if (!child) {
                char byte;
                must(close(go[1]));
                must(read(go[0], &byte, 1));
                check_errno(hv_recv(pair.acceptor, &byte, 1, MSG_DONTWAIT), ECONNRESET);
                check_errno(hv_send(pair.acceptor, "x", 1, MSG_DONTWAIT), ECONNRESET);
                _exit(0);
        }
        ask_for(pair.connector, HV_CARRIER_SHM);
        ask_for(pair.acceptor, HV_CARRIER_SHM);
        for (unsigned i = 0; i < 3; i++) {
                pass_on(pair.connector, pair.acceptor, "quicker than the child");
                pass_on(pair.acceptor, pair.connector, "and this way");
        }
        must(hv_send(pair.connector, "for the parent", 14, 0));
        must(close(go[0]));
        must(close(go[1]));
        await_checker(child);
        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 14);
        pair_close(&pair);
}

TEST(a_duplicate_of_a_ringed_socket_goes_through_the_ring) {
        struct pair pair = ring_pair(SOCK_STREAM);
        int duplicate = (int)must(dup(pair.connector));
        pass_on(duplicate, pair.acceptor, "from the duplicate");
        must(hv_close(pair.connector));
        pass_on(pair.acceptor, duplicate, "to the duplicate");
        check_equal(carrier_state(duplicate), HV_SENDS_SHM | HV_RECEIVES_SHM);
        pair.connector = duplicate;
        pair_close(&pair);
}

TEST(a_number_that_was_closed_natively_and_is_another_channels_now_is_that) {
        struct pair pair = ring_pair(SOCK_STREAM), other = {.listener = -1};
        other.connector = new_socket(SOCK_STREAM);
        must(connect_loopback(other.connector));
        other.acceptor = (int)must(hv_accept(pair.listener, NULL, NULL));
        must(close(pair.connector));
        check_equal(must(dup2(other.connector, pair.connector)), pair.connector);
        pass_on(pair.connector, other.acceptor, "to the other");
        pass_on(other.acceptor, pair.connector, "from the other");
        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 0);
        must(hv_close(other.connector));
        must(hv_close(other.acceptor));
        pair_close(&pair);
}

/* ---- natively ---- */

TEST(bytes_that_are_no_doorbells_reset_the_channel_after_what_is_in_the_ring) {
        struct pair pair = ring_pair(SOCK_STREAM);
        must(hv_send(pair.connector, "by the ring", 11, 0));
        check_equal(must(write(pair.connector, "natively", 8)), 8);
        check_equal(must(hv_recv(pair.acceptor, bytes, 100, 0)), 11);
        check_errno(hv_recv(pair.acceptor, bytes, 100, MSG_DONTWAIT), ECONNRESET);
        check_errno(hv_recv(pair.acceptor, bytes, 100, 0), ECONNRESET);
        pair_close(&pair);
}

TEST(a_detached_channel_is_read_and_written_natively_and_by_the_library) {
        for (int type = SOCK_STREAM; type != 0; type = type == SOCK_STREAM ? SOCK_SEQPACKET : 0) {
                struct pair pair = ring_pair(type);
                char text[32] = "";
                must(hv_send(pair.connector, "in the ring", 11, 0));
                must(hv_detach(pair.connector));
                check_equal(must(write(pair.connector, "natively", 8)), 8);
                check_equal(must(hv_recv(pair.acceptor, text, sizeof text, 0)), 11);
                check_equal(must(hv_recv(pair.acceptor, text, sizeof text, 0)), 8);
                check(!memcmp(text, "natively", 8));
                check_equal(must(hv_send(pair.acceptor, "back", 4, 0)), 4);
                check_equal(must(read(pair.connector, text, sizeof text)), 4);
                check_equal(events_now(pair.connector, POLLIN), 0);
                check_equal(events_now(pair.acceptor, POLLIN), 0);
                check_equal(carrier_state(pair.connector), 0);
                for (unsigned i = 0; i < 200; i++) {
                        pass_on(pair.connector, pair.acceptor, "by the library");
                        check_equal(must(hv_send(pair.acceptor, "back", 4, 0)), 4);
                        check_equal(must(read(pair.connector, text, sizeof text)), 4);
                }
                check_equal(carrier_state(pair.acceptor), 0);
                pair_close(&pair);
        }
}

TEST(a_channel_with_bytes_unread_in_the_ring_is_detached_after_they_were_received) {
        struct pair pair = ring_pair(SOCK_STREAM);
        must(hv_send(pair.acceptor, "unread", 6, 0));
        check_errno(hv_detach(pair.connector), EAGAIN);
        check_equal(must(hv_recv(pair.connector, bytes, 100, 0)), 6);
        must(hv_detach(pair.connector));
        must(hv_send(pair.acceptor, "natively", 8, 0));
        check_equal(must(read(pair.connector, bytes, 100)), 8);
        pair_close(&pair);
}

TEST(a_channel_that_was_never_in_a_ring_is_detached_at_once_and_stays_out) {
        struct pair pair = pair_open(SOCK_STREAM);
        must(hv_detach(pair.acceptor));
        ask_for(pair.connector, HV_CARRIER_SHM);
        for (unsigned i = 0; i < 100; i++)
                pass_on(pair.connector, pair.acceptor, "plain");
        check_equal(carrier_state(pair.connector), 0);
        pair_close(&pair);
}

/* What /proc says: R, S, T and others. */
static char process_state(pid_t pid) {
        char path[64], text[512];
        snprintf(path, sizeof path, "/proc/%d/stat", pid);
        FILE *file = fopen(path, "re");
        check(file && fgets(text, sizeof text, file));
        fclose(file);
        return strrchr(text, ')')[2];
}

TEST(detaching_under_a_sender_that_was_about_to_wake_for_room_leaves_no_token_behind) {
        enum { SIZE = 1 << 20 };
        static uint8_t sent[SIZE];
        struct pair pair = ring_pair(SOCK_STREAM);
        uint64_t position = 0, heard = 0;
        ssize_t got;
        fill_sequence(&position, sent, SIZE);
        pid_t sender = must(fork());
        if (!sender) {
                must(hv_close(pair.connector));
                for (size_t done = 0; done < SIZE;)
                        done += (size_t)must(hv_send(pair.acceptor, sent + done, SIZE - done, 0));
                must(hv_shutdown(pair.acceptor, SHUT_WR));
                check_equal(must(hv_recv(pair.acceptor, sent, 1, 0)), 0);
                _exit(0);
        }
        must(hv_close(pair.acceptor));
        pair.acceptor = -1;
        world_pause_ms(100);
        check(await(process_state(sender) == 'S')); /* the ring is full */
        must(kill(sender, SIGSTOP));
        check(await(process_state(sender) == 'T'));
        while ((got = hv_recv(pair.connector, bytes, sizeof bytes, MSG_DONTWAIT)) > 0)
                check_sequence(&heard, bytes, (size_t)got);
        check_equal(errno, EAGAIN);
        check_errno(hv_detach(pair.connector), EAGAIN); /* it is in the middle of a send */
        must(kill(sender, SIGCONT));
        while (hv_detach(pair.connector) < 0) {
                check_equal(errno, EAGAIN);
                got = hv_recv(pair.connector, bytes, sizeof bytes, MSG_DONTWAIT);
                check(got > 0 || errno == EAGAIN);
                check_sequence(&heard, bytes, got > 0 ? (size_t)got : 0);
        }
        while ((got = must(read(pair.connector, bytes, sizeof bytes))) > 0)
                check_sequence(&heard, bytes, (size_t)got);
        check_equal(heard, SIZE);
        must(hv_close(pair.connector));
        pair.connector = -1;
        check_equal(await_child(sender), 0);
        pair_close(&pair);
}

static atomic_bool stop_sending;

static long send_until_told(void *fd) {
        static uint8_t sent[5000];
        uint64_t position = 0;
        while (!stop_sending) {
                size_t size = 1 + position % sizeof sent;
                fill_sequence(&position, sent, size);
                for (size_t done = 0; done < size;)
                        done += (size_t)must(hv_send(*(int *)fd, sent + done, size - done, 0));
        }
        must(hv_shutdown(*(int *)fd, SHUT_WR));
        return (long)position;
}

TEST(detaching_while_the_peer_sends_loses_nothing_and_reorders_nothing) {
        for (unsigned round = 0; round < 10; round++) {
                struct pair pair = ring_pair(SOCK_STREAM);
                uint64_t heard = 0;
                ssize_t got;
                stop_sending = false;
                struct thread *sender = thread_start(send_until_told, &pair.acceptor);
                bool is_detached = false;
                for (unsigned i = 0; i < 20000 && !is_detached; i++) {
                        got = must(hv_recv(pair.connector, bytes, sizeof bytes, 0));
                        check_sequence(&heard, bytes, (size_t)got);
                        if (i % 16 == 0 && !(is_detached = hv_detach(pair.connector) == 0))
                                check_equal(errno, EAGAIN);
                }
                check(is_detached);
                for (unsigned i = 0; i < 50; i++) {
                        got = must(read(pair.connector, bytes, sizeof bytes));
                        check_sequence(&heard, bytes, (size_t)got);
                }
                stop_sending = true;
                while ((got = must(read(pair.connector, bytes, sizeof bytes))) > 0)
                        check_sequence(&heard, bytes, (size_t)got);
                check_equal(must(thread_join(sender)), heard);
                pair_close(&pair);
        }
}
