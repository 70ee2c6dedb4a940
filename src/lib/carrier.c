/* SPDX-License-Identifier: MIT */

/* Moving a direction of a channel into a ring: carrier.h has the theory. */

#include "lib/carrier.h"

#include "base/fd.h"
#include "lib/address.h"
#include "lib/control.h"
#include "lib/holders.h"
#include "lib/watch.h"
#include <sys/eventfd.h>

bool carrier_is_own(struct channel *channel, int fd) {
        pid_t process = process_id();
        if (__builtin_expect(channel->owner == process, 1))
                return true;
        if (!holders_are_one(fd))
                return false;
        channel->owner = process;
        return true;
}

static _Atomic unsigned ring_count; /* mapped, by this process */

static bool may_map_ring(void) {
        if (atomic_fetch_add(&ring_count, 1) < CARRIER_RINGS_MAX)
                return true;
        atomic_fetch_sub(&ring_count, 1);
        return false;
}

static void unmap_ring(struct ring_memory *memory) {
        if (memory->header)
                atomic_fetch_sub(&ring_count, 1);
        ring_unmap(memory);
}

void carrier_end(struct channel *channel) {
        struct holder *holder = channel->holder;
        if (!holder)
                return;
        holder_take(&holder->receiving.lock);
        holder_take(&holder->sending.lock);
        channel->holder = NULL;
        struct ring_memory sending = holder->sending.ring.memory, receiving = holder->receiving.ring.memory;
        holder_release(&holder->sending.lock); /* to other processes, too; threads of this one find that it is over */
        holder_release(&holder->receiving.lock);
        holder_give_back(holder);
        watch_wait();
        unmap_ring(&sending);
        unmap_ring(&receiving);
}

/* The lock is held. Makes the page when the first ring comes. */
static struct holder *holder_of(struct channel *channel) {
        struct holder *holder = channel->holder;
        if (!holder && (holder = holder_new()))
                channel->holder = holder;
        return holder;
}

/* A channel that ends after one question and one answer never pays, though it was asked for. */
static bool pays(const struct channel *channel, size_t size) {
        return (channel->carrier == HV_CARRIER_SHM && (channel->messages || size >= CARRIER_ASKED_BYTES_BEFORE)) ||
               (channel->carrier == HV_CARRIER_AUTO &&
                (channel->messages >= CARRIER_MESSAGES_BEFORE || channel->bytes >= CARRIER_BYTES_BEFORE));
}

/* A ring for what this end sends, and the descriptor to send it with. */
static int offer(struct channel *channel, int fd) {
        int buffer_size, ring_fd = -1;
        struct ring_memory memory;
        lock_take(&channel->lock);
        bool may = may_map_ring();
        struct holder *holder = may ? holder_of(channel) : NULL;
        channel->messages = 0;
        channel->bytes = 0;
        if (holder && holder->sending.state == SENDING_PLAIN && holders_are_one(fd) && socket_option(fd, SO_SNDBUF, &buffer_size) == 0 &&
            (channel->type == SOCK_STREAM || (size_t)buffer_size <= RING_CAPACITY_MAX) &&
            ring_create(channel->type, (size_t)buffer_size, &memory, &ring_fd) == 0) {
                sender_begin(&holder->sending.ring, &memory, memory.capacity);
                holder->sending.buffer_size = (uint32_t)buffer_size;
                holder->sending.state = SENDING_OFFERED;
        } else if (may) {
                atomic_fetch_sub(&ring_count, 1);
        }
        lock_release(&channel->lock);
        return ring_fd;
}

void carrier_withdraw(struct channel *channel) {
        lock_take(&channel->lock);
        struct holder *holder = channel->holder;
        if (holder) {
                holder_take(&holder->sending.lock);
                struct ring_memory memory = holder->sending.ring.memory;
                holder->sending.ring = (struct ring_sender){};
                holder->sending.state = SENDING_PLAIN;
                holder_release(&holder->sending.lock);
                unmap_ring(&memory);
        }
        lock_release(&channel->lock);
}

/* The sending lock is held. */
static bool is_accepted(const struct channel *channel, const struct holder *holder) {
        return channel->holder == holder && holder->sending.state == SENDING_OFFERED &&
               atomic_load_explicit(&holder->sending.ring.memory.header->accepted, memory_order_acquire);
}

static bool may_begin(const struct channel *channel, struct holder *holder) {
        if (!holder || holder->sending.state != SENDING_OFFERED)
                return false;
        holder_take(&holder->sending.lock);
        bool may = is_accepted(channel, holder);
        holder_release(&holder->sending.lock);
        return may;
}

/* The mark makes the peer's socket readable, so the message that is to follow must be one that can be sent. */
static bool fits(const struct channel *channel, int fd, size_t size) {
        int buffer_size;
        return channel->type == SOCK_STREAM ||
               (socket_option(fd, SO_SNDBUF, &buffer_size) == 0 && size + PACKET_OVERHEAD <= (size_t)buffer_size);
}

