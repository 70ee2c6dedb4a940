/* SPDX-License-Identifier: MIT */

/* What callers get told: each case of hvsock-errors(7), provoked through Winsock, with the code that Windows has for it. */

#include "e2e/program.h"

#include "winsock_test.h"
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static struct world *family_entered(const char *path) {
        struct world *world = world_family();
        world_enter(world, path);
        start_winsock();
        return world;
}

static GUID service_with(struct world *world, const char *line, const char *pointer, const char *value) {
        GUID service_id = service_numbered(2);
        world_write_service(world, &service_id, "Special", line);
        world_await_service(world, &service_id, pointer, value);
        return service_id;
}

TEST(an_unregistered_service_that_would_cross_a_boundary_is_wsaeacces) {
        struct world *world = family_entered("web01");
        GUID service_id = service_numbered(1);
        check_wsa(winsock_serve(&HV_GUID_WILDCARD, &service_id), WSAEACCES);
        check_wsa(winsock_dial(&HV_GUID_PARENT, &service_id), WSAEACCES);
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        must(hv_last_refusal(&refusal)); /* is there for who asks in hvsock's own terms */
        check_string(refusal.rule_name, "not-registered");
        world_end(world);
}

TEST(a_disabled_service_is_wsaeinval) {
        struct world *world = family_entered("web01");
        GUID service_id = service_with(world, "Enabled=no\n", "/enabled", "false");
        check_wsa(winsock_serve(&HV_GUID_WILDCARD, &service_id), WSAEINVAL);
        check_wsa(winsock_dial(&HV_GUID_PARENT, &service_id), WSAEINVAL);
        world_end(world);
}

TEST(who_may_not_bind_or_connect_gets_wsaeacces) {
        struct world *world = family_entered("web01");
        GUID service_id = service_with(world, "Bind=host\nConnect=containers\n", "/bind", "host");
        check_wsa(winsock_serve(&HV_GUID_LOOPBACK, &service_id), WSAEACCES);
        check_wsa(winsock_dial(&HV_GUID_PARENT, &service_id), WSAEACCES);
        world_end(world);
}

TEST(an_address_that_cannot_be_dialled_is_wsaeaddrnotavail) {
        struct world *world = family_entered("host");
        GUID nobody = service_numbered(4711);
        const GUID *const never[] = {&HV_GUID_WILDCARD, &HV_GUID_CHILDREN, &HV_GUID_BROADCAST, &HV_GUID_PARENT, &nobody};
        for (unsigned i = 0; i < 5; i++)
                check_wsa(winsock_dial(never[i], &ECHO), WSAEADDRNOTAVAIL);
        check_wsa(winsock_serve(&HV_GUID_PARENT, &ECHO), WSAEADDRNOTAVAIL);
        check_wsa(winsock_serve(&HV_GUID_BROADCAST, &ECHO), WSAEADDRNOTAVAIL);
        world_end(world);
}

TEST(a_vm_that_does_not_run_is_wsaehostunreach) {
        struct world *world = family_entered("host");
        GUID port = port_service(5000);
        world_write_service(world, &port, "Port", "");
        world_await_service(world, &port, "/name", "Port");
        check_wsa(winsock_dial(world_id(world, "off"), &port), WSAEHOSTUNREACH);
        world_end(world);
}

TEST(where_nobody_takes_it_a_connect_is_wsaeconnrefused) {
        struct world *world = family_entered("web01");
        struct program *host = program_in(world, "host");
        check_wsa(winsock_dial(&HV_GUID_PARENT, &ECHO), WSAECONNREFUSED);

        int excludes = (int)must(serve(host, world_id(world, "web02"), &ECHO));
        check_wsa(winsock_dial(&HV_GUID_PARENT, &ECHO), WSAECONNREFUSED);
        must(close_in(host, excludes));

        GUID service_id = service_with(world, "WildcardBinds=no\n", "/wildcardBinds", "false");
        int wildcard = (int)must(serve(host, &HV_GUID_WILDCARD, &service_id));
        check_wsa(winsock_dial(&HV_GUID_PARENT, &service_id), WSAECONNREFUSED);
        must(close_in(host, wildcard));
        world_end(world);
}

