/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Cancelling threads. One that is cancelled while it asks the broker would leave
 * libhvsock's locks taken, and its descriptors open. Only in accept, while the
 * kernel waits for a peer and nothing is held, it is cancelled.
 */

#include "base/fd.h"
#include <pthread.h>

/* What this thread's last caller of accept had. */
extern _Thread_local int cancel_state_of_caller;

static inline void cancel_restore(int *state) {
        pthread_setcancelstate(*state, NULL);
}

/* Until the end of the block. */
#define NOT_CANCELLED                                             \
        cleanup(cancel_restore) int cancel_state_;                \
        pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state_)
#define CANCELLED_WHILE_WAITING \
        NOT_CANCELLED;          \
        cancel_state_of_caller = cancel_state_
