/* SPDX-License-Identifier: MIT */

/*
 * Data between a guest's connection and the host's end of its channel.
 *
 * Theory of operation. It goes straight from one to the other, device_turn() asking for
 * it or bringing it; only what the application does not take lies in the backlog, and
 * the guest gets its credit back when that went on.
 *
 * Records. SOCK_SEQPACKET of AF_UNIX does not know MSG_EOR. Between two guests each
 * message therefore has a byte behind it that says whether it had that.
 */

#include "vm/thread_internal.h"

#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* ---- to the application ---- */

/* Only this thread writes it. */
static void count_traffic(_Atomic uint64_t *traffic, size_t size) {
        atomic_store_explicit(traffic, atomic_load_explicit(traffic, memory_order_relaxed) + size, memory_order_relaxed);
}

static void count_from_guest(struct bridge *bridge, size_t size) {
        bool is_ring = bridge->end.out.way == END_RING;
        if (is_ring != atomic_load_explicit(&bridge->traffic->is_ring_from_guest, memory_order_relaxed))
                atomic_store_explicit(&bridge->traffic->is_ring_from_guest, is_ring, memory_order_relaxed);
        count_traffic(&bridge->traffic->from_guest, size);
        if (bridge->connection)
                vsock_forward(&bridge->thread->device.vsock, bridge->connection, (uint32_t)size);
}

/* The application does not receive any more; whether it still sends is found out when it is asked for data. */
static void application_refused(struct bridge *bridge, int error) {
        backlog_clear(&bridge->backlog);
        if (bridge->end.in.ending == -ECONNRESET || error == -EMSGSIZE)
                bridge_put_over(bridge, BRIDGE_RESET);
        else if (!bridge->connection)
                bridge_put_over(bridge, BRIDGE_CLOSED);
        else
                vsock_shut(&bridge->thread->device.vsock, bridge->connection, VSOCK_SHUT_RECEIVE);
}

void bridge_pass_shut(struct bridge *bridge) {
        if (!backlog_is_empty(&bridge->backlog))
                return;
        if (!bridge->connection)
                bridge_put_over(bridge, BRIDGE_CLOSED);
        else if (bridge->is_shut && !bridge->end.out.is_shut)
                end_shut_sending(&bridge->end);
}

static void take_backlog(struct bridge *bridge) {
        bool is_messages = bridge->end.type == SOCK_SEQPACKET;
        struct iovec piece;
        ssize_t r = 0;
        while (r >= 0 && backlog_next(&bridge->backlog, is_messages, &piece)) {
                r = end_take(&bridge->end, &piece, 1, piece.iov_len);
                if (r < 0 || (!r && !is_messages))
                        break;
                backlog_remove(&bridge->backlog, is_messages, (size_t)r);
                count_from_guest(bridge, (size_t)r - bridge->has_records);
        }
        bridge->thread->is_deciding |= bridge->end.out.is_deciding;
        if (r < 0 && r != -EAGAIN)
                application_refused(bridge, (int)r);
        if (bridge->is_shut || !bridge->connection)
                bridge_pass_shut(bridge);
}

static int put_by(struct bridge *bridge, const struct iovec *pieces, unsigned count, size_t size, bool is_last) {
        return bridge->end.type == SOCK_SEQPACKET
                       ? backlog_add_message(&bridge->backlog, pieces, count, size, is_last)
                       : backlog_add(&bridge->backlog, pieces, count, size);
}

