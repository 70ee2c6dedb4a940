/* SPDX-License-Identifier: MIT */
#include "winsock_test.h"

void start_winsock(void) {
        WSADATA data;
        check_equal(WSAStartup(WINSOCK_VERSION, &data), 0);
}

SOCKET new_winsock(int type) {
        return works(socket(AF_HYPERV, type, HV_PROTOCOL_RAW));
}

int winsock_bind(SOCKET s, const GUID *vm_id, const GUID *service_id) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *vm_id, .ServiceId = *service_id};
        return bind(s, (SOCKADDR *)&address, sizeof address);
}

int winsock_connect(SOCKET s, const GUID *vm_id, const GUID *service_id) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *vm_id, .ServiceId = *service_id};
        return connect(s, (SOCKADDR *)&address, sizeof address);
}

static SOCKET keep_if(SOCKET s, bool is_good) {
        int error = WSAGetLastError();
        if (is_good)
                return s;
        works(closesocket(s));
        WSASetLastError(error);
        return INVALID_SOCKET;
}

SOCKET winsock_dial(const GUID *vm_id, const GUID *service_id) {
        SOCKET s = new_winsock(SOCK_STREAM);
        return keep_if(s, winsock_connect(s, vm_id, service_id) == 0);
}

SOCKET winsock_serve(const GUID *vm_id, const GUID *service_id) {
        SOCKET s = new_winsock(SOCK_STREAM);
        return keep_if(s, winsock_bind(s, vm_id, service_id) == 0 && listen(s, 16) == 0);
}

struct ends ends_open(int type) {
        struct ends ends = {.world = world_new()};
        world_start(ends.world);
        world_enter(ends.world, "host");
        start_winsock();
        ends.listener = new_winsock(type);
        works(winsock_bind(ends.listener, &HV_GUID_LOOPBACK, &ECHO));
        works(listen(ends.listener, 16));
        ends.connector = new_winsock(type);
        works(winsock_connect(ends.connector, &HV_GUID_LOOPBACK, &ECHO));
        ends.acceptor = works(accept(ends.listener, NULL, NULL));
        return ends;
}

struct ends tcp_open(void) {
        struct ends ends = {.world = NULL};
        SOCKADDR_IN address = {.sin_family = AF_INET};
        int length = sizeof address;
        start_winsock();
        address.sin_addr.S_un.S_addr = htonl(INADDR_LOOPBACK);
        ends.listener = works(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
        works(bind(ends.listener, (SOCKADDR *)&address, sizeof address));
        works(listen(ends.listener, SOMAXCONN));
        works(getsockname(ends.listener, (SOCKADDR *)&address, &length));
        check_string(inet_ntoa(address.sin_addr), "127.0.0.1");
        ends.connector = works(socket(AF_INET, SOCK_STREAM, IPPROTO_TCP));
        works(connect(ends.connector, (SOCKADDR *)&address, length));
        ends.acceptor = works(accept(ends.listener, (SOCKADDR *)&address, &length));
        check_equal(length, sizeof address);
        return ends;
}

void ends_close(struct ends *ends) {
        const SOCKET sockets[] = {ends->connector, ends->acceptor, ends->listener};
        for (unsigned i = 0; i < 3; i++)
                if (sockets[i] != INVALID_SOCKET)
                        works(closesocket(sockets[i]));
        if (ends->world)
                world_end(ends->world);
        check_equal(WSACleanup(), 0);
}

void set_blocking(SOCKET s, bool blocks) {
        u_long mode = !blocks;
        works(ioctlsocket(s, FIONBIO, &mode));
}

void send_words(SOCKET s, const char *text) {
        check_equal(send(s, text, (int)strlen(text), 0), strlen(text));
}

void check_words(SOCKET s, const char *text) {
        char received[256];
        check(strlen(text) < sizeof received);
        check_equal(works(recv(s, received, (int)strlen(text), MSG_WAITALL)), strlen(text));
        check(!memcmp(received, text, strlen(text)));
}
