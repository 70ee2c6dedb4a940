/* SPDX-License-Identifier: MIT */

/*
 * Sending through a ring.
 *
 * Theory of operation. A send copies into the ring, publishes, and sends the
 * tokens that are asked for. That is all the kernel hears of it, so a send learns
 * of the peer's end from a token that fails; while the peer asks for none it looks
 * by itself, the more rarely the longer the peer has lived.
 *
 * A full ring must be a socket that is not writable: then the kernel's send buffer
 * is made as small as it can be, and filled with tokens. The receiver takes out
 * all but one when there is room again, and the kernel tells whoever polls. A
 * blocking send sleeps in the send of one token more, so that time-outs, signals
 * and the peer's death are the kernel's to report.
 */

#include "base/fd.h"
#include "lib/address.h"
#include "lib/carrier.h"
#include "lib/ring_quick.h"
#include "lib/ring_transfer.h"
#include "lib/span.h"
#include "ring/wait.h"
#include <fcntl.h>
#include <poll.h>
#include <time.h>

#define PUBLISH_MAX 32768u /* bytes of a long send that the peer can begin with, while the rest is copied */
#define CHECK_AFTER_MAX 256u
#define FILLING_TOKENS_MAX 64u
#define DECISION_WAIT_MS 2000u /* twice what hv_detach() waits */

static int send_token(struct holder *holder, int fd, int flags) {
        struct ring_sender *ring = &holder->sending.ring;
        static const char token = CARRIER_TOKEN;
        if (send(fd, &token, 1, flags | MSG_NOSIGNAL) < 0)
                return -errno;
        wish_token_is_sent(&ring->memory.header->words, &ring->tokens_counted);
        return 0;
}

static int send_tokens(struct channel *channel, struct holder *holder, int fd, unsigned count) {
        if (!holder->sending.is_checked && !channel_is_at(channel, fd))
                return -ESTALE;
        holder->sending.sends = 0;
        holder->sending.check_after = 1;
        while (count--) {
                int r = send_token(holder, fd, MSG_DONTWAIT);
                if (r < 0 && r != -EAGAIN) /* so full of tokens that it is readable */
                        return r;
        }
        return 0;
}

/* The peer has not asked for a token for a while: whether it is still there. */
static int check_peer(struct channel *channel, struct holder *holder, int fd) {
        struct ring_sender *ring = &holder->sending.ring;
        struct pollfd peer = {.fd = fd};
        holder->sending.sends = 0;
        if (holder->sending.check_after < CHECK_AFTER_MAX)
                holder->sending.check_after *= 2;
        int r = sender_look(ring);
        if (r < 0 || ring->tail != holder->sending.tail_at_check) {
                holder->sending.tail_at_check = ring->tail;
                return r;
        }
        if (poll(&peer, 1, 0) == 1 && peer.revents & (POLLHUP | POLLERR))
                return send_tokens(channel, holder, fd, 1); /* which tells why */
        return 0;
}

int ring_send_finish(struct channel *channel, int fd, unsigned tokens) {
        struct holder *holder = channel->holder;
        holder->sending.lock.allowance = 0;
        holder->sending.is_checked = false;
        return send_tokens(channel, holder, fd, tokens);
}

static int publish(struct channel *channel, struct holder *holder, int fd, size_t size, size_t payload, size_t units) {
        unsigned tokens = sender_publish(&holder->sending.ring, size, payload, units);
        if (__builtin_expect(tokens > 0, 0))
                return send_tokens(channel, holder, fd, tokens);
        if (__builtin_expect(++holder->sending.sends >= holder->sending.check_after, 0))
                return check_peer(channel, holder, fd);
        return 0;
}

/* Makes the socket not writable. */
static int cramp(struct channel *channel, struct holder *holder, int fd) {
        int least = 1;
        if (!channel_is_at(channel, fd))
                return -ESTALE;
        if (!holder->sending.is_cramped && setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least) < 0)
                return -errno;
        holder->sending.is_cramped = true;
        for (unsigned i = 0; i < FILLING_TOKENS_MAX; i++) {
                int r = send_token(holder, fd, MSG_DONTWAIT);
                if (r < 0)
                        return r == -EAGAIN ? 0 : r;
        }
        return 0;
}

