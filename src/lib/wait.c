/* SPDX-License-Identifier: MIT */

/* hv_poll() and hv_select(): the kernel's, after a look at what was revoked. */

#include "lib/revocation.h"
#include <hvsock.h>

int hv_poll(struct pollfd *descriptors, nfds_t count, int timeout_ms) {
        revocation_check();
        return poll(descriptors, count, timeout_ms);
}

int hv_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional, struct timeval *timeout) {
        revocation_check();
        return select(count, readable, writable, exceptional, timeout);
}
