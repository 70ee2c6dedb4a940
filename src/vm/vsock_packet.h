/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The header of a vsock packet: 44 bytes, little-endian, packed. Pure.
 *
 * It comes in memory that the guest may change meanwhile: it is copied out once,
 * and only the copy is decoded.
 */

#include <stdint.h>

#define VSOCK_HEADER_SIZE 44u
#define VSOCK_PAYLOAD_MAX 65536u /* of one packet */

#define VSOCK_CID_HOST 2u
#define VSOCK_CID_FIRST 3u /* a guest's; those below, and the last one, are reserved */
#define VSOCK_CID_ANY 0xffffffffu

enum vsock_operation {
        VSOCK_REQUEST = 1,
        VSOCK_RESPONSE,
        VSOCK_RST,
        VSOCK_SHUTDOWN,
        VSOCK_RW,
        VSOCK_CREDIT_UPDATE,
        VSOCK_CREDIT_REQUEST,
};

enum vsock_type { VSOCK_STREAM = 1, VSOCK_SEQPACKET = 2 };

#define VSOCK_SHUT_RECEIVE 1u /* flags of SHUTDOWN: who sends it will not receive any more, */
#define VSOCK_SHUT_SEND 2u    /* or not send */
#define VSOCK_SHUT_BOTH 3u
#define VSOCK_END_OF_MESSAGE 1u /* flags of RW with VSOCK_SEQPACKET */
#define VSOCK_END_OF_RECORD 2u

struct vsock_packet {
        uint64_t source_cid, target_cid;
        uint32_t source_port, target_port;
        uint32_t length; /* of the payload */
        uint16_t type, operation;
        uint32_t flags;
        uint32_t buffer_size, forwarded; /* credit: buf_alloc and fwd_cnt */
};

void vsock_packet_encode(const struct vsock_packet *packet, uint8_t ret_bytes[VSOCK_HEADER_SIZE]);
void vsock_packet_decode(const uint8_t bytes[VSOCK_HEADER_SIZE], struct vsock_packet *ret);
