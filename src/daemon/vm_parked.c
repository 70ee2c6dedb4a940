/* SPDX-License-Identifier: MIT */

/* Connects of non-blocking sockets to guests: see vm_parked.h. */

#include "daemon/vm_parked.h"

#include "base/fd.h"
#include "base/guid.h"
#include "daemon/discard.h"
#include "daemon/lend.h"
#include "daemon/receive.h"
#include "daemon/vm_connect.h"
#include "daemon/vm_door.h"
#include "wire/parked.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

struct socket_parked {
        struct list link;
        struct client *client;
        struct vm_channel *vm_channel;
        struct wire_request request;
        struct channel_shell *shell;
        GUID ephemeral_id;
        struct timer late;
        int fd, end;     /* the lent socket's duplicate, and its peer; -1: none */
        int send_buffer; /* what SO_SNDBUF was */
        unsigned fillers;
};

static struct list all = LIST_INIT(all); /* of this process's one world */

/* ---- the socket ---- */

static void set_state(int fd, int state) {
        (void)setsockopt(fd, SOL_SOCKET, PARKED_OPTION, &state, sizeof state);
}

static void set_send_buffer(int fd, int size) {
        size /= 2; /* the kernel doubles what it is told */
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/* Makes it not writable, at its new peer. */
static int fill(struct socket_parked *parked) {
        while (parked->fillers < VM_FILLERS_MAX && send(parked->fd, "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
                parked->fillers++;
        if (parked->fillers < VM_FILLERS_MAX && errno != EAGAIN)
                return -errno;
        set_state(parked->fd, EINPROGRESS);
        return 0;
}

/* The owner may have sent something before the filler: what came with it is closed where that holds nobody up. */
static int take_filler(struct socket_parked *parked, size_t size) {
        struct stranger_packet packet;
        int r = stranger_receive_bytes(parked->end, size, &packet);
        for (unsigned i = 0; i < packet.fd_count; i++)
                discard(packet.fds[i], &parked->client->stranger);
        return r;
}

/* It is writable, and what is sent from now on is data. */
static int unfill(struct socket_parked *parked) {
        bool is_stream = parked->request.socket_type == SOCK_STREAM;
        set_state(parked->fd, PARKED_NOT);
        set_send_buffer(parked->fd, parked->send_buffer);
        int r = is_stream ? take_filler(parked, parked->fillers) : 0;
        for (unsigned i = 0; i < parked->fillers && !is_stream && !r; i++)
                r = take_filler(parked, 1);
        return r;
}

/* ---- its end ---- */

static void release(struct socket_parked *parked) {
        loop_disarm(parked->client->world->loop, &parked->late);
        list_unlink(&parked->link);
        if (parked->fd >= 0)
                request_close_lent(parked->client, parked->fd);
        discard(parked->end, &parked->client->stranger);
        free(parked->shell);
        free(parked);
}

static void fail(struct socket_parked *parked, int error) {
        set_state(parked->fd, error);
        release(parked);
}

/* The guest said yes, but the broker is asked once more. */
static struct verdict open_channel(struct socket_parked *parked) {
        struct client *client = parked->client;
        const struct connect_request ask = vm_ask_of(client, &parked->request);
        struct route route;
        struct channel *channel;
        struct verdict verdict = lend_ask_route(client->world, &ask, &route);
        if (verdict.error)
                return verdict;
        if (!route.vm || vm_of(route.vm) != parked->vm_channel->vm)
                return vm_verdict(EHOSTUNREACH);
        int r = unfill(parked);
        struct vm_opening opening = {.world = client->world, .ask = &ask, .route = &route, .fd = parked->fd,
                                     .ephemeral_id = &parked->ephemeral_id, .shell = parked->shell,
                                     .process = client->process};
        if (!r)
                r = vm_channel_open_at(&opening, parked->end, parked->vm_channel, &channel);
        if (r < 0)
                return lend_failed(r);
        parked->end = -1;
        parked->shell = NULL;
        if (parked->request.flags & WIRE_CONNECT_SURVIVES_PAUSE)
                vm_channel_survives(parked->vm_channel, true);
        return verdict;
}

static void on_answer(struct vm_channel *vm_channel, int error, void *waiting) {
        struct socket_parked *parked = waiting;
        struct verdict verdict = error ? vm_verdict(error) : open_channel(parked);
        if (!error && verdict.error)
                vm_give_up(vm_channel);
        if (!verdict.error) {
                release(parked);
                return;
        }
        const struct client *client = parked->client;
        broker_refused(client->world->broker, &client->caller, &parked->request.vm_id, &parked->request.service_id, &verdict);
        fail(parked, verdict.error);
}

static void give_up(struct socket_parked *parked) {
        vm_give_up(parked->vm_channel);
        fail(parked, ETIMEDOUT);
}

static int on_late(struct timer *timer) {
        give_up(container_of(timer, struct socket_parked, late));
        return 0;
}

void vm_parked_leave(const struct client *client) {
        list_for_each_safe(link, &all) {
                struct socket_parked *parked = container_of(link, struct socket_parked, link);
                struct client *other = parked->client == client ? client_beside(client) : parked->client;
                if (other)
                        parked->client = other;
                else
                        give_up(parked);
        }
}

static struct socket_parked *find(const struct client *client, const GUID *ephemeral_id) {
        list_for_each(link, &all) {
                struct socket_parked *parked = container_of(link, struct socket_parked, link);
                if (parked->client->process == client->process && guid_equal(&parked->ephemeral_id, ephemeral_id))
                        return parked;
        }
        return NULL;
}

void vm_parked_closed(const struct client *client, const GUID *ephemeral_ids, unsigned count) {
        for (unsigned i = 0; i < count; i++) {
                struct socket_parked *parked = find(client, &ephemeral_ids[i]);
                if (parked)
                        give_up(parked);
        }
}

bool vm_parked_survives(const struct client *client, const GUID *ephemeral_id, bool survives) {
        struct socket_parked *parked = find(client, ephemeral_id);
        if (!parked)
                return false;
        parked->request.flags &= ~WIRE_CONNECT_SURVIVES_PAUSE;
        parked->request.flags |= survives ? WIRE_CONNECT_SURVIVES_PAUSE : 0;
        return true;
}

/* ---- its beginning ---- */

static struct verdict begin(struct socket_parked *parked, const struct route *route) {
        struct client *client = parked->client;
        const struct wire_request *request = &parked->request;
        struct connector_name name;
        socklen_t size = sizeof parked->send_buffer;
        struct verdict verdict = lend_name(client, request, route, parked->fd, parked->shell, &name);
        if (verdict.error)
                return verdict;
        parked->ephemeral_id = name.ephemeral_id;
        if (getsockopt(parked->fd, SOL_SOCKET, SO_SNDBUF, &parked->send_buffer, &size) < 0)
                return lend_failed(-errno);
        int r = vm_dial(vm_of(route->vm), VSOCK_CID_HOST, route->port, (int)request->socket_type, on_answer, parked,
                        &parked->vm_channel);
        if (r < 0)
                return vm_verdict(-r);
        set_send_buffer(parked->fd, 0);
        r = vm_door_pass(&route->vm->vm_id, &request->service_id, (int)request->socket_type, parked->fd, &parked->end);
        if (!r)
                r = fill(parked);
        if (!r)
                return verdict;
        set_send_buffer(parked->fd, parked->send_buffer);
        vm_give_up(parked->vm_channel);
        return lend_failed(r);
}

static unsigned count_of(const struct stranger *stranger) {
        unsigned count = 0;
        list_for_each(link, &all)
                count += stranger_equal(&container_of(link, struct socket_parked, link)->client->stranger, stranger);
        return count;
}

struct verdict vm_park(struct client *client, const struct wire_request *request, int fd, const struct route *route,
                       GUID *ret_ephemeral_id) {
        if (count_of(&client->stranger) >= VM_PARKED_PER_STRANGER)
                return vm_verdict(ENOBUFS);
        struct socket_parked *parked = calloc(1, sizeof *parked);
        if (!parked)
                return lend_failed(-ENOMEM);
        *parked = (struct socket_parked){.client = client, .request = *request, .fd = -1, .end = -1,
                                         .late.expire = on_late};
        list_append(&all, &parked->link);
        parked->shell = calloc(1, sizeof *parked->shell);
        parked->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        struct verdict verdict = vm_verdict(ENOBUFS);
        if (parked->shell && parked->fd >= 0 && client_leaves_room(parked->fd))
                verdict = begin(parked, route);
        if (verdict.error) {
                discard(parked->fd, &client->stranger); /* who knows what it is */
                parked->fd = -1;
                release(parked);
                return verdict;
        }
        loop_arm(client->world->loop, &parked->late, VM_PARKED_MS);
        *ret_ephemeral_id = parked->ephemeral_id;
        return verdict;
}
