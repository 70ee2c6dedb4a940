/* SPDX-License-Identifier: MIT */

/* What the calls that move no data ask of a channel's rings, or do to them. */

#include "lib/carrier.h"
#include "lib/ring_transfer.h"

int ring_count_readable(struct channel *channel, int fd, int *ret) {
        struct holder *holder = channel->holder;
        if (!holder)
                return -EXDEV;
        holder_take(&holder->receiving.lock);
        struct ring_receiver *ring = &holder->receiving.ring;
        const uint8_t *bytes;
        size_t length = 0;
        int r = channel->holder == holder && holder->receiving.state == RECEIVING_RING ? receiver_look(ring) : -EXDEV;
        if (!r && receiver_waiting(ring) && ring->is_packets)
                r = receiver_record(ring, &bytes, &length);
        else if (!r)
                length = receiver_waiting(ring);
        holder_release(&holder->receiving.lock);
        if (!r)
                *ret = (int)length;
        return r;
}

int ring_count_unread(struct channel *channel, int *ret) {
        struct holder *holder = channel->holder;
        if (!holder)
                return -EXDEV;
        holder_take(&holder->sending.lock);
        int r = channel->holder == holder && holder->sending.state == SENDING_RING ? sender_look(&holder->sending.ring) : -EXDEV;
        if (!r)
                *ret = (int)sender_waiting(&holder->sending.ring);
        holder_release(&holder->sending.lock);
        return r;
}

void ring_shut(struct channel *channel, int how) {
        struct holder *holder = channel->holder;
        if (!holder)
                return;
        if (how != SHUT_RD && ring_is_for_sending(channel)) {
                holder_take(&holder->sending.lock);
                holder->sending.is_shut = true;
                holder_release(&holder->sending.lock);
        }
        if (how != SHUT_WR && ring_is_for_receiving(channel)) {
                /* The peer's next send asks the kernel, and is told. */
                holder_take(&holder->receiving.lock);
                if (channel->holder == holder)
                        atomic_store(&holder->receiving.ring.memory.header->words.data_wish, wish(0, WISH_ARMED));
                holder_release(&holder->receiving.lock);
        }
}

void ring_before_close(struct channel *channel, int fd) {
        struct holder *holder = channel->holder;
        if (!holder || channel->numbers > 1 || !ring_is_for_receiving(channel))
                return;
        holder_take(&holder->receiving.lock);
        struct ring_receiver *ring = &holder->receiving.ring;
        if (channel->holder == holder && !holder->receiving.sleeper && receiver_look(ring) == 0 && !receiver_waiting(ring)) {
                char tokens[64];
                uint32_t stale = wish_stale(&ring->memory.header->words, ring->tokens_taken);
                while (stale && channel_is_at(channel, fd)) {
                        ssize_t length = recv(fd, tokens, stale < sizeof tokens ? stale : sizeof tokens, MSG_DONTWAIT);
                        if (length <= 0)
                                break;
                        ring->tokens_taken += (uint32_t)length;
                        stale -= (uint32_t)length < stale ? (uint32_t)length : stale;
                }
        }
        holder_release(&holder->receiving.lock);
}

void ring_set_buffer(struct channel *channel, uint32_t size) {
        struct holder *holder = channel->holder;
        if (!holder)
                return;
        holder_take(&holder->sending.lock);
        if (channel->holder == holder && holder->sending.state == SENDING_RING) {
                struct ring_sender *ring = &holder->sending.ring;
                holder->sending.buffer_size = size;
                holder->sending.is_cramped = false;
                ring->window = size < RING_CAPACITY_MIN      ? RING_CAPACITY_MIN
                             : size < ring->memory.capacity ? size & ~(RING_RECORD_ALIGNMENT - 1)
                                                            : ring->memory.capacity;
        }
        holder_release(&holder->sending.lock);
}

bool ring_get_buffer(const struct channel *channel, int *ret) {
        if (!ring_is_for_sending(channel))
                return false;
        *ret = (int)channel->holder->sending.buffer_size;
        return true;
}

void ring_reset(int fd) {
        struct channel *channel = channel_known(fd);
        struct holder *holder = channel && channel_is_at(channel, fd) ? channel->holder : NULL;
        if (holder)
                holder->receiving.ending = ENDED_BY_RESET;
}
