/* SPDX-License-Identifier: MIT */

/* How channels get into shared memory, and that several at once, and idle ones, are all right there. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <stdatomic.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

static uint8_t bytes[1 << 20];

static long peek_one(void *fd) {
        char byte;
        return hv_recv(*(int *)fd, &byte, 1, MSG_PEEK);
}

/* ---- getting there ---- */

TEST(a_channel_moves_into_a_ring_when_it_pays_one_direction_at_a_time) {
        struct pair pair = pair_open(SOCK_STREAM);
        ask_for(pair.connector, HV_CARRIER_AUTO);
        ask_for(pair.acceptor, HV_CARRIER_AUTO);
        for (unsigned i = 0; i < 20; i++)
                pass_on(pair.connector, pair.acceptor, "a few messages");
        check_equal(carrier_state(pair.connector), 0);
        for (unsigned i = 0; i < 60; i++)
                pass_on(pair.connector, pair.acceptor, "and many more");
        check_equal(carrier_state(pair.connector), HV_SENDS_SHM);
        check_equal(carrier_state(pair.acceptor), HV_RECEIVES_SHM);
        pass_on(pair.acceptor, pair.connector, "the other way is as it was");
        check_equal(carrier_state(pair.acceptor), HV_RECEIVES_SHM);
        pair_close(&pair);
}

TEST(many_bytes_pay_as_well_as_many_messages) {
        struct pair pair = pair_open(SOCK_STREAM);
        ask_for(pair.connector, HV_CARRIER_AUTO);
        ask_for(pair.acceptor, HV_CARRIER_AUTO);
        for (unsigned i = 0; i < 10; i++) {
                check_equal(must(hv_send(pair.connector, bytes, 65536, 0)), 65536);
                check_equal(must(hv_recv(pair.acceptor, bytes, 65536, MSG_WAITALL)), 65536);
        }
        check_equal(carrier_state(pair.connector), HV_SENDS_SHM);
        pair_close(&pair);
}

/* Natively. Whether a descriptor came with it. */
static bool takes_an_offer(int fd) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control;
        struct iovec vector = {.iov_base = bytes, .iov_len = sizeof bytes};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        check(must(recvmsg(fd, &message, MSG_CMSG_CLOEXEC)) > 0);
        if (!message.msg_controllen)
                return false;
        int came;
        memcpy(&came, CMSG_DATA(&control.header), sizeof came);
        must(close(came));
        return true;
}

TEST(who_asks_for_shared_memory_pays_for_it_with_the_second_message_or_a_first_of_a_page) {
        for (size_t first = 4095; first <= 4096; first++) {
                struct pair pair = pair_open(SOCK_STREAM);
                ask_for(pair.connector, HV_CARRIER_SHM);
                check_equal(must(hv_send(pair.connector, bytes, first, 0)), first);
                check_equal(takes_an_offer(pair.acceptor), first == 4096);
                check_equal(must(hv_send(pair.connector, bytes, 1, 0)), 1);
                check_equal(takes_an_offer(pair.acceptor), first == 4095);
                pair_close(&pair);
        }
}

TEST(who_asks_for_unix_gets_it_and_so_does_the_peer) {
        struct pair pair = pair_open(SOCK_STREAM);
        ask_for(pair.connector, HV_CARRIER_UNIX);
        ask_for(pair.acceptor, HV_CARRIER_SHM);
        for (unsigned i = 0; i < 200; i++) {
                pass_on(pair.connector, pair.acceptor, "by socket");
                pass_on(pair.acceptor, pair.connector, "by socket too");
        }
        check_equal(carrier_state(pair.connector), 0);
        check_equal(carrier_state(pair.acceptor), 0);
        pair_close(&pair);
}

TEST(a_peer_that_reads_natively_never_notices) {
        struct pair pair = pair_open(SOCK_STREAM);
        uint64_t sent = 0, heard = 0;
        ask_for(pair.connector, HV_CARRIER_SHM);
        unsigned descriptors = world_count_descriptors(getpid());
        for (unsigned i = 0; i < 300; i++) {
                size_t size = 1 + i * 7 % 1000;
                fill_sequence(&sent, bytes, size);
                check_equal(must(hv_send(pair.connector, bytes, size, 0)), size);
                check_equal(must(read(pair.acceptor, bytes, sizeof bytes)), size);
                check_sequence(&heard, bytes, size);
        }
        check_equal(carrier_state(pair.connector), 0);
        check_equal(world_count_descriptors(getpid()), descriptors);
        pair_close(&pair);
}

/* ---- several at once ---- */

static long receive_some(void *fd) {
        uint8_t some[1000];
        long total = 0;
        for (ssize_t got; (got = must(hv_recv(*(int *)fd, some, sizeof some, 0)));)
                total += got;
        return total;
}

static long send_some(void *fd) {
        static const uint8_t some[777];
        for (unsigned i = 0; i < 3000; i++)
                for (size_t done = 0; done < sizeof some;)
                        done += (size_t)must(hv_send(*(int *)fd, some + done, sizeof some - done, 0));
        return 0;
}

