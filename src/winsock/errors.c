/* SPDX-License-Identifier: MIT */

/* Errors: which WSA* code an errno is, and each thread's last one. */

#include "winsock/winsock.h"

#include <fcntl.h>

static _Thread_local int last_error;

int WSAGetLastError(void) {
        return last_error;
}

void WSASetLastError(int error) {
        last_error = error;
}

DWORD GetLastError(void) {
        return (DWORD)last_error;
}

VOID SetLastError(DWORD error) {
        last_error = (int)error;
}

int winsock_error(int error) {
        switch (error) {
        case 0: return 0;
        case EINTR: return WSAEINTR;
        case EACCES: case EPERM: return WSAEACCES;
        case EFAULT: return WSAEFAULT;
        case EINVAL: return WSAEINVAL;
        case EMFILE: case ENFILE: return WSAEMFILE;
        case EAGAIN: case EINPROGRESS: return WSAEWOULDBLOCK; /* what a connect says, too */
        case EALREADY: return WSAEALREADY;
        case EBADF: case ENOTSOCK: return WSAENOTSOCK;
        case EDESTADDRREQ: return WSAEDESTADDRREQ;
        case EMSGSIZE: return WSAEMSGSIZE;
        case EPROTOTYPE: return WSAEPROTOTYPE;
        case ENOPROTOOPT: return WSAENOPROTOOPT;
        case EPROTONOSUPPORT: return WSAEPROTONOSUPPORT;
        case ESOCKTNOSUPPORT: return WSAESOCKTNOSUPPORT;
        case EOPNOTSUPP: return WSAEOPNOTSUPP;
        case EPFNOSUPPORT: return WSAEPFNOSUPPORT;
        case EAFNOSUPPORT: return WSAEAFNOSUPPORT;
        case EADDRINUSE: return WSAEADDRINUSE;
        case EADDRNOTAVAIL: return WSAEADDRNOTAVAIL;
        case ENETDOWN: case EPROTO: return WSAENETDOWN; /* EPROTO: what answered is no broker */
        case ENETUNREACH: return WSAENETUNREACH;
        case ENETRESET: return WSAENETRESET;
        case ECONNABORTED: return WSAECONNABORTED;
        case ECONNRESET: return WSAECONNRESET;
        case ENOBUFS: case ENOMEM: return WSAENOBUFS;
        case EISCONN: return WSAEISCONN;
        case ENOTCONN: return WSAENOTCONN;
        case EPIPE: case ESHUTDOWN: return WSAESHUTDOWN;
        case ETOOMANYREFS: return WSAETOOMANYREFS;
        case ETIMEDOUT: return WSAETIMEDOUT;
        case ECONNREFUSED: return WSAECONNREFUSED;
        case ELOOP: return WSAELOOP;
        case ENAMETOOLONG: return WSAENAMETOOLONG;
        case EHOSTDOWN: return WSAEHOSTDOWN;
        case EHOSTUNREACH: return WSAEHOSTUNREACH;
        default: return WSASYSCALLFAILURE;
        }
}

int fail_with(int wsa_error) {
        last_error = winsock_is_started() ? wsa_error : WSANOTINITIALISED;
        return SOCKET_ERROR;
}

int fail(void) {
        return fail_with(winsock_error(errno));
}

bool is_nonblocking(SOCKET s) {
        int flags = fcntl(descriptor_of(s), F_GETFL);
        return flags >= 0 && flags & O_NONBLOCK;
}

int fail_waiting(SOCKET s) {
        bool has_waited = (errno == EAGAIN || errno == EINPROGRESS) && !is_nonblocking(s);
        return has_waited ? fail_with(WSAETIMEDOUT) : fail();
}
