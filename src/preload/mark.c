/* SPDX-License-Identifier: MIT */

/* The mark: 16 bits that are always the same, flags 8, errno 8, port 32. */

#include "preload/mark.h"

#include "lib/holders.h"
#include "preload/next.h"
#include <errno.h>

bool mark_read(int fd, struct mark *ret) {
        int error = errno, domain;
        uint64_t value;
        socklen_t size = sizeof value, domain_size = sizeof domain;
        bool is_marked = NEXT(getsockopt)(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &value, &size) == 0 && size == sizeof value &&
                         holders_is_foreign(value) &&
                         NEXT(getsockopt)(fd, SOL_SOCKET, SO_DOMAIN, &domain, &domain_size) == 0 && domain == AF_UNIX;
        if (is_marked)
                *ret = (struct mark){.flags = (uint8_t)(value >> 40), .error = (uint8_t)(value >> 32), .port = (uint32_t)value};
        errno = error;
        return is_marked;
}

int mark_write(int fd, const struct mark *mark) {
        uint64_t value = HOLDERS_FOREIGN | (uint64_t)mark->flags << 40 | (uint64_t)mark->error << 32 | mark->port;
        return NEXT(setsockopt)(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &value, sizeof value) < 0 ? -errno : 0;
}
