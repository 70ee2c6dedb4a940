/* SPDX-License-Identifier: MIT */

/* The beginning and the end of an end. */

#include "vm/end.h"

#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>

int end_begin(struct end *ret, int fd) {
        int type, size, status = fcntl(fd, F_GETFL);
        socklen_t length = sizeof type;
        if (status < 0 || fcntl(fd, F_SETFL, status | O_NONBLOCK) < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, &length) < 0)
                return -errno;
        const int on = 1;
        if (type == SOCK_STREAM) /* so that the application's abort is seen */
                (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
        *ret = (struct end){.fd = fd, .type = type, .out.buffer_size = (uint32_t)size};
        return 0;
}

static void release(struct end *end) {
        ring_unmap(&end->in.ring.memory);
        ring_unmap(&end->out.ring.memory);
        free(end->in.message);
        end->fd = fd_close(end->fd);
        *end = (struct end){.fd = -1};
}

void end_close(struct end *end) {
        (void)end_flush(end);
        if (end->in.way == END_RING)
                end_hear(end); /* a token left over would look to the application like data that was not read */
        (void)shutdown(end->fd, SHUT_RDWR); /* the holder's duplicate of it is open a moment longer */
        release(end);
}

void end_abort(struct end *end) {
        (void)end_flush(end);
        mark_send(end->fd, end->type, end->out.way == END_RING);
        (void)shutdown(end->fd, SHUT_RDWR);
        release(end);
}

void end_shut_sending(struct end *end) {
        (void)end_flush(end);
        end->out.is_shut = true;
        (void)shutdown(end->fd, SHUT_WR);
}

void end_shut_receiving(struct end *end) {
        (void)shutdown(end->fd, SHUT_RD);
        if (end->in.way == END_RING) /* its next send asks the kernel, and is told */
                atomic_store(&end->in.ring.memory.header->words.data_wish, wish(0, WISH_ARMED));
}
