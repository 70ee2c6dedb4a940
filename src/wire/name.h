/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The kernel names of hvsock's sockets: what getsockname and getpeername say.
 *
 * Owns both layouts. Pure. Because a socket's name says all there is to say of
 * its address, an accepted or inherited descriptor needs no other state.
 *
 * A connector is bound, by the broker, to an abstract name: the address at
 * which the acceptor would dial the connector back, the address that was
 * dialled, who connected as the broker saw it, and a keyed hash so that a
 * restarted broker recognises a name its predecessor gave.
 *
 * A listener is bound, by the broker, to a file in the broker's private
 * directory: <partition>.<VmId>.<ServiceId>.<s|q><pid>, GUIDs as 32 hex digits
 * without dashes. The directory is the state that survives a restart.
 */

#include <hvsocket.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/un.h>

#define CONNECTOR_NAME_SIZE 76u
/* After the leading NUL: "hv" 2, version 1, flags 1, dial-back VmId 16, ephemeral ServiceId 16,
 * dialled VmId 16, pid 4, uid 4, gid 4, tag 8, reserved 4 (zero). */

struct connector_name {
        uint8_t flags;        /* CONNECTOR_* */
        GUID dial_back_vm_id; /* the acceptor's peer address, first half */
        GUID ephemeral_id;    /* the acceptor's peer address, second half; random, so it names the channel */
        GUID dialled_vm_id;   /* the connector's peer address, first half */
        uint32_t pid, uid, gid;
        uint64_t tag;         /* keyed hash over all the rest and the connector's partition */
};

#define CONNECTOR_ENDED 0x01u /* no channel: the broker tells this listener that its service was disabled */

#define LISTENER_NAME_MAX 107u /* bytes, without the NUL */
#define LISTENER_PID_MAX 4194304u /* the kernel's own limit; a larger one is written as 0, unknown */

struct listener_name {
        GUID partition_id;
        GUID vm_id;
        GUID service_id;
        int socket_type; /* SOCK_STREAM or SOCK_SEQPACKET */
        uint32_t pid;
};

/* Both return the address length for bind(2) or connect(2). */
socklen_t connector_name_encode(const struct connector_name *name, struct sockaddr_un *ret_address);
socklen_t listener_name_encode(const struct listener_name *name, struct sockaddr_un *ret_address);

/* Return 0, or -EINVAL when the address is not of that form; *ret is untouched then. */
int connector_name_decode(const struct sockaddr_un *address, socklen_t length, struct connector_name *ret);
int listener_name_decode(const struct sockaddr_un *address, socklen_t length, struct listener_name *ret);
int listener_name_parse(const char *file_name, struct listener_name *ret);

/* The bytes that the tag covers, for a keyed hash: the name without its tag, then the partition. */
#define CONNECTOR_TAGGED_SIZE (CONNECTOR_NAME_SIZE - 8u + 16u)
void connector_name_tagged_bytes(const struct connector_name *name, const GUID *partition_id,
                                 uint8_t ret_bytes[CONNECTOR_TAGGED_SIZE]);