static bool put_mark(int fd, struct ring_header *header) {
        cleanup(fd_closep) int mark_fd = eventfd(0, EFD_CLOEXEC);
        if (mark_fd < 0)
                return false;
        holders_set_flag(fd, SENDS_THROUGH_RING, 1);
        atomic_store(&header->words.is_begun, true);
        if (packet_send(fd, (const char[]){CARRIER_MARK}, 1, mark_fd, MSG_DONTWAIT) == 0)
                return true;
        atomic_store(&header->words.is_begun, false);
        holders_set_flag(fd, SENDS_THROUGH_RING, 0);
        return false;
}

/* The peer took the ring. If that cannot be now, a later send tries again. */
static void begin_sending(struct channel *channel, struct holder *holder, int fd) {
        lock_take(&channel->lock);
        atomic_store(&channel->is_switching, true);
        if (!atomic_load(&channel->senders) && !channel_new_is_busy(fd)) {
                holder_take(&holder->sending.lock);
                if (is_accepted(channel, holder) && channel_is_at(channel, fd) && holders_are_one(fd)) {
                        struct ring_header *header = holder->sending.ring.memory.header;
                        int r = carrier_enter_ring(header);
                        if (!r && put_mark(fd, header)) {
                                uint32_t wanted = header->accepted;
                                if (wanted >= RING_CAPACITY_MIN && wanted < holder->sending.ring.window)
                                        holder->sending.ring.window = wanted;
                                holder->sending.state = SENDING_RING;
                        }
                        carrier_leave_ring(header);
                        if (r > 0) {
                                channel->carrier = HV_CARRIER_UNIX;
                                carrier_leave_sending(holder, fd);
                        }
                }
                holder_release(&holder->sending.lock);
        }
        atomic_store(&channel->is_switching, false);
        lock_release(&channel->lock);
}

/* Whoever switches holds the lock. A child may have it from a thread that it has not: then nobody switches. */
static void wait_for_switch(struct channel *channel) {
        lock_take(&channel->lock);
        atomic_store(&channel->is_switching, false);
        lock_release(&channel->lock);
}

int carrier_send_begins(struct channel *channel, int fd, size_t size, int *ret_ring_fd) {
        struct holder *holder;
        for (;;) {
                holder = channel->holder;
                if (may_begin(channel, holder) && fits(channel, fd, size))
                        begin_sending(channel, holder, fd);
                atomic_fetch_add(&channel->senders, 1);
                if (!atomic_load(&channel->is_switching))
                        break;
                atomic_fetch_sub(&channel->senders, 1);
                wait_for_switch(channel);
        }
        holder = channel->holder;
        if (holder && holder->sending.state == SENDING_RING) {
                atomic_fetch_sub(&channel->senders, 1);
                return CARRIER_IS_RING;
        }
        bool is_offered = holder && holder->sending.state != SENDING_PLAIN, may = carrier_is_own(channel, fd);
        if (!may && holders_flag(fd, SENDS_THROUGH_RING)) {
                atomic_fetch_sub(&channel->senders, 1);
                return -ECONNRESET;
        }
        *ret_ring_fd = -1;
        if (size && may && !is_offered && pays(channel, size)) {
                if (!channel_is_at(channel, fd)) {
                        atomic_fetch_sub(&channel->senders, 1);
                        return -ESTALE;
                }
                *ret_ring_fd = offer(channel, fd);
        }
        return CARRIER_IS_PLAIN;
}

/* For its statistics the broker looks at the header; it need not know, nor be there. */
static void tell_broker(const struct channel *channel, int fd, int ring_fd) {
        struct endpoint endpoint;
        if (endpoint_read(fd, &endpoint) < 0 || (endpoint.role != ROLE_CONNECTOR && endpoint.role != ROLE_ACCEPTED))
                return;
        struct wire_request request = {
                .header.type = WIRE_RING,
                .service_id = endpoint.connector.ephemeral_id,
                .socket_type = (uint32_t)channel->type,
                .flags = endpoint.role == ROLE_ACCEPTED ? WIRE_RING_FROM_ACCEPTOR : 0,
        };
        control_tell(&request, ring_fd);
}

void carrier_send_ended(struct channel *channel, int fd, int ring_fd, ssize_t result) {
        int error = errno;
        if (ring_fd >= 0) {
                if (result < 0)
                        carrier_withdraw(channel);
                else
                        tell_broker(channel, fd, ring_fd);
                fd_close(ring_fd);
        } else if (result >= 0) {
                atomic_store_explicit(&channel->messages, channel->messages + 1, memory_order_relaxed);
                atomic_store_explicit(&channel->bytes, channel->bytes + (size_t)result, memory_order_relaxed);
        }
        atomic_fetch_sub(&channel->senders, 1);
        errno = error;
}

