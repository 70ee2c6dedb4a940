/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Lent descriptors: binding and connecting the sockets that libraries lend. The
 * descriptor stays the caller's to close; nothing of it is kept.
 *
 * A socket to connect comes non-blocking, mostly. One that does not is made so for
 * that moment: its owner stopped waiting, or shares it with another that connects it.
 */

#include "daemon/clients.h"
#include "daemon/probe.h"
#include "wire/name.h"

#define LISTENERS_TRIED_MAX 16 /* dead ones found in the way of one request */

struct verdict lend_bind(struct client *client, const struct wire_request *request, int fd, struct listener **ret_listener);
/* *ret_is_parked: a guest is asked, the descriptor is taken, and the answer comes later (vm_connect.h). */
struct verdict lend_connect(struct client *client, const struct wire_request *request, int fd, GUID *ret_ephemeral_id,
                            bool *ret_is_parked);

/* The verdict on a negative errno: the broker's own failures apart, it is what the kernel says of the descriptor. */
struct verdict lend_failed(int error);

/* broker_bind(), asked again as long as what is in the way turns out to be dead. */
int lend_ask_bind(struct world *world, const struct bind_request *request, struct verdict *ret_verdict,
                  struct listener **ret_listener);
/* broker_route(), with room made for it first. */
struct verdict lend_ask_route(struct world *world, const struct connect_request *ask, struct route *ret_route);
/* Names a lent socket for this route. */
struct verdict lend_name(struct client *client, const struct wire_request *request, const struct route *route, int fd,
                         struct channel_shell *shell, struct connector_name *ret_name);
/* Connects a named socket, of this client or (NULL) the broker's own, to the route's listener, or the next one that lives. */
struct verdict lend_connect_named(struct world *world, const struct client *client, const struct connect_request *ask,
                                  int fd, struct route *route);
/* connect(2) that does not wait. */
int lend_connect_at_once(int fd, const struct sockaddr_un *address, socklen_t length);
/* Binds a socket to a listener's file, as lend_bind() does once the broker allowed it. 0 or -errno. */
int listener_bind_socket(const struct world *world, const struct listener *listener, int fd);

/* The file name of a listener, as bind(2) and connect(2) want it in the listeners directory. */
socklen_t listener_address(const struct listener *listener, struct sockaddr_un *ret_address);