static void uncramp(struct holder *holder, int fd) {
        int size = (int)(holder->sending.buffer_size / 2); /* the kernel doubles what it is told */
        holder->sending.is_cramped = false;
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
}

/*
 * The peer left the ring, in hv_detach(), when it was empty and no send under way:
 * what is sent from now on goes through the socket again.
 */
static ssize_t follow(struct channel *channel, struct holder *holder, int fd) {
        if (!channel_is_at(channel, fd))
                return -ESTALE;
        if (holder->sending.is_cramped)
                uncramp(holder, fd);
        channel->carrier = HV_CARRIER_UNIX; /* nor is it offered another one */
        carrier_leave_sending(holder, fd);
        return -EXDEV;
}

static bool blocks(int fd, int flags) {
        int status = flags & MSG_DONTWAIT ? O_NONBLOCK : fcntl(fd, F_GETFL);
        return status >= 0 && !(status & O_NONBLOCK);
}

/* The receiver is about to leave the ring, or not. It has no longer for that than it would wait for this end. */
static int wait_for_decision(struct holder *holder, int fd, int flags) {
        _Atomic uint32_t *leaving = &holder->sending.ring.memory.header->leaving;
        if (!blocks(fd, flags))
                return -EAGAIN;
        for (unsigned waited_ms = 0; *leaving == RING_MAY_BE_LEFT; waited_ms++) {
                if (waited_ms == DECISION_WAIT_MS)
                        return -ECONNRESET;
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        return -EXDEV;
}

static int look_for_room(struct ring_sender *ring, size_t least) {
        int r = sender_look(ring);
        return r < 0 ? r : sender_room(ring) >= least;
}

/* 1 when there is room for `least` bytes; 0 if not. */
static int look_for_a_while(struct ring_sender *ring, size_t least) {
        struct wait wait = {};
        int r;
        do {
                if ((r = look_for_room(ring, least)))
                        return r;
        } while (wait_again(&wait, ring->memory.header->words.receiver_cpu, WAIT_LOOK_NS));
        return 0;
}

/* While another thread sleeps for room, the peer sees a send under way already, and is to go on seeing it. */
static int enter_ring(struct holder *holder) {
        struct ring_header *header = holder->sending.ring.memory.header;
        if (__builtin_expect(!holder->sending.sleepers, 1))
                return carrier_enter_ring(header);
        uint32_t leaving = atomic_load(&header->leaving);
        return leaving == RING_NOT_LEFT ? 0 : leaving == RING_LEFT ? 1 : -EAGAIN;
}

/* The lock is held, and released while this sleeps. 0: look again. */
static int wait_for_room(struct channel *channel, struct holder *holder, int fd, size_t least, int flags) {
        struct ring_sender *ring = &holder->sending.ring;
        bool may_sleep = blocks(fd, flags);
        int r = may_sleep ? look_for_a_while(ring, least) : look_for_room(ring, least);
        if (r)
                return r < 0 ? r : 0;
        r = cramp(channel, holder, fd);
        if (r < 0)
                return r;
        size_t room = ring->window / 2 > least ? ring->window / 2 : least;
        wish_for_room(&ring->memory.header->words, ring->head - (ring->window - room));
        r = look_for_room(ring, least);
        if (r)
                return r < 0 ? r : 0;
        if (!may_sleep)
                return -EAGAIN;
        static const char token = CARRIER_TOKEN;
        holder->sending.sleepers++;
        holder_release(&holder->sending.lock);
        r = send(fd, &token, 1, MSG_NOSIGNAL) < 0 ? -errno : 0;
        holder_take(&holder->sending.lock);
        if (channel->holder != holder)
                return -EBADF;
        holder->sending.sleepers--;
        if (holder->sending.state != SENDING_RING)
                return -ECONNRESET; /* another thread detached it under this one */
        if (!r)
                wish_token_is_sent(&ring->memory.header->words, &ring->tokens_counted);
        return enter_ring(holder) ? -EXDEV : r;
}

static ssize_t send_stream(struct channel *channel, struct holder *holder, int fd, struct span_walk *walk, int flags) {
        struct ring_sender *ring = &holder->sending.ring;
        size_t all = walk->left;
        int r = 0;
        while (walk->left && !r) {
                size_t size = walk->left < PUBLISH_MAX ? walk->left : PUBLISH_MAX, room = sender_room(ring);
                if (room < size) {
                        r = sender_look(ring);
                        room = sender_room(ring);
                        if (!r && !room) {
                                r = wait_for_room(channel, holder, fd, size < ring->window / 4 ? size : ring->window / 4, flags);
                                continue;
                        }
                }
                if (r)
                        break;
                if (size > room)
                        size = room;
                span_copy_out(walk, sender_span(ring), size, sender_goes_past_caches(ring, size));
                r = publish(channel, holder, fd, size, size, size);
        }
        return all > walk->left && (r == -EAGAIN || r == -EINTR || r == -EXDEV) ? (ssize_t)(all - walk->left) : r < 0 ? r : (ssize_t)all;
}

static ssize_t send_packet(struct channel *channel, struct holder *holder, int fd, struct span_walk *walk, int flags) {
        struct ring_sender *ring = &holder->sending.ring;
        size_t length = walk->left, size = record_size(length);
        if (length + PACKET_OVERHEAD > holder->sending.buffer_size || size > ring->memory.capacity)
                return -EMSGSIZE;
        /* A window that the peer made smaller than one message must let it through all the same. */
        while (sender_room(ring) < size && !(size > ring->window && !sender_waiting(ring))) {
                int r = sender_look(ring);
                if (!r && sender_room(ring) < size && !(size > ring->window && !sender_waiting(ring)))
                        r = wait_for_room(channel, holder, fd, size < ring->window ? size : ring->window, flags);
                if (r < 0)
                        return r;
        }
        struct ring_record record = {.length = (uint32_t)length};
        uint8_t *span = sender_span(ring);
        memcpy(span, &record, sizeof record);
        span_copy_out(walk, span + sizeof record, length, sender_goes_past_caches(ring, length));
        int r = publish(channel, holder, fd, size, length, 1);
        return r < 0 ? r : (ssize_t)length;
}

/* A send begins: the lock is held. -EXDEV, -ESTALE as for the whole call. */
static int enter(struct channel *channel, struct holder *holder, int fd, int flags) {
        struct ring_sender *ring = &holder->sending.ring;
        struct ring_header *header = ring->memory.header;
        uint32_t cpu = wait_cpu();
        if (cpu != ring->cpu)
                atomic_store_explicit(&header->words.sender_cpu, ring->cpu = cpu, memory_order_relaxed);
        atomic_store_explicit(&holder->receiving.streak, 0, memory_order_relaxed);
        if (__builtin_expect(holder->sending.is_shut, 0))
                return -EPIPE;
        if (__builtin_expect(holder->receiving.ending == ENDED_BY_RESET, 0))
                return -ECONNRESET;
        int left = enter_ring(holder);
        if (__builtin_expect(left != 0, 0))
                return left > 0 ? follow(channel, holder, fd) : wait_for_decision(holder, fd, flags);
        /* If so, the socket that the number stands for is asked about before anything is written. */
        holder->sending.is_checked = sender_is_awaited(ring);
        return holder->sending.is_checked && !channel_is_at(channel, fd) ? -ESTALE : sender_rewind(ring);
}

/* Up to where there is room, and nothing else to be thought of. */
static uint32_t allowance(const struct holder *holder) {
        const struct ring_sender *ring = &holder->sending.ring;
        size_t room = sender_room(ring);
        uint64_t way = ring->head < ring->rewind_at ? ring->rewind_at - ring->head : 0;
        return (uint32_t)(room < way ? room : way);
}

/* It ends, and came to `result`. */
static ssize_t leave(struct channel *channel, struct holder *holder, int fd, ssize_t result) {
        if (channel->holder == holder && holder->sending.state == SENDING_RING) {
                if (__builtin_expect(!holder->sending.sleepers, 1))
                        carrier_leave_ring(holder->sending.ring.memory.header);
                if (__builtin_expect(holder->sending.is_cramped && result > 0 && sender_room(&holder->sending.ring), 0))
                        uncramp(holder, fd);
                if (result > 0 && !holder->sending.is_cramped && !holder->sending.sleepers && channel->type == SOCK_STREAM)
                        holder->sending.lock.allowance = allowance(holder);
        }
        holder_release(&holder->sending.lock);
        return result;
}

/* -EXDEV, or the lock is held. */
static int take_ring(struct channel *channel, struct holder **ret) {
        struct holder *holder = channel->holder;
        if (!holder)
                return -EXDEV;
        holder_take(&holder->sending.lock);
        if (channel->holder == holder && holder->sending.state == SENDING_RING) {
                *ret = holder;
                return 0;
        }
        holder_release(&holder->sending.lock);
        return -EXDEV;
}

ssize_t ring_send(struct channel *channel, int fd, const struct iovec *vector, size_t count, int flags) {
        struct holder *holder;
        struct span_walk walk = span_walk(vector, count);
        ssize_t result = take_ring(channel, &holder);
        if (result < 0)
                return result;
        if (__builtin_expect(holder->sending.reserved > 0, 0)) {
                holder_release(&holder->sending.lock); /* and nothing else is ended */
                return -EBUSY;
        }
        result = enter(channel, holder, fd, flags);
        if (!result)
                result = channel->type == SOCK_STREAM ? send_stream(channel, holder, fd, &walk, flags)
                                                      : send_packet(channel, holder, fd, &walk, flags);
        return leave(channel, holder, fd, result);
}

static uint8_t *reserved_span(const struct channel *channel, const struct ring_sender *ring) {
        return sender_span(ring) + (channel->type == SOCK_STREAM ? 0 : sizeof(struct ring_record));
}

ssize_t ring_reserve(struct channel *channel, int fd, size_t size, void **ret_span, int flags) {
        struct holder *holder;
        bool is_stream = channel->type == SOCK_STREAM;
        ssize_t r = take_ring(channel, &holder);
        if (r < 0)
                return r;
        struct ring_sender *ring = &holder->sending.ring;
        holder->sending.reserved = 0; /* what was not committed is forgotten */
        r = enter(channel, holder, fd, flags);
        size_t needed = is_stream ? size : record_size(size);
        if (!r && (needed > ring->window || (!is_stream && size + PACKET_OVERHEAD > holder->sending.buffer_size)))
                r = -EMSGSIZE;
        while (!r && sender_room(ring) < needed) {
                r = sender_look(ring);
                if (!r && sender_room(ring) < needed)
                        r = wait_for_room(channel, holder, fd, needed, flags);
        }
        if (r < 0)
                return leave(channel, holder, fd, r);
        channel->outgoing.is_for_ring = sender_goes_past_caches(ring, size) &&
                                        channel_buffer_make(&channel->outgoing, size) == 0;
        size_t room = is_stream && !channel->outgoing.is_for_ring ? sender_room(ring) : size;
        holder->sending.reserved = room;
        *ret_span = channel->outgoing.is_for_ring ? channel->outgoing.bytes : reserved_span(channel, ring);
        if (holder->sending.is_cramped)
                uncramp(holder, fd);
        holder_release(&holder->sending.lock); /* the peer still sees a send under way */
        return (ssize_t)room;
}

ssize_t ring_commit(struct channel *channel, int fd, size_t size) {
        struct holder *holder;
        ssize_t r = take_ring(channel, &holder);
        if (r < 0)
                return r;
        struct ring_sender *ring = &holder->sending.ring;
        if (!holder->sending.reserved || size > holder->sending.reserved) {
                holder_release(&holder->sending.lock);
                return -EINVAL;
        }
        bool is_stream = channel->type == SOCK_STREAM;
        struct ring_record record = {.length = (uint32_t)size};
        if (!is_stream)
                memcpy(sender_span(ring), &record, sizeof record);
        if (channel->outgoing.is_for_ring)
                copy_into_ring(reserved_span(channel, ring), channel->outgoing.bytes, size, true);
        if (size)
                r = publish(channel, holder, fd, is_stream ? size : record_size(size), size, is_stream ? size : 1);
        holder->sending.reserved = 0;
        return leave(channel, holder, fd, r < 0 ? r : (ssize_t)size);
}