TEST(a_full_backlog_is_wsaeconnrefused) {
        struct world *world = family_entered("host");
        SOCKET listener = new_winsock(SOCK_STREAM), connected[16];
        unsigned count = 0;
        works(winsock_bind(listener, &HV_GUID_LOOPBACK, &ECHO));
        works(listen(listener, 2));
        while ((connected[count] = winsock_dial(&HV_GUID_LOOPBACK, &ECHO)) != INVALID_SOCKET)
                check(++count < 16);
        check_equal(WSAGetLastError(), WSAECONNREFUSED);
        check(count >= 2);
        while (count)
                works(closesocket(connected[--count]));
        works(closesocket(listener));
        world_end(world);
}

TEST(no_answer_in_time_is_wsaetimedout) {
        struct world *world = family_entered("web01");
        DWORD timeout_ms = 150, now_ms = 0;
        int length = sizeof now_ms;
        SOCKET s = new_winsock(SOCK_STREAM);
        works(setsockopt(s, HV_PROTOCOL_RAW, HVSOCKET_CONNECT_TIMEOUT, (const char *)&timeout_ms, sizeof timeout_ms));
        works(getsockopt(s, HV_PROTOCOL_RAW, HVSOCKET_CONNECT_TIMEOUT, (char *)&now_ms, &length));
        check_equal(now_ms, timeout_ms);
        must(kill(world->broker, SIGSTOP));
        check_wsa(winsock_connect(s, &HV_GUID_PARENT, &ECHO), WSAETIMEDOUT);
        must(kill(world->broker, SIGCONT));
        works(closesocket(s));
        world_end(world);
}

TEST(an_address_that_is_bound_is_wsaeaddrinuse) {
        struct world *world = family_entered("host");
        SOCKET listener = works(winsock_serve(&HV_GUID_WILDCARD, &ECHO));
        check_wsa(winsock_serve(&HV_GUID_WILDCARD, &ECHO), WSAEADDRINUSE);
        works(closesocket(listener));
        world_end(world);
}

TEST(wrong_arguments_have_their_own_codes) {
        struct world *world = family_entered("host");
        check_wsa(socket(0x7777, SOCK_STREAM, HV_PROTOCOL_RAW), WSAEAFNOSUPPORT);
        check_wsa(socket(AF_HYPERV, SOCK_DGRAM, HV_PROTOCOL_RAW), WSAESOCKTNOSUPPORT);
        check_wsa(socket(AF_HYPERV, SOCK_RAW, HV_PROTOCOL_RAW), WSAESOCKTNOSUPPORT);
        check_wsa(socket(AF_HYPERV, SOCK_STREAM, 0), WSAEPROTOTYPE);
        check_wsa(socket(AF_HYPERV, SOCK_STREAM, IPPROTO_TCP), WSAEPROTOTYPE);

        SOCKET s = new_winsock(SOCK_STREAM);
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_LOOPBACK, .ServiceId = ECHO};
        for (int length = -1; length < (int)sizeof address; length++) {
                check_wsa(bind(s, (SOCKADDR *)&address, length), WSAEINVAL);
                check_wsa(connect(s, (SOCKADDR *)&address, length), WSAEINVAL);
        }
        address.Family = AF_INET;
        check_wsa(bind(s, (SOCKADDR *)&address, sizeof address), WSAEAFNOSUPPORT);
        check_wsa(connect(s, (SOCKADDR *)&address, sizeof address), WSAEAFNOSUPPORT);
        works(closesocket(s));
        world_end(world);
}