void bridge_take(struct device *device, struct vsock_connection *connection, const struct iovec *pieces,
                    unsigned count, size_t size, uint32_t flags) {
        struct bridge *bridge = connection->owner;
        bool is_last = connection->type == VSOCK_STREAM || flags & VSOCK_END_OF_MESSAGE;
        bool waits = backlog_has_next(&bridge->backlog, connection->type == VSOCK_SEQPACKET);
        struct iovec whole[CHAIN_PIECES_MAX + 1], rest[CHAIN_PIECES_MAX + 1];
        size_t done = 0, payload = size;
        char is_record = (flags & VSOCK_END_OF_RECORD) != 0;
        if (bridge->over || !bridge->has_end)
                return;
        if (bridge->has_records && is_last) {
                memcpy(whole, pieces, count * sizeof *pieces);
                whole[count++] = (struct iovec){&is_record, 1};
                pieces = whole;
                size++;
        }
        if (backlog_is_empty(&bridge->backlog) && is_last) {
                ssize_t taken = end_take_some(&bridge->end, pieces, count, size);
                if (bridge->end.out.held && list_is_empty(&bridge->held_link))
                        list_append(&bridge->thread->held, &bridge->held_link);
                bridge->thread->is_deciding |= bridge->end.out.is_deciding;
                waits = taken == -EAGAIN;
                if (taken >= 0) {
                        count_from_guest(bridge, (size_t)taken - bridge->has_records);
                        done = (size_t)taken;
                } else if (!waits) {
                        vsock_forward(&device->vsock, connection, (uint32_t)payload);
                        application_refused(bridge, (int)taken);
                        return;
                }
                if (done == size && !waits)
                        return;
        }
        count = pieces_slice(pieces, count, done, size - done, rest);
        if (put_by(bridge, rest, count, size - done, is_last) < 0)
                bridge_put_over(bridge, BRIDGE_RESET);
        else if (!waits) /* so that there is an edge when the application makes room */
                take_backlog(bridge);
}

void bridge_flush(struct device *device) {
        struct vm_thread *thread = container_of(device, struct vm_thread, device);
        list_for_each_safe(link, &thread->held) {
                struct bridge *bridge = container_of(link, struct bridge, held_link);
                list_unlink(link);
                if (bridge->end.fd >= 0 && end_flush(&bridge->end) < 0)
                        application_refused(bridge, -ECONNRESET);
        }
}

/* ---- to the guest ---- */

static void application_ended(struct bridge *bridge) {
        bridge->is_sent = true;
        if (socket_is_hung_up(bridge->end.fd))
                bridge_put_over(bridge, BRIDGE_CLOSED);
        else
                vsock_shut(&bridge->thread->device.vsock, bridge->connection, VSOCK_SHUT_SEND);
}

/* How many of the bytes are the message's. The byte behind it comes at once, though the guest has no room for it. */
static ssize_t take_record_byte(struct bridge *bridge, const struct iovec *pieces, unsigned count, ssize_t size,
                                bool *is_whole, uint32_t *flags) {
        uint8_t is_record = 0;
        bool has_more;
        if (*is_whole)
                (void)pieces_read(pieces, count, (size_t)--size, &is_record, 1);
        else if (bridge->end.in.length - bridge->end.in.given == 1)
                (void)end_give(&bridge->end, &(struct iovec){&is_record, 1}, 1, 1, is_whole, &has_more);
        if (*is_whole)
                *flags = VSOCK_END_OF_MESSAGE | (is_record ? VSOCK_END_OF_RECORD : 0);
        return size;
}

/* A message that the guest never has room for would wait for ever. */
static bool message_fits(const struct bridge *bridge) {
        uint32_t length = bridge->end.in.length - bridge->has_records;
        return length <= VSOCK_MESSAGE_MAX && length <= bridge->connection->guest_buffer;
}

