/* SPDX-License-Identifier: MIT */

/* Making sockets and closing them. */

#include "base/fd.h"
#include "lib/closed.h"
#include "lib/control.h"
#include "lib/fail.h"
#include "lib/name.h"
#include "lib/process_lock.h"
#include "lib/revocation.h"
#include "lib/state.h"
#include <hvsock.h>

#include <string.h>
#include <sys/eventfd.h>

int hv_socket(int domain, int type, int protocol) {
        int flags = type & (SOCK_NONBLOCK | SOCK_CLOEXEC), kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (domain != AF_HYPERV)
                return fail(-EAFNOSUPPORT);
        if (kind != SOCK_STREAM && kind != SOCK_SEQPACKET)
                return fail(-ESOCKTNOSUPPORT);
        if (protocol != HV_PROTOCOL_RAW)
                return fail(-EPROTOTYPE);
        return socket(AF_UNIX, kind | flags, 0);
}

/* Channels that were closed and that the broker was not told of yet. */
static struct process_lock lock;
static struct {
        pid_t pid;
        uint32_t count;
        GUID ids[WIRE_CLOSED_MAX];
} closed;

static void lock_closed(void) {
        bool sound = process_lock(&lock);
        if (!sound || closed.pid != getpid())
                closed.count = 0;
        closed.pid = getpid();
}

/* Moves the list into `request`. */
void closed_take(struct wire_request *request) {
        lock_closed();
        request->closed_count = closed.count;
        memcpy(request->closed, closed.ids, closed.count * sizeof *closed.ids);
        closed.count = 0;
        process_unlock(&lock);
}

static void closed_add(const GUID *ephemeral_id) {
        lock_closed();
        closed.ids[closed.count++] = *ephemeral_id;
        bool full = closed.count == WIRE_CLOSED_MAX;
        process_unlock(&lock);
        if (full) {
                struct wire_request request = {.header.type = WIRE_CLOSED};
                closed_take(&request);
                control_tell(&request);
        }
}

static int send_mark(int fd, int type, int descriptor) {
        bool stream = type == SOCK_STREAM;
        char byte = 'R';
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {.header = {.cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS}};
        memcpy(CMSG_DATA(&control.header), &descriptor, sizeof descriptor);
        struct iovec vector = {.iov_base = &byte, .iov_len = stream};
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        return sendmsg(fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (stream ? MSG_OOB : 0)) < 0 ? -errno : 0;
}

/*
 * Tells the peer that this end goes without having said all. The mark is what
 * libhvsock takes for a reset; a plain reader of a stream does not see it, and
 * takes the empty packet of a SOCK_SEQPACKET for the end. Where the peer's queue
 * is full, hv_setsockopt(SO_SNDBUF) has left room to grow.
 */
static void send_abort(int fd) {
        int type, largest = 1 << 30;
        socklen_t length = sizeof type;
        cleanup(fd_closep) int descriptor = eventfd(0, EFD_CLOEXEC);
        if (descriptor < 0 || getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0)
                return;
        if (send_mark(fd, type, descriptor) == -EAGAIN) {
                (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &largest, sizeof largest);
                (void)send_mark(fd, type, descriptor);
        }
}

static bool wants_abort(int fd) {
        struct linger linger;
        socklen_t length = sizeof linger;
        return getsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, &length) == 0 && linger.l_onoff && linger.l_linger == 0;
}

int hv_close(int fd) {
        struct sockaddr_un own;
        socklen_t length = sizeof own;
        struct connector_name name;
        revocation_look();
        bool is_socket = getsockname(fd, (struct sockaddr *)&own, &length) == 0 && own.sun_family == AF_UNIX;
        bool is_connector = is_socket && !connector_name_decode(&own, length, &name);
        if (is_socket) {
                if (wants_abort(fd) && endpoint_is_connected(fd))
                        send_abort(fd);
                state_forget(fd);
        }
        int r = close(fd), error = errno;
        if (is_connector)
                closed_add(&name.ephemeral_id);
        errno = error;
        return r;
}
