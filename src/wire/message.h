/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Messages between libhvsock and hvsockd, on a partition's SOCK_SEQPACKET socket.
 *
 * Owns the layouts, the limits and the checks on both directions. Pure: no
 * system call. Little-endian, fixed width, the same for 32 and 64 bit; a GUID
 * travels as Windows keeps it in memory. One packet is one message; a request
 * is answered by one packet with the same serial and WIRE_REPLY added to its
 * type. WIRE_CLOSED and WIRE_RING have no answer.
 *
 * Decoding copies out of the packet once and checks every length, count and
 * reserved field; the caller never looks at the packet again.
 */

#include <hvsocket.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WIRE_MAGIC 0x31737668u /* "hvs1" */
#define WIRE_MAJOR 1u
#define WIRE_MINOR 4u
#define WIRE_MINOR_OF_RING 1u /* an older broker does not know WIRE_RING, and would answer it */
#define WIRE_MINOR_OF_PARKING 3u /* an older broker does not know WIRE_CONNECT_MAY_PARK */

#define WIRE_PACKET_MAX 1024u      /* bytes; a longer packet ends the connection */
#define WIRE_NAME_SIZE 256u        /* a name or a path of names, NUL included */
#define WIRE_TEXT_SIZE 512u        /* a refusal's text, NUL included */
#define WIRE_LABEL_SIZE 64u        /* a partition's label, NUL included */
#define WIRE_CLOSED_MAX 16u        /* closed channels told in one message */
#define WIRE_DESCRIPTORS_MAX 1u    /* descriptors with one message */
#define WIRE_ERROR_MAX 4095u       /* no errno is larger */

enum wire_type {
        WIRE_HELLO = 1,             /* no descriptor; reply carries the revocation page */
        WIRE_BIND = 2,              /* one descriptor: the socket to bind */
        WIRE_LISTEN = 3,            /* may this bound address listen? */
        WIRE_CONNECT = 4,           /* one descriptor: the socket to connect */
        WIRE_CLOSED = 5,            /* no answer: these channels are closed */
        WIRE_CHECK = 6,             /* may this service's channels go on? */
        WIRE_RESOLVE_PARTITION = 7, /* name -> VmId, seen from the caller */
        WIRE_RESOLVE_SERVICE = 8,   /* name -> ServiceId */
        WIRE_RING = 9,              /* one descriptor: the ring that a channel's data moves into; no answer. Minor 1 */
        WIRE_SUSPEND = 10,          /* whether a channel survives that its VM is paused. Minor 2 */
        WIRE_RESOLVE_CID = 11,      /* VmId or CID -> both, seen from the caller. Minor 4 */
        WIRE_TYPE_MAX = 11,
        WIRE_REPLY = 0x8000,
};

/* 24 bytes. `length` counts the whole packet. Unknown features are ignored. */
struct wire_header {
        uint16_t major;
        uint16_t minor;
        uint16_t type;
        uint32_t length;
        uint32_t serial;
        uint32_t features;
};

#define WIRE_HEADER_SIZE 24u /* magic 4, major 2, minor 2, type 2, reserved 2, length 4, serial 4, features 4 */

#define WIRE_CONNECT_PASSTHRU 0x1u       /* HVSOCKET_CONTAINER_PASSTHRU */
#define WIRE_CONNECT_MAY_PARK 0x2u       /* the socket may come back parked: see wire/parked.h. Minor 3 */
#define WIRE_CONNECT_SURVIVES_PAUSE 0x4u /* HVSOCKET_CONNECTED_SUSPEND, of a socket that may be parked. Minor 3 */
#define WIRE_BIND_PASSTHRU 0x1u
#define WIRE_RING_FROM_ACCEPTOR 0x1u /* what the acceptor sends goes through it; else what the connector does */

#define WIRE_SUSPEND_FROM_ACCEPTOR 0x1u /* the acceptor says so; else the connector does */
#define WIRE_SUSPEND_SURVIVES 0x2u      /* HVSOCKET_CONNECTED_SUSPEND */

struct wire_request {
        struct wire_header header;
        GUID vm_id;            /* BIND, LISTEN, CONNECT, CHECK; RESOLVE_CID: zero to ask for `cid` */
        GUID service_id;       /* BIND, LISTEN, CONNECT, CHECK; RING, SUSPEND: the channel's ephemeral ServiceId */
        uint32_t socket_type;  /* BIND, CONNECT, RING, SUSPEND: 1 SOCK_STREAM, 5 SOCK_SEQPACKET */
        uint32_t flags;        /* BIND: WIRE_BIND_*; CONNECT: WIRE_CONNECT_*; RING: WIRE_RING_*; SUSPEND: WIRE_SUSPEND_* */
        uint32_t closed_count; /* CONNECT, CLOSED */
        GUID closed[WIRE_CLOSED_MAX]; /* CONNECT, CLOSED: ephemeral ServiceIds of channels that were closed */
        uint32_t cid;                 /* RESOLVE_CID, with a VmId of zero */
        char name[WIRE_NAME_SIZE];    /* RESOLVE_PARTITION, RESOLVE_SERVICE: NUL-terminated */
};

struct wire_reply {
        struct wire_header header;
        uint32_t error;        /* 0 or a positive errno, numbered as in asm-generic/errno.h */
        uint32_t rule;         /* enum rule of broker/verdict.h: which rule refused */
        GUID vm_id;            /* HELLO: own VmId. BIND: bound VmId. CONNECT: dialled VmId. RESOLVE_PARTITION, RESOLVE_CID */
        GUID service_id;       /* BIND: bound ServiceId. CONNECT: ephemeral ServiceId. RESOLVE_SERVICE */
        GUID parent_vm_id;     /* HELLO; zero on the root */
        uint32_t cid;          /* RESOLVE_CID */
        uint32_t kind;         /* HELLO: enum hv_partition_kind */
        char label[WIRE_LABEL_SIZE]; /* HELLO */
        char text[WIRE_TEXT_SIZE];   /* when error != 0: both addresses, the service's name, the rule */
};

/* Each writes one packet and returns its length; `packet` holds WIRE_PACKET_MAX bytes. */
size_t wire_encode_request(const struct wire_request *request, uint8_t packet[WIRE_PACKET_MAX]);
size_t wire_encode_reply(const struct wire_reply *reply, uint8_t packet[WIRE_PACKET_MAX]);

/*
 * Decode one packet. Returns 0; -EPROTO for a wrong magic, length, count,
 * reserved field or unterminated text; -EPROTONOSUPPORT for another major;
 * -ENOSYS for an unknown type, with ret->header filled so that it can be
 * answered. *ret is otherwise untouched on failure.
 */
int wire_decode_request(const uint8_t *packet, size_t length, struct wire_request *ret);
int wire_decode_reply(const uint8_t *packet, size_t length, struct wire_reply *ret);

/* How many descriptors a request of this type must carry: 0 or 1. */
unsigned wire_request_descriptors(uint16_t type);
