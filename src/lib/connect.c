/* SPDX-License-Identifier: MIT */

/*
 * hv_connect(). The broker names the socket and connects it, so that when its
 * answer is there, so is the channel; the library's part is to ask, and to tell
 * apart what the kernel's one EINVAL can mean.
 */

#include "lib/address.h"
#include "lib/closed.h"
#include "lib/control.h"
#include "lib/posix.h"
#include "lib/refusal.h"
#include "lib/state.h"
#include <hvsock.h>

static int connect_socket(int fd, const struct sockaddr *address, socklen_t length) {
        SOCKADDR_HV asked;
        struct socket_state state;
        struct wire_reply reply;
        int type;
        refusal_clear();
        int r = address_take(address, length, &asked);
        if (!r)
                r = socket_option(fd, SO_TYPE, &type);
        if (r < 0)
                return r;
        if (type != SOCK_STREAM && type != SOCK_SEQPACKET)
                return -ESOCKTNOSUPPORT;
        state_read(fd, &state);
        struct wire_request request = {
                .header.type = WIRE_CONNECT,
                .vm_id = asked.VmId,
                .service_id = asked.ServiceId,
                .socket_type = (uint32_t)type,
                .flags = state.flags & STATE_PASSTHRU ? WIRE_CONNECT_PASSTHRU : 0,
        };
        closed_take(&request);
        r = control_ask(&request, fd, state.connect_timeout_ms, &reply);
        if (!reply.error)
                return r;
        if (socket_is_connected(fd))
                return -EISCONN; /* before, or by another thread: whatever the broker thinks of the address */
        refusal_keep(&reply);
        return r;
}

int hv_connect(int fd, const struct sockaddr *address, socklen_t length) {
        return posix_result(connect_socket(fd, address, length));
}