ssize_t bridge_give(struct device *device, const struct vsock_wanted *wanted, const struct iovec *pieces,
                       unsigned count, uint32_t *ret_flags, bool *ret_has_more) {
        struct bridge *bridge = wanted->connection->owner;
        bool is_whole;
        if (bridge->over || !bridge->has_end || bridge->is_sent)
                return DEVICE_NOTHING;
        if (wanted->least > 1 && end_waiting(&bridge->end) < wanted->least && !bridge->end.in.ending)
                return DEVICE_NOTHING;
        bridge->end.in.is_past_caches = device_is_apart(device);
        ssize_t size = end_give(&bridge->end, pieces, count, wanted->room, &is_whole, ret_has_more);
        bool is_ring = bridge->end.in.way == END_RING;
        if (is_ring && list_is_empty(&bridge->awake_link))
                list_append(&bridge->thread->awake, &bridge->awake_link);
        if (is_ring != atomic_load_explicit(&bridge->traffic->is_ring_to_guest, memory_order_relaxed))
                atomic_store_explicit(&bridge->traffic->is_ring_to_guest, is_ring, memory_order_relaxed);
        if (size >= 0 && bridge->end.type == SOCK_SEQPACKET && !message_fits(bridge))
                size = -EMSGSIZE;
        if (size >= 0) {
                *ret_flags = is_whole ? VSOCK_END_OF_MESSAGE : 0;
                if (bridge->has_records)
                        size = take_record_byte(bridge, pieces, count, size, &is_whole, ret_flags);
                count_traffic(&bridge->traffic->to_guest, (size_t)size);
                return size;
        }
        if (size == -ENODATA)
                application_ended(bridge);
        else if (size != -EAGAIN)
                bridge_put_over(bridge, BRIDGE_RESET);
        return DEVICE_NOTHING;
}

void bridge_hear(struct bridge *bridge, uint32_t events) {
        if (bridge->over)
                return;
        if (!backlog_is_empty(&bridge->backlog))
                take_backlog(bridge);
        if (bridge->is_sent && events & EPOLLHUP)
                bridge_put_over(bridge, BRIDGE_CLOSED);
        else if (bridge->connection && !bridge->is_sent)
                vsock_ready(&bridge->thread->device.vsock, bridge->connection);
        if (events & EPOLLHUP && !bridge->connection)
                bridge_put_over(bridge, BRIDGE_CLOSED);
}

void bridges_look(struct vm_thread *thread) {
        list_for_each(link, &thread->awake) {
                struct bridge *bridge = container_of(link, struct bridge, awake_link);
                if (bridge->connection && !bridge->over && end_waiting(&bridge->end))
                        vsock_ready(&thread->device.vsock, bridge->connection);
        }
}

bool bridges_arm(struct vm_thread *thread) {
        bool may_sleep = true;
        list_for_each_safe(link, &thread->awake) {
                struct bridge *bridge = container_of(link, struct bridge, awake_link);
                struct vsock_connection *connection = bridge->connection;
                bool waits_for_guest = connection && (connection->is_ready || connection->is_held);
                if (!connection || bridge->is_sent || waits_for_guest || end_arm(&bridge->end)) {
                        list_unlink(&bridge->awake_link);
                } else {
                        vsock_ready(&thread->device.vsock, connection);
                        if (connection->is_ready)
                                may_sleep = false;
                        else /* the guest receives no more */
                                list_unlink(&bridge->awake_link);
                }
        }
        return may_sleep;
}

void bridges_say_held(struct vm_thread *thread) {
        for (struct table_link *link = NULL; (link = table_next(&thread->bridges, link));) {
                struct bridge *bridge = container_of(link, struct bridge, link);
                int fd = bridge->has_end && !bridge->over ? fcntl(bridge->end.fd, F_DUPFD_CLOEXEC, 3) : -1;
                if (fd >= 0)
                        vm_worker_say(&thread->worker, &(struct vm_message){.kind = VM_HELD_END, .ticket = bridge->ticket, .fd = fd});
        }
}

void bridges_try_again(struct vm_thread *thread) {
        thread->is_deciding = false;
        for (struct table_link *link = NULL; (link = table_next(&thread->bridges, link));) {
                struct bridge *bridge = container_of(link, struct bridge, link);
                if (bridge->has_end && !bridge->over && bridge->end.out.is_deciding)
                        take_backlog(bridge);
        }
}
