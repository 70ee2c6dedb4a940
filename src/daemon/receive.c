/* SPDX-License-Identifier: MIT */

/* Receiving from strangers. */

#include "daemon/receive.h"
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

/* At most `size` bytes. *ret_has_credentials: the kernel told who sent it. */
static int receive(int socket, size_t size, struct stranger_packet *packet, int *ret_flags, bool *ret_has_credentials) {
        struct iovec vector = {.iov_base = packet->bytes, .iov_len = size};
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(STRANGER_DESCRIPTORS_MAX * sizeof(int))];
        } control;
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        *ret_has_credentials = false;
        packet->fd_count = 0;
        ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (length < 0)
                return -errno;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
                if (header->cmsg_level != SOL_SOCKET)
                        continue;
                if (header->cmsg_type == SCM_RIGHTS) {
                        packet->fd_count = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));
                        memcpy(packet->fds, CMSG_DATA(header), packet->fd_count * sizeof(int));
                } else if (header->cmsg_type == SCM_CREDENTIALS && header->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
                        struct ucred told;
                        memcpy(&told, CMSG_DATA(header), sizeof told);
                        packet->credentials = (struct packet_credentials){(uint32_t)told.pid, told.uid, told.gid};
                        *ret_has_credentials = true;
                }
        }
        packet->length = (size_t)length;
        *ret_flags = message.msg_flags;
        return 0;
}

int stranger_receive(int socket, struct stranger_packet *packet) {
        bool has_credentials;
        int flags, r = receive(socket, sizeof packet->bytes, packet, &flags, &has_credentials);
        if (r < 0)
                return r;
        /* The kernel tells the sender of every packet, so this is none: one without bytes is not taken for the end. */
        if (!has_credentials)
                return -ESHUTDOWN;
        return flags & (MSG_TRUNC | MSG_CTRUNC) || packet->fd_count > 1 ? -EPROTO : 0;
}

int stranger_receive_bytes(int socket, size_t size, struct stranger_packet *packet) {
        bool has_credentials;
        int flags, r = receive(socket, size, packet, &flags, &has_credentials);
        return r < 0 ? r : packet->length == size ? 0 : -EPROTO;
}
