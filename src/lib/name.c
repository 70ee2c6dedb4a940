/* SPDX-License-Identifier: MIT */

/* A socket's Hyper-V addresses, read from its kernel names. */

#include "lib/name.h"

#include "base/guid.h"
#include "lib/control.h"
#include "lib/fail.h"
#include "lib/state.h"

#include <errno.h>
#include <string.h>

int endpoint_of(int fd, struct endpoint *ret_endpoint) {
        struct sockaddr_un own, peer;
        socklen_t own_length = sizeof own, peer_length = sizeof peer;
        struct endpoint endpoint = {};
        if (getsockname(fd, (struct sockaddr *)&own, &own_length) < 0)
                return -errno;
        if (own.sun_family != AF_UNIX)
                return -EINVAL;
        bool connected = getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0;
        bool own_is_listener = !listener_name_decode(&own, own_length, &endpoint.listener);
        bool own_is_connector = !own_is_listener && !connector_name_decode(&own, own_length, &endpoint.connector);
        if (own_is_listener) {
                endpoint.kind = ENDPOINT_LISTENER;
                if (connected && connector_name_decode(&peer, peer_length, &endpoint.connector))
                        return -EINVAL;
                if (connected)
                        endpoint.kind = ENDPOINT_ACCEPTED;
        } else if (own_is_connector) {
                endpoint.kind = ENDPOINT_NAMED;
                if (connected && listener_name_decode(&peer, peer_length, &endpoint.listener))
                        return -EINVAL;
                if (connected)
                        endpoint.kind = ENDPOINT_CONNECTOR;
        } else if (own_length > sizeof own.sun_family || connected) {
                return -EINVAL;
        }
        *ret_endpoint = endpoint;
        return 0;
}

bool endpoint_is_connected(int fd) {
        struct sockaddr_un peer;
        socklen_t length = sizeof peer;
        return getpeername(fd, (struct sockaddr *)&peer, &length) == 0;
}

int address_check(const struct sockaddr *address, socklen_t length, SOCKADDR_HV *ret_address) {
        SOCKADDR_HV copy;
        if (!address)
                return -EFAULT;
        if (length >= sizeof address->sa_family && address->sa_family != AF_HYPERV)
                return -EAFNOSUPPORT;
        if (length < sizeof copy)
                return -EINVAL;
        memcpy(&copy, address, sizeof copy);
        if (copy.Reserved)
                return -EINVAL;
        *ret_address = copy;
        return 0;
}

void address_give(const GUID *vm_id, const GUID *service_id, struct sockaddr *ret_address, socklen_t *length) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *vm_id, .ServiceId = *service_id};
        memcpy(ret_address, &address, *length < sizeof address ? *length : sizeof address);
        *length = sizeof address;
}

int hv_getsockname(int fd, struct sockaddr *ret_address, socklen_t *length) {
        struct endpoint endpoint;
        struct hv_partition self;
        if (!ret_address || !length)
                return fail(-EFAULT);
        int r = endpoint_of(fd, &endpoint);
        if (r)
                return fail(r);
        switch (endpoint.kind) {
        case ENDPOINT_LISTENER:
                address_give(&endpoint.listener.vm_id, &endpoint.listener.service_id, ret_address, length);
                return 0;
        case ENDPOINT_ACCEPTED:
                address_give(&endpoint.connector.dial_back_vm_id, &endpoint.listener.service_id, ret_address, length);
                return 0;
        case ENDPOINT_CONNECTOR:
                r = control_self(&self);
                if (r)
                        return fail(r);
                address_give(&self.vm_id, &endpoint.connector.ephemeral_id, ret_address, length);
                return 0;
        case ENDPOINT_UNBOUND:
        case ENDPOINT_NAMED:
                break;
        }
        struct socket_state state = state_get(fd);
        address_give(&state.vm_id, &state.service_id, ret_address, length);
        return 0;
}

int hv_getpeername(int fd, struct sockaddr *ret_address, socklen_t *length) {
        struct endpoint endpoint;
        if (!ret_address || !length)
                return fail(-EFAULT);
        int r = endpoint_of(fd, &endpoint);
        if (r)
                return fail(r);
        if (endpoint.kind == ENDPOINT_CONNECTOR)
                address_give(&endpoint.connector.dialled_vm_id, &endpoint.listener.service_id, ret_address, length);
        else if (endpoint.kind == ENDPOINT_ACCEPTED)
                address_give(&endpoint.connector.dial_back_vm_id, &endpoint.connector.ephemeral_id, ret_address, length);
        else
                return fail(-ENOTCONN);
        return 0;
}
