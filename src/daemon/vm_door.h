/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Doors: how a socket comes to have a guest's service as its peer.
 *
 * A door is the broker's own listening socket, with the file name that a listener of
 * this partition, service and type would have: the library reads its peer's address
 * from there. A connector's socket is connected to it, and what the broker accepts is
 * the host's end of the channel. The last VM_DOORS_MAX are kept.
 */

#include "daemon/world.h"

#define VM_DOORS_MAX 64u

/*
 * Connects the socket, which bears its name already. 0 or -errno: -EIO when the door
 * was taken away from under it, else what the kernel says of the socket.
 */
int vm_door_pass(const GUID *vm_id, const GUID *service_id, int socket_type, int fd, int *ret_end);
/* The broker ends, or a partition does: its doors' files are removed. */
void vm_doors_close(const GUID *vm_id); /* NULL: all */
