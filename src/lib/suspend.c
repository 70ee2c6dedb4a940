/* SPDX-License-Identifier: MIT */

/* Channels that survive a pause: see suspend.h. */

#include "lib/suspend.h"

#include "lib/address.h"
#include "lib/control.h"
#include "lib/state.h"
#include <errno.h>
#include <sys/socket.h>

void suspend_changed(int fd, bool survives) {
        int error = errno, type;
        struct endpoint endpoint;
        struct wire_reply reply;
        if (endpoint_read(fd, &endpoint) == 0 && (endpoint.role == ROLE_CONNECTOR || endpoint.role == ROLE_ACCEPTED) &&
            socket_option(fd, SO_TYPE, &type) == 0) {
                struct wire_request request = {
                        .header.type = WIRE_SUSPEND,
                        .service_id = endpoint.connector.ephemeral_id,
                        .socket_type = (uint32_t)type,
                        .flags = (endpoint.role == ROLE_ACCEPTED ? WIRE_SUSPEND_FROM_ACCEPTOR : 0) |
                                 (survives ? WIRE_SUSPEND_SURVIVES : 0),
                };
                (void)control_ask(&request, -1, 0, &reply);
        }
        errno = error;
}

void suspend_channel_begins(int fd) {
        struct socket_state state;
        state_read(fd, &state);
        if (state.flags & STATE_CONNECTED_SUSPEND)
                suspend_changed(fd, true);
}

void suspend_accepted(int listener_fd, int fd) {
        struct socket_state state;
        state_read(listener_fd, &state);
        if (state.flags & STATE_CONNECTED_SUSPEND && state_set(fd, STATE_CONNECTED_SUSPEND) == 0)
                suspend_changed(fd, true);
}
