/* SPDX-License-Identifier: MIT */

/* Waiting: the kernel's own, after a look at what must end. */

#include "lib/revocation.h"
#include <hvsock.h>

int hv_poll(struct pollfd *descriptors, nfds_t count, int timeout_ms) {
        revocation_look();
        return poll(descriptors, count, timeout_ms);
}

int hv_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional, struct timeval *timeout) {
        revocation_look();
        return select(count, readable, writable, exceptional, timeout);
}
