/* SPDX-License-Identifier: MIT */

/* The header of a vsock packet. */

#include "vm/vsock_packet.h"

#include <endian.h>
#include <string.h>

/* As it lies in guest memory. */
struct __attribute__((packed)) header {
        uint64_t source_cid, target_cid;
        uint32_t source_port, target_port, length;
        uint16_t type, operation;
        uint32_t flags, buffer_size, forwarded;
};

_Static_assert(sizeof(struct header) == VSOCK_HEADER_SIZE, "as specified");

void vsock_packet_encode(const struct vsock_packet *packet, uint8_t ret_bytes[VSOCK_HEADER_SIZE]) {
        struct header header = {
                .source_cid = htole64(packet->source_cid),
                .target_cid = htole64(packet->target_cid),
                .source_port = htole32(packet->source_port),
                .target_port = htole32(packet->target_port),
                .length = htole32(packet->length),
                .type = htole16(packet->type),
                .operation = htole16(packet->operation),
                .flags = htole32(packet->flags),
                .buffer_size = htole32(packet->buffer_size),
                .forwarded = htole32(packet->forwarded),
        };
        memcpy(ret_bytes, &header, sizeof header);
}

void vsock_packet_decode(const uint8_t bytes[VSOCK_HEADER_SIZE], struct vsock_packet *ret) {
        struct header header;
        memcpy(&header, bytes, sizeof header);
        *ret = (struct vsock_packet){
                .source_cid = le64toh(header.source_cid),
                .target_cid = le64toh(header.target_cid),
                .source_port = le32toh(header.source_port),
                .target_port = le32toh(header.target_port),
                .length = le32toh(header.length),
                .type = le16toh(header.type),
                .operation = le16toh(header.operation),
                .flags = le32toh(header.flags),
                .buffer_size = le32toh(header.buffer_size),
                .forwarded = le32toh(header.forwarded),
        };
}
