/* SPDX-License-Identifier: MIT */

/* The calls on AF_VSOCK sockets. */

#include "preload/vsock.h"

#include "base/fd.h"
#include "base/guid.h"
#include "lib/address.h"
#include "lib/connect.h"
#include "preload/cid.h"
#include "preload/errors.h"
#include "preload/vsock_address.h"
#include "preload/vsock_options.h"
#include "ring/marks.h"
#include <errno.h>
#include <fcntl.h>
#include <hvsock.h>
#include <linux/capability.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LAST_RESERVED_PORT 1023u

/* As AF_VSOCK has it by default. The kernel doubles what SO_SNDBUF is told, and takes its overhead from that. */
static const int longest_message = (int)(VSOCK_BUFFER_SIZE + PACKET_OVERHEAD) / 2;

int socket_begins(int fd, const struct mark *mark) {
        int off = 0, type;
        (void)setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &off, sizeof off); /* a peer's abort is no byte to who reads plainly */
        if (mark->flags & MARK_VSOCK && socket_option(fd, SO_TYPE, &type) == 0 && type == SOCK_SEQPACKET)
                (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &longest_message, sizeof longest_message);
        return mark_write(fd, mark);
}

/* -errno as AF_VSOCK's callers know it, of a call of libhvsock's that failed with errno. */
static int failed(enum vsock_call call) {
        int error = errno;
        struct hv_refusal refusal = {.struct_size = sizeof refusal};
        return -vsock_error(call, error, hv_last_refusal(&refusal) == 0 ? refusal.rule : 0);
}

int vsock_socket(int type, int protocol) {
        int kind = type & ~(SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (kind & ~0xf || kind >= SOCK_PACKET + 1)
                return -EINVAL;
        if (protocol && protocol != AF_VSOCK)
                return -EPROTONOSUPPORT;
        if (kind == SOCK_DGRAM)
                return -ENODEV; /* as a kernel none of whose transports has datagrams */
        if (kind != SOCK_STREAM && kind != SOCK_SEQPACKET)
                return -ESOCKTNOSUPPORT;
        cleanup(fd_closep) int fd = hv_socket(AF_HYPERV, type, HV_PROTOCOL_RAW);
        int r = fd < 0 ? -errno : socket_begins(fd, &(struct mark){.flags = MARK_VSOCK});
        return r < 0 ? r : fd_take(fd);
}

static bool may_bind_reserved_ports(void) {
        struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
        struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {};
        return syscall(SYS_capget, &header, sets) == 0 && sets[0].effective & 1u << CAP_NET_BIND_SERVICE;
}

static int bind_to(int fd, const GUID *vm_id, uint32_t port, enum vsock_call call) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *vm_id};
        if (hv_service_from_port(port, &address.ServiceId) < 0)
                return -EADDRNOTAVAIL;
        return hv_bind(fd, (const struct sockaddr *)&address, sizeof address) < 0 ? failed(call) : 0;
}

/* Where connections to this CID come from. `ret_flags` are those of the mark that say so. */
static int bindable(uint32_t cid, GUID *ret_vm_id, uint8_t *ret_flags) {
        uint32_t own;
        *ret_vm_id = cid == VMADDR_CID_LOCAL ? HV_GUID_LOOPBACK : HV_GUID_WILDCARD;
        *ret_flags = cid == VMADDR_CID_LOCAL ? MARK_BOUND_LOCAL : cid == VMADDR_CID_ANY ? 0 : MARK_BOUND_OWN;
        if (cid == VMADDR_CID_LOCAL || cid == VMADDR_CID_ANY)
                return 0;
        return cid_own(&own) < 0 || own != cid ? -EADDRNOTAVAIL : 0;
}

/*
 * A port that nobody gave is not asked for at the broker: one of two thousand
 * million is free, and a socket that never listens may connect.
 */
static uint32_t choose_port(void) {
        uint32_t port;
        do
                port = getrandom(&port, sizeof port, 0) == sizeof port ? port & HV_PORT_MAX : 0;
        while (port <= LAST_RESERVED_PORT);
        return port;
}

int vsock_bind(int fd, struct mark *mark, const struct sockaddr *address, socklen_t length) {
        struct sockaddr_vm asked;
        struct endpoint endpoint;
        GUID vm_id;
        uint8_t flags = 0;
        int r = vsock_address_take(address, length, &asked);
        if (!r)
                r = endpoint_read(fd, &endpoint);
        if (!r && (endpoint.role != ROLE_NEW || mark->flags & MARK_CHOSEN))
                r = -EINVAL;
        if (!r)
                r = bindable(asked.svm_cid, &vm_id, &flags);
        if (r < 0)
                return r;
        mark->flags |= flags;
        if (asked.svm_port == VMADDR_PORT_ANY) {
                mark->flags |= MARK_CHOSEN;
                mark->port = choose_port();
                return mark_write(fd, mark);
        }
        if (asked.svm_port <= LAST_RESERVED_PORT && !may_bind_reserved_ports())
                return -EACCES;
        r = bind_to(fd, &vm_id, asked.svm_port, VSOCK_BIND);
        return r < 0 ? r : mark_write(fd, mark);
}

int vsock_listen(int fd, struct mark *mark, int backlog) {
        struct endpoint endpoint;
        int r = endpoint_read(fd, &endpoint);
        if (r < 0)
                return r;
        if (endpoint.role == ROLE_NEW && mark->flags & MARK_CHOSEN) {
                r = bind_to(fd, mark->flags & MARK_BOUND_LOCAL ? &HV_GUID_LOOPBACK : &HV_GUID_WILDCARD, mark->port, VSOCK_LISTEN);
                if (r < 0)
                        return r;
                mark->flags &= (uint8_t)~MARK_CHOSEN;
                if ((r = mark_write(fd, mark)) < 0)
                        return r;
        }
        return hv_listen(fd, backlog) < 0 ? failed(VSOCK_LISTEN) : 0;
}

