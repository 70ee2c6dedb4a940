/* SPDX-License-Identifier: MIT */

/*
 * Options. The kernel keeps what it has a place for, SO_LINGER too, which means
 * nothing to it on these sockets and everything to hv_close(). The rest is state.
 */

#include "lib/address.h"
#include "lib/carrier.h"
#include "lib/parked.h"
#include "lib/posix.h"
#include "lib/revocation.h"
#include "lib/ring_transfer.h"
#include "lib/state.h"
#include "lib/suspend.h"
#include <hvsock.h>
#include <limits.h>
#include <string.h>

/* The options that mean to these sockets what they mean to any. Those left out would show, or break, what is inside. */
static bool is_plain_option(int option) {
        return option == SO_LINGER || option == SO_RCVTIMEO || option == SO_SNDTIMEO || option == SO_RCVBUF ||
               option == SO_RCVLOWAT || option == SO_REUSEADDR || option == SO_KEEPALIVE || option == SO_PRIORITY;
}

static bool is_read_only_option(int option) {
        return option == SO_TYPE || option == SO_ACCEPTCONN || option == SO_COOKIE;
}

/*
 * Sets the send buffer to at most a quarter of the most that the kernel gives:
 * it doubles what it is told, and an abort needs room behind a full buffer. A
 * message of HV_SEQPACKET_MAX always fits.
 */
static int set_send_buffer(int fd, int value) {
        int all = INT_MAX, most, type;
        int r = socket_option(fd, SO_TYPE, &type);
        if (r < 0)
                return r;
        if (parked_result(fd) == -EINPROGRESS)
                return -EALREADY;
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &all, sizeof all) < 0)
                return -errno;
        r = socket_option(fd, SO_SNDBUF, &most);
        if (r < 0)
                return r;
        if ((unsigned)value > (unsigned)most / 4) /* negative values are large ones to the kernel, too */
                value = most / 4;
        if (type == SOCK_SEQPACKET && value < (int)(HV_SEQPACKET_MAX + PACKET_OVERHEAD) / 2)
                value = (int)(HV_SEQPACKET_MAX + PACKET_OVERHEAD) / 2;
        if (setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &value, sizeof value) < 0)
                return -errno;
        struct channel *channel = channel_known(fd);
        if (channel && ring_is_for_sending(channel) && socket_option(fd, SO_SNDBUF, &value) == 0)
                ring_set_buffer(channel, (uint32_t)value);
        return 0;
}

static bool is_carrier_option(int option) {
        return option == HVSOCKET_CARRIER || option == HVSOCKET_CARRIER_STATE || option == HVSOCKET_READINESS;
}

static int set_own_option(int fd, int option, uint32_t value) {
        struct socket_state *state;
        if (is_carrier_option(option))
                return carrier_set_option(fd, option, value);
        if (option == HVSOCKET_HIGH_VTL && value)
                return -EOPNOTSUPP;
        if (option == HVSOCKET_CONNECT_TIMEOUT && value > HVSOCKET_CONNECT_TIMEOUT_MAX)
                return -EINVAL;
        int r = state_begin(fd, &state);
        if (r < 0)
                return r;
        if (option == HVSOCKET_CONNECT_TIMEOUT)
                state->connect_timeout_ms = value;
        uint32_t flag = option == HVSOCKET_CONTAINER_PASSTHRU ? STATE_PASSTHRU
                      : option == HVSOCKET_CONNECTED_SUSPEND  ? STATE_CONNECTED_SUSPEND
                                                              : 0;
        bool changes = value ? ~state->flags & flag : state->flags & flag;
        state->flags = value ? state->flags | flag : state->flags & ~flag;
        state_end();
        if (changes && flag == STATE_CONNECTED_SUSPEND)
                suspend_changed(fd, value);
        return 0;
}

static bool is_own_option(int option) {
        return option == HVSOCKET_CONNECT_TIMEOUT || option == HVSOCKET_CONTAINER_PASSTHRU ||
               option == HVSOCKET_CONNECTED_SUSPEND || option == HVSOCKET_HIGH_VTL || is_carrier_option(option);
}

int hv_setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
        int number;
        bool is_number = value && length >= sizeof number;
        if (is_number)
                memcpy(&number, value, sizeof number);
        if (level == SOL_HVSOCKET && is_own_option(option))
                return posix_result(is_number ? set_own_option(fd, option, (uint32_t)number) : -EINVAL);
        if (level == SOL_SOCKET && option == SO_SNDBUF)
                return posix_result(is_number ? set_send_buffer(fd, number) : -EINVAL);
        if (level == SOL_SOCKET && option == SO_LINGER)
                state_some_linger = true;
        if (level == SOL_SOCKET && is_plain_option(option))
                return setsockopt(fd, SOL_SOCKET, option, value, length);
        return posix_result(-ENOPROTOOPT);
}

