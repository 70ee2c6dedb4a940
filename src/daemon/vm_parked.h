/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Connects of non-blocking sockets to guests: see wire/parked.h for what is done to
 * the socket. The library has its answer at once; a duplicate of the lent socket and
 * the other end are kept here until the guest has answered, for VM_PARKED_MS, or until
 * the last connection of the process that asked goes away.
 */

#include "daemon/vms.h"

#define VM_PARKED_MS 2000 /* then it is ETIMEDOUT */
#define VM_PARKED_PER_STRANGER 256u /* the next gets ENOBUFS */
#define VM_FILLERS_MAX 64u /* a socket as small as can be is full before, unless its owner interferes */

/* Instead of vm_connect(): the verdict is the library's answer. Not taken: the lent socket. */
struct verdict vm_park(struct client *client, const struct wire_request *request, int fd, const struct route *route,
                       GUID *ret_ephemeral_id);
/* The client goes: another connection of its process takes them over, or they are given up. */
void vm_parked_leave(const struct client *client);
/* Its process closed these, some of which may be parked. */
void vm_parked_closed(const struct client *client, const GUID *ephemeral_ids, unsigned count);
/* WIRE_SUSPEND of what is parked, if it is. */
bool vm_parked_survives(const struct client *client, const GUID *ephemeral_id, bool survives);
