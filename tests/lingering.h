/* SPDX-License-Identifier: MIT */
#pragma once

/* Descriptors whose close waits, and how they are passed on: what strangers may send, and a broker must not close. */

#include "base/fd.h"
#include "test.h"
#include <arpa/inet.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

#define LINGER_SECONDS 3600

/* A connected socket with unsent bytes, whose last close waits. *ret_deaf is its peer, which never reads. */
static inline int lingering_socket(int *ret_deaf) {
        static const char bytes[65536];
        const struct linger linger = {.l_onoff = 1, .l_linger = LINGER_SECONDS};
        const int small = 4096;
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        socklen_t length = sizeof address;
        cleanup(fd_closep) int listening = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(setsockopt(listening, SOL_SOCKET, SO_RCVBUF, &small, sizeof small));
        must(bind(listening, (struct sockaddr *)&address, length));
        must(listen(listening, 1));
        must(getsockname(listening, (struct sockaddr *)&address, &length));
        int fd = (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small));
        must(connect(fd, (struct sockaddr *)&address, length));
        *ret_deaf = (int)must(accept4(listening, NULL, NULL, SOCK_CLOEXEC));
        while (send(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
                ;
        must(setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        return fd;
}

/*
 * Sends `count` (at most 3) of them with these bytes. The copies here are closed, and must not be the last: who
 * receives them does not yet, or they stay queued.
 */
static inline void send_lingering(int socket, const void *bytes, size_t length, unsigned count, int *ret_deaf) {
        int fds[3];
        char control[CMSG_SPACE(sizeof fds)] = "";
        struct iovec piece = {(void *)bytes, length};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1, .msg_control = control,
                                 .msg_controllen = CMSG_SPACE(count * sizeof(int))};
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        *header = (struct cmsghdr){
                .cmsg_len = CMSG_LEN(count * sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        for (unsigned i = 0; i < count; i++)
                fds[i] = lingering_socket(&ret_deaf[i]);
        memcpy(CMSG_DATA(header), fds, count * sizeof(int));
        must(sendmsg(socket, &message, MSG_NOSIGNAL));
        for (unsigned i = 0; i < count; i++)
                fd_close(fds[i]);
}
