/* SPDX-License-Identifier: MIT */

/* From the guest to the application. */

#include "vm/end.h"

#include "base/fd.h"
#include "ring/wait.h"
#include <errno.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

struct walk {
        const struct iovec *piece;
        size_t at; /* bytes of it that are behind */
};

/* The next `size` bytes. What the guest changes meanwhile is its own affair. */
static void gather(struct walk *walk, uint8_t *to, size_t size, bool is_past_caches) {
        while (size) {
                size_t here = walk->piece->iov_len - walk->at, part = here < size ? here : size;
                copy_into_ring(to, (const uint8_t *)walk->piece->iov_base + walk->at, part, is_past_caches);
                to += part;
                size -= part;
                walk->at += part;
                if (walk->at == walk->piece->iov_len)
                        *walk = (struct walk){.piece = walk->piece + 1};
        }
}

/* ---- into a ring ---- */

static int send_token(struct end *end) {
        static const char token = CARRIER_TOKEN;
        if (send(end->fd, &token, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0)
                return errno == EAGAIN || errno == EINTR ? -EAGAIN : -ECONNRESET;
        wish_token_is_sent(&end->out.ring.memory.header->words, &end->out.ring.tokens_counted);
        return 0;
}

/* Between carrier_enter_ring() and carrier_leave_ring(). */
static int publish(struct end *end) {
        int r = 0;
        if (!end->out.held)
                return 0;
        end->out.held = 0;
        for (unsigned tokens = sender_publish(&end->out.ring, 0, 0, 0); tokens && r != -ECONNRESET; tokens--)
                r = send_token(end); /* a socket that is full of tokens is readable */
        return r == -ECONNRESET ? r : 0;
}

static int hold(struct end *end, size_t size, size_t payload, size_t units) {
        sender_hold(&end->out.ring, size, payload, units);
        end->out.held += (uint32_t)size;
        return end->out.held >= END_HELD_MAX ? publish(end) : 0;
}

int end_flush(struct end *end) {
        if (!end->out.held)
                return 0;
        int r = publish(end);
        carrier_leave_ring(end->out.ring.memory.header);
        return r;
}

static void set_buffer(struct end *end, int size) {
        (void)setsockopt(end->fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

static void uncramp(struct end *end) {
        set_buffer(end, (int)(end->out.buffer_size / 2)); /* the kernel doubles what it is told */
        end->out.is_cramped = false;
}

/* No room: the socket becomes writable when there is. 1: there is already; -EAGAIN. */
static int wait_for_room(struct end *end, size_t least) {
        struct ring_sender *ring = &end->out.ring;
        int published = publish(end);
        if (published < 0)
                return published;
        if (!end->out.is_cramped)
                set_buffer(end, 1);
        end->out.is_cramped = true;
        for (unsigned i = 0; i < END_TOKENS_MAX; i++) {
                int r = send_token(end);
                if (r == -ECONNRESET)
                        return r;
                if (r < 0)
                        break;
        }
        size_t room = ring->window / 2 > least ? ring->window / 2 : least;
        wish_for_room(&ring->memory.header->words, ring->head - (ring->window - room));
        int r = sender_look(ring);
        return r < 0 ? r : sender_room(ring) >= least ? 1 : -EAGAIN;
}

/* 1 when there is room for `least` bytes. */
static int find_room(struct end *end, size_t least) {
        struct ring_sender *ring = &end->out.ring;
        if (sender_room(ring) >= least)
                return 1;
        int r = sender_look(ring);
        if (r < 0)
                return r;
        if (sender_room(ring) < least && (r = wait_for_room(end, least)) < 0)
                return r;
        if (end->out.is_cramped)
                uncramp(end);
        return 1;
}

static ssize_t take_stream(struct end *end, const struct iovec *pieces, size_t size) {
        struct ring_sender *ring = &end->out.ring;
        struct walk walk = {.piece = pieces};
        size_t taken = 0;
        int r = 0;
        while (taken < size && (r = find_room(end, 1)) == 1) {
                size_t part = size - taken, room = sender_room(ring);
                part = part < room ? part : room;
                part = part < END_HELD_MAX ? part : END_HELD_MAX;
                gather(&walk, sender_span(ring), part, sender_goes_past_caches(ring, part));
                taken += part;
                if ((r = hold(end, part, part, part)) < 0)
                        break;
        }
        return taken && r != -ECONNRESET ? (ssize_t)taken : r;
}

static ssize_t take_record(struct end *end, const struct iovec *pieces, size_t size) {
        struct ring_sender *ring = &end->out.ring;
        struct walk walk = {.piece = pieces};
        size_t needed = record_size(size);
        if (size + PACKET_OVERHEAD > end->out.buffer_size || needed > ring->memory.capacity)
                return -EMSGSIZE;
        bool is_alone = needed > ring->window; /* a window smaller than the message lets it through when it is empty */
        int r = find_room(end, is_alone ? ring->window : needed);
        if (r < 0)
                return r;
        struct ring_record record = {.length = (uint32_t)size};
        uint8_t *span = sender_span(ring);
        memcpy(span, &record, sizeof record);
        gather(&walk, span + sizeof record, size, sender_goes_past_caches(ring, size));
        r = hold(end, needed, size, 1);
        return r < 0 ? r : (ssize_t)size;
}

/* The holder must know. */
static void say_ring(const struct end *end, int is_ring) {
        (void)setsockopt(end->fd, SOL_SOCKET, CARRIER_SENDS_THROUGH_RING, &is_ring, sizeof is_ring);
}

static void leave_ring(struct end *end) {
        say_ring(end, false);
        if (end->out.is_cramped)
                uncramp(end);
        ring_unmap(&end->out.ring.memory);
        end->out.ring = (struct ring_sender){};
        end->out.way = END_PLAIN;
        end->out.is_pinned = true;
}

/* -EXDEV: through the socket, after all. */
static ssize_t take_in_ring(struct end *end, const struct iovec *pieces, size_t size) {
        struct ring_header *header = end->out.ring.memory.header;
        int left = end->out.held ? 0 : carrier_enter_ring(header);
        if (left > 0) {
                leave_ring(end);
                return -EXDEV;
        }
        end->out.is_deciding = left < 0;
        if (left < 0)
                return -EAGAIN;
        uint32_t cpu = wait_cpu();
        if (cpu != end->out.ring.cpu)
                atomic_store_explicit(&header->words.sender_cpu, end->out.ring.cpu = cpu, memory_order_relaxed);
        ssize_t r = sender_rewind(&end->out.ring);
        if (!r)
                r = end->type == SOCK_STREAM ? take_stream(end, pieces, size) : take_record(end, pieces, size);
        if (!end->out.held)
                carrier_leave_ring(header);
        return r;
}

/* ---- through the socket, and from there into a ring ---- */

static bool pays(const struct end *end) {
        return !end->out.is_pinned && end->out.way == END_PLAIN && end->out.buffer_size <= RING_CAPACITY_MAX &&
               (end->out.messages >= CARRIER_MESSAGES_BEFORE || end->out.bytes >= CARRIER_BYTES_BEFORE);
}

/* A ring to offer, or -1. */
static int make_ring(struct end *end) {
        struct ring_memory memory;
        int ring_fd;
        end->out.messages = 0;
        end->out.bytes = 0;
        if (ring_create(end->type, end->out.buffer_size, &memory, &ring_fd) < 0)
                return -1;
        sender_begin(&end->out.ring, &memory, memory.capacity);
        end->out.way = END_OFFERED;
        return ring_fd;
}

/* The application took it: from the mark on, everything goes through it. */
static void switch_over(struct end *end) {
        struct ring_header *header = end->out.ring.memory.header;
        cleanup(fd_closep) int mark_fd = eventfd(0, EFD_CLOEXEC);
        uint32_t window = atomic_load_explicit(&header->accepted, memory_order_acquire);
        if (mark_fd < 0 || carrier_enter_ring(header))
                return;
        atomic_store(&header->words.is_begun, true);
        if (packet_send(end->fd, (const char[]){CARRIER_MARK}, 1, mark_fd, MSG_DONTWAIT) == 0) {
                if (window >= RING_CAPACITY_MIN && window < end->out.ring.window)
                        end->out.ring.window = window;
                end->out.way = END_RING;
                say_ring(end, true);
        } else {
                atomic_store(&header->words.is_begun, false);
        }
        carrier_leave_ring(header);
}

static ssize_t take_in_socket(struct end *end, const struct iovec *pieces, unsigned count, size_t size) {
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr message = {.msg_iov = (struct iovec *)pieces, .msg_iovlen = count};
        cleanup(fd_closep) int ring_fd = size && pays(end) ? make_ring(end) : -1;
        if (ring_fd >= 0) {
                control.header = (struct cmsghdr){
                        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.header), &ring_fd, sizeof ring_fd);
                message.msg_control = &control;
                message.msg_controllen = sizeof control;
        }
        ssize_t length = sendmsg(end->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (length < 0 && ring_fd >= 0) { /* it did not go with it */
                int error = errno;
                leave_ring(end);
                end->out.is_pinned = error == ETOOMANYREFS;
                errno = error;
        }
        if (length < 0)
                return errno == EAGAIN || errno == EINTR || errno == ETOOMANYREFS ? -EAGAIN
                     : errno == EMSGSIZE                                          ? -EMSGSIZE
                                                                                  : -ECONNRESET;
        end->out.messages++;
        end->out.bytes += (size_t)length;
        return length;
}

ssize_t end_take_some(struct end *end, const struct iovec *pieces, unsigned count, size_t size) {
        if (end->in.ending == -ECONNRESET)
                return -ECONNRESET;
        if (end->out.way == END_OFFERED &&
            atomic_load_explicit(&end->out.ring.memory.header->accepted, memory_order_acquire))
                switch_over(end);
        ssize_t r = end->out.way == END_RING ? take_in_ring(end, pieces, size) : -EXDEV;
        return r == -EXDEV ? take_in_socket(end, pieces, count, size) : r;
}

ssize_t end_take(struct end *end, const struct iovec *pieces, unsigned count, size_t size) {
        ssize_t taken = end_take_some(end, pieces, count, size);
        return end_flush(end) < 0 ? -ECONNRESET : taken;
}
