/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A socket's Hyper-V addresses, read from its kernel names.
 *
 * Owns no state: what a socket is called says what it is.
 */

#include "wire/name.h"
#include <hvsock.h>
#include <stdbool.h>

enum endpoint_kind {
        ENDPOINT_UNBOUND,
        ENDPOINT_LISTENER,  /* bound to a listener's name, listening or not */
        ENDPOINT_CONNECTOR, /* connected by the broker */
        ENDPOINT_ACCEPTED,
        ENDPOINT_NAMED,     /* named for a connect that was refused */
};

struct endpoint {
        enum endpoint_kind kind;
        struct listener_name listener;   /* LISTENER, ACCEPTED: own. CONNECTOR: the peer's */
        struct connector_name connector; /* CONNECTOR, NAMED: own. ACCEPTED: the peer's */
};

/* 0; -EBADF, -ENOTSOCK; -EINVAL for a socket that is none of ours. */
int endpoint_of(int fd, struct endpoint *ret_endpoint);
bool endpoint_is_connected(int fd);

/* Checks an address that a caller gave, and copies it out. -EINVAL, -EAFNOSUPPORT, -EFAULT. */
int address_check(const struct sockaddr *address, socklen_t length, SOCKADDR_HV *ret_address);
/* Gives an address to a caller, truncated as getsockname(2) does. */
void address_give(const GUID *vm_id, const GUID *service_id, struct sockaddr *ret_address, socklen_t *length);
