/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Lent descriptors: binding and connecting the sockets that libraries lend. The
 * descriptor stays the caller's to close; nothing of it is kept.
 *
 * A verdict whose rule is RULE_ALLOWED and whose error is not 0 is the kernel's
 * word on the descriptor.
 */

#include "daemon/clients.h"
#include "wire/name.h"

struct verdict lend_bind(struct client *client, const struct wire_request *request, int fd, struct listener **ret_listener);
struct verdict lend_connect(struct client *client, const struct wire_request *request, int fd, GUID *ret_ephemeral_id);

/* broker_bind(), asked again as long as what is in the way turns out to be dead. */
int lend_ask_bind(struct world *world, const struct bind_request *request, struct verdict *ret_verdict,
                  struct listener **ret_listener);
/* Binds a socket to a listener's file, as lend_bind() does once the broker allowed it. 0 or -errno. */
int listener_bind_socket(const struct world *world, const struct listener *listener, int fd);

/* The file name of a listener, as bind(2) and connect(2) want it in the listeners directory. */
socklen_t listener_address(const struct listener *listener, struct sockaddr_un *ret_address);

/* The tag that a name has if this world's broker gave it to a connector of this partition. */
uint64_t connector_tag(const struct connector_name *name, const struct world *world, const GUID *partition_id);
/* Fills the random ephemeral ServiceId and the tag. */
int connector_name_seal(struct connector_name *name, const struct world *world, const GUID *partition_id);

/* Connects without ever waiting, whatever the descriptor's flags are and become. 0 or -errno, -EAGAIN when the backlog is full. */
int connect_at_once(int fd, const struct sockaddr_un *address, socklen_t length);
