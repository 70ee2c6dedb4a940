/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a descriptor's number was last used for, so that hv_close() need not ask
 * the kernel whether it closes a connector. Only a hint: programs close, copy and
 * reuse numbers behind the library's back, so it may speak of another socket, and
 * must only be used where that is harmless.
 */

#include <hvsocket.h>

#define HINTS 1024 /* numbers from this on have none */

enum hint {
        HINT_NONE,
        HINT_NO_CONNECTOR,
        HINT_CONNECTOR, /* of a channel with this ephemeral ServiceId */
};

/* `ephemeral_id` is for HINT_CONNECTOR alone. */
void hint_set(int fd, enum hint hint, const GUID *ephemeral_id);
/* Forgets what it returns. */
enum hint hint_take(int fd, GUID *ret_ephemeral_id);
