/* SPDX-License-Identifier: MIT */

/*
 * A guest's connection and the host's end of its channel, joined: how they begin and
 * end, by what the guest says and what the loop says. Data is bridge_data.c's.
 *
 * Theory of operation. What ends in the middle of a turn is put among those that are
 * over, and let go of after it, since the device is still holding it.
 *
 * Ends. The application's end of data is a half-close, unless it closed: then the guest
 * hears both directions at once. The guest's close leaves the backlog to be taken, and
 * then the end is closed. A reset of either side is one of the other's.
 */

#include "vm/thread_internal.h"

#include "base/fd.h"
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static struct bridge *bridge_find(struct vm_thread *thread, uint64_t ticket) {
        uint64_t hash = table_hash(&thread->bridges, &ticket, sizeof ticket);
        for (struct table_link *link = NULL; (link = table_find(&thread->bridges, hash, link));) {
                struct bridge *bridge = container_of(link, struct bridge, link);
                if (bridge->ticket == ticket)
                        return bridge;
        }
        return NULL;
}

static struct bridge *bridge_new(struct vm_thread *thread, uint64_t ticket) {
        struct bridge *bridge = calloc(1, sizeof *bridge);
        if (!bridge)
                return NULL;
        bridge->thread = thread;
        bridge->ticket = ticket;
        bridge->watch.kind = WATCH_END;
        list_init(&bridge->awake_link);
        list_init(&bridge->held_link);
        list_init(&bridge->over_link);
        if (table_insert(&thread->bridges, &bridge->link, table_hash(&thread->bridges, &ticket, sizeof ticket)) < 0) {
                free(bridge);
                return NULL;
        }
        return bridge;
}

static void bridge_free(struct bridge *bridge) {
        struct vm_thread *thread = bridge->thread;
        table_remove(&thread->bridges, &bridge->link);
        list_unlink(&bridge->awake_link);
        list_unlink(&bridge->held_link);
        list_unlink(&bridge->over_link);
        thread->asked_count -= bridge->is_asked;
        backlog_clear(&bridge->backlog);
        free(bridge);
}

static void say(struct bridge *bridge, enum vm_message_kind kind, int error) {
        vm_worker_say(&bridge->thread->worker, &(struct vm_message){.kind = kind, .ticket = bridge->ticket, .error = error, .fd = -1});
}

void bridge_put_over(struct bridge *bridge, enum bridge_over over) {
        if (bridge->over < over)
                bridge->over = over;
        if (list_is_empty(&bridge->over_link))
                list_append(&bridge->thread->over, &bridge->over_link);
}

/* ---- its end ---- */

/* The guest's connection is over by now, or goes with it. */
static void finish(struct bridge *bridge) {
        struct vsock *vsock = &bridge->thread->device.vsock;
        bool is_reset = bridge->over == BRIDGE_RESET;
        if (bridge->connection && is_reset)
                vsock_reset(vsock, bridge->connection);
        else if (bridge->connection)
                vsock_close(vsock, bridge->connection);
        bridge->connection = NULL;
        if (!bridge->has_end) { /* the loop's answer, and with it the end, is still to come */
                list_unlink(&bridge->over_link);
                return;
        }
        if (bridge->end.fd >= 0) /* a duplicate of it, which another holds, would keep it in the set */
                (void)epoll_ctl(bridge->thread->worker.epoll_fd, EPOLL_CTL_DEL, bridge->end.fd, NULL);
        if (bridge->end.fd >= 0 && is_reset)
                end_abort(&bridge->end);
        else if (bridge->end.fd >= 0)
                end_close(&bridge->end);
        say(bridge, VM_CLOSED, 0);
        bridge_free(bridge);
}

void bridges_settle(struct vm_thread *thread) {
        while (!list_is_empty(&thread->over))
                finish(container_of(thread->over.next, struct bridge, over_link));
}

/* ---- what the guest says ---- */

static void guest_asks(struct vm_thread *thread, struct vsock_connection *connection) {
        struct bridge *bridge = NULL;
        if (thread->asked_count < VM_PENDING_MAX)
                bridge = bridge_new(thread, thread->next_ticket);
        if (!bridge) {
                vsock_reset(&thread->device.vsock, connection);
                return;
        }
        thread->next_ticket += 2;
        thread->asked_count++;
        bridge->is_asked = true;
        bridge->connection = connection;
        connection->owner = bridge;
        vm_worker_say(&thread->worker, &(struct vm_message){.kind = VM_REQUEST,
                                                            .ticket = bridge->ticket,
                                                            .cid = connection->cid,
                                                            .port = connection->port,
                                                            .guest_port = connection->guest_port,
                                                            .type = connection->type,
                                                            .fd = -1});
}

/* What the guest ended before the host's end came is kept until it comes. */
static void guest_left(struct bridge *bridge, bool is_reset) {
        vsock_release(&bridge->thread->device.vsock, bridge->connection);
        bridge->connection = NULL;
        if (bridge->is_dialling) {
                say(bridge, VM_REFUSED, ECONNREFUSED);
                bridge_free(bridge);
        } else if (is_reset || !bridge->has_end) {
                bridge_put_over(bridge, BRIDGE_RESET);
        } else {
                end_shut_receiving(&bridge->end);
                bridge_pass_shut(bridge);
        }
}

