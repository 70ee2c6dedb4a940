/* SPDX-License-Identifier: MIT */

/* Messages of the vhost-user protocol on a socket. */

#include "vm/vhost_user_socket.h"

#include "base/fd.h"
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

void vhost_user_reader_reset(struct vhost_user_reader *reader) {
        for (unsigned i = 0; i < reader->fd_count; i++)
                fd_close(reader->fds[i]);
        *reader = (struct vhost_user_reader){};
}

/* Those that came with some bytes. All are closed if there are too many. */
static int take_descriptors(struct vhost_user_reader *reader, struct msghdr *message) {
        int r = message->msg_flags & MSG_CTRUNC ? -EPROTO : 0;
        for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control; control = CMSG_NXTHDR(message, control)) {
                if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS)
                        continue;
                size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
                for (size_t i = 0; i < count; i++) {
                        int fd;
                        memcpy(&fd, CMSG_DATA(control) + i * sizeof fd, sizeof fd);
                        if (reader->fd_count < VHOST_USER_TABLE_MAX) {
                                reader->fds[reader->fd_count++] = fd;
                        } else {
                                fd_close(fd);
                                r = -EPROTO;
                        }
                }
        }
        return r;
}

/* Reads until `end` bytes of the message are there. 1: they are. */
static int read_until(struct vhost_user_reader *reader, int socket, size_t end) {
        while (reader->length < end) {
                _Alignas(struct cmsghdr) char control[CMSG_SPACE(VHOST_USER_TABLE_MAX * sizeof(int))];
                struct iovec piece = {reader->bytes + reader->length, end - reader->length};
                struct msghdr message = {
                        .msg_iov = &piece, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
                ssize_t length = recvmsg(socket, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
                if (length < 0)
                        return errno == EAGAIN || errno == EINTR ? 0 : -ECONNRESET;
                int r = take_descriptors(reader, &message);
                if (r < 0 || !length)
                        return r < 0 ? r : -ECONNRESET;
                reader->length += (size_t)length;
        }
        return 1;
}

int vhost_user_receive(struct vhost_user_reader *reader, int socket, struct vhost_user_message *ret,
                       int ret_fds[VHOST_USER_TABLE_MAX], unsigned *ret_fd_count) {
        uint32_t header[3];
        int r = read_until(reader, socket, VHOST_USER_HEADER_SIZE);
        if (r == 1) {
                memcpy(header, reader->bytes, sizeof header);
                r = header[2] > VHOST_USER_PAYLOAD_MAX ? -EPROTO
                                                       : read_until(reader, socket, VHOST_USER_HEADER_SIZE + header[2]);
        }
        if (r < 0)
                vhost_user_reader_reset(reader);
        if (r != 1)
                return r;
        *ret = (struct vhost_user_message){.request = header[0], .flags = header[1], .size = header[2]};
        memcpy(ret->payload, reader->bytes + VHOST_USER_HEADER_SIZE, header[2]);
        memcpy(ret_fds, reader->fds, reader->fd_count * sizeof reader->fds[0]);
        *ret_fd_count = reader->fd_count;
        reader->fd_count = 0;
        reader->length = 0;
        return 1;
}

int vhost_user_send(int socket, const struct vhost_user_message *reply) {
        uint32_t header[3] = {reply->request, reply->flags, reply->size};
        struct iovec pieces[2] = {{header, sizeof header}, {(void *)reply->payload, reply->size}};
        struct msghdr message = {.msg_iov = pieces, .msg_iovlen = 2};
        ssize_t length = sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        return length < 0 ? -errno : (size_t)length < sizeof header + reply->size ? -EAGAIN : 0;
}
