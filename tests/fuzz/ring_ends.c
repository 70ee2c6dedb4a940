/* SPDX-License-Identifier: MIT */

/*
 * The two ends of a ring, each by itself, against a peer that writes into their
 * memory between any two of their steps. Whatever it writes, the sender is given
 * room, and the receiver bytes, within the data as it is mapped, and no more than
 * the ring holds; neither's own indices move but by its own steps; and no step
 * asks for more tokens than it may.
 *
 * The first byte says of which type the ring is, and how large its window. Then
 * three bytes are a step: of one of the ends, or of the peer.
 */

#include "ring/receiver.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

#define STEPS_MAX 1000

struct world {
        struct ring_memory memory; /* the peer's, who may write everywhere */
        struct ring_sender sender;
        struct ring_receiver receiver;
        bool is_packets, sender_is_reset, receiver_is_reset;
};

static void require_within(const struct ring_memory *memory, const uint8_t *span, size_t size) {
        require(span >= memory->data && size <= memory->capacity);
        require((size_t)(span - memory->data) + size <= 2 * (size_t)memory->capacity);
}

/* Writes all that the sender says there is room for, or one message of `wanted` bytes. */
static void send_step(struct world *world, size_t wanted) {
        struct ring_sender *sender = &world->sender;
        uint64_t head = sender->head, tail = sender->tail;
        size_t size = world->is_packets ? record_size(wanted) : wanted;
        int r = sender_rewind(sender);
        if (!r)
                r = sender_look(sender);
        require(sender->head == head && sender->tail - tail <= head - tail);
        if (r < 0) {
                require(r == -ECONNRESET && sender->tail == tail);
                world->sender_is_reset = true;
                return;
        }
        require(sender_waiting(sender) + sender_room(sender) <= sender->memory.capacity);
        if (size > sender_room(sender) && world->is_packets)
                return;
        if (size > sender_room(sender))
                size = sender_room(sender);
        require_within(&sender->memory, sender_span(sender), size);
        struct ring_record record = {.length = (uint32_t)wanted};
        if (world->is_packets)
                memcpy(sender_span(sender), &record, sizeof record);
        else
                memset(sender_span(sender), 's', size);
        require(sender_publish(sender, size, wanted, world->is_packets ? 1 : size) <= 2);
        require(sender->head == head + size);
}

/* Takes `wanted` bytes of those that wait, or a message. */
static void receive_step(struct world *world, size_t wanted) {
        struct ring_receiver *receiver = &world->receiver;
        uint64_t tail = receiver->tail;
        const uint8_t *bytes;
        size_t length, units, waiting = receiver_waiting(receiver);
        int r = receiver_look(receiver);
        require(receiver->tail == tail);
        require(receiver_waiting(receiver) >= waiting && receiver_waiting(receiver) <= receiver->units_max);
        if (!r && !receiver_waiting(receiver))
                return;
        if (!r && world->is_packets) {
                units = 1;
                if (!(r = receiver_record(receiver, &bytes, &length)))
                        require_within(&receiver->memory, bytes - sizeof(struct ring_record), record_size(length));
        } else if (!r) {
                bytes = receiver_span(receiver);
                length = units = receiver_waiting(receiver);
                require_within(&receiver->memory, bytes, length);
                if (wanted < length)
                        length = units = wanted;
        }
        if (r < 0) {
                require(r == -ECONNRESET);
                world->receiver_is_reset = true;
                return;
        }
        uint8_t *copy = malloc(length ? length : 1);
        require(copy);
        memcpy(copy, bytes, length);
        free(copy);
        (void)receiver_release(receiver, world->is_packets ? record_size(length) : length, units);
}

