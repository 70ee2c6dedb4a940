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
#include "wire/name.h"

#define LISTENERS_TRIED_MAX 16 /* dead ones found in the way of one request */

struct verdict lend_bind(struct client *client, const struct wire_request *request, int fd, struct listener **ret_listener);
struct verdict lend_connect(struct client *client, const struct wire_request *request, int fd, GUID *ret_ephemeral_id);

/* The verdict on a negative errno: the broker's own failures apart, it is what the kernel says of the descriptor. */
struct verdict lend_failed(int error);

/* broker_bind(), asked again as long as what is in the way turns out to be dead. */
int lend_ask_bind(struct world *world, const struct bind_request *request, struct verdict *ret_verdict,
                  struct listener **ret_listener);
/* Binds a socket to a listener's file, as lend_bind() does once the broker allowed it. 0 or -errno. */
int listener_bind_socket(const struct world *world, const struct listener *listener, int fd);

/* The file name of a listener, as bind(2) and connect(2) want it in the listeners directory. */
socklen_t listener_address(const struct listener *listener, struct sockaddr_un *ret_address);
