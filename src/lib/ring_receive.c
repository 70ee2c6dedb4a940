/* SPDX-License-Identifier: MIT */

/* Receiving through a ring: ring_call.h has the theory. */

#include "lib/carrier.h"
#include "lib/ring_call.h"
#include "lib/ring_quick.h"
#include "lib/ring_transfer.h"
#include "lib/span.h"
#include "lib/state.h"

int receive_begin(struct receive *ret, struct channel *channel, int fd, int flags) {
        struct holder *holder = channel->holder;
        if (!holder)
                return -EXDEV;
        holder_take(&holder->receiving.lock);
        *ret = (struct receive){
                .channel = channel, .holder = holder, .ring = &holder->receiving.ring,
                .fd = fd, .flags = flags, .is_exact = !channel->asks_library};
        int r = channel->holder == holder && holder->receiving.state == RECEIVING_RING ? 0 : -EXDEV;
        if (!r) {
                ret->words = &ret->ring->memory.header->words;
                if (__builtin_expect(!ret->is_exact, 0) && atomic_load_explicit(&ret->words->data_wish, memory_order_relaxed))
                        wish_forget(ret->words); /* a wait set's, which has woken up */
                if (__builtin_expect(holder->receiving.sleeper, 0))
                        r = receive_wait_for_turn(ret);
        }
        if (r < 0)
                holder_release(&holder->receiving.lock);
        return r;
}

ssize_t receive_end(struct receive *receive, ssize_t result) {
        struct holder *holder = receive->holder;
        bool is_there = receive->channel->holder == holder; /* or it was closed while this slept */
        if (result == -ECONNRESET && is_there && !holder->receiving.ending) {
                holder->receiving.ending = ENDED_BY_RESET; /* what the peer wrote cannot be */
                (void)state_set(receive->fd, STATE_RESET);
                (void)shutdown(receive->fd, SHUT_RDWR);
        } else if (result == 0 && is_there && !receive->has_taken && holder->receiving.ending && !receiver_waiting(receive->ring)) {
                if (holder->receiving.ending == ENDED_BY_RESET)
                        result = -ECONNRESET;
                if (holder->receiving.ending == ENDED_IN_SOCKET) {
                        carrier_leave_receiving(holder, receive->fd);
                        result = -EXDEV;
                }
        }
        holder_release(&holder->receiving.lock);
        return result;
}

static int take_stream(struct receive *receive, struct span_walk *walk) {
        struct ring_receiver *ring = receive->ring;
        size_t size = receiver_waiting(ring);
        if (size > walk->left)
                size = walk->left;
        span_copy_in(walk, receiver_span(ring), size);
        return receive->flags & MSG_PEEK ? 0 : receive_release(receive, size, size);
}

static int take_packet(struct receive *receive, struct span_walk *walk, size_t *ret_length, int *ret_flags) {
        const uint8_t *bytes;
        size_t length;
        int r = receiver_record(receive->ring, &bytes, &length);
        if (r < 0)
                return r;
        if (length > walk->left)
                *ret_flags |= MSG_TRUNC;
        *ret_length = length > walk->left && !(receive->flags & MSG_TRUNC) ? walk->left : length;
        span_copy_in(walk, bytes, length < walk->left ? length : walk->left);
        return receive->flags & MSG_PEEK ? 0 : receive_release(receive, record_size(length), 1);
}

/* The bytes that were got, 0 at the end, or -errno. */
static ssize_t receive_stream(struct receive *receive, struct span_walk *walk) {
        struct ring_receiver *ring = receive->ring;
        size_t all = walk->left;
        bool is_patient = receive->flags & MSG_WAITALL && !(receive->flags & MSG_PEEK);
        int r = 0;
        for (;;) {
                if (!receiver_waiting(ring) || (receiver_waiting(ring) < walk->left))
                        r = receiver_look(ring);
                if (!r && receiver_waiting(ring))
                        r = take_stream(receive, walk);
                else if (!r && !receive->holder->receiving.ending)
                        r = receive_wait(receive);
                else if (!r)
                        break;
                bool is_enough = !walk->left || (walk->left < all && !is_patient) || (receiver_waiting(ring) && !all);
                if (r < 0 || is_enough) {
                        int left = receive_leave(receive);
                        if (left == 1 && r >= 0)
                                continue;
                        if (left < 0 && r >= 0)
                                r = left;
                        break;
                }
        }
        if (walk->left < all && r != -ESTALE)
                return (ssize_t)(all - walk->left);
        return r;
}

