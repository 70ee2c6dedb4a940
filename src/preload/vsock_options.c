/* SPDX-License-Identifier: MIT */

/* getsockopt(2) and setsockopt(2) of AF_VSOCK sockets. */

#include "preload/vsock_options.h"

#include "broker/verdict.h"
#include "lib/state.h"
#include "preload/errors.h"
#include "preload/vsock.h"
#include <errno.h>
#include <hvsock.h>
#include <limits.h>
#include <linux/vm_sockets.h>
#include <string.h>

#define BUFFER_SIZE_MIN_DEFAULT 128u
#define SECONDS_MAX (INT64_MAX / 1000) /* what the kernel's clock can count is of this order */

static const struct vsock_options defaults = {
        .buffer_size = VSOCK_BUFFER_SIZE,
        .buffer_min = BUFFER_SIZE_MIN_DEFAULT,
        .buffer_max = VSOCK_BUFFER_SIZE,
        .timeout_seconds = HV_CONNECT_TIMEOUT_DEFAULT_MS / 1000,
};

static void options_read(int fd, struct vsock_options *ret) {
        struct socket_state state;
        state_read(fd, &state);
        *ret = state.flags & STATE_VSOCK_OPTIONS ? state.vsock : defaults;
}

static int options_write(int fd, const struct vsock_options *options) {
        struct socket_state *state;
        int r = state_begin(fd, &state);
        if (r < 0)
                return r;
        state->vsock = *options;
        state->flags |= STATE_VSOCK_OPTIONS;
        state_end();
        return 0;
}

void vsock_options_inherit(int listener_fd, int fd) {
        struct socket_state state;
        state_read(listener_fd, &state);
        if (state.flags & STATE_VSOCK_OPTIONS)
                (void)options_write(fd, &state.vsock);
}

/* ---- the level AF_VSOCK ---- */

struct old_timeval {
        long seconds, microseconds;
};
struct new_timeval {
        int64_t seconds, microseconds;
};

static int set_timeout(int fd, struct vsock_options *options, const struct new_timeval *timeout) {
        if (timeout->seconds < 0 || timeout->seconds >= SECONDS_MAX || timeout->microseconds < 0 || timeout->microseconds >= 1000000)
                return -ERANGE;
        options->timeout_seconds = timeout->seconds;
        options->timeout_microseconds = timeout->microseconds;
        if (!timeout->seconds && !timeout->microseconds)
                options->timeout_seconds = defaults.timeout_seconds;
        int64_t most = HVSOCKET_CONNECT_TIMEOUT_MAX / 1000;
        uint32_t milliseconds = options->timeout_seconds >= most
                                        ? HVSOCKET_CONNECT_TIMEOUT_MAX
                                        : (uint32_t)(options->timeout_seconds * 1000 + (options->timeout_microseconds + 999) / 1000);
        return hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &milliseconds, sizeof milliseconds) < 0 ? -errno : 0;
}

/* `value` is of at least `length` bytes. */
static int take_timeout(int option, const void *value, socklen_t length, struct new_timeval *ret) {
        struct old_timeval old;
        if (option == SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW) {
                if (length < sizeof *ret)
                        return -EINVAL;
                memcpy(ret, value, sizeof *ret);
                return 0;
        }
        if (length < sizeof old)
                return -EINVAL;
        memcpy(&old, value, sizeof old);
        *ret = (struct new_timeval){old.seconds, old.microseconds};
        return 0;
}

static void clamp(struct vsock_options *options, uint64_t size) {
        if (size > options->buffer_max)
                size = options->buffer_max;
        if (size < options->buffer_min)
                size = options->buffer_min;
        options->buffer_size = size;
}

static int set_buffer(struct vsock_options *options, int option, const void *value, socklen_t length) {
        uint64_t size;
        if (length < sizeof size)
                return -EINVAL;
        memcpy(&size, value, sizeof size);
        if (option == SO_VM_SOCKETS_BUFFER_MIN_SIZE)
                options->buffer_min = size;
        if (option == SO_VM_SOCKETS_BUFFER_MAX_SIZE)
                options->buffer_max = size;
        clamp(options, option == SO_VM_SOCKETS_BUFFER_SIZE ? size : options->buffer_size);
        return 0;
}

static int set_vsock_option(int fd, int option, const void *value, socklen_t length) {
        struct vsock_options options;
        struct new_timeval timeout;
        int r;
        options_read(fd, &options);
        switch (option) {
        case SO_VM_SOCKETS_BUFFER_SIZE:
        case SO_VM_SOCKETS_BUFFER_MIN_SIZE:
        case SO_VM_SOCKETS_BUFFER_MAX_SIZE:
                r = set_buffer(&options, option, value, length);
                break;
        case SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD:
        case SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW:
                r = take_timeout(option, value, length, &timeout);
                if (!r)
                        r = set_timeout(fd, &options, &timeout);
                break;
        default:
                return -ENOPROTOOPT;
        }
        return r < 0 ? r : options_write(fd, &options);
}

