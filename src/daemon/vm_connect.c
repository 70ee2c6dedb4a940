/* SPDX-License-Identifier: MIT */

/* Connects to guests: see vm_connect.h. */

#include "daemon/vm_connect.h"

#include "base/fd.h"
#include "daemon/connector.h"
#include "daemon/discard.h"
#include "daemon/lend.h"
#include "daemon/vm_door.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <sys/socket.h>

struct parked {
        struct client *client;
        struct vm_channel *vm_channel;
        struct wire_request request;
        int fd;
};

struct verdict vm_verdict(int error) {
        switch (error) {
        case 0:
                return (struct verdict){};
        case ECONNREFUSED:
                return (struct verdict){.error = error, .rule = RULE_NO_LISTENER};
        case EHOSTUNREACH:
                return (struct verdict){.error = error, .rule = RULE_NOT_RUNNING};
        case EPROTOTYPE:
                return (struct verdict){.error = error, .rule = RULE_SOCKET_TYPE};
        case ENOBUFS:
                return (struct verdict){.error = error, .rule = RULE_QUOTA};
        default:
                return lend_failed(-error);
        }
}

int vm_channel_open_at(const struct vm_opening *opening, int end, struct vm_channel *to, struct channel **ret_channel) {
        const struct connect_request *ask = opening->ask;
        struct world *world = opening->world;
        struct channel *channel;
        int r = broker_opened(world->broker, ask, opening->route, opening->ephemeral_id, loop_wall_ms(), &channel);
        if (r < 0)
                return r;
        probe_add_channel(world, channel, opening->shell, opening->process);
        vm_channel_booked(to, channel, FROM_ACCEPTOR);
        vm_give_end(to, &(struct vm_end){.fd = end,
                                         .has_records = opening->is_of_guest && ask->socket_type == SOCK_SEQPACKET});
        *ret_channel = channel;
        return 0;
}

int vm_channel_open(const struct vm_opening *opening, struct vm_channel *to, struct channel **ret_channel) {
        const struct connect_request *ask = opening->ask;
        cleanup(watchdog_closep) int end = -1;
        int r = vm_door_pass(&opening->route->vm->vm_id, &ask->service_id, ask->socket_type, opening->fd, &end);
        if (!r)
                r = vm_channel_open_at(opening, end, to, ret_channel);
        if (!r)
                (void)fd_take(end);
        return r;
}

struct connect_request vm_ask_of(const struct client *client, const struct wire_request *request) {
        return (struct connect_request){
                .caller = &client->caller,
                .vm_id = request->vm_id,
                .service_id = request->service_id,
                .socket_type = (int)request->socket_type,
                .passthru = request->flags & WIRE_CONNECT_PASSTHRU,
        };
}

/* The guest said yes. */
static struct verdict open_parked(struct parked *parked, GUID *ret_ephemeral_id) {
        struct client *client = parked->client;
        struct world *world = client->world;
        const struct connect_request ask = vm_ask_of(client, &parked->request);
        struct route route;
        struct verdict verdict = broker_route(world->broker, &ask, &route);
        if (verdict.error)
                return verdict;
        if (!route.vm || vm_of(route.vm) != parked->vm_channel->vm)
                return vm_verdict(EHOSTUNREACH);
        cleanup(freep) struct channel_shell *shell = calloc(1, sizeof *shell);
        if (!shell)
                return lend_failed(-ENOMEM);
        struct connector_name name;
        verdict = lend_name(client, &parked->request, &route, parked->fd, shell, &name);
        if (verdict.error)
                return verdict;
        struct channel *channel;
        struct vm_opening opening = {.world = world, .ask = &ask, .route = &route, .fd = parked->fd,
                                     .ephemeral_id = &name.ephemeral_id, .shell = shell, .process = client->process};
        int r = vm_channel_open(&opening, parked->vm_channel, &channel);
        if (r < 0)
                return lend_failed(r);
        shell = NULL;
        *ret_ephemeral_id = name.ephemeral_id;
        return verdict;
}

static void on_answer(struct vm_channel *vm_channel, int error, void *waiting) {
        struct parked *parked = waiting;
        struct client *client = parked->client;
        GUID ephemeral_id = {};
        struct verdict verdict = error ? vm_verdict(error) : open_parked(parked, &ephemeral_id);
        if (!error && verdict.error)
                vm_give_up(vm_channel);
        client->parked = NULL;
        client_answer_connect(client, &parked->request, parked->fd, &verdict, &ephemeral_id);
        free(parked);
}

struct verdict vm_connect(struct client *client, const struct wire_request *request, int fd, const struct route *route) {
        struct parked *parked = malloc(sizeof *parked);
        if (!parked)
                return lend_failed(-ENOMEM);
        *parked = (struct parked){.client = client, .request = *request, .fd = fd};
        int r = vm_dial(vm_of(route->vm), VSOCK_CID_HOST, route->port, (int)request->socket_type, on_answer, parked,
                        &parked->vm_channel);
        if (r < 0) {
                free(parked);
                return vm_verdict(-r);
        }
        client->parked = parked;
        return (struct verdict){};
}

void vm_connect_abandon(struct parked *parked) {
        vm_give_up(parked->vm_channel);
        discard(parked->fd, &parked->client->stranger);
        free(parked);
}