static ssize_t receive_packet(struct receive *receive, struct span_walk *walk, int *ret_flags) {
        struct ring_receiver *ring = receive->ring;
        size_t length = 0;
        int r;
        while (!(r = receiver_look(ring)) && !receiver_waiting(ring) && !receive->holder->receiving.ending)
                if ((r = receive_wait(receive)) < 0)
                        break;
        bool is_there = !r && receiver_waiting(ring);
        if (is_there)
                r = take_packet(receive, walk, &length, ret_flags);
        int left = r == -ECONNRESET ? 0 : receive_leave(receive);
        if (left == 1) /* a message came in the moment of giving up */
                return receive_packet(receive, walk, ret_flags);
        return r < 0 ? r : left < 0 ? left : is_there ? (ssize_t)length : receive->holder->receiving.ending ? 0 : -EAGAIN;
}

ssize_t ring_receive(struct channel *channel, int fd, const struct iovec *vector, size_t count, int flags, int *ret_flags) {
        struct receive receive;
        struct span_walk walk = span_walk(vector, count);
        *ret_flags = 0;
        int r = receive_begin(&receive, channel, fd, flags);
        if (r < 0)
                return r;
        receive.room = flags & MSG_PEEK ? 0 : channel->type == SOCK_STREAM ? walk.left : 1;
        if (channel->type == SOCK_SEQPACKET)
                return receive_end(&receive, receive_packet(&receive, &walk, ret_flags));
        ssize_t length = receive_stream(&receive, &walk);
        /* For as long as bytes are left behind, and so is a token for them, there is nothing else to be thought of. */
        if (length > 0 && receive.channel->holder == receive.holder && receiver_waiting(receive.ring) &&
            (receive.ring->is_granted || !receive.is_exact))
                receive.holder->receiving.lock.allowance = (uint32_t)receiver_waiting(receive.ring) - 1;
        return receive_end(&receive, length);
}

int ring_receive_finish(struct channel *channel, int fd) {
        struct receive receive = {
                .channel = channel, .holder = channel->holder, .fd = fd,
                .ring = &channel->holder->receiving.ring, .words = &channel->holder->receiving.ring.memory.header->words};
        receive.holder->receiving.lock.allowance = 0;
        return receive_drain(&receive, wish_stale(receive.words, receive.ring->tokens_taken), 1);
}

ssize_t ring_peek(struct channel *channel, int fd, const void **ret_span, int flags) {
        struct receive receive;
        int r = receive_begin(&receive, channel, fd, (flags & MSG_DONTWAIT) | MSG_PEEK);
        if (r < 0)
                return r;
        struct ring_receiver *ring = receive.ring;
        const uint8_t *bytes = NULL;
        size_t length = 0;
        while (!(r = receiver_look(ring)) && !receiver_waiting(ring) && !receive.holder->receiving.ending)
                if ((r = receive_wait(&receive)) < 0)
                        break;
        if (!r && receiver_waiting(ring) && ring->is_packets) {
                r = receiver_record(ring, &bytes, &length);
                receive.has_taken = !r;
        } else if (!r) {
                bytes = receiver_span(ring);
                length = receiver_waiting(ring);
        }
        if (r != -ESTALE && r != -ECONNRESET && r != -EBADF) {
                int left = receive_leave(&receive);
                r = r < 0 ? r : left < 0 ? left : 0;
        }
        if (!r)
                *ret_span = bytes;
        return receive_end(&receive, r < 0 ? r : (ssize_t)length);
}

int ring_consume(struct channel *channel, int fd, size_t size) {
        struct receive receive;
        int r = receive_begin(&receive, channel, fd, MSG_DONTWAIT);
        if (r < 0)
                return r;
        struct ring_receiver *ring = receive.ring;
        const uint8_t *bytes;
        size_t length = receiver_waiting(ring), units = size;
        if (length && ring->is_packets) {
                r = receiver_record(ring, &bytes, &length);
                size = record_size(length);
                units = 1;
        }
        if (!r && (!length || (!ring->is_packets && size > length)))
                r = ring->is_packets && receiver_waiting(ring) ? 0 : -EINVAL;
        if (!r)
                r = receive_release(&receive, size, units);
        if (!r)
                r = receive_leave(&receive);
        return (int)receive_end(&receive, r < 0 ? r : 0);
}
