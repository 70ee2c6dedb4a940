/* SPDX-License-Identifier: MIT */

/* What a front-end's messages do. */

#include "vm/vhost_user_internal.h"

#include "base/fd.h"
#include <endian.h>
#include <errno.h>
#include <string.h>

#define CONFIG_SIZE 8u /* the guest's CID is all of it */
#define VERSION_AND_KIND (VHOST_USER_VERSION_MASK | VHOST_USER_IS_REPLY)
#define INDEX_MASK 0xffu

/* Payloads, as they lie in a message; in the machine's own byte order. */
struct ring_state {
        uint32_t index, value;
};
struct ring_address {
        uint32_t index, flags;
        uint64_t descriptors, used, available, log;
};
struct region {
        uint64_t guest_address, size, user_address, file_offset;
};
struct region_table {
        uint32_t count, reserved;
        struct region regions[VHOST_USER_TABLE_MAX];
};
struct single_region {
        uint64_t reserved;
        struct region region;
};
struct config {
        uint32_t offset, size, flags;
        uint8_t bytes[256];
};

_Static_assert(sizeof(struct region_table) <= VHOST_USER_PAYLOAD_MAX && sizeof(struct config) <= VHOST_USER_PAYLOAD_MAX,
               "every payload has room");

static void put_reply(struct vhost_user_taking *take, const void *payload, uint32_t size) {
        take->reply->request = take->message->request;
        take->reply->flags = VHOST_USER_VERSION | VHOST_USER_IS_REPLY;
        take->reply->size = size;
        memcpy(take->reply->payload, payload, size);
        take->has_reply = true;
}

static int reply_number(struct vhost_user_taking *take, uint64_t value) {
        put_reply(take, &value, sizeof value);
        return 0;
}

static uint64_t number(const struct vhost_user_taking *take) {
        uint64_t value;
        memcpy(&value, take->message->payload, sizeof value);
        return value;
}

/* The ring that the payload's first word names, or NULL. */
static struct vhost_user_ring *ring_of(struct vhost_user_taking *take, uint32_t mask) {
        uint32_t index;
        memcpy(&index, take->message->payload, sizeof index);
        index &= mask;
        return index < VHOST_USER_RINGS_MAX ? &take->device->rings[index] : NULL;
}

static struct ring_state ring_state(const struct vhost_user_taking *take) {
        struct ring_state state;
        memcpy(&state, take->message->payload, sizeof state);
        return state;
}

static int get_features(struct vhost_user_taking *take) {
        return reply_number(take, VHOST_USER_FEATURES);
}

static int refuse_features(struct vhost_user *device, uint64_t features) {
        device->refused_features = features;
        return vhost_user_fail(device, VHOST_USER_NOT_OFFERED);
}

static int set_features(struct vhost_user_taking *take) {
        uint64_t features = number(take);
        if (features & ~VHOST_USER_FEATURES)
                return refuse_features(take->device, features & ~VHOST_USER_FEATURES);
        take->device->features = features;
        return 0;
}

static int set_owner(struct vhost_user_taking *take) {
        return 0;
}

static int get_protocol_features(struct vhost_user_taking *take) {
        return reply_number(take, take->device->protocol_features_offered);
}

static int set_protocol_features(struct vhost_user_taking *take) {
        uint64_t features = number(take), refused = features & ~take->device->protocol_features_offered;
        if (refused)
                return refuse_features(take->device, refused);
        take->device->protocol_features = features;
        return 0;
}

static int get_queue_num(struct vhost_user_taking *take) {
        return reply_number(take, VHOST_USER_RINGS_MAX);
}

static int get_max_mem_slots(struct vhost_user_taking *take) {
        return reply_number(take, GUEST_REGIONS_MAX);
}

static int add_region(struct vhost_user_taking *take, const struct region *region, int fd) {
        const struct guest_region_definition definition = {
                .guest_address = region->guest_address,
                .size = region->size,
                .user_address = region->user_address,
                .file_offset = region->file_offset,
        };
        return guest_memory_add(&take->device->memory, &definition, fd) < 0
                       ? vhost_user_fail(take->device, VHOST_USER_BAD_MEMORY)
                       : 0;
}

