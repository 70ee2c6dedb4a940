/* SPDX-License-Identifier: MIT */

/* Winsock's calls where they do something else than hv_* ones with other names. */

#include "winsock_test.h"

#include <poll.h>
#include <stdio.h>

/* ---- beginning, end and errors ---- */

TEST(before_wsastartup_and_after_wsacleanup_nothing_works) {
        WSADATA data;
        struct ends ends = tcp_open();
        check_equal(WSAStartup(MAKEWORD(2, 2), &data), 0); /* the second */
        check_equal(WSACleanup(), 0);
        send_words(ends.connector, "one is left");
        check_equal(WSACleanup(), 0);

        fd_set set = {1, {ends.acceptor}};
        WSAPOLLFD descriptor = {.fd = ends.acceptor, .events = POLLIN};
        TIMEVAL now = {0, 0};
        u_long value;
        check_wsa(socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW), WSANOTINITIALISED);
        check_wsa(socket(AF_INET, SOCK_STREAM, 0), WSANOTINITIALISED);
        check_wsa(WSASocketW(AF_INET, SOCK_STREAM, 0, NULL, 0, 0), WSANOTINITIALISED);
        check_wsa(bind(ends.connector, NULL, 0), WSANOTINITIALISED);
        check_wsa(listen(ends.listener, 1), WSANOTINITIALISED);
        check_wsa(accept(ends.listener, NULL, NULL), WSANOTINITIALISED);
        check_wsa(connect(ends.connector, NULL, 0), WSANOTINITIALISED);
        check_wsa(send(ends.connector, "x", 1, 0), WSANOTINITIALISED);
        check_wsa(recv(ends.acceptor, (char[1]){0}, 1, 0), WSANOTINITIALISED);
        check_wsa(select(0, &set, NULL, NULL, &now), WSANOTINITIALISED);
        check_wsa(WSAPoll(&descriptor, 1, 0), WSANOTINITIALISED);
        check_wsa(ioctlsocket(ends.acceptor, FIONREAD, &value), WSANOTINITIALISED);
        check_wsa(shutdown(ends.acceptor, SD_BOTH), WSANOTINITIALISED);
        check_wsa(closesocket(ends.acceptor), WSANOTINITIALISED);
        check_wsa(WSACleanup(), WSANOTINITIALISED);

        start_winsock();
        check_words(ends.acceptor, "one is left");
        ends_close(&ends);
}

TEST(wsastartup_gives_the_version_that_was_asked_for_up_to_2_2) {
        static const struct {
                WORD asked, given;
        } versions[] = {{MAKEWORD(1, 0), MAKEWORD(1, 0)}, {MAKEWORD(1, 1), MAKEWORD(1, 1)}, {MAKEWORD(2, 2), MAKEWORD(2, 2)},
                        {MAKEWORD(2, 3), MAKEWORD(2, 2)}, {MAKEWORD(3, 0), MAKEWORD(2, 2)}};
        WSADATA data;
        for (size_t i = 0; i < ARRAYSIZE(versions); i++) {
                check_equal(WSAStartup(versions[i].asked, &data), 0);
                check_equal(data.wVersion, versions[i].given);
                check_equal(data.wHighVersion, MAKEWORD(2, 2));
                check_equal(WSACleanup(), 0);
        }
        check_equal(WSAStartup(MAKEWORD(0, 9), &data), WSAVERNOTSUPPORTED);
        check_equal(WSAStartup(MAKEWORD(2, 2), NULL), WSAEFAULT);
        check_wsa(WSACleanup(), WSANOTINITIALISED);
}

static long fail_otherwise(void *unused) {
        check_equal(WSAGetLastError(), 0);
        check_wsa(socket(AF_HYPERV, SOCK_DGRAM, HV_PROTOCOL_RAW), WSAESOCKTNOSUPPORT);
        return 0;
}

TEST(each_thread_has_its_own_last_error_which_success_leaves_alone) {
        start_winsock();
        check_wsa(socket(AF_HYPERV, SOCK_STREAM, 0), WSAEPROTOTYPE);
        thread_join(thread_start(fail_otherwise, NULL));
        SOCKET s = new_winsock(SOCK_STREAM);
        works(closesocket(s));
        check_equal(WSAGetLastError(), WSAEPROTOTYPE);
        check_equal(GetLastError(), (DWORD)WSAEPROTOTYPE);
        SetLastError(WSAEFAULT);
        check_equal(WSAGetLastError(), WSAEFAULT);
}

