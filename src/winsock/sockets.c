/* SPDX-License-Identifier: MIT */

/* A socket's life: made, bound, listening, accepted, connected, shut down, closed; and its names. */

#include "winsock/winsock.h"

#include <unistd.h>

SOCKET hvsock_winsock_socket(int family, int type, int protocol) {
        if (!winsock_is_started())
                return (SOCKET)fail_with(WSANOTINITIALISED);
        int fd = family == AF_HYPERV ? hv_socket(family, type | SOCK_CLOEXEC, protocol)
                                     : socket(family, type | SOCK_CLOEXEC, protocol);
        SOCKET kind = family != AF_HYPERV ? 0 : type == SOCK_SEQPACKET ? IS_HYPERV | IS_SEQPACKET : IS_HYPERV;
        return fd < 0 ? (SOCKET)fail() : (SOCKET)fd | kind;
}

static SOCKET socket_with(int family, int type, int protocol, const void *information, DWORD flags) {
        if (information)
                return (SOCKET)fail_with(WSAEOPNOTSUPP);
        if (flags & ~(DWORD)(WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT))
                return (SOCKET)fail_with(WSAEINVAL);
        return hvsock_winsock_socket(family, type, protocol);
}

SOCKET WSASocketA(int family, int type, int protocol, LPWSAPROTOCOL_INFOA information, GROUP group, DWORD flags) {
        return socket_with(family, type, protocol, information, flags);
}

SOCKET WSASocketW(int family, int type, int protocol, LPWSAPROTOCOL_INFOW information, GROUP group, DWORD flags) {
        return socket_with(family, type, protocol, information, flags);
}

int hvsock_winsock_bind(SOCKET s, const struct sockaddr *name, int length) {
        return result(CALL(s, bind, name, (socklen_t)length));
}

int hvsock_winsock_listen(SOCKET s, int backlog) {
        return result(CALL(s, listen, backlog));
}

/* An address of ours is given whole, or not at all. */
static bool is_cut(SOCKET s, const struct sockaddr *ret_address, const int *length) {
        return is_hyperv(s) && ret_address && (!length || *length < (int)sizeof(SOCKADDR_HV));
}

SOCKET hvsock_winsock_accept(SOCKET s, struct sockaddr *ret_address, int *length) {
        if (is_cut(s, ret_address, length))
                return (SOCKET)fail_with(WSAEFAULT);
        int fd, flags = SOCK_CLOEXEC | (is_nonblocking(s) ? SOCK_NONBLOCK : 0);
        do
                fd = CALL(s, accept4, ret_address, (socklen_t *)length, flags);
        while (fd < 0 && errno == EAGAIN && !(flags & SOCK_NONBLOCK)); /* SO_RCVTIMEO is for data */
        return fd < 0 ? (SOCKET)fail() : (SOCKET)fd | (is_hyperv(s) ? s & (IS_HYPERV | IS_SEQPACKET) : 0);
}

SOCKET WSAAccept(SOCKET s, struct sockaddr *ret_address, int *length, LPCONDITIONPROC condition, DWORD_PTR data) {
        return condition ? (SOCKET)fail_with(WSAEOPNOTSUPP) : hvsock_winsock_accept(s, ret_address, length);
}

int hvsock_winsock_connect(SOCKET s, const struct sockaddr *name, int length) {
        return CALL(s, connect, name, (socklen_t)length) < 0 ? fail_waiting(s) : 0;
}

int WSAConnect(SOCKET s, const struct sockaddr *name, int length, LPWSABUF caller_data, LPWSABUF callee_data, LPQOS quality,
               LPQOS group_quality) {
        bool asks_more = caller_data || callee_data || quality || group_quality;
        return asks_more ? fail_with(WSAEOPNOTSUPP) : hvsock_winsock_connect(s, name, length);
}

int hvsock_winsock_shutdown(SOCKET s, int how) {
        return result(CALL(s, shutdown, how));
}

int closesocket(SOCKET s) {
        int listens = 0;
        socklen_t size = sizeof listens;
        if (getsockopt(descriptor_of(s), NATIVE_SOL_SOCKET, SO_ACCEPTCONN, &listens, &size) < 0)
                return fail();
        if (listens)
                (void)CALL(s, shutdown, SHUT_RDWR); /* a close alone wakes nobody */
        return result(CALL(s, close));
}

int hvsock_winsock_getsockname(SOCKET s, struct sockaddr *ret_address, int *length) {
        if (is_cut(s, ret_address, length))
                return fail_with(WSAEFAULT);
        return result(CALL(s, getsockname, ret_address, (socklen_t *)length));
}

int hvsock_winsock_getpeername(SOCKET s, struct sockaddr *ret_address, int *length) {
        if (is_cut(s, ret_address, length))
                return fail_with(WSAEFAULT);
        return result(CALL(s, getpeername, ret_address, (socklen_t *)length));
}
