/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The kernel's list of Unix sockets (NETLINK_SOCK_DIAG) in the broker's network
 * namespace: what they are bound to, and which is connected with which.
 *
 * A name is whatever a stranger bound; which file it was when it was bound, and
 * who is connected with whom, is the kernel's word.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#define SOCKET_CONNECTED (1u << 1) /* the kernel's TCP_ESTABLISHED, TCP_LISTEN */
#define SOCKET_LISTENING (1u << 10)
#define SOCKETS_SEEN_MAX (1u << 20) /* in one list; those after that are not told */

struct socket_seen {
        uint32_t inode;
        uint32_t peer;  /* its inode; 0: none, or one that was not accepted yet */
        int type;
        struct sockaddr_un name; /* of an accepted socket: its listener's */
        socklen_t name_length;   /* 0: no name */
        bool is_shut_down;       /* both ways, by either end */
        uint32_t file, device;   /* inode and device of the file it is bound to, as the kernel numbers them; 0: none */
        const void *waiting;     /* of a listening socket: the inodes, 4 bytes each, of those who wait to be accepted */
        unsigned waiting_count;
};

typedef void (*socket_visit)(const struct socket_seen *seen, void *userdata);

/* -errno where the kernel or a container's rules do not let this process ask. */
int socket_dump_open(int *ret_fd);
/* Visits the sockets in these states. 0 or -errno; then some were visited, or none. Waits for nobody. */
int socket_dump(int fd, uint32_t states, socket_visit visit, void *userdata);
/* Visits the socket with this inode. */
int socket_dump_one(int fd, uint32_t inode, socket_visit visit, void *userdata);