int vsock_accept(int fd, const struct mark *mark, struct sockaddr *ret_address, socklen_t *length, int flags) {
        SOCKADDR_HV peer;
        socklen_t peer_length = sizeof peer;
        cleanup(fd_closep) int accepted = hv_accept4(fd, (struct sockaddr *)&peer, &peer_length, flags);
        if (accepted < 0)
                return -errno;
        int r = socket_begins(accepted, &(struct mark){.flags = MARK_VSOCK});
        vsock_options_inherit(fd, accepted);
        if (!r && ret_address)
                r = vsock_address_give(vsock_cid_of(&peer.VmId), vsock_port_of(&peer.ServiceId), ret_address, length);
        return r < 0 ? r : fd_take(accepted);
}

static int dial(int fd, const SOCKADDR_HV *address) {
        return hv_connect(fd, (const struct sockaddr *)address, sizeof *address) < 0 ? failed(VSOCK_CONNECT) : 0;
}

/* What a peer says comes later in the kernel, where the broker's answer is there at once. */
static bool answered_at_once(int fd, int r) {
        return (!r || r == -ECONNRESET || r == -ETIMEDOUT) && fcntl(fd, F_GETFL) & O_NONBLOCK;
}

/* Programs that expect EINPROGRESS get it, and what they wait for. */
static int put_off(int fd, struct mark *mark, int result) {
        int r = 0;
        if (result < 0) {
                mark->error = (uint8_t)-result;
                r = mark_write(fd, mark);
        }
        connect_give_edge(fd);
        return r < 0 ? r : -EINPROGRESS;
}

static int take_error(int fd, struct mark *mark) {
        int error = mark->error;
        mark->error = 0;
        int r = mark_write(fd, mark);
        return r < 0 ? r : -error;
}

int vsock_connect(int fd, struct mark *mark, const struct sockaddr *address, socklen_t length) {
        struct sockaddr_vm asked;
        SOCKADDR_HV dialled = {.Family = AF_HYPERV};
        struct endpoint endpoint;
        int r = vsock_address_take(address, length, &asked);
        if (r == -EFAULT)
                return r;
        if (mark->error)
                return take_error(fd, mark);
        if (socket_is_connected(fd))
                return dial(fd, &dialled);
        if (!r)
                r = endpoint_read(fd, &endpoint);
        if (!r && endpoint.role == ROLE_BOUND)
                r = -EINVAL;
        if (!r)
                r = vsock_dialled(asked.svm_cid, &dialled.VmId);
        if (r < 0)
                return r;
        bool can_be_bound = hv_service_from_port(asked.svm_port, &dialled.ServiceId) == 0;
        r = can_be_bound ? dial(fd, &dialled) : -ECONNRESET;
        return answered_at_once(fd, r) ? put_off(fd, mark, r) : r;
}

static uint32_t bound_cid(const struct mark *mark) {
        return mark->flags & MARK_BOUND_OWN     ? vsock_own_cid()
               : mark->flags & MARK_BOUND_LOCAL ? VMADDR_CID_LOCAL
                                                : VMADDR_CID_ANY;
}

/* A connector that was not bound has no CID in its name, as in the kernel. */
int vsock_getsockname(int fd, const struct mark *mark, struct sockaddr *ret_address, socklen_t *length) {
        struct endpoint endpoint;
        int r = endpoint_read(fd, &endpoint);
        if (r < 0)
                return r;
        switch (endpoint.role) {
        case ROLE_ACCEPTED:
                return vsock_address_give(vsock_cid_of(&endpoint.connector.dialled_vm_id),
                                          vsock_port_of(&endpoint.listener.service_id), ret_address, length);
        case ROLE_CONNECTOR:
                return vsock_address_give(bound_cid(mark), vsock_port_of(&endpoint.connector.ephemeral_id), ret_address, length);
        case ROLE_BOUND:
                return vsock_address_give(bound_cid(mark), vsock_port_of(&endpoint.listener.service_id), ret_address, length);
        default:
                return vsock_address_give(bound_cid(mark), mark->flags & MARK_CHOSEN ? mark->port : VMADDR_PORT_ANY, ret_address,
                                          length);
        }
}

int vsock_getpeername(int fd, struct sockaddr *ret_address, socklen_t *length) {
        struct endpoint endpoint;
        int r = endpoint_read(fd, &endpoint);
        if (r < 0)
                return r;
        switch (endpoint.role) {
        case ROLE_ACCEPTED:
                return vsock_address_give(vsock_cid_of(&endpoint.connector.dial_back_vm_id),
                                          vsock_port_of(&endpoint.connector.ephemeral_id), ret_address, length);
        case ROLE_CONNECTOR:
                return vsock_address_give(vsock_cid_of(&endpoint.connector.dialled_vm_id),
                                          vsock_port_of(&endpoint.listener.service_id), ret_address, length);
        default:
                return -ENOTCONN;
        }
}

/* A listener is not connected, and unlike AF_UNIX's it is not shut down either. */
int vsock_shutdown(int fd, int how) {
        if (how != SHUT_RD && how != SHUT_WR && how != SHUT_RDWR)
                return -EINVAL;
        if (!socket_is_connected(fd))
                return -ENOTCONN;
        return shutdown(fd, how) < 0 ? -errno : 0;
}
