/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A VM's hybrid socket: <runtime>/<VmId>/vsock, for clients in any language.
 *
 * Theory of operation. A client connects, sends `CONNECT <port or GUID>\n`, and is
 * answered `OK <host port>\n`; its connection itself is the channel from then on, and
 * goes to the VM's thread as the host's end of it. A refusal closes it. Who the client
 * is comes from the kernel, and it is judged as a client of the host partition. Its
 * line is peeked at, so what it sends behind that without waiting is the channel's.
 * The connector of such a channel has no name that could be probed: the channel lasts
 * as long as the VM's thread says.
 *
 * A client whose line is there when it is accepted never waits. Of those who wait, the
 * one that has waited longest makes room for the next.
 */

#include "daemon/vms.h"

#define HYBRID_WAITING_MAX 64u /* of a VM: connections that have not sent their line */
#define HYBRID_LINE_MS 2000    /* that they have for it */
#define HYBRID_ANSWER_MS 2000  /* that the guest has to answer */

struct hybrid;

/* The partition is reached as a VM, and its directory is there. */
int hybrid_attach(struct world *world, struct partition *partition, int directory_fd, struct hybrid **ret);
/* All that wait are closed. NULL is fine. */
void hybrid_detach(struct hybrid *hybrid);