/* As AF_VSOCK gives options: never cut. */
static int give_whole(const void *value, size_t size, void *ret_value, socklen_t *length) {
        if (*length > INT_MAX || *length < size)
                return -EINVAL;
        memcpy(ret_value, value, size);
        *length = (socklen_t)size;
        return 0;
}

static int get_vsock_option(int fd, int option, void *ret_value, socklen_t *length) {
        struct vsock_options options;
        options_read(fd, &options);
        const struct old_timeval old = {(long)options.timeout_seconds, (long)options.timeout_microseconds};
        const struct new_timeval new = {options.timeout_seconds, options.timeout_microseconds};
        switch (option) {
        case SO_VM_SOCKETS_BUFFER_SIZE:
                return give_whole(&options.buffer_size, sizeof options.buffer_size, ret_value, length);
        case SO_VM_SOCKETS_BUFFER_MIN_SIZE:
                return give_whole(&options.buffer_min, sizeof options.buffer_min, ret_value, length);
        case SO_VM_SOCKETS_BUFFER_MAX_SIZE:
                return give_whole(&options.buffer_max, sizeof options.buffer_max, ret_value, length);
        case SO_VM_SOCKETS_CONNECT_TIMEOUT_OLD:
                return give_whole(&old, sizeof old, ret_value, length);
        case SO_VM_SOCKETS_CONNECT_TIMEOUT_NEW:
                return give_whole(&new, sizeof new, ret_value, length);
        default:
                return -ENOPROTOOPT;
        }
}

/* ---- SOL_SOCKET ---- */

/* Those in which something is kept, or that would show, or bring, what AF_VSOCK has not: credentials, descriptors. */
static bool is_hidden(int option) {
        static const int hidden[] = {
                SO_MAX_PACING_RATE, SO_INCOMING_CPU, SO_DONTROUTE, SO_BROADCAST, SO_NOFCS, SO_OOBINLINE,
                SO_PASSCRED, SO_PASSSEC, SO_PEERSEC, SO_PEERGROUPS, SO_PEEK_OFF,
                76, 77, 83, /* SO_PASSPIDFD, SO_PEERPIDFD and SO_PASSRIGHTS, which are younger than some headers */
        };
        for (size_t i = 0; i < sizeof hidden / sizeof *hidden; i++)
                if (option == hidden[i])
                        return true;
        return false;
}

/* What became of a connect is told once, and then no more. */
static int get_error(int fd, struct mark *mark, int *ret_error) {
        socklen_t size = sizeof *ret_error;
        if (mark->error) {
                *ret_error = mark->error;
                mark->error = 0;
                return mark_write(fd, mark);
        }
        if (hv_getsockopt(fd, SOL_SOCKET, SO_ERROR, ret_error, &size) < 0)
                return -errno;
        *ret_error = vsock_error(VSOCK_CONNECT, *ret_error, *ret_error == EINVAL ? RULE_DISABLED : RULE_NO_LISTENER);
        return 0;
}

/* As the kernel gives these: cut to what there is room for. */
static int give_number(int number, void *ret_value, socklen_t *length) {
        if (*length > INT_MAX)
                return -EINVAL;
        if (*length > sizeof number)
                *length = sizeof number;
        memcpy(ret_value, &number, *length);
        return 0;
}

/* As the kernel gives this one: whole or cut, never of more than there is. */
static int give_peer_name(int fd, void *ret_value, const socklen_t *length) {
        struct sockaddr_vm peer;
        socklen_t size = sizeof peer;
        if (*length > INT_MAX)
                return -EINVAL;
        int r = vsock_getpeername(fd, (struct sockaddr *)&peer, &size);
        if (!r && *length > size)
                r = -EINVAL;
        if (!r)
                memcpy(ret_value, &peer, *length);
        return r;
}

int vsock_getsockopt(int fd, struct mark *mark, int level, int option, void *ret_value, socklen_t *length) {
        int number, r;
        if (!ret_value || !length)
                return -EFAULT;
        if (level == AF_VSOCK)
                return get_vsock_option(fd, option, ret_value, length);
        if (level != SOL_SOCKET || is_hidden(option))
                return -ENOPROTOOPT;
        switch (option) {
        case SO_ERROR:
                r = get_error(fd, mark, &number);
                return r < 0 ? r : give_number(number, ret_value, length);
        case SO_DOMAIN:
                return give_number(AF_VSOCK, ret_value, length);
        case SO_PEERNAME:
                return give_peer_name(fd, ret_value, length);
        case SO_PEERCRED:
                return hv_getsockopt(fd, level, option, ret_value, length) < 0 ? -errno : 0;
        default:
                return getsockopt(fd, level, option, ret_value, length) < 0 ? -errno : 0;
        }
}

int vsock_setsockopt(int fd, int level, int option, const void *value, socklen_t length) {
        if (!value && length)
                return -EFAULT;
        if (level == AF_VSOCK)
                return set_vsock_option(fd, option, value, length);
        if (level != SOL_SOCKET || is_hidden(option))
                return -ENOPROTOOPT;
        if (option == SO_SNDBUF)
                return hv_setsockopt(fd, level, option, value, length) < 0 ? -errno : 0;
        return setsockopt(fd, level, option, value, length) < 0 ? -errno : 0;
}
