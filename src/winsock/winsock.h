/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Inside libhvsock-winsock both worlds meet: libc's and libhvsock's calls and types
 * under their own names, Winsock's as hvsock_winsock_*, if libc has the name too.
 *
 * A SOCKET is a descriptor, and a bit if it is a Hyper-V socket, another if that has
 * messages: they say which library a call goes to, and what it makes of what that
 * gives, with nothing to look up, and no table that could be wrong.
 */

#include <hvsock.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>

enum { NATIVE_SOL_SOCKET = SOL_SOCKET };

#include <winsock2.h>

#include <hvsock_names_off.h>
#undef fd_set
#undef pollfd
#undef select
#undef socklen_t
#undef in_addr
#undef sockaddr_in

#define IS_HYPERV ((SOCKET)1 << 30) /* no descriptor is as large */
#define IS_SEQPACKET ((SOCKET)1 << 29) /* of those: a message that is cut is an error */

static inline bool is_hyperv(SOCKET s) {
        return s <= INT_MAX && s & IS_HYPERV;
}

bool winsock_is_started(void);

/* -1, which every call answers with EBADF, for what is no SOCKET, and all before WSAStartup(). */
static inline int descriptor_of(SOCKET s) {
        return s <= INT_MAX && winsock_is_started() ? (int)(is_hyperv(s) ? s & ~(IS_HYPERV | IS_SEQPACKET) : s) : -1;
}

/* NAME of libhvsock or of libc. */
#define CALL(s, name, ...) \
        (is_hyperv(s) ? hv_##name(descriptor_of(s), ##__VA_ARGS__) : name(descriptor_of(s), ##__VA_ARGS__))

/* The WSA* code of an errno; 0 of 0. */
int winsock_error(int error);
/* Makes it what WSAGetLastError() says. Returns SOCKET_ERROR. */
int fail_with(int wsa_error);
int fail(void); /* with errno's */
/* With errno's, where EAGAIN and EINPROGRESS on a blocking socket are a time that ran out. */
int fail_waiting(SOCKET s);
bool is_nonblocking(SOCKET s);

/* Of a call that gives -1 and errno. */
static inline int result(long r) {
        return r < 0 ? fail() : (int)r;
}
