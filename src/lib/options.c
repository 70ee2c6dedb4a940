/* SPDX-License-Identifier: MIT */

/* Socket options and ioctls. */

#include "base/fd.h"
#include "lib/fail.h"
#include "lib/name.h"
#include "lib/revocation.h"
#include "lib/state.h"
#include <hvsock.h>

#include <fcntl.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#define SEND_BUFFER_FLOOR 4096 /* what the cap never goes below */

/* The options of SOL_SOCKET that mean to a Hyper-V socket what they mean to any other. */
static bool is_kernels(int option) {
        switch (option) {
        case SO_SNDBUF:
        case SO_RCVBUF:
        case SO_LINGER:
        case SO_RCVTIMEO:
        case SO_SNDTIMEO:
        case SO_RCVLOWAT:
        case SO_REUSEADDR:
        case SO_KEEPALIVE:
                return true;
        default:
                return false;
        }
}

static bool is_kernels_to_read(int option) {
        return is_kernels(option) || option == SO_TYPE || option == SO_ACCEPTCONN || option == SO_COOKIE ||
               option == SO_SNDLOWAT;
}

static int read_limit(int *ret_limit) {
        int limit;
        FILE *file = fopen("/proc/sys/net/core/wmem_max", "re");
        if (!file)
                return -errno;
        int fields = fscanf(file, "%d", &limit);
        fclose(file);
        if (fields != 1)
                return -EINVAL;
        *ret_limit = limit;
        return 0;
}

/* Half of what the system allows: the other half is kept for the mark that an abort must find room for. */
static int set_send_buffer(int fd, const void *value, socklen_t length) {
        int size, limit = 0;
        if (length < sizeof size)
                return fail(-EINVAL);
        memcpy(&size, value, sizeof size);
        if (!read_limit(&limit)) {
                limit = limit / 2 > SEND_BUFFER_FLOOR ? limit / 2 : SEND_BUFFER_FLOOR;
                size = size < 0 || size > limit ? limit : size;
        }
        return setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static int set_own(int fd, int option, const void *value, socklen_t length) {
        uint32_t number;
        struct endpoint endpoint;
        int r = endpoint_of(fd, &endpoint);
        if (r)
                return fail(r);
        if (length < sizeof number)
                return fail(-EINVAL);
        memcpy(&number, value, sizeof number);
        struct socket_state state = state_get(fd);
        switch (option) {
        case HVSOCKET_CONNECT_TIMEOUT:
                if (number > HVSOCKET_CONNECT_TIMEOUT_MAX)
                        return fail(-EINVAL);
                state.connect_timeout_ms = number;
                break;
        case HVSOCKET_CONTAINER_PASSTHRU:
                state.container_passthru = number;
                break;
        case HVSOCKET_CONNECTED_SUSPEND:
                state.connected_suspend = number;
                break;
        case HVSOCKET_HIGH_VTL:
                return number ? fail(-EOPNOTSUPP) : 0;
        default:
                return fail(-ENOPROTOOPT);
        }
        r = state_set(fd, &state);
        return r ? fail(r) : 0;
}

int hv_setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
        if (!value)
                return fail(-EFAULT);
        if (level == SOL_HVSOCKET)
                return set_own(fd, option, value, length);
        if (level != SOL_SOCKET || !is_kernels(option))
                return fail(-ENOPROTOOPT);
        return option == SO_SNDBUF ? set_send_buffer(fd, value, length) : setsockopt(fd, level, option, value, length);
}

/* Truncated as getsockopt(2) does. */
static int give(const void *value, size_t size, void *ret_value, socklen_t *length) {
        if (*length > size)
                *length = (socklen_t)size;
        memcpy(ret_value, value, *length);
        return 0;
}

static int get_own(int fd, int option, void *ret_value, socklen_t *length) {
        struct endpoint endpoint;
        uint32_t number;
        int r = endpoint_of(fd, &endpoint);
        if (r)
                return fail(r);
        struct socket_state state = state_get(fd);
        switch (option) {
        case HVSOCKET_CONNECT_TIMEOUT:
                number = state.connect_timeout_ms ? state.connect_timeout_ms : HV_CONNECT_TIMEOUT_DEFAULT_MS;
                break;
        case HVSOCKET_CONTAINER_PASSTHRU:
                number = state.container_passthru;
                break;
        case HVSOCKET_CONNECTED_SUSPEND:
                number = state.connected_suspend;
                break;
        case HVSOCKET_HIGH_VTL:
                number = 0;
                break;
        default:
                return fail(-ENOPROTOOPT);
        }
        return give(&number, sizeof number, ret_value, length);
}

/* A connection was made by the broker on the connector's behalf, so the kernel would name the broker. */
static int get_peer_credentials(int fd, void *ret_value, socklen_t *length) {
        struct endpoint endpoint;
        int r = endpoint_of(fd, &endpoint);
        if (r)
                return fail(r);
        if (endpoint.kind != ENDPOINT_ACCEPTED)
                return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret_value, length);
        struct ucred peer = {.pid = (pid_t)endpoint.connector.pid, .uid = endpoint.connector.uid, .gid = endpoint.connector.gid};
        return give(&peer, sizeof peer, ret_value, length);
}

static int get_error(int fd, void *ret_value, socklen_t *length) {
        int r = getsockopt(fd, SOL_SOCKET, SO_ERROR, ret_value, length), error;
        if (!r && *length == sizeof error) {
                memcpy(&error, ret_value, sizeof error);
                if (error == ECONNRESET)
                        state_mark_reset(fd);
        }
        return r;
}

int hv_getsockopt(int fd, int level, int option, void *ret_value, socklen_t *length) {
        static const int domain = AF_HYPERV, protocol = HV_PROTOCOL_RAW;
        struct endpoint endpoint;
        if (!ret_value || !length)
                return fail(-EFAULT);
        if (level == SOL_HVSOCKET)
                return get_own(fd, option, ret_value, length);
        if (level != SOL_SOCKET)
                return fail(-ENOPROTOOPT);
        switch (option) {
        case SO_DOMAIN:
        case SO_PROTOCOL: {
                int r = endpoint_of(fd, &endpoint);
                if (r)
                        return fail(r);
                return give(option == SO_DOMAIN ? &domain : &protocol, sizeof domain, ret_value, length);
        }
        case SO_PEERCRED:
                return get_peer_credentials(fd, ret_value, length);
        case SO_ERROR:
                return get_error(fd, ret_value, length);
        default:
                return is_kernels_to_read(option) ? getsockopt(fd, level, option, ret_value, length) : fail(-ENOPROTOOPT);
        }
}

/* An abort's mark is a byte to the kernel, and none to the caller. */
static int readable_bytes(int fd, int *ret_count) {
        struct pollfd one = {.fd = fd, .events = POLLPRI};
        int count;
        if (ioctl(fd, FIONREAD, &count) < 0)
                return -1;
        if (count > 0 && poll(&one, 1, 0) == 1 && (one.revents & POLLPRI))
                count--;
        *ret_count = count;
        return 0;
}

int hv_ioctl(int fd, unsigned long request, ...) {
        va_list arguments;
        va_start(arguments, request);
        int *argument = va_arg(arguments, int *);
        va_end(arguments);
        if (!argument)
                return fail(-EFAULT);
        revocation_look();
        switch (request) {
        case FIONREAD:
                return readable_bytes(fd, argument);
        case FIONBIO:
        case SIOCOUTQ:
                return ioctl(fd, request, argument);
        default:
                return fail(-ENOTTY);
        }
}
