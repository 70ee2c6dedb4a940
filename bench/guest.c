/* SPDX-License-Identifier: MIT */
#include "guest_internal.h"
#include "exchange.h"
#include "ring/wait.h"
#include "transport.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define POLL_NS 50000u          /* that an idle processor is polled for */
#define LOOKS_BETWEEN_YIELDS 8u
#define YIELD_TAKEN_NS 1000u    /* a yield that took as long gave the core to somebody */
#define FIRST_PORT 1024u

/* As it lies in memory. */
struct __attribute__((packed)) header {
        uint64_t source_cid, target_cid;
        uint32_t source_port, target_port, length;
        uint16_t type, operation;
        uint32_t flags, buffer_size, forwarded;
};

_Static_assert(sizeof(struct header) == VSOCK_HEADER_SIZE && __BYTE_ORDER == __LITTLE_ENDIAN, "it is used as it lies");

/* ---- buffers ---- */

static void slots_fill(struct guest_slots *slots, unsigned first, unsigned count) {
        for (; slots->count < count; slots->count++)
                slots->free[slots->count] = (uint16_t)(first + slots->count);
}

static uint8_t *tx_slot(const struct guest *guest, uint16_t slot) {
        return slot < GUEST_SMALL_SLOTS ? guest->map->small[slot].bytes
                                        : guest->map->large[slot - GUEST_SMALL_SLOTS].bytes;
}

/* What the device has sent. */
static void reclaim(struct guest *guest) {
        uint16_t slot;

        while (guest_queue_take(&guest->tx, &slot)) {
                struct guest_slots *slots = slot < GUEST_SMALL_SLOTS ? &guest->small_slots : &guest->large_slots;
                slots->free[slots->count++] = slot;
        }
}

static void refill(struct guest *guest) {
        struct guest_slots *slots = &guest->rx_slots;

        if (guest_queue_under_way(&guest->rx) >= GUEST_QUEUE_SIZE / 2)
                return;
        while (slots->count && guest_queue_under_way(&guest->rx) < GUEST_QUEUE_SIZE) {
                uint16_t slot = slots->free[--slots->count];
                const uint8_t *memory = guest->map->rx[slot].bytes;
                guest_queue_give(&guest->rx, guest_address(guest, memory), VSOCK_HEADER_SIZE + GUEST_RX_PACKET, slot);
        }
        guest_queue_publish(&guest->rx);
}

/* ---- waiting ---- */

static bool nobody_wants_the_core(void) {
        uint64_t before = now_ns();

        sched_yield();
        return now_ns() - before < YIELD_TAKEN_NS;
}

/* Until `count` chains of the queue have come back. */
static void wait_for_used(struct guest *guest, struct guest_queue *queue, unsigned count) {
        uint64_t before = now_ns(), calls;

        if (guest_queue_has_used(queue))
                return;
        do {
                for (unsigned i = 0; i < LOOKS_BETWEEN_YIELDS; i++) {
                        if (guest_queue_has_used(queue))
                                return;
                        wait_a_little();
                }
        } while (nobody_wants_the_core() && now_ns() - before < POLL_NS);
        while (guest_queue_arm(queue, count))
                if (read(guest->call_fd, &calls, sizeof calls) < 0)
                        die("cannot wait to be called: %s", strerror(errno));
}

/* ---- packets ---- */

static uint16_t take_tx_slot(struct guest *guest, size_t size) {
        struct guest_slots *slots = size <= GUEST_SMALL_PACKET ? &guest->small_slots : &guest->large_slots;

        while (!slots->count || guest_queue_under_way(&guest->tx) == GUEST_QUEUE_SIZE) {
                unsigned under_way = guest_queue_under_way(&guest->tx);
                wait_for_used(guest, &guest->tx, (under_way + 1) / 2);
                reclaim(guest);
        }
        return slots->free[--slots->count];
}

static void send_packet(struct guest *guest, struct guest_stream *stream, enum vsock_operation operation,
                        uint32_t flags, const void *bytes, size_t size) {
        uint16_t slot = take_tx_slot(guest, size);
        uint8_t *memory = tx_slot(guest, slot);

        stream->forwarded_told = stream->forwarded;
        *(struct header *)memory = (struct header){
                .source_cid = guest->cid,
                .target_cid = VSOCK_CID_HOST,
                .source_port = stream->port,
                .target_port = stream->host_port,
                .length = (uint32_t)size,
                .type = VSOCK_STREAM,
                .operation = (uint16_t)operation,
                .flags = flags,
                .buffer_size = GUEST_BUFFER_SIZE,
                .forwarded = stream->forwarded,
        };
        if (size)
                memcpy(memory + VSOCK_HEADER_SIZE, bytes, size);
        guest_queue_send(&guest->tx, guest_address(guest, memory), VSOCK_HEADER_SIZE, (uint32_t)size, slot);
        guest_queue_publish(&guest->tx);
}

