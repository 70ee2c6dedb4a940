/* SPDX-License-Identifier: MIT */

/* Packets between hvsockd and its holder. */

#include "vm/holder_packet.h"

#include "base/fd.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(HOLDER_FDS_MAX >= HOLDER_BATCH_MAX, "a batch of ends has room");

#define HEADER_SIZE offsetof(struct holder_packet, numbers)

union control {
        struct cmsghdr header; /* for its alignment */
        char bytes[CMSG_SPACE(HOLDER_FDS_MAX * sizeof(int))];
};

int holder_send(int socket, const struct holder_packet *packet, const int *fds, unsigned fd_count, int flags) {
        struct iovec piece = {(void *)packet, HEADER_SIZE + packet->count * sizeof packet->numbers[0]};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
        union control control = {};
        if (fd_count) {
                control.header = (struct cmsghdr){.cmsg_len = CMSG_LEN(fd_count * sizeof(int)),
                                                  .cmsg_level = SOL_SOCKET,
                                                  .cmsg_type = SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.header), fds, fd_count * sizeof(int));
                message.msg_control = &control;
                message.msg_controllen = CMSG_SPACE(fd_count * sizeof(int));
        }
        return sendmsg(socket, &message, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* How many descriptors a packet of this kind may have. */
static bool is_possible(const struct holder_packet *packet, size_t length, unsigned fd_count) {
        if (length < HEADER_SIZE || packet->count > HOLDER_BATCH_MAX ||
            length != HEADER_SIZE + packet->count * sizeof packet->numbers[0])
                return false;
        switch (packet->kind) {
        case HOLDER_SET:
                return !packet->count && fd_count >= VM_HELD_FIXED && fd_count <= VM_HELD_MAX;
        case HOLDER_ENDS:
                return packet->count == fd_count;
        case HOLDER_DROP_ENDS:
                return !fd_count;
        case HOLDER_HELLO:
        case HOLDER_DROP_SET:
        case HOLDER_DONE:
                return !packet->count && !fd_count;
        }
        return false;
}

int holder_receive(int socket, struct holder_packet *ret, int ret_fds[HOLDER_FDS_MAX], unsigned *ret_fd_count) {
        union control control;
        struct iovec piece = {ret, sizeof *ret};
        struct msghdr message = {
                .msg_iov = &piece, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        unsigned count = 0;
        if (length < 0)
                return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ECONNRESET;
        if (!length)
                return -ECONNRESET;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
                if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t size = header->cmsg_len - CMSG_LEN(0); /* the kernel makes one of all */
                memcpy(ret_fds, CMSG_DATA(header), size);
                count = (unsigned)(size / sizeof(int));
        }
        if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC) || !is_possible(ret, (size_t)length, count)) {
                while (count)
                        fd_close(ret_fds[--count]);
                return -EPROTO;
        }
        *ret_fd_count = count;
        return 0;
}