static int memory_changed(struct vhost_user_taking *take) {
        take->changes->memory = true;
        return vhost_user_move_rings(take);
}

static int set_mem_table(struct vhost_user_taking *take) {
        const struct vhost_user_message *message = take->message;
        struct region_table table = {};
        if (message->size < offsetof(struct region_table, regions) || message->size > sizeof table)
                return vhost_user_fail(take->device, VHOST_USER_BAD_MESSAGE);
        memcpy(&table, message->payload, message->size);
        if (table.count > VHOST_USER_TABLE_MAX ||
            message->size != offsetof(struct region_table, regions) + table.count * sizeof table.regions[0])
                return vhost_user_fail(take->device, VHOST_USER_BAD_MESSAGE);
        if (take->fd_count != table.count)
                return vhost_user_fail(take->device, VHOST_USER_BAD_DESCRIPTORS);
        guest_memory_clear(&take->device->memory);
        for (unsigned i = 0; i < table.count; i++)
                if (add_region(take, &table.regions[i], fd_take(take->fds[i])) < 0)
                        return -EPROTO;
        return memory_changed(take);
}

static struct region single_region(const struct vhost_user_taking *take) {
        struct single_region single;
        memcpy(&single, take->message->payload, sizeof single);
        return single.region;
}

static int add_mem_reg(struct vhost_user_taking *take) {
        struct region region = single_region(take);
        return add_region(take, &region, fd_take(take->fds[0])) < 0 ? -EPROTO : memory_changed(take);
}

static int rem_mem_reg(struct vhost_user_taking *take) {
        struct region region = single_region(take);
        const struct guest_region_definition definition = {
                .guest_address = region.guest_address, .size = region.size, .user_address = region.user_address};
        if (guest_memory_remove(&take->device->memory, &definition) < 0)
                return vhost_user_fail(take->device, VHOST_USER_BAD_MEMORY);
        return memory_changed(take);
}

static int set_vring_num(struct vhost_user_taking *take) {
        struct vhost_user_ring *ring = ring_of(take, UINT32_MAX);
        uint32_t size = ring_state(take).value;
        if (!ring || ring->is_running || !size || size > VIRTQUEUE_SIZE_MAX || size & (size - 1))
                return vhost_user_fail(take->device, VHOST_USER_BAD_RING);
        ring->size = (uint16_t)size;
        return 0;
}

static int set_vring_addr(struct vhost_user_taking *take) {
        struct ring_address address;
        struct vhost_user_ring *ring = ring_of(take, UINT32_MAX);
        memcpy(&address, take->message->payload, sizeof address);
        if (!ring || address.flags)
                return vhost_user_fail(take->device, VHOST_USER_BAD_RING);
        ring->descriptors = address.descriptors;
        ring->used = address.used;
        ring->available = address.available;
        ring->has_addresses = true;
        return vhost_user_move_rings(take);
}

static int set_vring_base(struct vhost_user_taking *take) {
        struct vhost_user_ring *ring = ring_of(take, UINT32_MAX);
        uint32_t base = ring_state(take).value;
        if (!ring || ring->is_running || base > UINT16_MAX)
                return vhost_user_fail(take->device, VHOST_USER_BAD_RING);
        ring->base = (uint16_t)base;
        return 0;
}

/* The ring stops, until it gets another kick descriptor. */
static int get_vring_base(struct vhost_user_taking *take) {
        struct vhost_user_ring *ring = ring_of(take, UINT32_MAX);
        if (!ring)
                return vhost_user_fail(take->device, VHOST_USER_BAD_RING);
        unsigned index = (unsigned)(ring - take->device->rings);
        vhost_user_stop_ring(take, index);
        ring->kick_fd = fd_close(ring->kick_fd);
        ring->has_kick = false;
        struct ring_state answer = {index, ring->base};
        put_reply(take, &answer, sizeof answer);
        return 0;
}

