/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Receiving from strangers. Differs from packet_receive() in that it closes
 * nothing itself, since closing a stranger's descriptor may wait (discard.h):
 * the kernel is given room for one descriptor and keeps all others.
 */

#include "base/fd.h"

/*
 * One packet, without waiting, from a socket with SO_PASSCRED. 0, with length 0
 * when the peer is gone; -EPROTO for a packet longer than `size` or with more
 * than one descriptor. *ret_fd is always set: it is the caller's also on failure.
 */
int stranger_receive(int socket, void *packet, size_t size, size_t *ret_length, int *ret_fd,
                     struct packet_credentials *ret_credentials);
