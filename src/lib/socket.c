/* SPDX-License-Identifier: MIT */

/*
 * The beginning and the end of a socket: hv_socket(), hv_shutdown(), hv_close(),
 * and hv_ioctl().
 *
 * Aborting. AF_UNIX knows no reset that one end can ask for, so an abort is sent
 * as a mark, something that comes with a descriptor, before the close. On a
 * stream it is an out-of-band byte, which a plain reader skips; on SOCK_SEQPACKET
 * an empty packet. It must fit behind whatever fills the buffer: hv_setsockopt()
 * leaves half of what the kernel allows for it.
 */

#include "base/fd.h"
#include "lib/address.h"
#include "lib/carrier.h"
#include "lib/closed.h"
#include "lib/hint.h"
#include "lib/holders.h"
#include "lib/posix.h"
#include "lib/revocation.h"
#include "lib/ring_transfer.h"
#include "lib/state.h"
#include "lib/transfer.h"
#include "lib/wait_set.h"
#include <hvsock.h>
#include <linux/sockios.h>
#include <stdarg.h>
#include <sys/ioctl.h>

int hv_socket(int domain, int type, int protocol) {
        int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC), on = 1;
        if (domain != AF_HYPERV)
                return posix_result(-EAFNOSUPPORT);
        if (kind != SOCK_STREAM && kind != SOCK_SEQPACKET)
                return posix_result(-ESOCKTNOSUPPORT);
        if (protocol != HV_PROTOCOL_RAW)
                return posix_result(-EPROTOTYPE);
        int fd = socket(AF_UNIX, type, 0);
        channel_forget(fd);
        if (fd >= 0 && kind == SOCK_STREAM) {
                (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on); /* so that the peer's abort is seen */
                hint_set(fd, HINT_NEW_STREAM, NULL);
        }
        return fd;
}

int hv_shutdown(int fd, int how) {
        int listening;
        if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
                return posix_result(-EINVAL);
        int r = socket_option(fd, SO_ACCEPTCONN, &listening);
        if (r < 0)
                return posix_result(r);
        if (!listening && !socket_is_connected(fd))
                return posix_result(-ENOTCONN);
        if (how != SHUT_RD && !listening && (r = state_set(fd, STATE_WRITES_SHUT)) < 0)
                return posix_result(r);
        struct channel *channel = listening ? NULL : channel_find(fd);
        if (channel)
                ring_shut(channel, how);
        return shutdown(fd, how);
}

/* Ends it for the other descriptors of this socket too. */
static void abort_channel(int fd) {
        int type;
        if (!socket_is_connected(fd) || socket_option(fd, SO_TYPE, &type) < 0)
                return;
        mark_send(fd, type, holders_flag(fd, SENDS_THROUGH_RING));
        (void)state_set(fd, STATE_RESET);
        (void)shutdown(fd, SHUT_RDWR);
}

static bool wants_abort(int fd) {
        struct linger linger;
        socklen_t size = sizeof linger;
        return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &size) == 0 && linger.l_onoff && !linger.l_linger;
}

/* Whether it is a connector, and of which channel. */
static bool is_connector(int fd, GUID *ret_ephemeral_id) {
        struct sockaddr_un address;
        struct connector_name name;
        socklen_t length = sizeof address;
        enum hint hint = hint_take(fd, ret_ephemeral_id);
        if (hint == HINT_CONNECTOR || hint == HINT_NO_CONNECTOR)
                return hint == HINT_CONNECTOR;
        if (getsockname(fd, (struct sockaddr *)&address, &length) < 0 || connector_name_decode(&address, length, &name) < 0)
                return false;
        *ret_ephemeral_id = name.ephemeral_id;
        return true;
}

int hv_close(int fd) {
        GUID ephemeral_id;
        struct channel *channel = channel_known(fd);
        if (state_some_linger && wants_abort(fd))
                abort_channel(fd);
        else if (channel)
                ring_before_close(channel, fd);
        channel_forget(fd);
        wait_set_forget(fd);
        carrier_disown(fd);
        if (is_connector(fd, &ephemeral_id))
                closed_add(&ephemeral_id);
        return close(fd);
}

/* What comes with a descriptor may be a mark, which is the last byte: an ended peer's, or that of a ring that is awaited. */
static bool may_hold_mark(int fd) {
        int receives;
        return carrier_get_option(fd, HVSOCKET_CARRIER_STATE, &receives) < 0 || receives & HV_RECEIVES_SHM ||
               socket_is_hung_up(fd);
}

/* -EXDEV: it does not come through a ring. */
static int count_in_ring(int fd, int *ret_count) {
        char byte;
        struct channel *channel = channel_find(fd);
        if (channel && channel->holder && !ring_is_for_receiving(channel))
                (void)transfer_peek(fd, &byte, 1); /* a mark that is next is taken */
        return ring_is_for_receiving(channel) ? ring_count_readable(channel, fd, ret_count) : -EXDEV;
}

/* Bytes that a receive can give: what the kernel counts, which is all messages, not the next, and the peer's mark. */
static int count_readable(int fd, int type, int *ret_count) {
        int count;
        if (ioctl(fd, FIONREAD, &count) < 0)
                return -errno;
        if (count > 0 && (type == SOCK_SEQPACKET || may_hold_mark(fd))) {
                cleanup(freep) void *bytes = type == SOCK_STREAM ? malloc((size_t)count) : NULL;
                if (type == SOCK_STREAM && !bytes)
                        return -ENOMEM;
                ssize_t got = transfer_peek(fd, bytes, bytes ? (size_t)count : 0);
                count = got < 0 ? 0 : (int)got;
        }
        *ret_count = count;
        return 0;
}

int hv_ioctl(int fd, unsigned long request, ...) {
        va_list arguments;
        va_start(arguments, request);
        int *value = va_arg(arguments, int *);
        va_end(arguments);
        struct channel *channel;
        int type, r = socket_option(fd, SO_TYPE, &type);
        if (r < 0)
                return posix_result(r);
        switch (request) {
        case FIONREAD:
                revocation_check();
                r = count_in_ring(fd, value);
                return posix_result(r == -EXDEV ? count_readable(fd, type, value) : r);
        case SIOCOUTQ:
                channel = channel_known(fd);
                r = channel ? ring_count_unread(channel, value) : -EXDEV;
                return r == -EXDEV ? ioctl(fd, request, value) : posix_result(r);
        case FIONBIO:
                return ioctl(fd, request, value);
        default:
                return posix_result(-EINVAL);
        }
}
