/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the library remembers of a socket that the kernel cannot keep for it.
 *
 * Kept by socket cookie: duplicates share it, and a number that was closed and
 * used again does not inherit it. A child has a copy; a program after exec has
 * none. Most sockets have no state, and looking for it is then no system call
 * while no socket has any. State goes some time after its last descriptor does.
 */

#include <hvsocket.h>
#include <stdbool.h>
#include <stdint.h>

enum {
        STATE_PASSTHRU = 0x01,        /* HVSOCKET_CONTAINER_PASSTHRU */
        STATE_CONNECTED_SUSPEND = 0x02,
        STATE_WRITES_SHUT = 0x04,     /* by hv_shutdown() here, not by the peer */
        STATE_RESET = 0x08,           /* data calls say ECONNRESET once the kernel has nothing left; a listener is ended */
        STATE_BOUND = 0x10,           /* to vm_id and service_id, here alone: hv_bind() with a ServiceId of zero */
        STATE_CARRIER_ASKED = 0x20,   /* HVSOCKET_CARRIER, in `carrier` */
        STATE_READINESS_LIBRARY = 0x40, /* HVSOCKET_READINESS */
        STATE_VSOCK_OPTIONS = 0x100,  /* of libhvsock-preload, in `vsock` */
        STATE_CONNECTING = 0x80,      /* hv_connect() said EINPROGRESS, and the next one tells how it went */
};

/* SO_VM_SOCKETS_*, of sockets that are AF_VSOCK's to their program. */
struct vsock_options {
        uint64_t buffer_size, buffer_min, buffer_max;
        int64_t timeout_seconds, timeout_microseconds;
};

struct socket_state {
        uint32_t flags;
        uint32_t connect_timeout_ms; /* 0: the default */
        uint32_t carrier;
        GUID vm_id, service_id;      /* with STATE_BOUND */
        struct vsock_options vsock;  /* with STATE_VSOCK_OPTIONS */
};

/* A copy; zeros when there is none, also for a bad descriptor. */
void state_read(int fd, struct socket_state *ret);
/* Changes it in place between the two. 0, -EBADF, -ENOTSOCK or -ENOMEM; no end is needed after a failure. */
int state_begin(int fd, struct socket_state **ret);
void state_end(void);

int state_set(int fd, uint32_t flags);
/* Whether some of them were set. They no longer are. */
bool state_take(int fd, uint32_t flags);

/* Some socket was told to abort when it is closed: hv_close() asks the kernel, which keeps SO_LINGER, only then. */
extern _Atomic bool state_some_linger;
/* Some socket had STATE_RESET. */
extern _Atomic bool state_some_reset;
