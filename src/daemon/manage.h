/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The management interface: io.hvsock over the varlink wire format.
 *
 * Owns the management socket and its connections. Reading is for whoever may
 * open the socket; changing is for root and the world's owner (SO_PEERCRED).
 */

#include "daemon/world.h"

#define MANAGE_CONNECTIONS_MAX 256u
#define MANAGE_MESSAGE_MAX (1u << 20)   /* bytes in a request */
#define MANAGE_BACKLOG_MAX (16u << 20)  /* bytes queued to one slow reader before it is cut off */

/* `given_fd` is a listening socket that systemd gave, owned from now on, or -1 to make <runtime>/manage. */
int manage_open(struct world *world, int given_fd);
void manage_close(struct world *world);
