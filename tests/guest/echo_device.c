/* SPDX-License-Identifier: MIT */
#include "echo_device.h"

#include "base/fd.h"
#include "base/list.h"
#include "vm/device.h"
#include "vm/vhost_user_socket.h"
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <time.h>

/* What waits for the guest. Messages keep their ends by not being joined. */
struct piece {
        struct list link;
        size_t size, sent;
        uint32_t flags;
        uint8_t bytes[];
};

/* The host's end of a connection: what comes there goes out at `other`, which for an echo is itself. */
struct end {
        struct vsock_connection *connection;
        struct end *other;
        struct list pieces;   /* for the guest, from the other */
        bool is_last;         /* and nothing follows them */
        bool is_given_up;     /* its connection is gone */
        struct list closing;  /* in the list of those to close, all having been sent */
};

static struct device device;
static struct list closing = LIST_INIT(closing);

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *format, ...) {
        va_list values;
        va_start(values, format);
        fputs("echo device: ", stderr);
        vfprintf(stderr, format, values);
        fputc('\n', stderr);
        va_end(values);
        _exit(1);
}

static void *allocate(size_t size) {
        void *memory = calloc(1, size);
        if (!memory)
                die("no memory");
        return memory;
}

static struct end *end_new(struct vsock_connection *connection) {
        struct end *end = allocate(sizeof *end);
        list_init(&end->pieces);
        list_init(&end->closing);
        end->connection = connection;
        end->other = end;
        if (connection)
                connection->owner = end;
        return end;
}

static void end_free(struct end *end) {
        list_for_each_safe(link, &end->pieces)
                free(container_of(link, struct piece, link));
        list_unlink(&end->closing);
        free(end);
}

/* ---- what the device asks of its ends ---- */

static void dial(struct vsock_connection *asking, uint32_t port) {
        struct end *end = end_new(asking), *other = end_new(NULL);
        end->other = other;
        other->other = end;
        if (vsock_dial(&device.vsock, VSOCK_CID_HOST, port, asking->type, other, &other->connection) < 0)
                die("cannot dial");
}

/*
 * No more goes to the guest once what waits is gone. If the other end was closed, and not only shut, this one is, too:
 * later, since it may be in the middle of something, but the guest hears of both directions at once: a program that is
 * woken by the end of its peer's data may count on it that it cannot send either.
 */
static void finish(struct end *end) {
        end->is_last = true;
        if (end->is_given_up || !list_is_empty(&end->pieces))
                return;
        vsock_shut(&device.vsock, end->connection, end->other->is_given_up ? VSOCK_SHUT_BOTH : VSOCK_SHUT_SEND);
        if (end->other->is_given_up && list_is_empty(&end->closing))
                list_append(&closing, &end->closing);
}

static void close_finished(void) {
        while (!list_is_empty(&closing)) {
                struct end *end = container_of(closing.next, struct end, closing);
                vsock_close(&device.vsock, end->connection);
                end_free(end->other);
                end_free(end);
        }
}

/* The connection is over; a pair ends together. */
static void give_up(struct end *end, bool is_reset) {
        struct end *other = end->other;
        vsock_release(&device.vsock, end->connection);
        end->is_given_up = true;
        if (other == end || other->is_given_up) {
                if (other != end)
                        end_free(other);
                end_free(end);
        } else if (is_reset) {
                vsock_reset(&device.vsock, other->connection);
                end_free(other);
                end_free(end);
        } else {
                finish(other);
        }
}

static void on_event(struct device *unused, struct vsock_connection *connection, enum vsock_event event) {
        struct end *end = connection->owner;
        switch (event) {
        case VSOCK_ASKS:
                if (connection->port == ECHO_DEVICE_CLOSED) {
                        vsock_reset(&device.vsock, connection);
                } else if (connection->port >= ECHO_DEVICE_RELAY || connection->port == ECHO_DEVICE_MIRROR) {
                        dial(connection, connection->port == ECHO_DEVICE_MIRROR
                                                 ? ECHO_DEVICE_MIRROR
                                                 : connection->port - ECHO_DEVICE_RELAY);
                } else {
                        end_new(connection);
                        vsock_accept(&device.vsock, connection);
                }
                return;
        case VSOCK_ANSWERED:
                vsock_open(&device.vsock, connection);
                vsock_accept(&device.vsock, end->other->connection);
                return;
        case VSOCK_SHUT:
                if (connection->guest_shut & VSOCK_SHUT_SEND)
                        finish(end->other);
                return;
        case VSOCK_CLOSED:
        case VSOCK_RESET:
                give_up(end, event == VSOCK_RESET);
                return;
        default:
                die("event %d", event);
        }
}

static void on_take(struct device *unused, struct vsock_connection *connection, const struct iovec *pieces,
                    unsigned count, size_t size, uint32_t flags) {
        struct end *end = connection->owner, *target = end->other;
        if (target->is_given_up) {
                vsock_forward(&device.vsock, connection, (uint32_t)size);
                return;
        }
        struct piece *piece = allocate(sizeof *piece + size);
        piece->size = size;
        piece->flags = flags;
        if (pieces_read(pieces, count, 0, piece->bytes, size) != size)
                die("fewer bytes than the packet says");
        list_append(&target->pieces, &piece->link);
        vsock_ready(&device.vsock, target->connection);
}

