/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The names of connectors' sockets.
 *
 * A connector's socket is named before it is connected, since whoever may bind a
 * connected socket could change the peer address that the acceptor sees. A
 * socket is named once, for good: one whose connect failed keeps its name, and
 * may be lent again to dial the same VmId, its name being recognised by its tag.
 * To dial another it must be a new socket, which is what POSIX leaves to do
 * after a failed connect.
 */

#include "daemon/clients.h"
#include "daemon/probe.h"
#include "wire/name.h"

/* The tag that a name has if this world's broker gave it to a connector of this partition. */
uint64_t connector_tag(const struct connector_name *name, const struct world *world, const GUID *partition_id);
/* Fills the random ephemeral ServiceId and the tag. */
int connector_name_seal(struct connector_name *name, const struct world *world, const GUID *partition_id);
/* The same, and binds the broker's own socket to it; the shell gets it, too. */
int connector_name_make(const struct world *world, const struct partition *partition, int fd,
                        struct connector_name *name, struct channel_shell *shell);

/*
 * Names a lent socket. *name comes with all but its ephemeral ServiceId and tag;
 * it and the shell get what the socket bears. 0, or -errno: -EISCONN when the
 * socket is a channel already, -EADDRNOTAVAIL when it bears a name for another address, and
 * what bind(2) says of it.
 */
int connector_name_give(struct client *client, int fd, struct connector_name *name, struct channel_shell *shell);
