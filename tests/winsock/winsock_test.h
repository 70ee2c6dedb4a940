/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What tests of Winsock's calls share: a world with this process in it, a channel
 * with both ends here, and checks in terms of WSAGetLastError().
 */

#include "e2e/pair.h"

#include <winsock2.h>

#include "test.h"

/* The call fails, and this thread's last error says so. */
#define check_wsa(call, expected)                                                                             \
        do {                                                                                                  \
                WSASetLastError(0);                                                                           \
                long long r_ = (long long)(call);                                                             \
                if (r_ != SOCKET_ERROR || WSAGetLastError() != (expected))                                    \
                        test_fail(__FILE__, __LINE__, "%s gave %lld, error %d; expected %s = %d", #call, r_,  \
                                  WSAGetLastError(), #expected, (expected));                                  \
        } while (0)
/* The call succeeds; its value. */
#define works(call)                                                                                           \
        ({                                                                                                    \
                __typeof__(call) r_ = (call);                                                                 \
                if ((long long)r_ == SOCKET_ERROR)                                                            \
                        test_fail(__FILE__, __LINE__, "%s: error %d", #call, WSAGetLastError());              \
                r_;                                                                                           \
        })

void start_winsock(void);

SOCKET new_winsock(int type);
int winsock_bind(SOCKET s, const GUID *vm_id, const GUID *service_id);
int winsock_connect(SOCKET s, const GUID *vm_id, const GUID *service_id);
/* Socket and connect, socket, bind and listen: nothing stays open where they fail. */
SOCKET winsock_dial(const GUID *vm_id, const GUID *service_id);
SOCKET winsock_serve(const GUID *vm_id, const GUID *service_id);

/* Over loopback in a world of the host alone. */
struct ends {
        struct world *world;
        SOCKET listener, connector, acceptor;
};
struct ends ends_open(int type);
void ends_close(struct ends *ends); /* each that is not INVALID_SOCKET */

/* The same of TCP, without a world. */
struct ends tcp_open(void);

void set_blocking(SOCKET s, bool blocks);
void send_words(SOCKET s, const char *text);
void check_words(SOCKET s, const char *text); /* are what comes next */
