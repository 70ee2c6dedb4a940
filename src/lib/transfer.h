/* SPDX-License-Identifier: MIT */
#pragma once

/* The inside of hv_recv() and hv_send(), for their relatives. */

#include <stddef.h>
#include <sys/types.h>

/*
 * How much the next receive could give, of a message all of its length, with as
 * many of its bytes as there is room for; no more than comes before an offer or a
 * mark. Does not wait. -errno as hv_recv().
 */
ssize_t transfer_peek(int fd, void *buffer, size_t size);
/* A send failed: sets errno to what the caller is told. Returns -1. */
int transfer_failed(int fd, int error);