/* Of KICK, CALL and ERR: the ring and the descriptor, or -1 where the message says that there is none. */
static struct vhost_user_ring *ring_descriptor(struct vhost_user_taking *take, int *ret_fd) {
        uint64_t value = number(take);
        struct vhost_user_ring *ring = ring_of(take, INDEX_MASK);
        if (!ring || value & ~(uint64_t)(INDEX_MASK | VHOST_USER_NO_DESCRIPTOR)) {
                vhost_user_fail(take->device, VHOST_USER_BAD_RING);
                return NULL;
        }
        if (take->fd_count != (value & VHOST_USER_NO_DESCRIPTOR ? 0u : 1u) ||
            (take->fd_count && !vhost_user_is_event(take->fds[0]))) {
                vhost_user_fail(take->device, VHOST_USER_BAD_DESCRIPTORS);
                return NULL;
        }
        *ret_fd = take->fd_count ? fd_take(take->fds[0]) : -1;
        return ring;
}

static int set_vring_kick(struct vhost_user_taking *take) {
        int fd;
        struct vhost_user_ring *ring = ring_descriptor(take, &fd);
        if (!ring)
                return -EPROTO;
        vhost_user_stop_ring(
                take, (unsigned)(ring - take->device->rings)); /* and starts again, for whoever polls the descriptor */
        fd_close(ring->kick_fd);
        ring->kick_fd = fd;
        ring->has_kick = true;
        return 0;
}

static int set_vring_call(struct vhost_user_taking *take) {
        int fd;
        struct vhost_user_ring *ring = ring_descriptor(take, &fd);
        if (!ring)
                return -EPROTO;
        fd_close(ring->call_fd);
        ring->call_fd = fd;
        take->changes->call |= 1u << (ring - take->device->rings);
        return 0;
}

static int set_vring_err(struct vhost_user_taking *take) {
        int fd;
        if (!ring_descriptor(take, &fd))
                return -EPROTO;
        fd_close(fd);
        return 0;
}

static int set_vring_enable(struct vhost_user_taking *take) {
        struct vhost_user_ring *ring = ring_of(take, UINT32_MAX);
        uint32_t value = ring_state(take).value;
        if (!ring || value > 1)
                return vhost_user_fail(take->device, VHOST_USER_BAD_RING);
        ring->is_enabled = value;
        return 0;
}

static int get_config(struct vhost_user_taking *take) {
        struct config config;
        uint32_t size = take->message->size, head = offsetof(struct config, bytes);
        if (size < head || size > sizeof config)
                return vhost_user_fail(take->device, VHOST_USER_BAD_MESSAGE);
        memcpy(&config, take->message->payload, size);
        if (config.size != size - head || config.offset > CONFIG_SIZE || config.size > CONFIG_SIZE - config.offset) {
                put_reply(take, "", 0); /* as the protocol says that it failed */
                return 0;
        }
        uint64_t cid = htole64(take->device->guest_cid);
        memcpy(config.bytes, (const uint8_t *)&cid + config.offset, config.size);
        put_reply(take, &config, head + config.size);
        return 0;
}

static int set_config(struct vhost_user_taking *take) {
        return vhost_user_fail(take->device, VHOST_USER_BAD_MESSAGE); /* there is nothing that a driver may write */
}

#define ANY UINT32_MAX /* the message's own function looks at it */