/* ---- sockets ---- */

TEST(wsasocket_takes_what_changes_nothing_and_refuses_the_rest) {
        start_winsock();
        SOCKET s = works(WSASocketA(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW, NULL, 0, WSA_FLAG_OVERLAPPED));
        works(closesocket(s));
        s = works(WSASocketW(AF_INET, SOCK_DGRAM, 0, NULL, 0, WSA_FLAG_NO_HANDLE_INHERIT));
        works(closesocket(s));
        check_wsa(WSASocket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW, NULL, 0, 0x02), WSAEINVAL);
        check_wsa(WSASocketW(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW, (LPWSAPROTOCOL_INFOW)&(char){0}, 0, 0), WSAEOPNOTSUPP);
}

TEST(both_ends_know_their_addresses) {
        struct ends ends = ends_open(SOCK_STREAM);
        SOCKADDR_HV own, peer;
        int length = sizeof own, peer_length = sizeof peer + 8;
        works(getsockname(ends.connector, (SOCKADDR *)&own, &length));
        works(getpeername(ends.acceptor, (SOCKADDR *)&peer, &peer_length));
        check_equal(length, sizeof own);
        check_equal(peer_length, sizeof peer);
        check_equal(own.Family, AF_HYPERV);
        check(IsEqualGUID(&own.ServiceId, &peer.ServiceId) && IsEqualGUID(&peer.VmId, &HV_GUID_LOOPBACK));
        length = sizeof own - 1;
        check_wsa(getsockname(ends.connector, (SOCKADDR *)&own, &length), WSAEFAULT);
        check_wsa(getpeername(ends.connector, (SOCKADDR *)&own, NULL), WSAEFAULT);
        ends_close(&ends);
}

TEST(a_socket_without_a_name_has_one_of_zeros) {
        start_winsock();
        SOCKET s = new_winsock(SOCK_STREAM);
        SOCKADDR_HV own;
        int length = sizeof own;
        memset(&own, 0x5a, sizeof own);
        works(getsockname(s, (SOCKADDR *)&own, &length));
        check(own.Family == AF_HYPERV && IsEqualGUID(&own.VmId, &HV_GUID_ZERO) && IsEqualGUID(&own.ServiceId, &HV_GUID_ZERO));
        works(closesocket(s));
}

TEST(what_had_arrived_before_sd_receive_is_received_and_then_the_end) {
        struct ends kinds[] = {ends_open(SOCK_STREAM), tcp_open()};
        for (unsigned i = 0; i < 2; i++) {
                send_words(kinds[i].connector, "before");
                works(recv(kinds[i].acceptor, (char[1]){0}, 1, MSG_PEEK));
                works(shutdown(kinds[i].acceptor, SD_RECEIVE));
                check_words(kinds[i].acceptor, "before");
                check_equal(recv(kinds[i].acceptor, (char[1]){0}, 1, 0), 0);
                ends_close(&kinds[i]);
        }
}

TEST(accept_gives_the_peers_address_or_nothing_at_all) {
        struct ends ends = ends_open(SOCK_STREAM);
        SOCKADDR_HV peer;
        int length = sizeof peer - 1;
        SOCKET connector = works(winsock_dial(&HV_GUID_LOOPBACK, &ECHO));
        check_wsa(accept(ends.listener, (SOCKADDR *)&peer, &length), WSAEFAULT);
        check_wsa(accept(ends.listener, (SOCKADDR *)&peer, NULL), WSAEFAULT);
        length = sizeof peer;
        SOCKET accepted = works(WSAAccept(ends.listener, (SOCKADDR *)&peer, &length, NULL, 0));
        check_equal(length, sizeof peer);
        check(IsEqualGUID(&peer.VmId, &HV_GUID_LOOPBACK));
        works(closesocket(accepted));
        works(closesocket(connector));
        check_wsa(WSAAccept(ends.listener, NULL, NULL, (LPCONDITIONPROC)(uintptr_t)1, 0), WSAEOPNOTSUPP);
        check_wsa(WSAConnect(ends.connector, NULL, 0, &(WSABUF){0, NULL}, NULL, NULL, NULL), WSAEOPNOTSUPP);
        ends_close(&ends);
}

