/* SPDX-License-Identifier: MIT */

/* The state of a device, and when its rings run: vhost_user.h has the theory. */

#include "vm/vhost_user_internal.h"

#include "base/fd.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What is no file of a file system has a name without a slash in front. */
bool vhost_user_is_event(int fd) {
        static const char event[] = "anon_inode:[eventfd]", pipe[] = "pipe:[";
        char link[32], name[sizeof event + 1];
        snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
        ssize_t length = readlink(link, name, sizeof name);
        return (length == sizeof event - 1 && !memcmp(name, event, sizeof event - 1)) ||
               (length >= (ssize_t)sizeof pipe - 1 && !memcmp(name, pipe, sizeof pipe - 1));
}

int vhost_user_fail(struct vhost_user *device, enum vhost_user_problem problem) {
        device->problem = problem;
        return -EPROTO;
}

const char *vhost_user_problem_text(enum vhost_user_problem problem) {
        switch (problem) {
        case VHOST_USER_FINE:
                return "nothing is wrong";
        case VHOST_USER_BAD_MESSAGE:
                return "the VMM sent a vhost-user message of a wrong length or with a value that cannot be";
        case VHOST_USER_UNKNOWN_MESSAGE:
                return "the VMM sent a vhost-user message that was not negotiated";
        case VHOST_USER_BAD_DESCRIPTORS:
                return "the VMM sent a vhost-user message with too many descriptors, too few, or an event that is no eventfd";
        case VHOST_USER_NOT_OFFERED:
                return "the VMM negotiated what was not offered: its device must not have packed=on or iommu_platform=on";
        case VHOST_USER_BAD_MEMORY:
                return "the VMM's memory cannot be mapped: it must be files as large as it says, in at most 64 regions";
        case VHOST_USER_BAD_RING:
                return "a queue lies outside the guest's memory, or has a wrong size";
        case VHOST_USER_NO_MEMORY:
                return "the VMM shares none of the guest's memory: give it a memory backend with share=on (hvsock vm args "
                       "prints one)";
        case VHOST_USER_BROKEN_QUEUE:
                return "what the guest's driver put into a queue cannot be; the device is served again once the driver starts anew";
        case VHOST_USER_LOST:
                return "hvsockd ended, and what it knew of the VM is lost: plug its device in anew (hvsock(1) says how), or power it off "
                       "and on";
        case VHOST_USER_PRIVATE_MEMORY:
                return "the guest's memory is private to the VMM: give its memory backend share=on";
        }
        return "something is wrong";
}

void vhost_user_init(struct vhost_user *device, uint64_t guest_cid, uint64_t offered) {
        *device = (struct vhost_user){
                .guest_cid = guest_cid, .protocol_features_offered = offered, .protocol_features = offered};
        guest_memory_init(&device->memory);
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++)
                device->rings[i].kick_fd = device->rings[i].call_fd = -1;
}

void vhost_user_reset(struct vhost_user *device) {
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++) {
                fd_close(device->rings[i].kick_fd);
                fd_close(device->rings[i].call_fd);
        }
        guest_memory_clear(&device->memory);
        vhost_user_init(device, device->guest_cid, device->protocol_features_offered);
}

int vhost_user_find_ring(const struct vhost_user *device, const struct vhost_user_ring *ring,
                         struct virtqueue_place *ret) {
        const struct guest_memory *memory = &device->memory;
        *ret = (struct virtqueue_place){
                .descriptors = guest_memory_of_user(memory, ring->descriptors, virtqueue_descriptors_bytes(ring->size)),
                .available = guest_memory_of_user(memory, ring->available, virtqueue_available_bytes(ring->size)),
                .used = guest_memory_of_user(memory, ring->used, virtqueue_used_bytes(ring->size)),
                .size = ring->size,
                .index = ring->base,
                .has_event_index = device->features & VHOST_USER_FEATURE_EVENT_INDEX,
                .has_indirect = device->features & VHOST_USER_FEATURE_INDIRECT,
        };
        return ret->descriptors && ret->available && ret->used ? 0 : -EFAULT;
}

static bool may_run(const struct vhost_user *device, const struct vhost_user_ring *ring) {
        bool is_enabled = ring->is_enabled || !(device->features & VHOST_USER_FEATURE_PROTOCOL);
        return is_enabled && ring->has_kick && ring->has_addresses && ring->size;
}

void vhost_user_stop_ring(struct vhost_user_taking *take, unsigned index) {
        struct vhost_user_ring *ring = &take->device->rings[index];
        if (!ring->is_running)
                return;
        ring->base = ring->stopped_at = ring->queue.next_available;
        ring->was_stopped = true;
        ring->is_running = false;
        take->changes->stopped |= 1u << index;
}

static int start(struct vhost_user_taking *take, unsigned index) {
        struct vhost_user *device = take->device;
        struct vhost_user_ring *ring = &device->rings[index];
        struct virtqueue_place place;
        if (vhost_user_find_ring(device, ring, &place) < 0 || virtqueue_begin(&ring->queue, &device->memory, &place) < 0)
                return vhost_user_fail(device, device->memory.count ? VHOST_USER_BAD_RING : VHOST_USER_NO_MEMORY);
        ring->is_running = true;
        ring->is_resumed = ring->was_stopped && ring->stopped_at == ring->base;
        ring->was_stopped = false;
        take->changes->started |= 1u << index;
        return 0;
}

int vhost_user_run_rings(struct vhost_user_taking *take) {
        struct vhost_user *device = take->device;
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++) {
                struct vhost_user_ring *ring = &device->rings[i];
                bool may = may_run(device, ring);
                if (!may)
                        vhost_user_stop_ring(take, i);
                else if (!ring->is_running && start(take, i) < 0)
                        return -EPROTO;
        }
        return 0;
}

int vhost_user_move_rings(struct vhost_user_taking *take) {
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++) {
                struct vhost_user_ring *ring = &take->device->rings[i];
                struct virtqueue_place place;
                if (!ring->is_running)
                        continue;
                if (vhost_user_find_ring(take->device, ring, &place) < 0 || virtqueue_move(&ring->queue, &place) < 0)
                        return vhost_user_fail(take->device, VHOST_USER_BAD_RING);
        }
        return 0;
}
