/* SPDX-License-Identifier: MIT */

/*
 * A vsock device, between a guest that writes whatever it likes, wherever it likes
 * in its memory, and an owner who does what owners may do, in any order. Whatever
 * comes: what is given to the owner lies in guest memory and is within the
 * connection's credit; all credits, connections and replies together stay within
 * their bounds; an ended connection is heard of once; and every turn comes to an end.
 *
 * The first byte says what was negotiated. Then each step is a byte that says which,
 * and its operands.
 */

#include "vm/device.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

#define CID 42u
#define BASE UINT64_C(0x10000)
#define REGION 65536u /* two of them, one after the other */
#define QUEUE_SIZE 16u
#define BUFFERS 8192u /* where packets lie: so that some run over the end of the first region */
#define OWNED_MAX 64u
#define STEPS_MAX 2000

/* Where each queue lies, by its index. */
#define DESCRIPTORS(queue) ((queue) * 2048u)
#define AVAILABLE(queue) ((queue) * 2048u + 512u)
#define USED(queue) ((queue) * 2048u + 1024u)

struct world {
        struct device device;
        const uint8_t *input;
        size_t left;
        uint8_t *memory; /* all of it, as the guest sees it */
        uint16_t published[2];
        struct vsock_connection *owned[OWNED_MAX];
        unsigned owned_count;
        int64_t now_ms;
};

static struct world world;

static uint32_t take(unsigned count) {
        uint32_t value = 0;
        for (; count; count--)
                if (world.left) {
                        value = value << 8 | *world.input++;
                        world.left--;
                }
        return value;
}

/* ---- the owner ---- */

static void disown(unsigned index) {
        world.owned[index] = world.owned[--world.owned_count];
}

static unsigned index_of(const struct vsock_connection *connection) {
        for (unsigned i = 0; i < world.owned_count; i++)
                if (world.owned[i] == connection)
                        return i;
        abort();
}

static void own(struct device *device, struct vsock_connection *connection) {
        if (world.owned_count == OWNED_MAX)
                vsock_reset(&device->vsock, connection);
        else
                world.owned[world.owned_count++] = connection;
}

static void on_event(struct device *device, struct vsock_connection *connection, enum vsock_event event) {
        if (event == VSOCK_ASKS) {
                own(device, connection);
                return;
        }
        unsigned index = index_of(connection);
        require((connection->state == VSOCK_ENDED) == (event == VSOCK_CLOSED || event == VSOCK_RESET));
        if (event == VSOCK_ANSWERED)
                vsock_open(&device->vsock, connection);
        if (connection->state == VSOCK_ENDED) {
                disown(index);
                vsock_release(&device->vsock, connection);
        }
}

static void require_in_memory(const struct device *device, const struct iovec *pieces, unsigned count, size_t size) {
        size_t all = 0;
        for (unsigned i = 0; i < count; i++) {
                bool is_inside = false;
                for (unsigned region = 0; region < device->front_end.memory.count; region++) {
                        const uint8_t *host = device->front_end.memory.regions[region].host, *base = pieces[i].iov_base;
                        if (base >= host && base < host + REGION && pieces[i].iov_len <= (size_t)(host + REGION - base))
                                is_inside = true;
                }
                require(is_inside);
                all += pieces[i].iov_len;
        }
        require(all == size);
}

static void on_take(struct device *device, struct vsock_connection *connection, const struct iovec *pieces,
                    unsigned count, size_t size, uint32_t flags) {
        (void)index_of(connection);
        require_in_memory(device, pieces, count, size);
        require(connection->state == VSOCK_CONNECTED);
        require(connection->received - connection->forwarded <= connection->buffer);
        require(size <= VSOCK_PAYLOAD_MAX);
}

static ssize_t on_give(struct device *device, const struct vsock_wanted *wanted, const struct iovec *pieces,
                       unsigned count, uint32_t *ret_flags, bool *ret_has_more) {
        struct vsock_connection *connection = wanted->connection;
        (void)index_of(connection);
        require(wanted->least <= wanted->room && wanted->room <= VSOCK_PAYLOAD_MAX);
        require((uint64_t)(uint32_t)(connection->sent - connection->guest_forwarded) + wanted->room <=
                connection->guest_buffer);
        size_t size = take(2) % (wanted->room + 1);
        if (size < wanted->least)
                return DEVICE_NOTHING;
        struct iovec part[CHAIN_PIECES_MAX];
        count = pieces_slice(pieces, count, 0, size, part);
        require_in_memory(device, part, count, size);
        for (unsigned i = 0; i < count; i++)
                memset(part[i].iov_base, 'h', part[i].iov_len);
        *ret_has_more = take(1) & 1;
        return (ssize_t)size;
}