TEST(an_accepted_socket_is_non_blocking_where_its_listener_is) {
        struct ends kinds[] = {ends_open(SOCK_STREAM), tcp_open()};
        for (unsigned i = 0; i < 2; i++) {
                struct ends *ends = &kinds[i];
                SOCKADDR_STORAGE address;
                int length = sizeof address;
                set_blocking(ends->listener, false);
                check_wsa(accept(ends->listener, NULL, NULL), WSAEWOULDBLOCK);
                works(getsockname(ends->listener, (SOCKADDR *)&address, &length));
                SOCKET connector = works(socket(address.ss_family, SOCK_STREAM, i ? IPPROTO_TCP : HV_PROTOCOL_RAW));
                works(connect(connector, (SOCKADDR *)&address, length));
                SOCKET accepted = works(accept(ends->listener, NULL, NULL));
                check_wsa(recv(accepted, (char[1]){0}, 1, 0), WSAEWOULDBLOCK);
                works(closesocket(accepted));
                works(closesocket(connector));
                ends_close(ends);
        }
}

static long accept_one(void *listener) {
        SOCKET s = accept(*(SOCKET *)listener, NULL, NULL);
        return s == INVALID_SOCKET ? -WSAGetLastError() : (long)s;
}

TEST(closing_a_listener_wakes_those_who_accept) {
        struct ends kinds[] = {ends_open(SOCK_STREAM), tcp_open()};
        for (unsigned i = 0; i < 2; i++) {
                struct thread *thread = thread_start(accept_one, &kinds[i].listener);
                check(await(thread_is_asleep(thread)));
                works(closesocket(kinds[i].listener));
                check_equal(thread_join(thread), -WSAEINVAL);
                kinds[i].listener = INVALID_SOCKET;
                ends_close(&kinds[i]);
        }
}

TEST(a_receive_time_out_does_not_end_an_accept) {
        struct ends ends = ends_open(SOCK_STREAM);
        DWORD timeout_ms = 1;
        works(setsockopt(ends.listener, SOL_SOCKET, SO_RCVTIMEO, (const char *)&timeout_ms, sizeof timeout_ms));
        struct thread *thread = thread_start(accept_one, &ends.listener);
        world_pause_ms(50);
        SOCKET connector = works(winsock_dial(&HV_GUID_LOOPBACK, &ECHO));
        long accepted = thread_join(thread);
        check(accepted > 0);
        works(closesocket((SOCKET)accepted));
        works(closesocket(connector));
        ends_close(&ends);
}

/* ---- data ---- */

TEST(buffers_are_gathered_and_scattered) {
        for (unsigned i = 0; i < 3; i++) {
                struct ends ends = i == 2 ? tcp_open() : ends_open(i ? SOCK_SEQPACKET : SOCK_STREAM);
                char first[4] = "", second[16] = "";
                WSABUF parts[] = {{3, (CHAR *)"one"}, {0, NULL}, {5, (CHAR *)"three"}}, places[] = {{3, first}, {16, second}};
                DWORD sent = 0, received = 0, flags = 0;
                works(WSASend(ends.connector, parts, 3, &sent, 0, NULL, NULL));
                check_equal(sent, 8);
                works(WSARecv(ends.acceptor, places, 2, &received, &flags, NULL, NULL));
                check_equal(received, 8);
                check_string(first, "one");
                check_string(second, "three");
                ends_close(&ends);
        }
}

TEST(an_overlapped_request_is_refused) {
        struct ends ends = ends_open(SOCK_STREAM);
        WSAOVERLAPPED overlapped = {0};
        WSABUF part = {1, (CHAR[1]){'x'}};
        DWORD count, flags = 0;
        LPWSAOVERLAPPED_COMPLETION_ROUTINE routine = (LPWSAOVERLAPPED_COMPLETION_ROUTINE)(uintptr_t)1;
        check_wsa(WSASend(ends.connector, &part, 1, &count, 0, &overlapped, NULL), WSAEOPNOTSUPP);
        check_wsa(WSASend(ends.connector, &part, 1, &count, 0, NULL, routine), WSAEOPNOTSUPP);
        check_wsa(WSARecv(ends.connector, &part, 1, &count, &flags, &overlapped, NULL), WSAEOPNOTSUPP);
        check_wsa(WSARecv(ends.connector, &part, 1, &count, &flags, NULL, routine), WSAEOPNOTSUPP);
        ends_close(&ends);
}

