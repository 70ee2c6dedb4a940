/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Ending what a disabled service has open.
 *
 * Theory of operation. A listener's file is renamed, so that no connect finds
 * it, and one connection is made to it whose name says CONNECTOR_ENDED: the
 * acceptor wakes and learns. While the backlog is full that is tried again,
 * until the connection is made or the listener is dead; the file name says what
 * is left to do, so that a new broker goes on. Channels end at their libraries'
 * next call: the counter in the revocation pages changes, and the libraries ask.
 */

#include "daemon/world.h"

#define REVOKE_RETRY_MS 100

struct revoked {
        unsigned listeners_ended, channels_remaining; /* the latter: until the library's next call, or for good */
};

int revoke_open(struct world *world);
void revoke_close(struct world *world);

/* Channels that were shut down and not closed yet are marked as ended. Elsewhere than in the broker's network namespace
 * they cannot be seen. */
void revoke_find_ended(struct world *world);
struct revoked revoke_service(struct world *world, const GUID *service_id);
/* A file in the listeners directory that a former broker left renamed. False when it is no such file. */
bool revoke_resume(struct world *world, const char *file_name);
