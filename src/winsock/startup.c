/* SPDX-License-Identifier: MIT */

/* WSAStartup() and WSACleanup(), which count. */

#include "winsock/winsock.h"

#include <stdatomic.h>

static atomic_uint startups;

bool winsock_is_started(void) {
        return atomic_load_explicit(&startups, memory_order_relaxed);
}

int WSAStartup(WORD version, LPWSADATA ret_data) {
        if (!LOBYTE(version))
                return WSAVERNOTSUPPORTED;
        if (!ret_data)
                return WSAEFAULT;
        bool is_later = LOBYTE(version) > 2 || (LOBYTE(version) == 2 && HIBYTE(version) > 2);
        *ret_data = (WSADATA){
                .wVersion = is_later ? WINSOCK_VERSION : version,
                .wHighVersion = WINSOCK_VERSION,
                .szDescription = "hvsock " HVSOCK_VERSION,
                .szSystemStatus = "Running",
        };
        atomic_fetch_add(&startups, 1);
        return 0;
}

int WSACleanup(void) {
        unsigned count = atomic_load(&startups);
        while (count)
                if (atomic_compare_exchange_weak(&startups, &count, count - 1))
                        return 0;
        return fail_with(WSANOTINITIALISED);
}