static bool claim(struct holder *holder) {
        uint32_t sleeper = 0, self = process_thread_id();
        return atomic_compare_exchange_strong(&holder->receiving.sleeper, &sleeper, self) ||
               (holder_thread_is_gone(sleeper) && atomic_compare_exchange_strong(&holder->receiving.sleeper, &sleeper, self));
}

int carrier_receive_begins(struct channel *channel) {
        struct holder *holder;
        for (;;) {
                atomic_fetch_add(&channel->receivers, 1);
                if (!atomic_load(&channel->is_switching))
                        break;
                atomic_fetch_sub(&channel->receivers, 1);
                wait_for_switch(channel);
        }
        holder = channel->holder;
        uint32_t state = holder ? holder->receiving.state : RECEIVING_PLAIN;
        if (state == RECEIVING_PLAIN || state == RECEIVING_OFFERED || (state == RECEIVING_ACCEPTED && claim(holder)))
                return CARRIER_IS_PLAIN;
        atomic_fetch_sub(&channel->receivers, 1);
        return state == RECEIVING_RING ? CARRIER_IS_RING : -EAGAIN;
}

static void take_offer(struct channel *channel, int ring_fd) {
        struct ring_memory memory;
        lock_take(&channel->lock);
        bool may = channel->carrier != HV_CARRIER_UNIX && may_map_ring();
        struct holder *holder = may ? holder_of(channel) : NULL;
        if (holder && holder->receiving.state == RECEIVING_PLAIN && ring_accept(ring_fd, channel->type, &memory) == 0) {
                receiver_begin(&holder->receiving.ring, &memory, channel->type == SOCK_SEQPACKET);
                holder->receiving.state = RECEIVING_OFFERED;
        } else if (may) {
                atomic_fetch_sub(&ring_count, 1);
        }
        lock_release(&channel->lock);
}

/* What the sender may have waiting: as much as SO_RCVBUF says, in the steps in which rings are made. */
static uint32_t window_of(int fd) {
        int size;
        uint32_t window = RING_CAPACITY_MIN;
        if (socket_option(fd, SO_RCVBUF, &size) == 0)
                while (window < RING_CAPACITY_MAX && window < (uint32_t)size)
                        window *= 2;
        return window;
}

static void accept_offer(struct channel *channel, struct holder *holder, int fd) {
        lock_take(&channel->lock);
        atomic_store(&channel->is_switching, true);
        if (holder->receiving.state == RECEIVING_OFFERED && !atomic_load(&channel->receivers) && !channel_new_is_busy(fd) && holders_are_one(fd)) {
                struct ring_header *header = holder->receiving.ring.memory.header;
                holders_set_flag(fd, RECEIVES_THROUGH_RING, 1);
                atomic_store(&header->words.data_wish, wish(0, WISH_ARMED));
                holder->receiving.state = RECEIVING_ACCEPTED;
                atomic_store_explicit(&header->accepted, window_of(fd), memory_order_release);
        }
        atomic_store(&channel->is_switching, false);
        lock_release(&channel->lock);
}

int carrier_receive_ended(struct channel *channel, int fd, int ring_fd, bool is_marked, bool is_peeking) {
        struct holder *holder = channel->holder;
        int r = 0;
        bool is_claimed = holder && holder->receiving.sleeper == process_thread_id();
        bool may = is_claimed || carrier_is_own(channel, fd);
        if (!may && holders_flag(fd, RECEIVES_THROUGH_RING))
                r = -ECONNRESET;
        else if (may && ring_fd >= 0 && !is_peeking && channel_is_at(channel, fd))
                take_offer(channel, ring_fd);
        if (is_claimed) {
                if (is_marked)
                        holder->receiving.state = RECEIVING_RING;
                holder->receiving.sleeper = 0;
        } else if (is_marked) {
                r = -ECONNRESET;
        }
        atomic_fetch_sub(&channel->receivers, 1);
        holder = channel->holder;
        if (holder && holder->receiving.state == RECEIVING_OFFERED)
                accept_offer(channel, holder, fd);
        return r;
}

void carrier_leave_sending(struct holder *holder, int fd) {
        struct ring_memory memory = holder->sending.ring.memory;
        holders_set_flag(fd, SENDS_THROUGH_RING, 0);
        holder->sending.ring = (struct ring_sender){};
        holder->sending.state = SENDING_PLAIN;
        unmap_ring(&memory);
}

void carrier_leave_receiving(struct holder *holder, int fd) {
        struct ring_memory memory = holder->receiving.ring.memory;
        holders_set_flag(fd, RECEIVES_THROUGH_RING, 0);
        holder->receiving.ending = NOT_ENDED;
        holder->receiving.state = RECEIVING_PLAIN;
        watch_wait();
        holder->receiving.ring = (struct ring_receiver){};
        unmap_ring(&memory);
}
