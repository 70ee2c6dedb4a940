/* SPDX-License-Identifier: MIT */
#pragma once

/* Between vsock.c, which keeps the connections, and vsock_send.c, which decides what the guest is sent next. */

#include "vm/vsock.h"

static inline uint32_t vsock_bit(enum vsock_operation operation) {
        return 1u << operation;
}

/* The connection will send this when its turn comes. */
void vsock_owe(struct vsock *vsock, struct vsock_connection *connection, enum vsock_operation operation);
/* The guest told what it has passed on: packets that this covers count no more. */
void vsock_take_count(struct vsock *vsock, struct vsock_connection *connection);
/* The guest was asked for that, and it is time to ask again. */
void vsock_ask_again(struct vsock *vsock, struct vsock_connection *connection);
/* Has a deadline from here on, instead of another it may have had. */
void vsock_wait_until(struct vsock *vsock, struct vsock_connection *connection, int64_t deadline_ms);
void vsock_wait_no_more(struct vsock *vsock, struct vsock_connection *connection);
/* Frees one that ended, if nobody owns it and it owes nothing. */
void vsock_free_if_done(struct vsock *vsock, struct vsock_connection *connection);
