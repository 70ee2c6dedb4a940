/* SPDX-License-Identifier: MIT */
#pragma once

/* A vsock machine, and the guest that talks to it packet by packet. */

#include "test.h"
#include "vm/vsock.h"

#define CID 42u
#define BUFFER 65536u /* that the guest gives receivers: room for BUFFER / VSOCK_PACKET_COST packets */
#define ROOM 4096u    /* of an RX buffer */

/* The guest's side of one connection. */
struct peer {
        uint64_t cid;
        uint32_t port, host_port;
        uint16_t type;
        uint32_t buffer, forwarded;
};

extern struct vsock vsock;

void begin(void); /* at 1000 ms */
void end(void);

/* Ports 5000 and 22, say, towards the host. */
struct peer stream(uint32_t port, uint32_t host_port);
struct peer seqpacket(uint32_t port, uint32_t host_port);

/* The guest sends a packet; what became of it. */
enum vsock_event say(const struct peer *peer, uint16_t operation, uint32_t length, uint32_t flags,
                     struct vsock_connection **ret);
/* One without payload; a SHUTDOWN of both directions. */
enum vsock_event tell(const struct peer *peer, uint16_t operation);
/* The guest connects, the host accepts. */
struct vsock_connection *connect_guest(const struct peer *peer);

/* The next packet for the guest, which is this one. */
struct vsock_packet expect(uint16_t operation);
void expect_nothing(void);
/* Data is wanted of this connection; how much. */
struct vsock_wanted expect_wanted(struct vsock_connection *connection);
void send_data(struct vsock_connection *connection, size_t size, bool is_ready);