/* What a receive does around the taking, and how it ends. */
static void wait_step(struct world *world, unsigned how, size_t room) {
        struct ring_receiver *receiver = &world->receiver;
        struct ring_words *words = &receiver->memory.header->words;
        uint32_t stale = 0;
        switch (how % 8) {
        case 0: wish_promise(words, receiver->taken + room); break;
        case 1: (void)wish_sleep(words, receiver->taken, receiver->taken + room); break;
        case 2: (void)wish_arm(words, receiver->taken); break;
        case 3: wish_forget(words); break;
        case 4: stale = wish_stale(words, receiver->tokens_taken); break;
        case 5: (void)wish_leave(words, receiver->taken, receiver->taken + room, receiver->tokens_taken, &stale); break;
        case 6: wish_for_room(&world->sender.memory.header->words, world->sender.head - room); break;
        default: wish_token_is_sent(&world->sender.memory.header->words, &world->sender.tokens_counted);
        }
        require(stale <= TOKENS_TAKEN_MAX);
        receiver->tokens_taken += stale;
}

/* Values around those that the checks are about. */
static uint64_t chosen_value(const struct world *world, uint8_t choice) {
        static const int64_t around[] = {0, 1, -1, 7, 8, 9, INT64_MAX, INT64_MIN};
        const uint64_t centres[] = {
                0, world->sender.head, world->sender.tail, world->sender.published, world->receiver.tail,
                world->receiver.taken, world->receiver.taken + world->receiver.units_max,
                world->receiver.taken + world->memory.capacity, world->sender.tail - 1, world->sender.base,
                UINT32_MAX, world->receiver.published,
                world->receiver.tail + world->memory.capacity, (uint64_t)choice << 56, (uint64_t)choice << 8, choice};
        return centres[choice % 16] + (uint64_t)around[choice / 16 % 8];
}

static void peers_step(struct world *world, unsigned where, uint8_t choice) {
        struct ring_header *header = world->memory.header;
        struct ring_words *words = &header->words;
        uint64_t value = chosen_value(world, choice);
        switch (where % 16) {
        case 0: case 1: words->head = value; break;
        case 2: words->base = value; break;
        case 3: case 4: words->tail = value; break;
        case 5: words->data_wish = value; break;
        case 6: words->data_wish = wish(value, (enum wish_state)(where >> 4 & 3)); break;
        case 7: words->room_wish = wish(value, (enum wish_state)(where >> 4 & 3)); break;
        case 8: words->tokens_sent = (uint32_t)value; break;
        case 9: words->head += choice; break;
        case 10: words->tail += choice; break;
        case 11: header->capacity = (uint32_t)value; break; /* which nobody reads any more */
        case 12: case 13: { /* the next record's length */
                uint32_t longest = world->memory.capacity - (uint32_t)sizeof(struct ring_record);
                uint32_t length = choice & 1 ? (uint32_t)value : longest - 3 + choice / 2 % 8;
                size_t next = (world->receiver.tail - world->receiver.base) & (world->memory.capacity - 1);
                memcpy(world->memory.data + next, &length, sizeof length);
                break;
        }
        default: memset(world->memory.data + (size_t)choice * 256, (int)where, 256);
        }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        struct world world = {};
        struct ring_memory reader;
        int fd;
        if (size < 1)
                return 0;
        world.is_packets = bytes[0] & 1;
        int type = world.is_packets ? SOCK_SEQPACKET : SOCK_STREAM;
        require(ring_create(type, 0, &world.memory, &fd) == 0);
        require(ring_accept(fd, type, &reader) == 0);
        close(fd);
        sender_begin(&world.sender, &world.memory, RING_CAPACITY_MIN >> (bytes[0] >> 1 & 3));
        receiver_begin(&world.receiver, &reader, world.is_packets);
        for (size_t at = 1; at + 3 <= size && at < 3 * STEPS_MAX; at += 3) {
                size_t wanted = (size_t)bytes[at + 1] << (bytes[at] >> 4);
                switch (bytes[at] % 4) {
                case 0:
                        if (!world.sender_is_reset)
                                send_step(&world, wanted);
                        break;
                case 1:
                        if (!world.receiver_is_reset)
                                receive_step(&world, wanted);
                        break;
                case 2:
                        wait_step(&world, bytes[at + 2], wanted);
                        break;
                default:
                        peers_step(&world, bytes[at + 2], bytes[at + 1]);
                }
        }
        ring_unmap(&world.memory);
        ring_unmap(&reader);
        return 0;
}
