/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Services on demand: those with Exec=.
 *
 * The broker binds a listening socket at WILDCARD in the service's partition and
 * waits for a first connection. With Accept=no it then starts the program, which
 * gets the listening socket as descriptor 3, as systemd's services do, and waits
 * again when the program has ended. With Accept=yes it starts one program a
 * connection, which is its standard input and output.
 */

#include "daemon/world.h"

#define ACTIVATION_PROCESSES_MAX 64  /* of one service with Accept=yes; further connections wait in the backlog */
#define ACTIVATION_STARTS_MAX 5      /* of a service with Accept=no, in ... */
#define ACTIVATION_STARTS_MS 10000   /* ... this time; then it is off until its drop-in changes */
#define ACTIVATION_RETRY_MS 1000     /* a service whose address is taken is tried again this often */

int activation_open(struct world *world);
void activation_close(struct world *world);

/* The service was added or replaced. */
void activation_update(struct world *world, struct service *service);
/* The service is about to be removed. */
void activation_forget(struct world *world, struct service *service);
/* A listener of this service is gone: one on demand may now take its place, before a connect is refused. */
void activation_address_free(struct world *world, const GUID *service_id);
/* Lets go of its listeners in a partition that is about to be removed. */
void activation_leave(struct world *world, const struct partition *partition);