static struct guest_stream *stream_new(struct guest *guest, uint32_t port, uint32_t host_port, unsigned *ret_number) {
        unsigned number = 0;

        while (number < GUEST_STREAMS_MAX && guest->streams[number].state != STREAM_FREE)
                number++;
        if (number == GUEST_STREAMS_MAX)
                die("the guest has too many streams");
        guest->streams[number] = (struct guest_stream){.port = port, .host_port = host_port, .first = GUEST_SLOT_NONE};
        *ret_number = number;
        return &guest->streams[number];
}

static struct guest_stream *stream_of(struct guest *guest, const struct header *header) {
        for (unsigned i = 0; i < GUEST_STREAMS_MAX; i++) {
                unsigned number = (guest->last_stream + i) % GUEST_STREAMS_MAX;
                struct guest_stream *stream = &guest->streams[number];
                if ((stream->state == STREAM_DIALLING || stream->state == STREAM_OPEN) &&
                    stream->port == header->target_port && stream->host_port == header->source_port) {
                        guest->last_stream = number;
                        return stream;
                }
        }
        return NULL;
}

static void take_request(struct guest *guest, const struct header *header) {
        unsigned number;
        struct guest_stream *stream = stream_new(guest, header->target_port, header->source_port, &number);

        stream->state = STREAM_OPEN;
        stream->host_buffer = header->buffer_size;
        stream->host_forwarded = header->forwarded;
        guest->accepted[(guest->accepted_first + guest->accepted_count++) % GUEST_STREAMS_MAX] = number;
        send_packet(guest, stream, VSOCK_RESPONSE, 0, NULL, 0);
}

/* Whether the slot is kept, since there is something to be read in it. */
static bool take_packet(struct guest *guest, uint16_t slot) {
        const struct header *header = (const struct header *)guest->map->rx[slot].bytes;
        struct guest_stream *stream = stream_of(guest, header);

        if (!stream) {
                if (header->operation == VSOCK_REQUEST)
                        take_request(guest, header);
                return false;
        }
        stream->host_buffer = header->buffer_size;
        stream->host_forwarded = header->forwarded;
        switch (header->operation) {
        case VSOCK_RW:
                guest->next[slot] = GUEST_SLOT_NONE;
                if (stream->first == GUEST_SLOT_NONE)
                        stream->first = slot;
                else
                        guest->next[stream->last] = slot;
                stream->last = slot;
                return true;
        case VSOCK_RESPONSE:
                stream->state = STREAM_OPEN;
                return false;
        case VSOCK_CREDIT_REQUEST:
                send_packet(guest, stream, VSOCK_CREDIT_UPDATE, 0, NULL, 0);
                return false;
        case VSOCK_SHUTDOWN:
                stream->is_shut |= (header->flags & VSOCK_SHUT_SEND) != 0;
                if (header->flags == VSOCK_SHUT_BOTH) {
                        send_packet(guest, stream, VSOCK_RST, 0, NULL, 0);
                        stream->state = STREAM_OVER;
                }
                return false;
        case VSOCK_RST:
                if (stream->state == STREAM_DIALLING)
                        die("the host refused the guest's connection to port %u", stream->host_port);
                stream->is_shut = true;
                stream->state = STREAM_OVER;
        }
        return false;
}

static void take_packets(struct guest *guest) {
        uint16_t slot;

        while (guest_queue_take(&guest->rx, &slot))
                if (!take_packet(guest, slot))
                        guest->rx_slots.free[guest->rx_slots.count++] = slot;
        refill(guest);
}

static void wait_for_packets(struct guest *guest) {
        wait_for_used(guest, &guest->rx, 1);
        take_packets(guest);
}

/* ---- what the guest's program does ---- */

unsigned guest_dial(struct guest *guest, uint32_t port) {
        unsigned number;
        struct guest_stream *stream = stream_new(guest, guest->next_port++, port, &number);

        stream->state = STREAM_DIALLING;
        send_packet(guest, stream, VSOCK_REQUEST, 0, NULL, 0);
        while (stream->state == STREAM_DIALLING)
                wait_for_packets(guest);
        return number;
}

unsigned guest_accept(struct guest *guest) {
        while (!guest->accepted_count)
                wait_for_packets(guest);
        guest->accepted_count--;
        return guest->accepted[guest->accepted_first++ % GUEST_STREAMS_MAX];
}

