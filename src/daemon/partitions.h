/* SPDX-License-Identifier: MIT */
#pragma once

/* Partitions as files: definitions in the state directory, and each one's directory with its socket. */

#include "daemon/world.h"

/* How long no client is accepted after descriptors ran out. */
#define ACCEPT_PAUSE_MS 100

/* Loads every definition, makes a host where there is none, and opens every partition's socket. */
int partitions_open(struct world *world);
void partitions_close(struct world *world);

/* Descriptors ran out: leaves clients in the sockets' backlogs for ACCEPT_PAUSE_MS. */
void partitions_pause(struct world *world);

/* A read-only descriptor of the partition's revocation page. */
int partition_revocations(struct world *world, const struct partition *partition, int *ret_fd);
/* Changes the counter in every partition's page. */
void partitions_revoke(struct world *world);
