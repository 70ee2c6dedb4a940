/* SPDX-License-Identifier: MIT */

/*
 * Asking the kernel for its Unix sockets.
 *
 * Theory of operation. The kernel writes a part of its answer while it takes the
 * request, and the next whenever one was read: so a read that would wait means
 * that there is no more to come. How large a part may be it learns from the
 * reads before: a socket whose answer is longer than the first part ends the
 * list, so whoever asks for listening ones, with their queues, asks something
 * small first.
 */

#include "daemon/socket_dump.h"
#include "base/fd.h"
#include <errno.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/unix_diag.h>
#include <string.h>
#include <sys/socket.h>

#define PART_SIZE 32768u /* the kernel's are never larger */

struct question {
        struct nlmsghdr header;
        struct unix_diag_req request;
};

static void read_attribute(const struct rtattr *attribute, struct socket_seen *seen) {
        const void *bytes = RTA_DATA(attribute);
        size_t size = RTA_PAYLOAD(attribute);
        struct unix_diag_vfs file;
        uint8_t directions;
        switch (attribute->rta_type) {
        case UNIX_DIAG_NAME:
                if (size > sizeof seen->name.sun_path)
                        break;
                memcpy(seen->name.sun_path, bytes, size);
                seen->name_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + size);
                break;
        case UNIX_DIAG_VFS:
                if (size != sizeof file)
                        break;
                memcpy(&file, bytes, size);
                seen->file = file.udiag_vfs_ino;
                seen->device = file.udiag_vfs_dev;
                break;
        case UNIX_DIAG_PEER:
                if (size == sizeof seen->peer)
                        memcpy(&seen->peer, bytes, size);
                break;
        case UNIX_DIAG_SHUTDOWN:
                if (size == sizeof directions) {
                        memcpy(&directions, bytes, size);
                        seen->is_shut_down = directions == 3; /* the kernel's SHUTDOWN_MASK */
                }
                break;
        case UNIX_DIAG_ICONS:
                seen->waiting = bytes;
                seen->waiting_count = (unsigned)(size / sizeof(uint32_t));
                break;
        }
}

static void read_socket(const struct nlmsghdr *header, socket_visit visit, void *userdata) {
        const struct unix_diag_msg *message = NLMSG_DATA(header);
        if (header->nlmsg_len < NLMSG_LENGTH(sizeof *message) || message->udiag_family != AF_UNIX)
                return;
        struct socket_seen seen = {.inode = message->udiag_ino, .type = message->udiag_type, .name.sun_family = AF_UNIX};
        int left = (int)NLMSG_PAYLOAD(header, sizeof *message);
        for (const struct rtattr *at = (const struct rtattr *)(message + 1); RTA_OK(at, left); at = RTA_NEXT(at, left))
                read_attribute(at, &seen);
        visit(&seen, userdata);
}

/* 1: there is more to come. */
static int read_part(int fd, unsigned *seen_count, socket_visit visit, void *userdata) {
        _Alignas(struct nlmsghdr) char part[PART_SIZE];
        struct sockaddr_nl sender = {};
        socklen_t sender_size = sizeof sender;
        ssize_t length = recvfrom(fd, part, sizeof part, MSG_DONTWAIT, (struct sockaddr *)&sender, &sender_size);
        if (length < 0)
                return errno == EINTR ? 1 : -errno;
        if (sender.nl_pid != 0)
                return 1;
        bool more = true;
        int left = (int)length;
        for (const struct nlmsghdr *at = (const struct nlmsghdr *)part; NLMSG_OK(at, left); at = NLMSG_NEXT(at, left)) {
                if (at->nlmsg_type == NLMSG_ERROR || at->nlmsg_type == NLMSG_DONE) {
                        int error = 0; /* what both begin with */
                        if (at->nlmsg_len >= NLMSG_LENGTH(sizeof error))
                                memcpy(&error, NLMSG_DATA(at), sizeof error);
                        return error < 0 ? error : 0;
                }
                if (++*seen_count > SOCKETS_SEEN_MAX)
                        return -E2BIG;
                if (at->nlmsg_type == SOCK_DIAG_BY_FAMILY)
                        read_socket(at, visit, userdata);
                more = at->nlmsg_flags & NLM_F_MULTI;
        }
        return more;
}

static int ask(int fd, struct question question, uint16_t flags, socket_visit visit, void *userdata) {
        unsigned seen_count = 0;
        question.header = (struct nlmsghdr){.nlmsg_len = sizeof question,
                                            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                                            .nlmsg_flags = (uint16_t)(NLM_F_REQUEST | flags)};
        question.request.sdiag_family = AF_UNIX;
        question.request.udiag_show = UDIAG_SHOW_NAME | UDIAG_SHOW_VFS | UDIAG_SHOW_PEER | UDIAG_SHOW_ICONS;
        memset(question.request.udiag_cookie, 0xff, sizeof question.request.udiag_cookie); /* any */
        if (send(fd, &question, sizeof question, MSG_DONTWAIT) < 0)
                return -errno;
        int r;
        do
                r = read_part(fd, &seen_count, visit, userdata);
        while (r > 0);
        return r;
}

int socket_dump(int fd, uint32_t states, socket_visit visit, void *userdata) {
        return ask(fd, (struct question){.request.udiag_states = states}, NLM_F_DUMP, visit, userdata);
}

int socket_dump_one(int fd, uint32_t inode, socket_visit visit, void *userdata) {
        return ask(fd, (struct question){.request.udiag_ino = inode}, 0, visit, userdata);
}

int socket_dump_open(int *ret_fd) {
        int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        return 0;
}
