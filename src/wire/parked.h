/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Parked sockets: a non-blocking connect that a guest has not answered yet.
 *
 * Theory of operation. The broker connects the lent socket at once, to an end of its
 * own, and answers. So that poll(2) and epoll(7) find the socket not writable, and
 * sends find it full, it makes SO_SNDBUF small and sends filler from the lent
 * descriptor. When the guest accepts, it restores SO_SNDBUF and takes exactly its
 * filler off the other end, and the kernel wakes those who wait, as after any connect.
 * When the guest refuses, the end is closed with the filler unread: a hang-up and an
 * error to all who wait. How it stands is kept where every holder of the socket sees
 * it, and where it means nothing to AF_UNIX: in SO_INCOMING_CPU.
 */

#include <sys/socket.h>

#define PARKED_OPTION SO_INCOMING_CPU /* an int: PARKED_NOT, EINPROGRESS, or the errno that the connect came to */
#define PARKED_NOT (-1)               /* as a new socket has it: never parked, or accepted */
