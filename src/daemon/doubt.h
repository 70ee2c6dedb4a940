/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Channels that are doubtful: closed, by what their library said or because
 * their process has long had no control connection, and yet their names are held.
 *
 * Mostly another process has inherited the socket. But an acceptor that shares
 * the connector's network namespace may also take the name once it is free, to
 * keep the closed channel in the books and in the connector's quotas. So of a
 * user's doubtful channels DOUBTFUL_MAX stay in the books; those that were
 * longest leave.
 */

#include "daemon/probe.h"

#define DOUBTFUL_MAX 1024u /* of a user of a partition */

struct doubts {
        struct table users;
};

int doubts_open(struct doubts *doubts, const uint8_t key[16]);
void doubts_close(struct doubts *doubts);

/* The channel, perhaps this one, that must leave the books for it, or NULL. */
struct channel_shell *doubt(struct doubts *doubts, struct channel_shell *shell);
/* It leaves the books. */
void doubt_end(struct doubts *doubts, struct channel_shell *shell);