/* The one channel that is open, as management lists it. */
static struct json_object *listed_channel(struct world *world) {
        struct json_object *reply = manage(world, "ListChannels", "{}");
        check_equal(length_at(reply, "/channels"), 1);
        return reply;
}

TEST(the_broker_says_which_way_a_channel_goes_and_counts_its_bytes) {
        struct pair pair = pair_open(SOCK_STREAM);
        ask_for(pair.connector, HV_CARRIER_AUTO);
        ask_for(pair.acceptor, HV_CARRIER_AUTO);
        struct json_object *reply = listed_channel(pair.world);
        check_string(text_at(reply, "/channels/0/carrier"), "unix");
        json_object_put(reply);
        ask_for(pair.connector, HV_CARRIER_SHM);
        for (unsigned i = 0; i < 4; i++)
                pass_on(pair.connector, pair.acceptor, "to the acceptor");
        reply = listed_channel(pair.world);
        check_string(text_at(reply, "/channels/0/carrier"), "shm>");
        check_equal(number_at(reply, "/channels/0/bytesFromConnector"), 30);
        json_object_put(reply);
        ask_for(pair.acceptor, HV_CARRIER_SHM);
        for (unsigned i = 0; i < 3; i++)
                pass_on(pair.acceptor, pair.connector, "and back");
        reply = listed_channel(pair.world);
        check_string(text_at(reply, "/channels/0/carrier"), "shm");
        check_equal(number_at(reply, "/channels/0/bytesFromConnector"), 30);
        check_equal(number_at(reply, "/channels/0/bytesFromAcceptor"), 8);
        json_object_put(reply);
        must(hv_detach(pair.connector));
        reply = listed_channel(pair.world);
        check_string(text_at(reply, "/channels/0/carrier"), "unix");
        json_object_put(reply);
        pair_close(&pair);
}

TEST(a_process_that_may_have_no_such_memory_stays_on_its_socket) {
        struct pair pair = pair_open(SOCK_STREAM);
        struct rlimit limit = {.rlim_cur = 1000, .rlim_max = RLIM_INFINITY};
        must(setrlimit(RLIMIT_FSIZE, &limit)); /* and is not killed for a file that is too long */
        ask_for(pair.connector, HV_CARRIER_SHM);
        for (unsigned i = 0; i < 100; i++)
                pass_on(pair.connector, pair.acceptor, "by the socket");
        check_equal(carrier_state(pair.connector), 0);
        limit.rlim_cur = RLIM_INFINITY;
        must(setrlimit(RLIMIT_FSIZE, &limit));
        pair_close(&pair);
}

TEST(threads_share_a_ring_and_nothing_is_lost_or_doubled) {
        struct pair pair = pair_open(SOCK_STREAM); /* and move into it under way */
        struct thread *receivers[3], *senders[3];
        for (unsigned i = 0; i < 3; i++)
                receivers[i] = thread_start(receive_some, &pair.acceptor);
        for (unsigned i = 0; i < 3; i++)
                senders[i] = thread_start(send_some, &pair.connector);
        for (unsigned i = 0; i < 3; i++)
                must(thread_join(senders[i]));
        must(hv_shutdown(pair.connector, SHUT_WR));
        long total = 0;
        for (unsigned i = 0; i < 3; i++)
                total += thread_join(receivers[i]);
        check_equal(total, 3L * 3000 * 777);
        pair_close(&pair);
}

TEST(an_idle_ring_uses_no_processor) {
        struct pair pair = ring_pair(SOCK_STREAM);
        struct thread *thread = thread_start(peek_one, &pair.acceptor);
        check(await(thread_is_asleep(thread)));
        struct rusage before, after;
        must(getrusage(RUSAGE_SELF, &before));
        world_pause_ms(200);
        must(getrusage(RUSAGE_SELF, &after));
        check_equal(after.ru_utime.tv_sec - before.ru_utime.tv_sec, 0);
        check(after.ru_nvcsw - before.ru_nvcsw < 50);
        check(thread_is_asleep(thread));
        must(hv_send(pair.connector, "x", 1, 0));
        check_equal(must(thread_join(thread)), 1);
        pair_close(&pair);
}

TEST(closing_gives_back_all_memory_and_descriptors) {
        unsigned descriptors = 0, maps = 0;
        for (unsigned i = 0; i < 12; i++) {
                struct pair pair = ring_pair(i % 2 ? SOCK_STREAM : SOCK_SEQPACKET);
                pair_close(&pair);
                unsigned now = world_count_descriptors(getpid()), lines = 0;
                FILE *file = fopen("/proc/self/maps", "re");
                char line[512];
                check(file);
                while (fgets(line, sizeof line, file))
                        lines += strstr(line, "hvsock-ring") != NULL;
                fclose(file);
                if (i == 6) {
                        descriptors = now;
                        }
                maps = lines;
        }
        check_equal(world_count_descriptors(getpid()), descriptors);
        check_equal(maps, 0);
}