TEST(bad_buffers_are_told_apart) {
        struct ends ends = ends_open(SOCK_STREAM);
        static WSABUF many[1025];
        DWORD count, flags = 0;
        check_wsa(WSASend(ends.connector, many, 1, NULL, 0, NULL, NULL), WSAEFAULT);
        check_wsa(WSARecv(ends.connector, many, 1, NULL, &flags, NULL, NULL), WSAEFAULT);
        check_wsa(WSARecv(ends.connector, many, 1, &count, NULL, NULL, NULL), WSAEFAULT);
        check_wsa(WSASend(ends.connector, many, 1025, &count, 0, NULL, NULL), WSAEMSGSIZE);
        check_wsa(WSARecv(ends.connector, many, 1025, &count, &flags, NULL, NULL), WSAEMSGSIZE);
        many[1023] = (WSABUF){4, (CHAR *)"last"};
        works(WSASend(ends.connector, many, 1024, &count, 0, NULL, NULL));
        check_words(ends.acceptor, "last");
        check_wsa(send(ends.connector, "x", -1, 0), WSAEINVAL);
        check_wsa(recv(ends.connector, (char[1]){0}, -1, 0), WSAEINVAL);
        check_wsa(send(ends.connector, "x", 1, MSG_OOB), WSAEOPNOTSUPP);
        ends_close(&ends);
}

TEST(a_message_that_does_not_fit_is_wsaemsgsize) {
        struct ends ends = ends_open(SOCK_SEQPACKET);
        char place[4];
        WSABUF part = {sizeof place, place};
        DWORD count, flags = 0;
        send_words(ends.connector, "longer");
        check_wsa(WSARecv(ends.acceptor, &part, 1, &count, &flags, NULL, NULL), WSAEMSGSIZE);
        check(!memcmp(place, "long", 4));
        send_words(ends.connector, "longer");
        memset(place, 0, sizeof place);
        check_wsa(recv(ends.acceptor, place, sizeof place, MSG_PEEK), WSAEMSGSIZE);
        check_wsa(recv(ends.acceptor, place, sizeof place, 0), WSAEMSGSIZE);
        check(!memcmp(place, "long", 4));
        send_words(ends.connector, "next");
        check_words(ends.acceptor, "next");
        ends_close(&ends);
}

TEST(a_time_out_is_milliseconds_in_a_dword_and_wsaetimedout) {
        struct ends kinds[] = {ends_open(SOCK_STREAM), tcp_open()};
        for (unsigned i = 0; i < 2; i++) {
                struct ends *ends = &kinds[i];
                static const int options[] = {SO_RCVTIMEO, SO_SNDTIMEO};
                for (unsigned j = 0; j < 2; j++) {
                        DWORD timeout_ms = 20, now_ms = 4711;
                        int length = sizeof now_ms;
                        works(getsockopt(ends->acceptor, SOL_SOCKET, options[j], (char *)&now_ms, &length));
                        check_equal(now_ms, 0);
                        works(setsockopt(ends->acceptor, SOL_SOCKET, options[j], (const char *)&timeout_ms, sizeof timeout_ms));
                        works(getsockopt(ends->acceptor, SOL_SOCKET, options[j], (char *)&now_ms, &length));
                        check_equal(now_ms, timeout_ms);
                        check_equal(length, sizeof now_ms);
                        check_wsa(setsockopt(ends->acceptor, SOL_SOCKET, options[j], (const char *)&timeout_ms, 2), WSAEFAULT);
                }
                static char bytes[65536];
                check_wsa(recv(ends->acceptor, bytes, 1, 0), WSAETIMEDOUT);
                while (send(ends->acceptor, bytes, sizeof bytes, 0) > 0)
                        ;
                check_equal(WSAGetLastError(), WSAETIMEDOUT);
                set_blocking(ends->acceptor, false);
                check_wsa(recv(ends->acceptor, bytes, 1, 0), WSAEWOULDBLOCK);
                while (send(ends->acceptor, bytes, sizeof bytes, 0) > 0)
                        ;
                check_equal(WSAGetLastError(), WSAEWOULDBLOCK);
                ends_close(ends);
        }
}

