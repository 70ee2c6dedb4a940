/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A private world: an hvsockd of our own in a temporary directory, with a host,
 * a VM and as many registered services as the benchmark has listeners.
 *
 * The client is the host, the server is the VM: each connect crosses a
 * partition boundary, so that address rules, registry, permissions and quotas
 * are all paid for. That VM is none but in name; guests are attached to others.
 */

#include "transport.h"
#include <sys/types.h>

struct world {
        pid_t broker;
        char runtime[PATH_MAX], host[PATH_MAX], vm[PATH_MAX]; /* the last two for $HVSOCK_SOCKET */
        GUID vm_id;
};

/* `directory` exists and is empty. */
void world_start(struct world *world, const char *hvsockd, const char *directory, unsigned services);
/* The same with so many VMs besides, which nobody is attached to. */
void world_start_with_guests(struct world *world, const char *hvsockd, const char *directory, unsigned services,
                             unsigned guests);
/* Where a guest's VMM attaches itself; and the VmId. */
GUID world_guest(const struct world *world, unsigned guest, char ret_vhost_user[PATH_MAX]);
/* Its driver runs, as hvsockd sees it. */
bool world_guest_runs(const struct world *world, unsigned guest);
void world_end(struct world *world);

/* All threads that hvsockd has by now. -1: wherever the scheduler likes. */
void world_place(const struct world *world, int cpu);

/* Resident memory of the broker in KiB; and that of it which no other process maps, guests in particular. */
unsigned long world_memory_kib(const struct world *world);
unsigned long world_private_kib(const struct world *world);

/* How many channels and listeners the broker says there are: what it is measured with is really in its books. */
void world_books(const struct world *world, long *ret_channels, long *ret_listeners);