static void on_event(struct device *device, struct vsock_connection *connection, enum vsock_event event) {
        struct vm_thread *thread = container_of(device, struct vm_thread, device);
        struct bridge *bridge = connection->owner;
        switch (event) {
        case VSOCK_ASKS:
                guest_asks(thread, connection);
                break;
        case VSOCK_ANSWERED:
                bridge->is_dialling = false;
                vm_worker_say(&thread->worker, &(struct vm_message){
                                .kind = VM_ANSWERED, .ticket = bridge->ticket, .port = connection->port, .fd = -1});
                break;
        case VSOCK_SHUT:
                if (!bridge->has_end || bridge->over)
                        break;
                if (connection->guest_shut & VSOCK_SHUT_RECEIVE)
                        end_shut_receiving(&bridge->end);
                bridge->is_shut = connection->guest_shut & VSOCK_SHUT_SEND;
                if (bridge->is_shut)
                        bridge_pass_shut(bridge);
                break;
        case VSOCK_CLOSED:
        case VSOCK_RESET:
                guest_left(bridge, event == VSOCK_RESET);
                break;
        case VSOCK_NOTHING:
        case VSOCK_DATA:
                break;
        }
}

const struct device_ends bridge_ends = {on_event, bridge_take, bridge_give, bridge_flush};

/* ---- what the loop says ---- */

static void dial(struct vm_thread *thread, const struct vm_message *order) {
        static const struct {
                int from, to;
        } errors[] = {{-ENOSPC, ENOBUFS}, {-EPROTONOSUPPORT, EPROTOTYPE}, {-ENOMEM, ENOMEM}};
        struct bridge *bridge = thread->is_running ? bridge_new(thread, order->ticket) : NULL;
        int r = thread->is_running ? bridge ? 0 : -ENOMEM : -EHOSTUNREACH, error = -r;
        if (!r)
                r = vsock_dial(&thread->device.vsock, order->cid, order->port, order->type, bridge, &bridge->connection);
        if (!r) {
                bridge->is_dialling = true;
                return;
        }
        for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++)
                if (r == errors[i].from)
                        error = errors[i].to;
        vm_worker_say(&thread->worker, &(struct vm_message){.kind = VM_REFUSED, .ticket = order->ticket, .error = error, .fd = -1});
        if (bridge)
                bridge_free(bridge);
}

static void take_end(struct bridge *bridge, const struct vm_message *order) {
        struct vm_thread *thread = bridge->thread;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = &bridge->watch};
        thread->asked_count -= bridge->is_asked;
        bool was_asked = bridge->is_asked;
        bridge->is_asked = false;
        bridge->traffic = order->traffic;
        bridge->has_records = order->has_records;
        int r = end_begin(&bridge->end, order->fd);
        if (r < 0) {
                fd_close(order->fd);
                bridge->end.fd = -1;
        } else if (epoll_ctl(thread->worker.epoll_fd, EPOLL_CTL_ADD, order->fd, &event) < 0) {
                r = -errno;
        }
        bridge->has_end = true;
        if (r < 0 || !bridge->connection) {
                bridge_put_over(bridge, BRIDGE_RESET);
                return;
        }
        if (was_asked)
                vsock_accept(&thread->device.vsock, bridge->connection);
        else
                vsock_open(&thread->device.vsock, bridge->connection);
        bridge->is_shut = bridge->connection->guest_shut & VSOCK_SHUT_SEND;
        if (bridge->is_shut)
                end_shut_sending(&bridge->end);
        if (bridge->connection->guest_shut & VSOCK_SHUT_RECEIVE)
                end_shut_receiving(&bridge->end);
        vsock_ready(&thread->device.vsock, bridge->connection);
}

void bridge_order(struct vm_thread *thread, const struct vm_message *order) {
        struct bridge *bridge = bridge_find(thread, order->ticket);
        if (order->kind == VM_CONNECT) {
                dial(thread, order);
                return;
        }
        if (!bridge) { /* of before a reboot, say */
                fd_close(order->fd);
                return;
        }
        switch (order->kind) {
        case VM_END:
        case VM_ACCEPT:
                take_end(bridge, order);
                break;
        case VM_GIVE_UP:
        case VM_REFUSE:
                if (bridge->connection)
                        vsock_reset(&thread->device.vsock, bridge->connection);
                bridge_free(bridge);
                break;
        case VM_RESET:
                bridge_put_over(bridge, BRIDGE_RESET);
                break;
        case VM_SUSPEND:
                bridge->survives_pause = order->survives_pause;
                break;
        default:
                fd_close(order->fd);
        }
}

void bridges_reset(struct vm_thread *thread, bool only_not_surviving, bool is_guest_told) {
        for (struct table_link *link = NULL, *next = table_next(&thread->bridges, NULL); (link = next);) {
                struct bridge *bridge = container_of(link, struct bridge, link);
                next = table_next(&thread->bridges, link);
                if (only_not_surviving && bridge->survives_pause && bridge->has_end)
                        continue;
                if (bridge->connection && !is_guest_told) {
                        vsock_release(&thread->device.vsock, bridge->connection);
                        bridge->connection = NULL;
                }
                if (bridge->is_dialling) {
                        if (bridge->connection)
                                vsock_reset(&thread->device.vsock, bridge->connection);
                        say(bridge, VM_REFUSED, EHOSTUNREACH);
                        bridge_free(bridge);
                } else {
                        bridge_put_over(bridge, BRIDGE_RESET);
                }
        }
        bridges_settle(thread);
}
