/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Connects to guests.
 *
 * Theory of operation. The broker may allow a connect, but the guest has the last
 * word, and it may take its time: the library's request is parked, with its lent
 * socket, until the VM's thread tells the guest's answer. Nothing was done to the
 * socket by then, so one that was refused is as it was. After the answer the broker is
 * asked once more, since what it allowed may be forbidden by now. Then the socket is
 * named, connected to a door (vm_door.h), and booked, and the thread gets its end.
 */

#include "daemon/vms.h"

/* The lent socket is taken, and the answer is sent later, unless the verdict has an error. */
struct verdict vm_connect(struct client *client, const struct wire_request *request, int fd, const struct route *route);
/* The client is gone. */
void vm_connect_abandon(struct parked *parked);

/* What becomes of a channel whose guest has said yes. */
struct vm_opening {
        struct world *world;
        const struct connect_request *ask;
        const struct route *route;
        int fd;                          /* the connector's, which bears its name */
        const GUID *ephemeral_id;
        struct channel_shell *shell;     /* taken on success */
        struct process *process;
        bool is_of_guest;                /* both ends are */
};
/* Connects it, books it, and gives the guest's thread the other end. 0 or -errno. */
int vm_channel_open(const struct vm_opening *opening, struct vm_channel *to, struct channel **ret_channel);
/* The same, where it is connected already, to this end; which is taken on success. */
int vm_channel_open_at(const struct vm_opening *opening, int end, struct vm_channel *to, struct channel **ret_channel);
/* What a client asks for. */
struct connect_request vm_ask_of(const struct client *client, const struct wire_request *request);
/* Why a thread could not connect: an errno of VM_REFUSED. */
struct verdict vm_verdict(int error);
