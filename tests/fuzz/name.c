/* SPDX-License-Identifier: MIT */

/*
 * A kernel name that is taken for a connector's or a listener's is exactly the
 * one that would be written for it. The input is an address: its family after a
 * byte that nobody looks at, then its path.
 */

#include "wire/name.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

static void check_same(const struct sockaddr_un *address, socklen_t length, const struct sockaddr_un *again, socklen_t again_length) {
        require(length == again_length && !memcmp(address, again, length));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        struct sockaddr_un address = {}, again;
        struct connector_name connector;
        struct listener_name listener;
        if (size < 1 || size - 1 > sizeof address)
                return 0;
        socklen_t length = (socklen_t)(size - 1);
        memcpy(&address, bytes + 1, length);
        if (!connector_name_decode(&address, length, &connector))
                check_same(&address, length, &again, connector_name_encode(&connector, &again));
        if (!listener_name_decode(&address, length, &listener))
                check_same(&address, length, &again, listener_name_encode(&listener, &again));

        char *text = strndup((const char *)bytes, size); /* of its exact size, so that reading beyond it is found */
        require(text);
        if (!listener_name_parse(text, &listener)) {
                listener_name_encode(&listener, &again);
                require(!strcmp(text, again.sun_path));
        }
        free(text);
        return 0;
}
