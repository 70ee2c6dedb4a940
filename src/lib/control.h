/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Asking the broker: idle connections, retries, time-outs.
 *
 * Theory of operation. A process keeps a few idle connections, each with one
 * request in flight at most, so threads do not wait for each other. Slots are
 * taken and filled by single atomic exchanges: no lock that a fork could leave
 * taken, and a child that finds its parent's connections closes its copies and
 * opens its own. A broker that goes away in the middle of a request is waited
 * for, and asked again, until the time is over.
 */

#include "wire/message.h"

#define CONTROL_IDLE_MAX 16u     /* connections kept; more threads than these open and close theirs */
#define CONTROL_RETRY_MIN_MS 1u  /* then twice as long each time, up to */
#define CONTROL_RETRY_MAX_MS 20u
#define CONTROL_TELL_WAIT_MS 100u /* a data call is held up no longer, where a connection has to be opened first */

/*
 * 0 or -errno; *ret_reply is the broker's answer, zeros when there was none. A
 * refusal is returned too. Without an answer: -ENETDOWN when there never was a
 * broker to be trusted, -ETIMEDOUT, -EPROTO, -EACCES when its socket may not be
 * reached, -EMFILE, -ENOMEM and their like; and 0 for a connect that was done by
 * a broker that then went away: what is lent with WIRE_CONNECT comes unconnected.
 * `timeout_ms` 0 is the default.
 */
int control_ask(struct wire_request *request, int lent_fd, uint32_t timeout_ms, struct wire_reply *ret_reply);
/*
 * Tells what has no answer, with the descriptor `lent_fd` or -1. Without a
 * descriptor only if there is an idle connection: what it tells comes again.
 */
void control_tell(struct wire_request *request, int lent_fd);
