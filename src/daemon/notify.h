/* SPDX-License-Identifier: MIT */
#pragma once

/* What systemd and others who start daemons agree on: telling them of readiness, taking sockets from them. */

/* Sends "READY=1" and the like to $NOTIFY_SOCKET; nothing when there is none. */
void notify_send(const char *state);
/*
 * A listening AF_UNIX socket of this type that was passed under this name
 * ($LISTEN_FDS, $LISTEN_FDNAMES), or -1. It is close-on-exec and the caller's.
 */
int notify_take_socket(const char *name, int socket_type);
/* Forgets the environment of both, so that no child takes it for its own. */
void notify_forget(void);
