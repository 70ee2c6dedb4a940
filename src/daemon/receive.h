/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Receiving from strangers. Differs from packet_receive() in that nothing is
 * closed, neither by it nor by the kernel within it, since closing a stranger's
 * descriptor may wait (discard.h): there is room for all that a packet can bring.
 */

#include "base/fd.h"
#include "wire/message.h"

#define STRANGER_DESCRIPTORS_MAX 253 /* the kernel's SCM_MAX_FD */

struct stranger_packet {
        uint8_t bytes[WIRE_PACKET_MAX];
        size_t length;
        struct packet_credentials credentials;
        unsigned fd_count;
        int fds[STRANGER_DESCRIPTORS_MAX];
};

/*
 * One packet, without waiting, from a socket with SO_PASSCRED. 0; -ESHUTDOWN when
 * nothing is queued and nothing can be any more; -EPROTO for a packet that is too
 * long or comes with more than one descriptor. The descriptors are always set:
 * they are the caller's also on failure.
 */
int stranger_receive(int socket, struct stranger_packet *ret_packet);
/* So many bytes of a stream, which were peeked at; at most WIRE_PACKET_MAX. Descriptors as above. */
int stranger_receive_bytes(int socket, size_t size, struct stranger_packet *ret_packet);
