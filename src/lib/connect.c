/* SPDX-License-Identifier: MIT */

/*
 * Connecting.
 *
 * One request to the broker, which names the socket and connects it to the
 * listener; when the answer is here, the socket is connected, also a
 * non-blocking one: nothing is left to wait for. The call is not interrupted by
 * signals; its time-out bounds it.
 */

#include "base/guid.h"
#include "lib/closed.h"
#include "lib/control.h"
#include "lib/fail.h"
#include "lib/name.h"
#include "lib/refusal.h"
#include "lib/state.h"
#include <hvsock.h>

#include <fcntl.h>

/* A mark in the stream must be read in line, or it would be lost. */
static void read_marks_in_line(int fd) {
        int one = 1;
        (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &one, sizeof one);
}

static int connect_through_broker(int fd, const SOCKADDR_HV *to, uint32_t type, const struct socket_state *state) {
        uint32_t timeout_ms = state->connect_timeout_ms ? state->connect_timeout_ms : HV_CONNECT_TIMEOUT_DEFAULT_MS;
        struct wire_request request = {.header.type = WIRE_CONNECT,
                                       .vm_id = to->VmId,
                                       .service_id = to->ServiceId,
                                       .socket_type = type,
                                       .flags = state->container_passthru ? WIRE_CONNECT_PASSTHRU : 0};
        struct wire_reply reply;
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0)
                return -errno;
        closed_take(&request);
        int r = control_call(&request, fd, control_now_ms() + timeout_ms, !(flags & O_NONBLOCK), endpoint_is_connected, &reply);
        switch (r) {
        case 0:
                return refusal_keep(&reply);
        case -ENETDOWN:
                return refusal_keep_local(r, "there is no broker");
        case -EAGAIN:
                return refusal_keep_local(r, "the broker is restarting, and a non-blocking socket does not wait for it");
        case -ETIMEDOUT:
                return refusal_keep_local(r, "the broker did not answer in time");
        default:
                return refusal_keep_local(r, "the broker cannot be asked");
        }
}

int hv_connect(int fd, const struct sockaddr *address, socklen_t length) {
        SOCKADDR_HV to;
        struct endpoint endpoint;
        int type, r = endpoint_of(fd, &endpoint);
        socklen_t type_length = sizeof type;
        if (!r)
                r = address_check(address, length, &to);
        if (!r && getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &type_length) < 0)
                r = -errno;
        if (r)
                return fail(r);
        if (endpoint.kind == ENDPOINT_CONNECTOR || endpoint.kind == ENDPOINT_ACCEPTED)
                return fail(-EISCONN);
        if (endpoint.kind == ENDPOINT_LISTENER)
                return fail(-EINVAL);
        struct socket_state state = state_get(fd);
        r = connect_through_broker(fd, &to, (uint32_t)type, &state);
        if (r)
                return fail(r);
        read_marks_in_line(fd);
        return 0;
}
