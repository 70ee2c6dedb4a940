/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The quick way through a ring: calls that have nothing to do but to copy.
 *
 * Theory of operation. Of a stream of short messages all but one in a hundred find
 * room, or bytes enough, and neither wake nor wait for anybody. What else there is
 * to be thought of is thought of by ring_send() and ring_receive(), who then allow
 * so many bytes to be moved without it. Whoever else takes the lock ends that. What
 * can change without the lock is looked at here. A call that is not allowed, or
 * finds the lock taken, has done nothing, and goes the long way.
 *
 * Both return -EXDEV for that, otherwise what the whole call comes to.
 */

#include "lib/carrier.h"

/* The tokens that are due after all, and the peer's need to know that there is room. 0 or -errno. */
int ring_send_finish(struct channel *channel, int fd, unsigned tokens);
int ring_receive_finish(struct channel *channel, int fd);

static inline struct holder *quick_holder(int fd, struct channel **ret_channel) {
        struct channel *channel = *ret_channel = channel_known(fd);
        return channel ? atomic_load_explicit(&channel->holder, memory_order_acquire) : NULL;
}

static inline ssize_t ring_send_quickly(int fd, const void *bytes, size_t size) {
        struct channel *channel;
        struct holder *holder = quick_holder(fd, &channel);
        if (!holder || !holder_take_allowed(&holder->sending.lock, size))
                return -EXDEV;
        struct ring_sender *ring = &holder->sending.ring;
        ssize_t result = -EXDEV;
        if (channel->holder == holder && holder->receiving.ending != ENDED_BY_RESET &&
            holder->sending.sends + 1 < holder->sending.check_after) {
                struct ring_header *header = ring->memory.header;
                int left = carrier_enter_ring(header);
                if (!left && !sender_is_awaited(ring)) {
                        holder->sending.sends++;
                        holder->sending.lock.allowance -= (uint32_t)size;
                        atomic_store_explicit(&holder->receiving.streak, 0, memory_order_relaxed);
                        copy_into_ring(sender_span(ring), bytes, size, sender_goes_past_caches(ring, size));
                        unsigned tokens = sender_publish(ring, size, size, size);
                        int r = __builtin_expect(tokens > 0, 0) ? ring_send_finish(channel, fd, tokens) : 0;
                        result = r < 0 ? r : (ssize_t)size;
                }
                if (!left)
                        carrier_leave_ring(header);
        }
        holder_release(&holder->sending.lock);
        return result;
}

static inline ssize_t ring_receive_quickly(int fd, void *buffer, size_t size) {
        struct channel *channel;
        struct holder *holder = quick_holder(fd, &channel);
        if (!holder || !holder_take_allowed(&holder->receiving.lock, size))
                return -EXDEV;
        ssize_t result = -EXDEV;
        if (channel->holder == holder) {
                struct ring_receiver *ring = &holder->receiving.ring;
                holder->receiving.lock.allowance -= (uint32_t)size;
                memcpy(buffer, receiver_span(ring), size);
                int r = __builtin_expect(receiver_release(ring, size, size), 0) ? ring_receive_finish(channel, fd) : 0;
                result = r < 0 ? r : (ssize_t)size;
        }
        holder_release(&holder->receiving.lock);
        return result;
}
