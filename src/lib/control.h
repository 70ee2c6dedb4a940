/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Asking the broker.
 *
 * Owns the pool of control connections of this process. A connection carries
 * one request at a time, so threads never wait for each other; idle ones are
 * kept, up to CONTROL_IDLE_MAX. One that was made by another process (fork) or
 * under another effective user is never used again, and one whose descriptor
 * number now names another file is neither used nor closed.
 */

#include "wire/message.h"
#include <hvsock.h>
#include <stdbool.h>
#include <stdint.h>

#define CONTROL_IDLE_MAX 8

int64_t control_now_ms(void);

/*
 * Sends `request` (header filled here) with descriptor `fd` (-1: none) and
 * waits for the answer until `deadline_ms` of control_now_ms()'s clock. A broker
 * that is restarting is waited for, unless `patient` is false. When a broker
 * goes away in the middle, `settled(fd)` (may be NULL) says whether it had done
 * what was asked; the reply is then empty.
 *
 * 0: *ret is the reply, whose own `error` the caller looks at. -ENETDOWN: there
 * is no broker. -ETIMEDOUT. -EAGAIN: not there now, and not patient. -EBADF:
 * `fd` is none. -EACCES: the broker is nobody to trust. -EPROTO: it speaks
 * another protocol. -ENOMEM, -EMFILE, -ENFILE.
 */
int control_call(struct wire_request *request, int fd, int64_t deadline_ms, bool patient, bool (*settled)(int fd),
                 struct wire_reply *ret);

/* A message without an answer, on an idle connection; lost when there is none. */
void control_tell(struct wire_request *request);

/* Who this process is, as the broker says. control_call()'s errors. */
int control_self(struct hv_partition *ret_self);
