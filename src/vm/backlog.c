/* SPDX-License-Identifier: MIT */

/* What the application did not take yet: see backlog.h. */

#include "vm/backlog.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_CAPACITY 4096u

struct length {
        uint32_t bytes;
};

void backlog_clear(struct backlog *backlog) {
        free(backlog->bytes);
        *backlog = (struct backlog){};
}

/* Room for `size` bytes at the end. */
static int make_room(struct backlog *backlog, size_t size) {
        size_t used = backlog->end - backlog->begin, capacity = backlog->capacity ? backlog->capacity : FIRST_CAPACITY;
        if (backlog->bytes && backlog->end + size <= backlog->capacity)
                return 0;
        while (capacity < used + size || capacity / 2 < used) /* half of it free, so that bytes are moved seldom */
                capacity *= 2;
        uint8_t *bytes = malloc(capacity);
        if (!bytes)
                return -ENOMEM;
        if (used)
                memcpy(bytes, backlog->bytes + backlog->begin, used);
        free(backlog->bytes);
        backlog->bytes = bytes;
        backlog->capacity = capacity;
        backlog->begin = 0;
        backlog->end = used;
        return 0;
}

int backlog_add(struct backlog *backlog, const struct iovec *pieces, unsigned count, size_t size) {
        int r = make_room(backlog, size);
        if (r < 0)
                return r;
        backlog->end += pieces_read(pieces, count, 0, backlog->bytes + backlog->end, size);
        return 0;
}

int backlog_add_message(struct backlog *backlog, const struct iovec *pieces, unsigned count, size_t size, bool is_last) {
        struct length length = {};
        if (is_last && backlog->messages == BACKLOG_MESSAGES_MAX)
                return -ENOBUFS;
        int r = make_room(backlog, sizeof length + size);
        if (r < 0)
                return r;
        if (!backlog->unfinished) {
                backlog->unfinished = sizeof length;
                backlog->end += sizeof length;
        }
        size_t came = pieces_read(pieces, count, 0, backlog->bytes + backlog->end, size);
        backlog->end += came;
        backlog->unfinished += came;
        if (!is_last)
                return 0;
        length.bytes = (uint32_t)(backlog->unfinished - sizeof length);
        memcpy(backlog->bytes + backlog->end - backlog->unfinished, &length, sizeof length);
        backlog->unfinished = 0;
        backlog->messages++;
        return 0;
}

bool backlog_next(const struct backlog *backlog, bool is_messages, struct iovec *ret) {
        struct length length;
        uint8_t *begin = backlog->bytes + backlog->begin;
        if (!backlog_has_next(backlog, is_messages))
                return false;
        *ret = (struct iovec){begin, backlog->end - backlog->begin};
        if (is_messages) {
                memcpy(&length, begin, sizeof length);
                *ret = (struct iovec){begin + sizeof length, length.bytes};
        }
        return true;
}

void backlog_remove(struct backlog *backlog, bool is_messages, size_t size) {
        backlog->begin += size;
        if (is_messages) {
                backlog->begin += sizeof(struct length);
                backlog->messages--;
        }
        if (backlog_is_empty(backlog))
                backlog_clear(backlog);
}
