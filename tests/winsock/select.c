/* SPDX-License-Identifier: MIT */

/* select() with Winsock's sets, and WSAPoll(), on both kinds of sockets at once. */

#define FD_SETSIZE 1024

#include "winsock_test.h"

#include <sys/resource.h>

_Static_assert(FD_SETSIZE == 1024, "libc's <sys/select.h> came after, and has not changed it");
_Static_assert(sizeof(FD_SET) >= 1024 * sizeof(SOCKET), "a set has room for as many");

static TIMEVAL at_once;

static int select_read(fd_set *set, const SOCKET *sockets, unsigned count) {
        FD_ZERO(set);
        for (unsigned i = 0; i < count; i++)
                FD_SET(sockets[i], set);
        return select(0, set, NULL, NULL, &at_once);
}

TEST(a_set_is_a_list_without_doubles) {
        fd_set set;
        FD_ZERO(&set);
        for (SOCKET s = 1; s <= 3; s++) {
                FD_SET(s, &set);
                FD_SET(s, &set);
        }
        check_equal(set.fd_count, 3);
        FD_CLR(2, &set);
        FD_CLR(2, &set);
        check_equal(set.fd_count, 2);
        check(FD_ISSET(1, &set) && !FD_ISSET(2, &set) && FD_ISSET(3, &set));
        for (SOCKET s = 10; s < 10 + 2 * FD_SETSIZE; s++)
                FD_SET(s, &set);
        check_equal(set.fd_count, FD_SETSIZE);
}

TEST(select_leaves_those_that_are_ready) {
        struct ends ends = ends_open(SOCK_STREAM), tcp = tcp_open();
        const SOCKET sockets[] = {ends.listener, ends.connector, ends.acceptor, tcp.listener, tcp.connector, tcp.acceptor};
        fd_set set, writable;
        check_equal(select_read(&set, sockets, 6), 0);
        check_equal(set.fd_count, 0);

        send_words(ends.connector, "x");
        send_words(tcp.acceptor, "y");
        check(await(select_read(&set, sockets, 6) == 2));
        check(FD_ISSET(ends.acceptor, &set) && FD_ISSET(tcp.connector, &set));
        check_words(ends.acceptor, "x");
        check_words(tcp.connector, "y");

        SOCKET waiting = works(winsock_dial(&HV_GUID_LOOPBACK, &ECHO));
        FD_ZERO(&writable);
        FD_SET(ends.connector, &writable);
        FD_SET(tcp.listener, &set);
        FD_SET(ends.listener, &set);
        check_equal(select(0, &set, &writable, NULL, NULL), 2);
        check(set.fd_count == 1 && FD_ISSET(ends.listener, &set) && FD_ISSET(ends.connector, &writable));
        works(closesocket(waiting));
        ends_close(&ends);
        ends_close(&tcp);
}

TEST(the_end_of_a_channel_is_readable_and_nothing_exceptional) {
        struct ends ends = ends_open(SOCK_STREAM);
        works(closesocket(ends.acceptor));
        ends.acceptor = INVALID_SOCKET;
        fd_set readable = {1, {ends.connector}}, exceptional = {1, {ends.connector}};
        TIMEVAL soon = {0, 30000};
        check_equal(select(0, NULL, NULL, &exceptional, &soon), 0);
        check_equal(exceptional.fd_count, 0);
        check_equal(select(0, &readable, NULL, NULL, NULL), 1);
        check_equal(recv(ends.connector, (char[1]){0}, 1, 0), 0);
        ends_close(&ends);
}

TEST(out_of_band_data_is_exceptional) {
        struct ends tcp = tcp_open();
        check_equal(send(tcp.connector, "!", 1, MSG_OOB), 1);
        fd_set exceptional = {1, {tcp.acceptor}};
        check_equal(select(0, NULL, NULL, &exceptional, NULL), 1);
        ends_close(&tcp);
}

TEST(select_finds_what_came_through_shared_memory) {
        struct ends ends = ends_open(SOCK_STREAM);
        for (unsigned i = 0; i < 200; i++) {
                send_words(ends.connector, "there");
                fd_set set = {1, {ends.acceptor}};
                check_equal(select(0, &set, NULL, NULL, NULL), 1);
                check_words(ends.acceptor, "there");
                check_equal(select_read(&set, &ends.acceptor, 1), 0);
        }
        ends_close(&ends);
}

