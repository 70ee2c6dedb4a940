/* SPDX-License-Identifier: MIT */

/* Whatever wire_decode_reply() accepts, wire_encode_reply() writes again, byte for byte; what it does not, it leaves. */

#include "wire/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        struct wire_reply reply, before;
        uint8_t packet[WIRE_PACKET_MAX];
        memset(&before, 0x5a, sizeof before);
        reply = before;
        int r = wire_decode_reply(bytes, size, &reply);
        if (!r) {
                require(wire_encode_reply(&reply, packet) == size && !memcmp(packet, bytes, size));
                require(reply.error <= WIRE_ERROR_MAX);
                return 0;
        }
        require(r == -EPROTO || r == -EPROTONOSUPPORT || r == -ENOSYS);
        if (r == -ENOSYS)
                reply.header = before.header;
        require(!memcmp(&reply, &before, sizeof reply));
        return 0;
}
