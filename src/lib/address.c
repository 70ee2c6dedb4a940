/* SPDX-License-Identifier: MIT */

/*
 * Addresses, and hv_getsockname() and hv_getpeername(). A socket's kernel names
 * say all there is to say, so the two work on inherited and passed descriptors.
 */

#include "lib/address.h"

#include "lib/posix.h"
#include "lib/state.h"
#include <hvsock.h>
#include <string.h>

int address_take(const struct sockaddr *address, socklen_t length, SOCKADDR_HV *ret) {
        SOCKADDR_HV taken;
        if (!address || length < sizeof taken || length > INT32_MAX)
                return -EINVAL;
        memcpy(&taken, address, sizeof taken);
        if (taken.Family != AF_HYPERV)
                return -EAFNOSUPPORT;
        if (taken.Reserved)
                return -EINVAL;
        *ret = taken;
        return 0;
}

int address_give(const GUID *vm_id, const GUID *service_id, struct sockaddr *ret_address, socklen_t *length) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *vm_id, .ServiceId = *service_id};
        if (!ret_address)
                return 0;
        if (!length || *length > INT32_MAX)
                return -EINVAL;
        memcpy(ret_address, &address, *length < sizeof address ? *length : sizeof address);
        *length = sizeof address;
        return 0;
}

int socket_is_connected(int fd) {
        struct sockaddr address;
        socklen_t length = sizeof address;
        return getpeername(fd, &address, &length) == 0;
}

int socket_option(int fd, int option, int *ret_value) {
        socklen_t size = sizeof *ret_value;
        return getsockopt(fd, SOL_SOCKET, option, ret_value, &size) < 0 ? -errno : 0;
}

int socket_cookie(int fd, uint64_t *ret) {
        socklen_t size = sizeof *ret;
        return getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret, &size) < 0 ? -errno : 0;
}

int endpoint_read(int fd, struct endpoint *ret) {
        struct endpoint endpoint = {.role = ROLE_NEW};
        struct sockaddr_un own, peer;
        socklen_t own_length = sizeof own, peer_length = sizeof peer;
        if (getsockname(fd, (struct sockaddr *)&own, &own_length) < 0)
                return -errno;
        bool is_connected = getpeername(fd, (struct sockaddr *)&peer, &peer_length) == 0;
        if (connector_name_decode(&own, own_length, &endpoint.connector) == 0) {
                if (is_connected && listener_name_decode(&peer, peer_length, &endpoint.listener) == 0)
                        endpoint.role = ROLE_CONNECTOR;
        } else if (listener_name_decode(&own, own_length, &endpoint.listener) == 0) {
                endpoint.role = ROLE_BOUND;
                if (is_connected && connector_name_decode(&peer, peer_length, &endpoint.connector) == 0)
                        endpoint.role = ROLE_ACCEPTED;
        } else if (own.sun_family != AF_UNIX || own_length > sizeof own.sun_family) {
                return -EINVAL;
        }
        *ret = endpoint;
        return 0;
}

static int own_name(int fd, struct sockaddr *ret_address, socklen_t *length) {
        struct endpoint endpoint;
        struct socket_state state;
        int r = endpoint_read(fd, &endpoint);
        if (r < 0)
                return r;
        switch (endpoint.role) {
        case ROLE_BOUND:
                return address_give(&endpoint.listener.vm_id, &endpoint.listener.service_id, ret_address, length);
        case ROLE_CONNECTOR:
                return address_give(&endpoint.connector.dial_back_vm_id, &endpoint.connector.ephemeral_id, ret_address, length);
        case ROLE_ACCEPTED:
                return address_give(&endpoint.connector.dial_back_vm_id, &endpoint.listener.service_id, ret_address, length);
        default:
                state_read(fd, &state); /* zeros unless bound here alone */
                return address_give(&state.vm_id, &state.service_id, ret_address, length);
        }
}

static int peer_name(int fd, struct sockaddr *ret_address, socklen_t *length) {
        struct endpoint endpoint;
        int r = endpoint_read(fd, &endpoint);
        if (r < 0)
                return r;
        switch (endpoint.role) {
        case ROLE_CONNECTOR:
                return address_give(&endpoint.connector.dialled_vm_id, &endpoint.listener.service_id, ret_address, length);
        case ROLE_ACCEPTED:
                return address_give(&endpoint.connector.dial_back_vm_id, &endpoint.connector.ephemeral_id, ret_address, length);
        default:
                return -ENOTCONN;
        }
}

int hv_getsockname(int fd, struct sockaddr *ret_address, socklen_t *length) {
        return posix_result(ret_address ? own_name(fd, ret_address, length) : -EFAULT);
}

int hv_getpeername(int fd, struct sockaddr *ret_address, socklen_t *length) {
        return posix_result(ret_address ? peer_name(fd, ret_address, length) : -EFAULT);
}
