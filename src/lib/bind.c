/* SPDX-License-Identifier: MIT */

/*
 * hv_bind() and hv_listen(). The broker binds the socket, to a file in its own
 * directory; listening, the backlog and poll are the kernel's. A ServiceId of
 * zero asks for any: that is settled here, and the broker hears of it only if
 * the socket comes to listen.
 */

#include "base/guid.h"
#include "lib/address.h"
#include "lib/control.h"
#include "lib/posix.h"
#include "lib/refusal.h"
#include "lib/state.h"
#include <hvsock.h>

static int ask(struct wire_request *request, int fd, const struct socket_state *state) {
        struct wire_reply reply;
        int r = control_ask(request, fd, state->connect_timeout_ms, &reply);
        if (r < 0)
                refusal_keep(&reply);
        return r;
}

static int bind_for_real(int fd, const GUID *vm_id, const GUID *service_id, const struct socket_state *state) {
        int type;
        int r = socket_option(fd, SO_TYPE, &type);
        if (r < 0)
                return r;
        struct wire_request request = {
                .header.type = WIRE_BIND,
                .vm_id = *vm_id,
                .service_id = *service_id,
                .socket_type = (uint32_t)type,
                .flags = state->flags & STATE_PASSTHRU ? WIRE_BIND_PASSTHRU : 0,
        };
        if (type != SOCK_STREAM && type != SOCK_SEQPACKET)
                return -ESOCKTNOSUPPORT;
        return ask(&request, fd, state);
}

static int bind_here(int fd, const GUID *vm_id) {
        GUID service_id;
        struct socket_state *state;
        int r = guid_new(&service_id);
        if (!r)
                r = state_begin(fd, &state);
        if (r < 0)
                return r;
        state->vm_id = *vm_id;
        state->service_id = service_id;
        state->flags |= STATE_BOUND;
        state_end();
        return 0;
}

static int bind_socket(int fd, const struct sockaddr *address, socklen_t length) {
        SOCKADDR_HV asked;
        struct sockaddr own;
        socklen_t own_length = sizeof own;
        struct socket_state state;
        refusal_clear();
        int r = address_take(address, length, &asked);
        if (r < 0)
                return r;
        if (getsockname(fd, &own, &own_length) < 0)
                return -errno;
        if (own.sa_family != AF_UNIX)
                return -EAFNOSUPPORT;
        state_read(fd, &state);
        if (own_length > sizeof own.sa_family || state.flags & STATE_BOUND || socket_is_connected(fd))
                return -EINVAL;
        if (guid_is_zero(&asked.ServiceId))
                return bind_here(fd, &asked.VmId);
        return bind_for_real(fd, &asked.VmId, &asked.ServiceId, &state);
}

static int listen_on(int fd, int backlog) {
        struct endpoint endpoint;
        struct socket_state state;
        refusal_clear();
        int r = endpoint_read(fd, &endpoint);
        if (r < 0)
                return r;
        state_read(fd, &state);
        if (endpoint.role == ROLE_NEW && state.flags & STATE_BOUND) {
                r = bind_for_real(fd, &state.vm_id, &state.service_id, &state);
                if (!r)
                        r = endpoint_read(fd, &endpoint);
                if (r < 0)
                        return r;
        }
        if (endpoint.role != ROLE_BOUND || state.flags & STATE_RESET)
                return -EINVAL;
        struct wire_request request = {
                .header.type = WIRE_LISTEN,
                .vm_id = endpoint.listener.vm_id,
                .service_id = endpoint.listener.service_id,
        };
        r = ask(&request, -1, &state);
        if (r < 0)
                return r;
        return listen(fd, backlog) < 0 ? -errno : 0;
}

int hv_bind(int fd, const struct sockaddr *address, socklen_t length) {
        return posix_result(bind_socket(fd, address, length));
}

int hv_listen(int fd, int backlog) {
        return posix_result(listen_on(fd, backlog));
}
