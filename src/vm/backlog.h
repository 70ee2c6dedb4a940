/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a guest sent, and the application did not take yet: a copy that exists only
 * while there is something in it.
 *
 * Pure. Bytes are bounded by the credit that the guest was given. Messages lie there
 * with their lengths before them; empty ones cost no credit, so they are counted.
 * A message that has not wholly come is not given out.
 */

#include "vm/virtqueue.h"

#define BACKLOG_MESSAGES_MAX 8192u

struct backlog {
        uint8_t *bytes;
        size_t capacity, begin, end;
        unsigned messages;  /* whole ones */
        size_t unfinished;  /* bytes at the end, with the length before them, of a message that goes on; 0: none */
};

static inline bool backlog_is_empty(const struct backlog *backlog) {
        return backlog->begin == backlog->end;
}
void backlog_clear(struct backlog *backlog);

/* Bytes of a stream. -ENOMEM. */
int backlog_add(struct backlog *backlog, const struct iovec *pieces, unsigned count, size_t size);
/* A message, or a part of one. -ENOMEM; -ENOBUFS: BACKLOG_MESSAGES_MAX. */
int backlog_add_message(struct backlog *backlog, const struct iovec *pieces, unsigned count, size_t size, bool is_last);

static inline bool backlog_has_next(const struct backlog *backlog, bool is_messages) {
        return is_messages ? backlog->messages : !backlog_is_empty(backlog);
}
/* What comes first: all bytes of a stream, or a whole message. False: nothing. */
bool backlog_next(const struct backlog *backlog, bool is_messages, struct iovec *ret);
/* So many bytes of that went on; of a message all. */
void backlog_remove(struct backlog *backlog, bool is_messages, size_t size);
