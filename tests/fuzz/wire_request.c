/* SPDX-License-Identifier: MIT */

/* Whatever wire_decode_request() accepts, wire_encode_request() writes again, byte for byte; what it does not, it leaves. */

#include "wire/message.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        struct wire_request request, before;
        uint8_t packet[WIRE_PACKET_MAX];
        memset(&before, 0x5a, sizeof before);
        request = before;
        int r = wire_decode_request(bytes, size, &request);
        if (!r) {
                require(wire_encode_request(&request, packet) == size && !memcmp(packet, bytes, size));
                require(wire_request_descriptors(request.header.type) <= WIRE_DESCRIPTORS_MAX);
                return 0;
        }
        require(r == -EPROTO || r == -EPROTONOSUPPORT || r == -ENOSYS);
        if (r == -ENOSYS) {
                require(request.header.length == size && (request.header.type == 0 || request.header.type > WIRE_TYPE_MAX));
                request.header = before.header;
        }
        require(!memcmp(&request, &before, sizeof request));
        return 0;
}