void guest_send(struct guest *guest, unsigned number, const void *bytes, size_t size) {
        struct guest_stream *stream = &guest->streams[number];

        while (size) {
                uint32_t credit;
                while (!(credit = stream->host_buffer - (stream->sent - stream->host_forwarded))) {
                        if (stream->is_shut)
                                die("the host ended the guest's stream");
                        wait_for_packets(guest);
                }
                size_t part = size < credit ? size : credit;
                part = part < VSOCK_PAYLOAD_MAX ? part : VSOCK_PAYLOAD_MAX;
                stream->sent += (uint32_t)part;
                send_packet(guest, stream, VSOCK_RW, 0, bytes, part);
                bytes = (const uint8_t *)bytes + part;
                size -= part;
        }
}

/* As Linux does it: when what the host does not know of is more than this of its buffer. */
static void tell_credit(struct guest *guest, struct guest_stream *stream) {
        if (GUEST_BUFFER_SIZE - (stream->forwarded - stream->forwarded_told) < VSOCK_PAYLOAD_MAX)
                send_packet(guest, stream, VSOCK_CREDIT_UPDATE, 0, NULL, 0);
}

size_t guest_receive(struct guest *guest, unsigned number, void *bytes, size_t size) {
        struct guest_stream *stream = &guest->streams[number];
        size_t done = 0;

        while (stream->first == GUEST_SLOT_NONE) {
                if (stream->is_shut)
                        return 0;
                wait_for_packets(guest);
        }
        while (done < size && stream->first != GUEST_SLOT_NONE) {
                uint16_t slot = stream->first;
                const uint8_t *memory = guest->map->rx[slot].bytes;
                size_t left = ((const struct header *)memory)->length - stream->offset;
                size_t part = size - done < left ? size - done : left;
                memcpy((uint8_t *)bytes + done, memory + VSOCK_HEADER_SIZE + stream->offset, part);
                done += part;
                stream->offset += (uint32_t)part;
                if (part == left) {
                        stream->first = guest->next[slot];
                        stream->offset = 0;
                        guest->rx_slots.free[guest->rx_slots.count++] = slot;
                }
        }
        stream->forwarded += (uint32_t)done;
        tell_credit(guest, stream);
        refill(guest);
        return done;
}

void guest_close(struct guest *guest, unsigned number) {
        struct guest_stream *stream = &guest->streams[number];

        if (stream->state == STREAM_OPEN)
                send_packet(guest, stream, VSOCK_SHUTDOWN, VSOCK_SHUT_BOTH, NULL, 0);
        while (stream->state == STREAM_OPEN)
                wait_for_packets(guest);
        for (uint16_t slot = stream->first; slot != GUEST_SLOT_NONE; slot = guest->next[slot])
                guest->rx_slots.free[guest->rx_slots.count++] = slot;
        stream->state = STREAM_FREE;
}

/* ---- its beginning and its end ---- */

struct guest *guest_start_on(int socket) {
        struct guest *guest = calloc(1, sizeof *guest);

        if (!guest)
                die("no memory");
        guest->socket = socket;
        guest->next_port = FIRST_PORT;
        guest->memory_fd = memfd_create("guest", MFD_CLOEXEC);
        if (guest->memory_fd < 0 || ftruncate(guest->memory_fd, sizeof *guest->map) < 0)
                die("cannot make a guest's memory: %s", strerror(errno));
        guest->map = mmap(NULL, sizeof *guest->map, PROT_READ | PROT_WRITE, MAP_SHARED, guest->memory_fd, 0);
        if (guest->map == MAP_FAILED)
                die("cannot map a guest's memory: %s", strerror(errno));
        slots_fill(&guest->rx_slots, 0, GUEST_RX_SLOTS);
        slots_fill(&guest->small_slots, 0, GUEST_SMALL_SLOTS);
        slots_fill(&guest->large_slots, GUEST_SMALL_SLOTS, GUEST_LARGE_SLOTS);
        guest->rx.memory = &guest->map->rx_queue;
        guest->rx.address = guest_address(guest, guest->rx.memory);
        guest->tx.memory = &guest->map->tx_queue;
        guest->tx.address = guest_address(guest, guest->tx.memory);
        guest_front_end_start(guest);
        refill(guest);
        return guest;
}

struct guest *guest_start(const char *path) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        if (snprintf(address.sun_path, sizeof address.sun_path, "%s", path) >= (int)sizeof address.sun_path)
                die("%s is too long a path for a socket", path);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
                die("cannot connect to %s: %s", path, strerror(errno));
        return guest_start_on(fd);
}

void guest_end(struct guest *guest) {
        close(guest->socket);
        close(guest->call_fd);
        close(guest->rx.kick_fd);
        close(guest->tx.kick_fd);
        close(guest->memory_fd);
        munmap(guest->map, sizeof *guest->map);
        free(guest);
}
