/* SPDX-License-Identifier: MIT */

/* A vsock machine, and the guest that talks to it. */

#include "machine.h"

static const uint8_t key[16] = "sixteen bytes..";

struct vsock vsock;

void begin(void) {
        check_ok(vsock_init(&vsock, CID, key));
        vsock.has_seqpacket = true;
        vsock_tick(&vsock, 1000);
}

void end(void) {
        vsock_deinit(&vsock);
}

enum vsock_event say(const struct peer *peer, uint16_t operation, uint32_t length, uint32_t flags,
                     struct vsock_connection **ret) {
        struct vsock_packet packet = {
                .source_cid = CID, .target_cid = peer->cid, .source_port = peer->port, .target_port = peer->host_port,
                .length = length, .type = peer->type, .operation = operation, .flags = flags,
                .buffer_size = peer->buffer, .forwarded = peer->forwarded,
        };
        if (operation == VSOCK_RST)
                packet.buffer_size = packet.forwarded = 0;
        struct vsock_connection *connection = NULL;
        enum vsock_event event = vsock_receive(&vsock, &packet, length, &connection);
        if (ret)
                *ret = connection;
        return event;
}

enum vsock_event tell(const struct peer *peer, uint16_t operation) {
        return say(peer, operation, 0, operation == VSOCK_SHUTDOWN ? VSOCK_SHUT_BOTH : 0, NULL);
}

struct vsock_packet expect(uint16_t operation) {
        struct vsock_packet packet;
        struct vsock_wanted wanted;
        check_equal(vsock_next(&vsock, ROOM, &packet, &wanted), VSOCK_PACKET);
        check_equal(packet.operation, operation);
        check_equal(packet.target_cid, CID);
        check_equal(packet.length, 0);
        return packet;
}

void expect_nothing(void) {
        struct vsock_packet packet;
        struct vsock_wanted wanted;
        check_equal(vsock_next(&vsock, ROOM, &packet, &wanted), VSOCK_IDLE);
}

struct vsock_wanted expect_wanted(struct vsock_connection *connection) {
        struct vsock_packet packet;
        struct vsock_wanted wanted = {};
        check_equal(vsock_next(&vsock, ROOM, &packet, &wanted), VSOCK_DATA_WANTED);
        check(wanted.connection == connection);
        return wanted;
}

void send_data(struct vsock_connection *connection, size_t size, bool is_ready) {
        struct vsock_packet packet;
        vsock_sent(&vsock, connection, size, 0, is_ready, &packet);
        check_equal(packet.operation, VSOCK_RW);
        check_equal(packet.length, size);
}

struct peer stream(uint32_t port, uint32_t host_port) {
        return (struct peer){
                .cid = VSOCK_CID_HOST, .port = port, .host_port = host_port, .type = VSOCK_STREAM, .buffer = BUFFER};
}

struct peer seqpacket(uint32_t port, uint32_t host_port) {
        struct peer peer = stream(port, host_port);
        peer.type = VSOCK_SEQPACKET;
        return peer;
}

struct vsock_connection *connect_guest(const struct peer *peer) {
        struct vsock_connection *connection;
        check_equal(say(peer, VSOCK_REQUEST, 0, 0, &connection), VSOCK_ASKS);
        vsock_accept(&vsock, connection);
        struct vsock_packet response = expect(VSOCK_RESPONSE);
        check_equal(response.source_cid, peer->cid);
        check_equal(response.source_port, peer->host_port);
        check_equal(response.target_port, peer->port);
        return connection;
}