/* As the kernel gives options: cut to what there is room for. */
static int give(const void *value, size_t size, void *ret_value, socklen_t *length) {
        if (*length > INT_MAX)
                return -EINVAL;
        if (size < *length)
                *length = (socklen_t)size;
        memcpy(ret_value, value, *length);
        return 0;
}

static int give_number(int r, int number, void *ret_value, socklen_t *length) {
        return r < 0 ? r : give(&number, sizeof number, ret_value, length);
}

static int get_own_option(int fd, int option, int *ret) {
        struct socket_state state;
        int type;
        int r = socket_option(fd, SO_TYPE, &type); /* a descriptor of no socket has no state, either */
        if (r < 0)
                return r;
        if (is_carrier_option(option))
                return carrier_get_option(fd, option, ret);
        state_read(fd, &state);
        switch (option) {
        case HVSOCKET_CONNECT_TIMEOUT:
                *ret = state.connect_timeout_ms ? (int)state.connect_timeout_ms : HV_CONNECT_TIMEOUT_DEFAULT_MS;
                break;
        case HVSOCKET_CONTAINER_PASSTHRU:
                *ret = (state.flags & STATE_PASSTHRU) != 0;
                break;
        case HVSOCKET_CONNECTED_SUSPEND:
                *ret = (state.flags & STATE_CONNECTED_SUSPEND) != 0;
                break;
        default:
                *ret = 0;
        }
        return 0;
}

/* A reset that is read as the error is still one to the data calls; of a connect that was under way it says why. */
static int get_error(int fd, int *ret) {
        revocation_check();
        int r = socket_option(fd, SO_ERROR, ret);
        if (r < 0)
                return r;
        int parked = parked_result(fd);
        if (parked < 0 && parked != -EINPROGRESS && (state_take(fd, STATE_CONNECTING) || *ret == ECONNRESET)) {
                *ret = -parked;
                return state_set(fd, STATE_RESET);
        }
        return *ret == ECONNRESET ? state_set(fd, STATE_RESET) : 0;
}

/* On SOCK_SEQPACKET: the longest message. */
static int get_send_buffer(int fd, int *ret) {
        int type;
        int r = socket_option(fd, SO_TYPE, &type);
        if (!r && !ring_get_buffer(channel_known(fd), ret))
                r = socket_option(fd, SO_SNDBUF, ret);
        if (!r && type == SOCK_SEQPACKET)
                *ret -= (int)PACKET_OVERHEAD;
        return r;
}

/* An acceptor's peer is in its name; a connector's, the kernel knows. */
static int get_peer_credentials(int fd, void *ret_value, socklen_t *length) {
        struct endpoint endpoint;
        int r = endpoint_read(fd, &endpoint);
        if (r < 0)
                return r;
        if (endpoint.role != ROLE_CONNECTOR && endpoint.role != ROLE_ACCEPTED)
                return -ENOTCONN;
        if (endpoint.role == ROLE_CONNECTOR)
                return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_value, length) < 0 ? -errno : 0;
        struct ucred peer = {
                .pid = (pid_t)endpoint.connector.pid, .uid = endpoint.connector.uid, .gid = endpoint.connector.gid};
        return give(&peer, sizeof peer, ret_value, length);
}

static int get_socket_option(int fd, int option, void *ret_value, socklen_t *length) {
        int number, r;
        switch (option) {
        case SO_ERROR:
                r = get_error(fd, &number);
                break;
        case SO_SNDBUF:
                r = get_send_buffer(fd, &number);
                break;
        case SO_DOMAIN:
        case SO_PROTOCOL:
                r = socket_option(fd, option, &number);
                number = option == SO_DOMAIN ? AF_HYPERV : HV_PROTOCOL_RAW;
                break;
        case SO_PEERCRED:
                return get_peer_credentials(fd, ret_value, length);
        default:
                if (!is_plain_option(option) && !is_read_only_option(option))
                        return -ENOPROTOOPT;
                return getsockopt(fd, SOL_SOCKET, option, ret_value, length) < 0 ? -errno : 0;
        }
        return give_number(r, number, ret_value, length);
}

int hv_getsockopt(int fd, int level, int option, void *ret_value, socklen_t *length) {
        int number = 0;
        if (!ret_value || !length)
                return posix_result(-EFAULT);
        if (level == SOL_SOCKET)
                return posix_result(get_socket_option(fd, option, ret_value, length));
        if (level == SOL_HVSOCKET && is_own_option(option)) {
                int r = get_own_option(fd, option, &number);
                return posix_result(give_number(r, number, ret_value, length));
        }
        return posix_result(-ENOPROTOOPT);
}