TEST(bad_sets_are_told_apart) {
        struct ends ends = ends_open(SOCK_STREAM);
        fd_set empty = {0}, bad = {2, {ends.connector, INVALID_SOCKET}}, set = {1, {ends.connector}};
        SOCKET closed = new_winsock(SOCK_STREAM);
        works(closesocket(closed));
        fd_set gone = {1, {closed}};
        check_wsa(select(0, NULL, NULL, NULL, &at_once), WSAEINVAL);
        check_wsa(select(0, &empty, &empty, &empty, &at_once), WSAEINVAL);
        check_wsa(select(0, &bad, NULL, NULL, &at_once), WSAENOTSOCK);
        check_wsa(select(0, &gone, NULL, NULL, &at_once), WSAENOTSOCK);
        check_wsa(select(0, &set, NULL, NULL, &(TIMEVAL){-1, 0}), WSAEINVAL);
        check_equal(bad.fd_count, 2);
        ends_close(&ends);
}

#define MANY 300

TEST(a_set_has_as_many_sockets_as_the_source_wants) {
        struct rlimit limit;
        must(getrlimit(RLIMIT_NOFILE, &limit));
        if (limit.rlim_cur < 2 * MANY + 64)
                test_skip("only %llu descriptors", (unsigned long long)limit.rlim_cur);
        struct ends ends = ends_open(SOCK_STREAM);
        static SOCKET connectors[MANY], acceptors[MANY];
        fd_set set;
        for (unsigned i = 0; i < MANY; i++) {
                connectors[i] = works(winsock_dial(&HV_GUID_LOOPBACK, &ECHO));
                acceptors[i] = works(accept(ends.listener, NULL, NULL));
        }
        check_equal(select_read(&set, acceptors, MANY), 0);
        send_words(connectors[0], "first");
        send_words(connectors[MANY - 1], "last");
        check_equal(select_read(&set, acceptors, MANY), 2);
        check(FD_ISSET(acceptors[0], &set) && FD_ISSET(acceptors[MANY - 1], &set));

        static WSAPOLLFD descriptors[MANY];
        for (unsigned i = 0; i < MANY; i++)
                descriptors[i] = (WSAPOLLFD){.fd = acceptors[i], .events = POLLRDNORM};
        check_equal(WSAPoll(descriptors, MANY, -1), 2);
        check_equal(descriptors[MANY - 1].revents, POLLRDNORM);
        check_equal(descriptors[1].revents, 0);
        check_words(acceptors[0], "first");
        check_words(acceptors[MANY - 1], "last");
        for (unsigned i = 0; i < MANY; i++) {
                works(closesocket(connectors[i]));
                works(closesocket(acceptors[i]));
        }
        ends_close(&ends);
}

TEST(wsapoll_tells_what_is_ready_of_each) {
        struct ends ends = ends_open(SOCK_STREAM), tcp = tcp_open();
        WSAPOLLFD descriptors[] = {{ends.acceptor, POLLIN, 0}, {INVALID_SOCKET, POLLIN, 0}, {tcp.connector, POLLOUT, 0}};
        check_equal(WSAPoll(descriptors, 3, -1), 1);
        check_equal(descriptors[0].revents, 0);
        check_equal(descriptors[1].revents, POLLNVAL);
        check_equal(descriptors[2].revents, POLLOUT);
        check(descriptors[2].revents & POLLWRNORM);
        send_words(ends.connector, "x");
        works(closesocket(ends.connector));
        check_equal(WSAPoll(descriptors, 1, -1), 1);
        check((descriptors[0].revents & POLLIN) == POLLIN && descriptors[0].revents & POLLHUP);
        ends.connector = INVALID_SOCKET;
        check_wsa(WSAPoll(NULL, 0, 0), WSAEINVAL);
        check_wsa(WSAPoll(descriptors, 0, 0), WSAEINVAL);
        check_words(ends.acceptor, "x");
        ends_close(&ends);
        ends_close(&tcp);
}