TEST(traffic_moves_into_shared_memory_by_itself) {
        struct ends ends = ends_open(SOCK_STREAM);
        DWORD state = 0;
        int length = sizeof state;
        works(getsockopt(ends.connector, HV_PROTOCOL_RAW, HVSOCKET_CARRIER_STATE, (char *)&state, &length));
        check_equal(state, 0);
        for (unsigned i = 0; i < 200; i++) {
                send_words(ends.connector, "there");
                check_words(ends.acceptor, "there");
                send_words(ends.acceptor, "and back");
                check_words(ends.connector, "and back");
        }
        works(getsockopt(ends.connector, HV_PROTOCOL_RAW, HVSOCKET_CARRIER_STATE, (char *)&state, &length));
        check_equal(state, HV_SENDS_SHM | HV_RECEIVES_SHM);
        ends_close(&ends);
}

/* ---- options ---- */

TEST(hyper_vs_options_have_the_level_1_on_hyper_v_sockets_and_no_others) {
        struct ends ends = ends_open(SOCK_STREAM), tcp = tcp_open();
        DWORD value = 1;
        int length = sizeof value;
        works(setsockopt(ends.connector, HV_PROTOCOL_RAW, HVSOCKET_CONNECTED_SUSPEND, (const char *)&value, sizeof value));
        works(getsockopt(ends.connector, HV_PROTOCOL_RAW, HVSOCKET_CONNECTED_SUSPEND, (char *)&value, &length));
        check_equal(value, 1);
        check_wsa(setsockopt(ends.connector, HV_PROTOCOL_RAW, HVSOCKET_HIGH_VTL, (const char *)&value, sizeof value),
                  WSAEOPNOTSUPP);
        check_wsa(setsockopt(ends.connector, IPPROTO_TCP, TCP_NODELAY, (const char *)&value, sizeof value), WSAENOPROTOOPT);
        check_wsa(setsockopt(tcp.connector, HV_PROTOCOL_RAW, SO_KEEPALIVE, (const char *)&value, sizeof value), WSAENOPROTOOPT);
        check_wsa(getsockopt(tcp.connector, HV_PROTOCOL_RAW, SO_KEEPALIVE, (char *)&value, &length), WSAENOPROTOOPT);
        works(setsockopt(tcp.connector, IPPROTO_TCP, TCP_NODELAY, (const char *)&value, sizeof value));
        check_wsa(setsockopt(ends.connector, SOL_SOCKET, SO_SNDBUF, NULL, 4), WSAEFAULT);
        check_wsa(getsockopt(ends.connector, SOL_SOCKET, SO_SNDBUF, NULL, &length), WSAEFAULT);
        works(setsockopt(ends.connector, SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (const char *)&value, sizeof value));
        works(getsockopt(ends.connector, SOL_SOCKET, SO_TYPE, (char *)&value, &length));
        check_equal(value, SOCK_STREAM);
        ends_close(&ends);
        ends_close(&tcp);
}

TEST(so_exclusiveaddruse_is_always_so) {
        start_winsock();
        SOCKET kinds[] = {new_winsock(SOCK_STREAM), socket(AF_INET, SOCK_STREAM, 0)};
        for (unsigned i = 0; i < 2; i++) {
                BOOL value = TRUE;
                int length = sizeof value;
                works(setsockopt(kinds[i], SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (const char *)&value, sizeof value));
                value = FALSE;
                works(getsockopt(kinds[i], SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (char *)&value, &length));
                check_equal(value, TRUE);
                check_wsa(setsockopt(kinds[i], IPPROTO_TCP, SO_EXCLUSIVEADDRUSE, (const char *)&value, sizeof value), WSAENOPROTOOPT);
                works(closesocket(kinds[i]));
                check_wsa(setsockopt(kinds[i], SOL_SOCKET, SO_EXCLUSIVEADDRUSE, (const char *)&value, sizeof value), WSAENOTSOCK);
        }
}