static const struct device_ends ends = {on_event, on_take, on_give};

static void owner_step(void) {
        struct vsock *vsock = &world.device.vsock;
        uint32_t what = take(1), value = take(2);
        if ((what & 7) == 7) {
                struct vsock_connection *connection;
                if (vsock_dial(vsock, what & 8 ? CID + 1 : VSOCK_CID_HOST, value & 3,
                               what & 16 ? VSOCK_SEQPACKET : VSOCK_STREAM, NULL, &connection) == 0)
                        own(&world.device, connection);
                return;
        }
        if (!world.owned_count)
                return;
        unsigned index = (what >> 3) % world.owned_count;
        struct vsock_connection *connection = world.owned[index];
        uint32_t waiting = connection->received - connection->forwarded;
        switch (what & 7) {
        case 0:
                vsock_accept(vsock, connection);
                break;
        case 1:
                vsock_forward(vsock, connection, value < waiting ? value : waiting);
                break;
        case 2:
        case 3:
                vsock_ready(vsock, connection);
                break;
        case 4:
                vsock_shut(vsock, connection, value);
                break;
        case 5:
                disown(index);
                vsock_close(vsock, connection);
                break;
        case 6:
                disown(index);
                vsock_reset(vsock, connection);
        }
}

/* ---- the guest ---- */

static void describe(unsigned queue, unsigned index, uint64_t address, uint32_t length, uint16_t flags, uint16_t next) {
        uint8_t *at = world.memory + DESCRIPTORS(queue) + 16 * index;
        memcpy(at, &address, 8);
        memcpy(at + 8, &length, 4);
        memcpy(at + 12, &flags, 2);
        memcpy(at + 14, &next, 2);
}

static void publish(unsigned queue, uint16_t head) {
        uint16_t index = world.published[queue]++;
        memcpy(world.memory + AVAILABLE(queue) + 4 + 2 * (index % QUEUE_SIZE), &head, 2);
        memcpy(world.memory + AVAILABLE(queue) + 2, &world.published[queue], 2);
}

/* A packet that is near to a right one. */
static void packet_step(void) {
        uint32_t kind = take(1), value = take(2), place = BUFFERS + take(1) * 256,
                 index = world.published[1] % QUEUE_SIZE;
        uint32_t port = take(1) & 3, room = take(1) << 10, forwarded = take(2);
        struct vsock_packet packet = {
                .source_cid = kind & 0x80 && value == 1 ? CID + 1 : CID,
                .target_cid = kind & 0x40 ? CID + 1 : VSOCK_CID_HOST,
                .source_port = port, .target_port = kind & 0x20 ? VSOCK_PORT_FIRST + (value & 7) : 22,
                .type = kind & 0x10 ? VSOCK_SEQPACKET : VSOCK_STREAM,
                .operation = kind & 15, .flags = value & 3,
                .buffer_size = room, .forwarded = forwarded,
        };
        if (packet.operation == VSOCK_RW)
                packet.length = value & 0x3fff;
        vsock_packet_encode(&packet, world.memory + place);
        describe(1, index, BASE + place, VSOCK_HEADER_SIZE + packet.length, 0, 0);
        publish(1, (uint16_t)index);
}

static void buffer_step(void) {
        uint32_t length = take(2), place = BUFFERS + take(1) * 256, index = world.published[0] % QUEUE_SIZE;
        describe(0, index, BASE + place, length & 0x1fff, 2, 0);
        publish(0, (uint16_t)index);
}

static void poke_step(void) {
        uint32_t place = take(2) % BUFFERS, count = 1 + take(1) % 16;
        for (; count; count--, place++)
                world.memory[place] = (uint8_t)take(1);
        memcpy(&world.published[0], world.memory + AVAILABLE(0) + 2, 2);
        memcpy(&world.published[1], world.memory + AVAILABLE(1) + 2, 2);
}

