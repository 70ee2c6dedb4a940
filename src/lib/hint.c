/* SPDX-License-Identifier: MIT */

/* Each number's hint is held by one thread at a time: a fork meanwhile loses what the number has, and locks nothing. */

#include "lib/hint.h"

#include <stdatomic.h>

#define HINT_HELD (-1)

static struct {
        atomic_int hint;
        GUID ephemeral_id;
} hints[HINTS];

static bool hold(int fd, int *ret_hint) {
        if (fd < 0 || fd >= HINTS)
                return false;
        *ret_hint = atomic_exchange_explicit(&hints[fd].hint, HINT_HELD, memory_order_acquire);
        return *ret_hint != HINT_HELD;
}

static void release(int fd, int hint) {
        atomic_store_explicit(&hints[fd].hint, hint, memory_order_release);
}

void hint_set(int fd, enum hint hint, const GUID *ephemeral_id) {
        int old;
        if (!hold(fd, &old))
                return;
        if (ephemeral_id)
                hints[fd].ephemeral_id = *ephemeral_id;
        release(fd, hint);
}

bool hint_is_new_stream(int fd) {
        return fd >= 0 && fd < HINTS && atomic_load_explicit(&hints[fd].hint, memory_order_relaxed) == HINT_NEW_STREAM;
}

enum hint hint_take(int fd, GUID *ret_ephemeral_id) {
        int hint;
        if (!hold(fd, &hint))
                return HINT_NONE;
        *ret_ephemeral_id = hints[fd].ephemeral_id;
        release(fd, HINT_NONE);
        return (enum hint)hint;
}
