/* SPDX-License-Identifier: MIT */

/*
 * hv_connect(). The broker names the socket and connects it, so that when its
 * answer is there, so is the channel. The socket is lent non-blocking: the broker
 * would have to make it so itself, and every other client waits for the broker.
 * Only what has to wait for a guest, and must not, goes on behind the answer: see
 * parked.h.
 */

#include "lib/connect.h"

#include "lib/address.h"
#include "lib/carrier.h"
#include "lib/closed.h"
#include "lib/control.h"
#include "lib/hint.h"
#include "lib/parked.h"
#include "lib/posix.h"
#include "lib/refusal.h"
#include "lib/state.h"
#include "lib/suspend.h"
#include <fcntl.h>
#include <hvsock.h>
#include <sys/ioctl.h>

/*
 * The type of a socket that is not connected; -EISCONN for one that is, or was.
 * One call tells a new stream from all others: its receive fails with EINVAL.
 */
static int unconnected_type(int fd, int *ret_type) {
        if (recv(fd, NULL, 0, MSG_PEEK | MSG_DONTWAIT) < 0) {
                if (errno == EINVAL) {
                        *ret_type = SOCK_STREAM;
                        return 0;
                }
                if (errno == ECONNRESET) /* the kernel says so once */
                        (void)state_set(fd, STATE_RESET);
        }
        int r = socket_option(fd, SO_TYPE, ret_type);
        if (r < 0)
                return r;
        if (*ret_type != SOCK_STREAM && *ret_type != SOCK_SEQPACKET)
                return -ESOCKTNOSUPPORT;
        return socket_is_connected(fd) ? -EISCONN : 0;
}

void connect_give_edge(int fd) {
        int size;
        if (socket_option(fd, SO_SNDBUF, &size) < 0)
                return;
        size /= 2; /* the kernel doubles what it is told */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static int lend(int fd, struct wire_request *request, uint32_t timeout_ms, struct wire_reply *ret_reply) {
        int flags = fcntl(fd, F_GETFL);
        if (flags < 0)
                return -errno;
        bool blocks = !(flags & O_NONBLOCK);
        int yes = 1, no = 0;
        if (blocks)
                (void)ioctl(fd, FIONBIO, &yes);
        else if (!timeout_ms || timeout_ms > HV_CONNECT_NONBLOCKING_MS)
                timeout_ms = HV_CONNECT_NONBLOCKING_MS;
        if (blocks)
                request->flags &= ~WIRE_CONNECT_SURVIVES_PAUSE;
        else
                request->flags |= WIRE_CONNECT_MAY_PARK;
        int r = control_ask(request, fd, timeout_ms, ret_reply);
        if (blocks)
                (void)ioctl(fd, FIONBIO, &no);
        else if (!r && !(r = parked_result(fd)))
                connect_give_edge(fd);
        return r;
}

static int ask(int fd, int type, const SOCKADDR_HV *address, struct wire_reply *ret_reply) {
        struct socket_state state;
        state_read(fd, &state);
        struct wire_request request = {
                .header.type = WIRE_CONNECT,
                .vm_id = address->VmId,
                .service_id = address->ServiceId,
                .socket_type = (uint32_t)type,
                .flags = (state.flags & STATE_PASSTHRU ? WIRE_CONNECT_PASSTHRU : 0) |
                         (state.flags & STATE_CONNECTED_SUSPEND ? WIRE_CONNECT_SURVIVES_PAUSE : 0),
        };
        closed_take(&request);
        int r = lend(fd, &request, state.connect_timeout_ms, ret_reply);
        if (ret_reply->header.type != (WIRE_CONNECT | WIRE_REPLY)) /* a refused hello's has another */
                closed_give_back(&request);
        if (!r || r == -EINPROGRESS)
                hint_set(fd, ret_reply->header.type ? HINT_CONNECTOR : HINT_NONE, &ret_reply->service_id);
        return r;
}

/* A socket that is connected, or was: what became of a connect that was under way, told once. */
static int connect_again(int fd) {
        int r = parked_result(fd);
        if (r == -EINPROGRESS)
                return -EALREADY;
        return !state_take(fd, STATE_CONNECTING) ? -EISCONN : r;
}

static int connect_socket(int fd, const struct sockaddr *address, socklen_t length) {
        SOCKADDR_HV asked;
        struct wire_reply reply = {};
        int type = SOCK_STREAM;
        refusal_clear();
        int r = address_take(address, length, &asked);
        if (!r && !hint_is_new_stream(fd))
                r = unconnected_type(fd, &type);
        if (r == -EISCONN)
                return connect_again(fd);
        if (r < 0)
                return r;
        r = ask(fd, type, &asked, &reply);
        if (reply.error) {
                int asked_as = type, not_new = unconnected_type(fd, &type);
                if (not_new < 0)
                        return not_new; /* the hint spoke of another, or another thread was quicker */
                if (type != asked_as)
                        r = ask(fd, type, &asked, &reply);
        }
        if (r == -EINPROGRESS) {
                (void)state_set(fd, STATE_CONNECTING);
                carrier_own(fd);
                return r;
        }
        if (r < 0) {
                refusal_keep(&reply);
                return r;
        }
        carrier_own(fd);
        suspend_channel_begins(fd);
        return 0;
}

int hv_connect(int fd, const struct sockaddr *address, socklen_t length) {
        return posix_result(connect_socket(fd, address, length));
}
