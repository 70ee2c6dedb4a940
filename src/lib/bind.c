/* SPDX-License-Identifier: MIT */

/*
 * Binding and listening.
 *
 * A bind lends the socket to the broker, which gives it its kernel name. A bind
 * to ServiceId zero asks for any service: a random one is set aside here, and
 * the broker hears of it only if the socket goes on to listen, since a socket
 * with a listener's name could not connect any more.
 */

#include "base/guid.h"
#include "lib/control.h"
#include "lib/fail.h"
#include "lib/name.h"
#include "lib/refusal.h"
#include "lib/state.h"
#include <hvsock.h>

static bool is_bound(int fd) {
        struct endpoint endpoint;
        return !endpoint_of(fd, &endpoint) && endpoint.kind == ENDPOINT_LISTENER;
}

static int socket_type(int fd, uint32_t *ret_type) {
        int type;
        socklen_t length = sizeof type;
        if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0)
                return -errno;
        *ret_type = (uint32_t)type;
        return 0;
}

static int bind_through_broker(int fd, const GUID *vm_id, const GUID *service_id, bool passthru) {
        struct wire_request request = {.header.type = WIRE_BIND,
                                       .vm_id = *vm_id,
                                       .service_id = *service_id,
                                       .flags = passthru ? WIRE_BIND_PASSTHRU : 0};
        struct wire_reply reply;
        int r = socket_type(fd, &request.socket_type);
        if (!r)
                r = control_call(&request, fd, control_now_ms() + HV_CONNECT_TIMEOUT_DEFAULT_MS, true, is_bound, &reply);
        if (r)
                return refusal_keep_local(r, r == -ENETDOWN ? "there is no broker" : "the broker did not answer");
        return refusal_keep(&reply);
}

int hv_bind(int fd, const struct sockaddr *address, socklen_t length) {
        SOCKADDR_HV wanted;
        struct endpoint endpoint;
        struct socket_state state;
        int r = endpoint_of(fd, &endpoint);
        if (!r)
                r = address_check(address, length, &wanted);
        if (r)
                return fail(r);
        state = state_get(fd);
        if (endpoint.kind != ENDPOINT_UNBOUND || state.bind_put_off)
                return fail(-EINVAL);
        if (!guid_is_zero(&wanted.ServiceId)) {
                r = bind_through_broker(fd, &wanted.VmId, &wanted.ServiceId, state.container_passthru);
                return r ? fail(r) : 0;
        }
        state.bind_put_off = true;
        state.vm_id = wanted.VmId;
        r = guid_new(&state.service_id);
        if (!r)
                r = state_set(fd, &state);
        return r ? fail(r) : 0;
}

/* A bind that was put off is made good. */
static int bind_now(int fd) {
        struct socket_state state = state_get(fd);
        if (!state.bind_put_off)
                return -EINVAL;
        int r = bind_through_broker(fd, &state.vm_id, &state.service_id, state.container_passthru);
        if (r)
                return r;
        state.bind_put_off = false;
        return state_set(fd, &state);
}

int hv_listen(int fd, int backlog) {
        struct endpoint endpoint;
        int r = endpoint_of(fd, &endpoint);
        if (!r && endpoint.kind == ENDPOINT_UNBOUND) {
                r = bind_now(fd);
                if (!r)
                        r = endpoint_of(fd, &endpoint);
        }
        if (r)
                return fail(r);
        if (endpoint.kind != ENDPOINT_LISTENER || state_get(fd).reset)
                return fail(-EINVAL);
        struct wire_request request = {.header.type = WIRE_LISTEN,
                                       .vm_id = endpoint.listener.vm_id,
                                       .service_id = endpoint.listener.service_id};
        struct wire_reply reply;
        r = control_call(&request, -1, control_now_ms() + HV_CONNECT_TIMEOUT_DEFAULT_MS, true, NULL, &reply);
        if (r)
                return fail(refusal_keep_local(r, r == -ENETDOWN ? "there is no broker" : "the broker did not answer"));
        r = refusal_keep(&reply);
        return r ? fail(r) : listen(fd, backlog);
}
