/* SPDX-License-Identifier: MIT */

/* Receiving from strangers. */

#include "daemon/receive.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* Credentials come first; the room after them is for one descriptor, without the padding that could take a second. */
#define CONTROL_SIZE (CMSG_SPACE(sizeof(struct ucred)) + CMSG_LEN(sizeof(int)))

int stranger_receive(int socket, void *packet, size_t size, size_t *ret_length, int *ret_fd,
                     struct packet_credentials *ret_credentials) {
        struct iovec vector = {.iov_base = packet, .iov_len = size};
        union {
                struct cmsghdr header;
                char bytes[CONTROL_SIZE];
        } control;
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = CONTROL_SIZE};
        struct packet_credentials credentials = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
        *ret_fd = -1;
        ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
        if (length < 0)
                return -errno;
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
                if (header->cmsg_level != SOL_SOCKET)
                        continue;
                if (header->cmsg_type == SCM_RIGHTS && header->cmsg_len >= CMSG_LEN(sizeof(int)))
                        memcpy(ret_fd, CMSG_DATA(header), sizeof *ret_fd);
                else if (header->cmsg_type == SCM_CREDENTIALS && header->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
                        struct ucred told;
                        memcpy(&told, CMSG_DATA(header), sizeof told);
                        credentials = (struct packet_credentials){(uint32_t)told.pid, told.uid, told.gid};
                }
        }
        if (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC))
                return -EPROTO;
        *ret_length = (size_t)length;
        *ret_credentials = credentials;
        return 0;
}
