/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a descriptor's number was last used for, so that hv_connect() need not ask
 * the kernel what it connects, nor hv_close() whether it closes a connector. Only
 * a hint: programs close, copy and reuse numbers behind the library's back, so it
 * may speak of another socket, and must only be used where that is harmless.
 */

#include <hvsocket.h>
#include <stdbool.h>

#define HINTS 1024 /* numbers from this on have none */

enum hint {
        HINT_NONE,
        HINT_NEW_STREAM, /* of hv_socket() */
        HINT_NO_CONNECTOR,
        HINT_CONNECTOR, /* of a channel with this ephemeral ServiceId */
};

/* `ephemeral_id` is for HINT_CONNECTOR alone. */
void hint_set(int fd, enum hint hint, const GUID *ephemeral_id);
bool hint_is_new_stream(int fd);
/* Forgets what it returns. */
enum hint hint_take(int fd, GUID *ret_ephemeral_id);
