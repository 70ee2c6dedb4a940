/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Services on demand: those with Exec=.
 *
 * The broker binds a listening socket at WILDCARD in the service's partition and
 * waits for a first connection. With Accept=no it then starts the program, which
 * gets the listening socket as descriptor 3, as systemd's services do, and waits
 * again when the program has ended. With Accept=yes it starts one program a
 * connection, which is its standard input and output. A program that cannot be
 * started, or with Accept=no ends badly soon after it was, is held back.
 */

#include "daemon/world.h"

#define ACTIVATION_PROCESSES_MAX 64  /* of one service with Accept=yes; further connections wait in the backlog */
#define ACTIVATION_SETTLED_MS 10000  /* a program that ends badly later than this may be started again at once */
#define ACTIVATION_PAUSE_MIN_MS 50   /* after the first failure in a row, and twice as long after each next, ... */
#define ACTIVATION_PAUSE_MAX_MS 60000 /* ... but not longer */
#define ACTIVATION_PAUSE_REFUSE_MS 1000 /* connections wait through shorter pauses, and are refused in longer ones */
#define ACTIVATION_RETRY_MS 1000     /* a service whose address is taken is tried again this often */

/* How a program failed. */
struct failure {
        int64_t time_ms;  /* since the epoch */
        bool was_started; /* else it never ran */
        int exit_status;  /* -1 when it did not exit */
        int signal;       /* that ended it; 0: none */
        char cause[TEXT_EXPECTED_SIZE];
};

int activation_open(struct world *world);
void activation_close(struct world *world);

/* The service was added or replaced. */
void activation_update(struct world *world, struct service *service);
/* The service is about to be removed. */
void activation_forget(struct world *world, struct service *service);
/* A listener of this service is gone: one on demand may now take its place, before a connect is refused. */
void activation_address_free(struct world *world, const GUID *service_id);
/* Before a route is asked for: service->cannot_start is true now. */
void activation_refresh(struct world *world, const GUID *service_id);
/* NULL: none, or none that is known. */
const struct failure *activation_last_failure(const struct service *service);
/* What keeps a service from being started; NULL: of all. */
void activation_problems(const struct world *world, const struct service *service, problem_each each, void *userdata);
/* Lets go of its listeners in a partition that is about to be removed. */
void activation_leave(struct world *world, const struct partition *partition);