TEST(a_buffers_size_reads_as_the_kernel_doubled_it) {
        start_winsock();
        SOCKET s = new_winsock(SOCK_STREAM);
        static const int options[] = {SO_SNDBUF, SO_RCVBUF};
        for (unsigned i = 0; i < 2; i++) {
                int size = 16384, length = sizeof size;
                works(setsockopt(s, SOL_SOCKET, options[i], (const char *)&size, sizeof size));
                works(getsockopt(s, SOL_SOCKET, options[i], (char *)&size, &length));
                check_equal(size, 2 * 16384);
        }
        works(closesocket(s));
}

TEST(ioctlsocket_takes_32_and_64_bits) {
        struct ends kinds[] = {ends_open(SOCK_STREAM), tcp_open()};
        for (unsigned i = 0; i < 2; i++) {
                struct ends *ends = &kinds[i];
                u_long narrow = ~0u;
                uint64_t wide = ~0ull;
                send_words(ends->connector, "seven b");
                struct pollfd descriptor = {.fd = ends->acceptor, .events = POLLIN};
                check_equal(works(WSAPoll(&descriptor, 1, WORLD_WAIT_MS)), 1);
                works(ioctlsocket(ends->acceptor, FIONREAD, &narrow));
                works(ioctlsocket(ends->acceptor, FIONREAD, &wide));
                check_equal(narrow, 7);
                check_equal(wide, 7);
                check_words(ends->acceptor, "seven b");
                wide = 1ull << 32;
                works(ioctlsocket(ends->acceptor, FIONBIO, &wide));
                check_wsa(recv(ends->acceptor, (char[1]){0}, 1, 0), WSAEWOULDBLOCK);
                check_wsa(ioctlsocket(ends->acceptor, 0x1234, &narrow), WSAEINVAL);
                check_wsa(ioctlsocket(ends->acceptor, FIONBIO, (u_long *)NULL), WSAEFAULT);
                ends_close(ends);
        }
}

/* ---- other families ---- */

TEST(datagrams_of_the_kernel_work_beside) {
        SOCKADDR_IN address = {.sin_family = AF_INET}, from;
        int length = sizeof address, from_length = sizeof from;
        char place[8] = "";
        start_winsock();
        SOCKET receiver = works(socket(AF_INET, SOCK_DGRAM, IPPROTO_UDP)), sender = works(socket(AF_INET, SOCK_DGRAM, 0));
        check_equal(inet_pton(AF_INET, "127.0.0.1", &address.sin_addr), 1);
        works(bind(receiver, (SOCKADDR *)&address, sizeof address));
        works(getsockname(receiver, (SOCKADDR *)&address, &length));
        check_equal(sendto(sender, "datagram", 8, 0, (SOCKADDR *)&address, length), 8);
        check_equal(recvfrom(receiver, place, sizeof place, 0, (SOCKADDR *)&from, &from_length), 8);
        check_equal(from_length, sizeof from);
        check_equal(from.sin_addr.s_addr, htonl(INADDR_LOOPBACK));
        check_equal(sendto(sender, "datagram", 8, 0, (SOCKADDR *)&address, length), 8);
        check_wsa(recv(receiver, place, 4, 0), WSAEMSGSIZE);
        works(closesocket(receiver));
        works(closesocket(sender));
}

TEST(a_connect_that_failed_is_told_by_so_error_in_windows_terms) {
        struct ends tcp = tcp_open();
        SOCKADDR_IN address;
        int length = sizeof address, error = 0, error_length = sizeof error;
        works(getsockname(tcp.listener, (SOCKADDR *)&address, &length));
        ends_close(&tcp);
        start_winsock();
        SOCKET s = works(socket(AF_INET, SOCK_STREAM, 0));
        check_wsa(connect(s, (SOCKADDR *)&address, length), WSAECONNREFUSED);
        works(closesocket(s));

        s = works(socket(AF_INET, SOCK_STREAM, 0));
        set_blocking(s, false);
        check_wsa(connect(s, (SOCKADDR *)&address, length), WSAEWOULDBLOCK);
        fd_set writable = {1, {s}}, exceptional = {1, {s}};
        check_equal(select(0, NULL, &writable, &exceptional, NULL), 1);
        check(FD_ISSET(s, &exceptional) && !FD_ISSET(s, &writable));
        works(getsockopt(s, SOL_SOCKET, SO_ERROR, (char *)&error, &error_length));
        check_equal(error, WSAECONNREFUSED);
        works(closesocket(s));
}