/* ---- the world ---- */

static void require_bounds(void) {
        const struct vsock *vsock = &world.device.vsock;
        uint64_t promised = 0;
        unsigned count = 0;
        list_for_each(link, &vsock->all) {
                const struct vsock_connection *connection = container_of(link, struct vsock_connection, all_link);
                require(connection->buffer <= connection->promised);
                require(connection->state == VSOCK_ENDED ||
                        connection->received - connection->forwarded <= connection->promised);
                require(connection->is_owned || connection->owes || connection->state == VSOCK_CLOSING);
                promised += connection->promised;
                count++;
        }
        require(count == vsock->count && count <= VSOCK_CONNECTIONS_MAX);
        require(promised == vsock->promised && promised <= VSOCK_BUFFER_TOTAL);
        require(vsock->stray_count <= VSOCK_STRAYS_MAX);
}

static void turn_step(void) {
        struct virtqueue *tx = &world.device.front_end.rings[VHOST_USER_TX].queue;
        uint16_t from = tx->next_available;
        struct device_turn turn = device_turn(&world.device);
        require((uint16_t)(tx->next_available - from) <= DEVICE_BATCH);
        require(turn.is_broken || tx->next_available == from || tx->flushed == tx->next_used);
        if (!turn.has_more)
                (void)device_arm(&world.device);
}

static void begin(uint8_t negotiated) {
        static int fd = -1;
        if (fd < 0) {
                fd = memfd_create("guest", MFD_CLOEXEC);
                require(fd >= 0 && ftruncate(fd, 2 * REGION) == 0);
                world.memory = mmap(NULL, 2 * REGION, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
                require(world.memory != MAP_FAILED);
        }
        memset(world.memory, 0, 2 * REGION);
        world.published[0] = world.published[1] = 0;
        world.owned_count = 0;
        world.now_ms = 1;
        require(device_init(&world.device, CID, 0, (const uint8_t *)"sixteen bytes..", &ends) == 0);
        struct guest_memory *memory = &world.device.front_end.memory;
        for (unsigned i = 0; i < 2; i++) {
                struct guest_region_definition region = {.guest_address = BASE + i * REGION,
                                                         .size = REGION,
                                                         .user_address = i * REGION,
                                                         .file_offset = i * REGION};
                require(guest_memory_add(memory, &region, dup(fd)) == 0);
        }
        for (unsigned i = 0; i < 2; i++) {
                struct virtqueue_place place = {
                        .descriptors =
                                guest_memory_of_user(memory, DESCRIPTORS(i), virtqueue_descriptors_bytes(QUEUE_SIZE)),
                        .available = guest_memory_of_user(memory, AVAILABLE(i), virtqueue_available_bytes(QUEUE_SIZE)),
                        .used = guest_memory_of_user(memory, USED(i), virtqueue_used_bytes(QUEUE_SIZE)),
                        .size = QUEUE_SIZE,
                        .has_event_index = negotiated & 1,
                        .has_indirect = negotiated & 2,
                };
                require(virtqueue_begin(&world.device.front_end.rings[i].queue, memory, &place) == 0);
                world.device.front_end.rings[i].is_running = true;
        }
        world.device.vsock.has_seqpacket = negotiated & 4;
        vsock_tick(&world.device.vsock, world.now_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        world.input = bytes;
        world.left = size;
        begin((uint8_t)take(1));
        for (unsigned steps = 0; world.left && steps < STEPS_MAX; steps++) {
                uint32_t step = take(1);
                switch (step & 7) {
                case 0:
                case 1:
                        packet_step();
                        break;
                case 2:
                        buffer_step();
                        break;
                case 3:
                        poke_step();
                        break;
                case 4:
                case 5:
                        owner_step();
                        break;
                case 6:
                        vsock_tick(&world.device.vsock, world.now_ms += step & 8 ? VSOCK_CLOSE_MS : VSOCK_ASK_MIN_MS);
                        break;
                case 7:
                        turn_step();
                }
                require_bounds();
        }
        turn_step();
        require_bounds();
        device_deinit(&world.device);
        return 0;
}