/* Credit is given back for what the guest itself took: so its own credit holds up what it sends. */
static ssize_t on_give(struct device *unused, const struct vsock_wanted *wanted, const struct iovec *pieces,
                       unsigned count, uint32_t *ret_flags, bool *ret_has_more) {
        struct end *end = wanted->connection->owner;
        const bool is_stream = wanted->connection->type == VSOCK_STREAM;
        size_t given = 0, waiting = 0;
        list_for_each(link, &end->pieces)
                waiting += container_of(link, struct piece, link)->size - container_of(link, struct piece, link)->sent;
        if (list_is_empty(&end->pieces) || waiting < wanted->least)
                return DEVICE_NOTHING;
        while (!list_is_empty(&end->pieces)) {
                struct piece *piece = container_of(end->pieces.next, struct piece, link);
                size_t room = wanted->room - given, left = piece->size - piece->sent, size = left < room ? left : room;
                pieces_write(pieces, count, given, piece->bytes + piece->sent, size);
                piece->sent += size;
                given += size;
                if (piece->sent < piece->size)
                        break;
                *ret_flags = is_stream ? 0 : piece->flags;
                list_unlink(&piece->link);
                free(piece);
                if (!is_stream)
                        break;
        }
        if (!end->other->is_given_up)
                vsock_forward(&device.vsock, end->other->connection, (uint32_t)given);
        *ret_has_more = !list_is_empty(&end->pieces);
        if (end->is_last && !*ret_has_more)
                finish(end);
        return (ssize_t)given;
}

static const struct device_ends echo_ends = {on_event, on_take, on_give};

/* ---- the front-end ---- */

static int64_t now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void call(unsigned rings) {
        for (unsigned i = 0; i < 2; i++)
                if (rings & 1u << i && device.front_end.rings[i].call_fd >= 0)
                        eventfd_write(device.front_end.rings[i].call_fd, 1);
}

/* All connections of before: the guest that knew them is gone. */
static void forget(void) {
        list_for_each_safe(link, &device.vsock.all) {
                struct vsock_connection *connection = container_of(link, struct vsock_connection, all_link);
                if (connection->owner && connection->is_owned)
                        end_free(connection->owner);
        }
        vsock_deinit(&device.vsock);
        if (vsock_init(&device.vsock, device.front_end.guest_cid, (const uint8_t *)"sixteen bytes..") < 0)
                die("no memory");
}

/* False: the front-end is gone. */
static bool take_messages(struct vhost_user_reader *reader, int front_end, int starts_fd) {
        struct vhost_user_message message, reply;
        struct vhost_user_changes changes;
        int fds[VHOST_USER_TABLE_MAX], r;
        unsigned fd_count;
        bool has_reply;
        while ((r = vhost_user_receive(reader, front_end, &message, fds, &fd_count)) == 1) {
                r = vhost_user_take(&device.front_end, &message, fds, fd_count, &reply, &has_reply, &changes);
                if (has_reply && vhost_user_send(front_end, &reply) < 0)
                        return false;
                if (r < 0)
                        die("message %u refused: %s", message.request,
                            vhost_user_problem_text(device.front_end.problem));
                device.vsock.has_seqpacket = device.front_end.features & VHOST_USER_FEATURE_SEQPACKET;
                call(changes.call);
                if (changes.stopped & 1u << VHOST_USER_TX)
                        forget();
                if (changes.started & 1u << VHOST_USER_TX && write(starts_fd, "", 1) != 1)
                        die("nobody waits for the driver");
        }
        return r == 0;
}

static void serve_front_end(int front_end, int starts_fd) {
        struct vhost_user_reader reader = {};
        do {
                struct pollfd events[3] = {{.fd = front_end, .events = POLLIN}};
                struct device_turn turn;
                vsock_tick(&device.vsock, now_ms());
                do {
                        turn = device_turn(&device);
                        close_finished();
                        call(turn.calls);
                        if (turn.is_broken)
                                die("a queue is broken");
                } while (turn.has_more || !device_arm(&device));
                for (unsigned i = 0; i < 2; i++)
                        events[1 + i] = (struct pollfd){.fd = device.front_end.rings[i].kick_fd, .events = POLLIN};
                int64_t deadline = vsock_deadline(&device.vsock), left = deadline - now_ms();
                if (poll(events, 3, deadline ? left < 0 ? 0 : (int)left : -1) < 0 && errno != EINTR)
                        die("poll: %s", strerror(errno));
                for (unsigned i = 1; i < 3; i++)
                        if (events[i].revents & POLLIN)
                                eventfd_read(events[i].fd, &(eventfd_t){0});
        } while (take_messages(&reader, front_end, starts_fd));
        vhost_user_reader_reset(&reader);
}

void echo_device_serve(int listener, uint64_t guest_cid, int starts_fd) {
        if (device_init(&device, guest_cid, VHOST_USER_PROTOCOL_FEATURES, (const uint8_t *)"sixteen bytes..",
                        &echo_ends) < 0)
                die("no memory");
        for (;;) {
                int front_end = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
                if (front_end < 0)
                        die("accept: %s", strerror(errno));
                serve_front_end(front_end, starts_fd);
                close(front_end);
                forget();
                vhost_user_reset(&device.front_end);
        }
}
