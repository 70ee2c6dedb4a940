/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Addresses: checking those that callers give, filling those that they get, and
 * reading what the kernel's names of a socket say of both ends.
 */

#include "wire/name.h"
#include <stdbool.h>
#include <sys/socket.h>

/* Copies a caller's address. -EINVAL: too short, or Reserved is not 0. -EAFNOSUPPORT. */
int address_take(const struct sockaddr *address, socklen_t length, SOCKADDR_HV *ret);
/* As accept(2) gives addresses: cut to *length, which is then the whole address's. NULL: not wanted. -EINVAL: bad length. */
int address_give(const GUID *vm_id, const GUID *service_id, struct sockaddr *ret_address, socklen_t *length);

enum role {
        ROLE_NEW,       /* not bound by the broker, or named for a connect that failed */
        ROLE_BOUND,     /* bound, perhaps listening: `listener` is valid */
        ROLE_CONNECTOR, /* both are valid */
        ROLE_ACCEPTED,  /* both are valid */
};

struct endpoint {
        enum role role;
        struct connector_name connector;
        struct listener_name listener; /* where the channel was accepted */
};

/* -EBADF, -ENOTSOCK, or -EINVAL for a socket that is none of ours. */
int endpoint_read(int fd, struct endpoint *ret);

int socket_is_connected(int fd); /* 1 or 0, also when its peer is gone */
/* SOL_SOCKET options whose value is an int. 0 or -errno. */
int socket_option(int fd, int option, int *ret_value);
/* SO_COOKIE: which socket this is, whatever its descriptors. 0 or -errno. */
int socket_cookie(int fd, uint64_t *ret);