TEST(a_stream_that_meets_messages_is_wsaeprototype) {
        struct ends ends = ends_open(SOCK_SEQPACKET);
        check_wsa(winsock_dial(&HV_GUID_LOOPBACK, &ECHO), WSAEPROTOTYPE);
        ends_close(&ends);
}

TEST(sending_after_sd_send_is_wsaeshutdown_and_what_the_peer_sent_still_comes) {
        struct ends ends = ends_open(SOCK_STREAM);
        works(shutdown(ends.connector, SD_SEND));
        check_wsa(send(ends.connector, "more", 4, 0), WSAESHUTDOWN);
        check_equal(recv(ends.acceptor, (char[1]){0}, 1, 0), 0);
        send_words(ends.acceptor, "the other way");
        check_words(ends.connector, "the other way");
        ends_close(&ends);
}

TEST(a_peer_that_aborted_is_wsaeconnreset) {
        struct ends ends = ends_open(SOCK_STREAM);
        LINGER linger = {.l_onoff = 1, .l_linger = 0};
        works(setsockopt(ends.connector, SOL_SOCKET, SO_LINGER, (const char *)&linger, sizeof linger));
        works(closesocket(ends.connector));
        ends.connector = INVALID_SOCKET;
        check_wsa(recv(ends.acceptor, (char[1]){0}, 1, 0), WSAECONNRESET);
        check_wsa(send(ends.acceptor, "x", 1, 0), WSAECONNRESET);
        ends_close(&ends);
}

TEST(where_no_broker_ever_was_it_is_wsaenetdown) {
        must(setenv("HVSOCK_SOCKET", "/nonexistent", 1));
        start_winsock();
        check_wsa(winsock_dial(&HV_GUID_PARENT, &ECHO), WSAENETDOWN);
        check_wsa(winsock_serve(&HV_GUID_WILDCARD, &ECHO), WSAENETDOWN);
}

TEST(a_quota_is_wsaenobufs) {
        struct world *world = world_new();
        world_configure(world, "ListenersPerPartition=1\n");
        world_start(world);
        world_enter(world, "host");
        start_winsock();
        GUID other = service_numbered(3);
        SOCKET listener = works(winsock_serve(&HV_GUID_LOOPBACK, &ECHO));
        check_wsa(winsock_serve(&HV_GUID_LOOPBACK, &other), WSAENOBUFS);
        works(closesocket(listener));
        world_end(world);
}

TEST(what_is_no_socket_is_wsaenotsock) {
        start_winsock();
        int file = (int)must(open("/dev/null", O_RDWR | O_CLOEXEC));
        const SOCKET none[] = {INVALID_SOCKET, 0x7fffffff, (SOCKET)1 << 32 | (SOCKET)file, (SOCKET)file};
        for (unsigned i = 0; i < 4; i++) {
                check_wsa(winsock_bind(none[i], &HV_GUID_LOOPBACK, &ECHO), WSAENOTSOCK);
                check_wsa(recv(none[i], (char[1]){0}, 1, 0), WSAENOTSOCK);
                check_wsa(closesocket(none[i]), WSAENOTSOCK);
        }
        close(file);
}

TEST(without_a_connection_it_is_wsaenotconn_and_with_one_a_connect_is_wsaeisconn) {
        struct ends ends = ends_open(SOCK_STREAM);
        SOCKADDR_HV name;
        int length = sizeof name;
        SOCKET s = new_winsock(SOCK_STREAM);
        check_wsa(send(s, "x", 1, 0), WSAENOTCONN);
        check_wsa(shutdown(s, SD_BOTH), WSAENOTCONN);
        check_wsa(getpeername(s, (SOCKADDR *)&name, &length), WSAENOTCONN);
        check_wsa(accept(s, NULL, NULL), WSAEINVAL);
        check_wsa(listen(s, 1), WSAEINVAL);
        works(closesocket(s));
        check_wsa(winsock_connect(ends.connector, &HV_GUID_LOOPBACK, &ECHO), WSAEISCONN);
        ends_close(&ends);
}
