/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the kernel cannot keep for us about a socket.
 *
 * Owns a table by socket cookie, which stays the same through dup and fork and
 * is never used again; a descriptor number is not an identity. Most sockets
 * never get an entry: there is one only after an option of ours was set, a bind
 * was put off, or the socket was shut down or reset. With no entries at all, a
 * look-up costs one load.
 */

#include <hvsocket.h>
#include <stdbool.h>
#include <stdint.h>

struct socket_state {
        uint32_t connect_timeout_ms; /* 0: the default */
        bool container_passthru;
        bool connected_suspend;
        bool bind_put_off;  /* bound to ServiceId zero: vm_id and service_id are its name until it listens */
        bool shut_write;    /* by this end */
        bool reset;         /* every further transfer is ECONNRESET */
        GUID vm_id, service_id;
};

/* A copy; all zero when there is no entry. Never fails. */
struct socket_state state_get(int fd);

/* Replaces the entry. 0; -EBADF, -ENOTSOCK, -ENOMEM. */
int state_set(int fd, const struct socket_state *state);

void state_mark_reset(int fd);
void state_forget(int fd);
