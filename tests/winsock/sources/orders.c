/* SPDX-License-Identifier: MIT */

/*
 * The same program with its headers in the order ORDER: what they give is there in
 * each. SETSIZE is what FD_SETSIZE has to be in the end.
 */

#if ORDER == 1 /* the usual one */
#include <winsock2.h>
#include <ws2tcpip.h>
#include <hvsocket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#elif ORDER == 2 /* the other usual one */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#define WIN32_LEAN_AND_MEAN
#include <windows.h>
#include <winsock2.h>
#include <ws2def.h>
#include <initguid.h>
#include <guiddef.h>
#include <hvsocket.h>
#include <objbase.h>
#include <rpc.h>
#elif ORDER == 3 /* the address first, and everything twice */
#include <hvsocket.h>
#include <guiddef.h>
#define INITGUID
#include <winsock2.h>
#include <windows.h>
#include <hvsocket.h>
#include <winsock2.h>
#include <stdio.h>
#elif ORDER == 4 /* its own FD_SETSIZE, at once */
#define FD_SETSIZE 1024
#include <initguid.h>
#include <winsock2.h>
#include <hvsocket.h>
#include <stdlib.h>
#include <stdio.h>
#elif ORDER == 5 /* its own FD_SETSIZE, which libc's headers would take back */
#define FD_SETSIZE 512
#include <stdio.h>
#include <stdlib.h>
#include <initguid.h>
#include <winsock2.h>
#include <hvsocket.h>
#elif ORDER == 6 /* libc's sockets first */
#include <unistd.h>
#include <sys/types.h>
#include <sys/socket.h>
#include <netinet/in.h>
#include <stdio.h>
#include <initguid.h>
#include <ws2tcpip.h>
#include <hvsocket.h>
#include <arpa/inet.h>
#include <netdb.h>
#include <poll.h>
#include <sys/select.h>
#elif ORDER == 7 /* in the company of hv_*() */
#include <hvsock.h>
#include <initguid.h>
#include <winsock2.h>
#include <stdio.h>
#elif ORDER == 8
#include <winsock2.h>
#include <initguid.h>
#include <hvsock.h>
#include <time.h>
#include <signal.h>
#include <pthread.h>
#include <stdio.h>
#endif

#ifdef __cplusplus
#include <functional>
#include <map>
#include <string>
#include <thread>
#endif

DEFINE_GUID(SERVICE, 0x3049197c, 0x9a4e, 0x4fbf, 0x93, 0x67, 0x97, 0xf7, 0x92, 0xf1, 0x69, 0x94);

#ifdef __cplusplus
static_assert(FD_SETSIZE == SETSIZE, "the source's, or Windows'");
#if ORDER < 6 /* where libc's sockets were not first, nothing is a macro */
static int add(int a, int b) {
        return a + b;
}
struct connection {
        SOCKET socket;
        int connect() { return std::bind(add, 1, std::placeholders::_1)(2); }
};
#endif
#else
_Static_assert(FD_SETSIZE == SETSIZE, "the source's, or Windows'");
#endif

/* As the tutorial prints it, and as it is declared already. */
#ifndef __cplusplus
SOCKET WSAAPI socket(
  _In_ int af,
  _In_ int type,
  _In_ int protocol
);
int bind(
  _In_ SOCKET                s,
  _In_ const struct sockaddr *name,
  _In_ int                   namelen
);
#endif

#if ORDER < 6 /* names that are free on Windows */
static int poll(SOCKET s) {
        return s != INVALID_SOCKET;
}
#endif
#if ORDER < 6 && !defined __cplusplus && !defined _WIN32 /* MinGW has it */
int gettimeofday(struct timeval *now, int *zone);
#endif

static int close_all(fd_set *set) {
        int closed = 0;
        for (u_int i = 0; i < set->fd_count; i++)
                closed += closesocket(set->fd_array[i]) == 0;
        return closed;
}

int main(void) {
        WSADATA data;
        SOCKADDR_HV address = {AF_HYPERV, 0, HV_GUID_PARENT, SERVICE};
        struct sockaddr_in internet;
        socklen_t length = sizeof internet;
        u_long mode = 1;
        unsigned long bytes = ~0ul;
        DWORD timeout = 1000;
        fd_set set;
        struct timeval now = {0, 0};

        if (WSAStartup(MAKEWORD(2, 2), &data) != 0 || LOBYTE(data.wVersion) != 2 || HIBYTE(data.wVersion) != 2)
                return 1;
        SOCKET hyperv = socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW), other = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
        if (hyperv == INVALID_SOCKET || other == INVALID_SOCKET)
                return 2;
        if (setsockopt(hyperv, HV_PROTOCOL_RAW, HVSOCKET_CONNECT_TIMEOUT, (const char *)&timeout, sizeof timeout) == SOCKET_ERROR ||
            setsockopt(other, SOL_SOCKET, SO_RCVTIMEO, (const char *)&timeout, sizeof timeout) == SOCKET_ERROR)
                return 3;
#if ORDER < 6
        if (!poll(hyperv))
                return 12;
#endif
        if (ioctlsocket(hyperv, FIONBIO, &mode) == SOCKET_ERROR || ioctlsocket(hyperv, FIONREAD, &bytes) == SOCKET_ERROR || bytes)
                return 4;

        ZeroMemory(&internet, sizeof internet);
        internet.sin_family = AF_INET;
        internet.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        if (internet.sin_addr.S_un.S_addr != inet_addr("127.0.0.1") || strcmp(inet_ntoa(internet.sin_addr), "127.0.0.1") != 0)
                return 5;
        if (bind(other, (SOCKADDR *)&internet, sizeof internet) != 0 || listen(other, SOMAXCONN) != 0 ||
            getsockname(other, (SOCKADDR *)&internet, &length) != 0 || internet.sin_port == 0)
                return 6;

        FD_ZERO(&set);
        FD_SET(hyperv, &set);
        FD_SET(other, &set);
        if (!FD_ISSET(other, &set) || set.fd_count != 2 || close_all(&set) != 2)
                return 7;
        if (select(0, &set, NULL, NULL, &now) != SOCKET_ERROR || WSAGetLastError() != WSAENOTSOCK)
                return 8;
        if (connect(hyperv, (struct sockaddr *)&address, sizeof address) != SOCKET_ERROR || WSAGetLastError() != WSAENOTSOCK)
                return 9;
#ifdef __cplusplus
        if (!IsEqualGUID(SERVICE, address.ServiceId) || SERVICE != address.ServiceId)
                return 10;
#if ORDER < 6
        struct connection connection = {hyperv};
        if (connection.connect() != 3 || connection.socket != hyperv)
                return 11;
#endif
#else
        if (!IsEqualGUID(&SERVICE, &address.ServiceId))
                return 10;
#endif
        return WSACleanup();
}
