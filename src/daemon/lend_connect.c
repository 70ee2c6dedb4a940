/* SPDX-License-Identifier: MIT */

/* Connecting lent sockets to their listeners. */

#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "daemon/activation.h"
#include "daemon/connector.h"
#include "daemon/lend.h"
#include "daemon/penalty.h"
#include "daemon/vm_connect.h"
#include "daemon/vm_parked.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

struct verdict lend_ask_route(struct world *world, const struct connect_request *request, struct route *ret_route) {
        activation_refresh(world, &request->service_id);
        struct verdict verdict = broker_route(world->broker, request, ret_route);
        if (verdict.error == ENOBUFS) {
                probe_for_room(world);
                verdict = broker_route(world->broker, request, ret_route);
        }
        return verdict;
}

/* Its owner changed its flags between the two calls of lend_connect_at_once(). */
static void hold_off(const struct client *client) {
        log_stranger(LOG_LEVEL_WARNING, "process %u in partition %s made a lent socket wait: its lends are refused now",
                     client->caller.pid, client->caller.partition->label);
        penalty_impose(client->world->penalties, &client->stranger, OFFENCE_CONNECT, loop_now_ms());
}

/*
 * connect(2) that does not wait for a full backlog. Only O_NONBLOCK is touched:
 * whoever shares the open file may be changing its other flags.
 */
int lend_connect_at_once(int fd, const struct sockaddr_un *address, socklen_t length) {
        int flags = fcntl(fd, F_GETFL), yes = 1, no = 0;
        bool blocks = flags >= 0 && !(flags & O_NONBLOCK);
        watchdog_guard();
        if (blocks)
                (void)ioctl(fd, FIONBIO, &yes);
        int r = connect(fd, (const struct sockaddr *)address, length) < 0 ? -errno : 0;
        if (blocks)
                (void)ioctl(fd, FIONBIO, &no);
        return r;
}

/*
 * Connects a named descriptor. A listener that the kernel says is gone leaves
 * the books, and the broker is asked again; one that is bound but does not
 * listen refuses, and does not pass the connect on to a less specific one.
 */
struct verdict lend_connect_named(struct world *world, const struct client *client, const struct connect_request *ask,
                                  int fd, struct route *route) {
        for (unsigned tried = 0; tried < LISTENERS_TRIED_MAX; tried++) {
                const GUID dial_back_vm_id = route->resolution.dial_back_vm_id;
                struct sockaddr_un address;
                socklen_t length = listener_address(route->listener, &address);
                int r = lend_connect_at_once(fd, &address, length);
                if (!r)
                        return (struct verdict){};
                if (r == -EINTR && client)
                        hold_off(client);
                if (r == -EAGAIN || r == -EINTR)
                        return (struct verdict){.error = ECONNREFUSED, .rule = RULE_BACKLOG_FULL};
                if (r != -ECONNREFUSED && r != -ENOENT)
                        return lend_failed(r);
                if (r == -ECONNREFUSED && listener_is_alive(world, route->listener))
                        break;
                listener_forget(world, route->listener);
                struct verdict verdict = lend_ask_route(world, ask, route);
                if (verdict.error)
                        return verdict;
                if (!guid_equal(&dial_back_vm_id, &route->resolution.dial_back_vm_id))
                        return (struct verdict){.error = EINVAL, .rule = RULE_ALREADY_NAMED};
        }
        return (struct verdict){.error = ECONNREFUSED, .rule = RULE_NO_LISTENER};
}

struct verdict lend_name(struct client *client, const struct wire_request *request, const struct route *route, int fd,
                         struct channel_shell *shell, struct connector_name *ret_name) {
        struct connector_name name = {
                .dial_back_vm_id = route->resolution.dial_back_vm_id,
                .dialled_vm_id = request->vm_id,
                .pid = client->caller.pid,
                .uid = client->caller.uid,
                .gid = client->caller.gid,
        };
        shell->network = client->network;
        int r = connector_name_give(client, fd, &name, shell);
        if (r == -EADDRNOTAVAIL)
                return (struct verdict){.error = EINVAL, .rule = RULE_ALREADY_NAMED};
        if (r < 0)
                return lend_failed(r);
        *ret_name = name;
        return (struct verdict){};
}

struct verdict lend_connect(struct client *client, const struct wire_request *request, int fd, GUID *ret_ephemeral_id,
                            bool *ret_is_parked) {
        struct world *world = client->world;
        struct connect_request ask = {
                .caller = &client->caller,
                .vm_id = request->vm_id,
                .service_id = request->service_id,
                .socket_type = (int)request->socket_type,
                .passthru = request->flags & WIRE_CONNECT_PASSTHRU,
        };
        struct route route;
        struct verdict verdict = lend_ask_route(world, &ask, &route);
        if (verdict.error)
                return verdict;
        if (route.vm && request->flags & WIRE_CONNECT_MAY_PARK)
                return vm_park(client, request, fd, &route, ret_ephemeral_id);
        if (route.vm) {
                verdict = vm_connect(client, request, fd, &route);
                *ret_is_parked = !verdict.error;
                return verdict;
        }

        cleanup(freep) struct channel_shell *shell = calloc(1, sizeof *shell);
        if (!shell)
                return lend_failed(-ENOMEM);
        struct connector_name name;
        verdict = lend_name(client, request, &route, fd, shell, &name);
        if (!verdict.error)
                verdict = lend_connect_named(world, client, &ask, fd, &route);
        if (verdict.error)
                return verdict;

        struct channel *channel;
        int r = broker_opened(world->broker, &ask, &route, &name.ephemeral_id, loop_wall_ms(), &channel);
        if (r < 0) {
                (void)shutdown(fd, SHUT_RDWR); /* a channel that is in no book must not be */
                return lend_failed(r);
        }
        probe_add_channel(world, channel, shell, client->process);
        shell = NULL;
        *ret_ephemeral_id = name.ephemeral_id;
        return verdict;
}