static const struct {
        int (*take)(struct vhost_user_taking *take);
        uint32_t size, fds;
        uint64_t feature; /* without which it must not come */
} messages[] = {
        [VHOST_USER_GET_FEATURES] = {get_features, 0, 0},
        [VHOST_USER_SET_FEATURES] = {set_features, 8, 0},
        [VHOST_USER_SET_OWNER] = {set_owner, 0, 0},
        [VHOST_USER_SET_MEM_TABLE] = {set_mem_table, ANY, ANY},
        [VHOST_USER_SET_VRING_NUM] = {set_vring_num, sizeof(struct ring_state), 0},
        [VHOST_USER_SET_VRING_ADDR] = {set_vring_addr, sizeof(struct ring_address), 0},
        [VHOST_USER_SET_VRING_BASE] = {set_vring_base, sizeof(struct ring_state), 0},
        [VHOST_USER_GET_VRING_BASE] = {get_vring_base, sizeof(struct ring_state), 0},
        [VHOST_USER_SET_VRING_KICK] = {set_vring_kick, 8, ANY},
        [VHOST_USER_SET_VRING_CALL] = {set_vring_call, 8, ANY},
        [VHOST_USER_SET_VRING_ERR] = {set_vring_err, 8, ANY},
        [VHOST_USER_GET_PROTOCOL_FEATURES] = {get_protocol_features, 0, 0},
        [VHOST_USER_SET_PROTOCOL_FEATURES] = {set_protocol_features, 8, 0},
        [VHOST_USER_GET_QUEUE_NUM] = {get_queue_num, 0, 0, VHOST_USER_PROTOCOL_MQ},
        [VHOST_USER_SET_VRING_ENABLE] = {set_vring_enable, sizeof(struct ring_state), 0},
        [VHOST_USER_GET_CONFIG] = {get_config, ANY, 0, VHOST_USER_PROTOCOL_CONFIG},
        [VHOST_USER_SET_CONFIG] = {set_config, ANY, 0, VHOST_USER_PROTOCOL_CONFIG},
        [VHOST_USER_GET_MAX_MEM_SLOTS] = {get_max_mem_slots, 0, 0, VHOST_USER_PROTOCOL_MEM_SLOTS},
        [VHOST_USER_ADD_MEM_REG] = {add_mem_reg, sizeof(struct single_region), 1, VHOST_USER_PROTOCOL_MEM_SLOTS},
        [VHOST_USER_REM_MEM_REG] = {rem_mem_reg, sizeof(struct single_region), 0, VHOST_USER_PROTOCOL_MEM_SLOTS},
};

static int dispatch(struct vhost_user_taking *take) {
        struct vhost_user *device = take->device;
        const struct vhost_user_message *message = take->message;
        if (message->size > VHOST_USER_PAYLOAD_MAX || (message->flags & VERSION_AND_KIND) != VHOST_USER_VERSION)
                return vhost_user_fail(device, VHOST_USER_BAD_MESSAGE);
        if (message->request >= sizeof messages / sizeof messages[0] || !messages[message->request].take ||
            (messages[message->request].feature & ~device->protocol_features))
                return vhost_user_fail(device, VHOST_USER_UNKNOWN_MESSAGE);
        if (messages[message->request].size != ANY && messages[message->request].size != message->size)
                return vhost_user_fail(device, VHOST_USER_BAD_MESSAGE);
        if (messages[message->request].fds != ANY && messages[message->request].fds != take->fd_count)
                return vhost_user_fail(device, VHOST_USER_BAD_DESCRIPTORS);
        int r = messages[message->request].take(take);
        return r < 0 ? r : vhost_user_run_rings(take);
}

int vhost_user_take(struct vhost_user *device, const struct vhost_user_message *message, const int *fds,
                    unsigned fd_count, struct vhost_user_message *ret_reply, bool *ret_has_reply,
                    struct vhost_user_changes *ret_changes) {
        struct vhost_user_taking take = {
                .device = device, .message = message, .reply = ret_reply, .changes = ret_changes};
        *ret_changes = (struct vhost_user_changes){};
        for (unsigned i = 0; i < fd_count; i++)
                if (i < VHOST_USER_TABLE_MAX)
                        take.fds[take.fd_count++] = fds[i];
                else
                        fd_close(fds[i]);
        int r = fd_count > VHOST_USER_TABLE_MAX ? vhost_user_fail(device, VHOST_USER_BAD_DESCRIPTORS) : dispatch(&take);
        for (unsigned i = 0; r < 0 && i < VHOST_USER_RINGS_MAX; i++)
                vhost_user_stop_ring(&take, i); /* the memory that it lies in may be gone */
        for (unsigned i = 0; i < take.fd_count; i++)
                if (take.fds[i] >= 0)
                        fd_close(take.fds[i]);
        bool is_acknowledged = message->flags & VHOST_USER_NEED_REPLY &&
                               device->protocol_features & VHOST_USER_PROTOCOL_REPLY_ACK;
        if (is_acknowledged && !take.has_reply)
                reply_number(&take, r < 0);
        *ret_has_reply = take.has_reply;
        return r;
}
