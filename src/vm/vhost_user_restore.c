/* SPDX-License-Identifier: MIT */

/*
 * A device as it was when its process died. What was saved is checked as if it came
 * from a stranger: it goes through the checks that messages go through.
 */

#include "vm/vhost_user_internal.h"

#include "base/fd.h"
#include <errno.h>

static uint32_t flag(bool is_set, uint32_t flag) {
        return is_set ? flag : 0;
}

void vhost_user_save(const struct vhost_user *device, struct vhost_user_saved *ret) {
        *ret = (struct vhost_user_saved){
                .guest_cid = device->guest_cid,
                .features = device->features,
                .protocol_features = device->protocol_features,
                .region_count = device->memory.count,
        };
        for (unsigned i = 0; i < device->memory.count; i++) {
                const struct guest_region *region = &device->memory.regions[i];
                ret->regions[i] = (struct guest_region_definition){.guest_address = region->guest_address,
                                                                   .size = region->size,
                                                                   .user_address = region->user_address,
                                                                   .file_offset = region->file_offset};
        }
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++) {
                const struct vhost_user_ring *ring = &device->rings[i];
                ret->rings[i].descriptors = ring->descriptors;
                ret->rings[i].used = ring->used;
                ret->rings[i].available = ring->available;
                ret->rings[i].size = ring->size;
                ret->rings[i].base = ring->base;
                ret->rings[i].stopped_at = ring->stopped_at;
                ret->rings[i].flags = flag(ring->has_addresses, VHOST_USER_SAVED_ADDRESSES) |
                                      flag(ring->has_kick, VHOST_USER_SAVED_KICK) |
                                      flag(ring->kick_fd >= 0, VHOST_USER_SAVED_KICK_FD) |
                                      flag(ring->call_fd >= 0, VHOST_USER_SAVED_CALL_FD) |
                                      flag(ring->is_enabled, VHOST_USER_SAVED_ENABLED) |
                                      flag(ring->is_running, VHOST_USER_SAVED_RUNNING) |
                                      flag(ring->was_stopped, VHOST_USER_SAVED_STOPPED);
        }
}

unsigned vhost_user_descriptors(const struct vhost_user *device, int ret_fds[VHOST_USER_DESCRIPTORS_MAX]) {
        unsigned count = 0;
        for (unsigned i = 0; i < device->memory.count; i++)
                ret_fds[count++] = device->memory.regions[i].fd;
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++) {
                if (device->rings[i].kick_fd >= 0)
                        ret_fds[count++] = device->rings[i].kick_fd;
                if (device->rings[i].call_fd >= 0)
                        ret_fds[count++] = device->rings[i].call_fd;
        }
        return count;
}

static unsigned descriptors_of(const struct vhost_user_saved *saved) {
        unsigned count = saved->region_count;
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++)
                count += !!(saved->rings[i].flags & VHOST_USER_SAVED_KICK_FD) +
                         !!(saved->rings[i].flags & VHOST_USER_SAVED_CALL_FD);
        return count;
}

static bool is_possible(const struct vhost_user *device, const struct vhost_user_saved *saved) {
        if (saved->guest_cid != device->guest_cid || saved->features & ~VHOST_USER_FEATURES ||
            saved->protocol_features & ~device->protocol_features_offered || saved->region_count > GUEST_REGIONS_MAX)
                return false;
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++) {
                unsigned size = saved->rings[i].size;
                uint32_t flags = saved->rings[i].flags;
                if (size > VIRTQUEUE_SIZE_MAX || size & (size - 1) || flags & ~VHOST_USER_SAVED_ALL ||
                    (flags & VHOST_USER_SAVED_KICK_FD && !(flags & VHOST_USER_SAVED_KICK)))
                        return false;
        }
        return true;
}

/* Where a ring that ran goes on. It is begun there, and looked at once more, like any other. */
static int find_base(const struct vhost_user *device, struct vhost_user_ring *ring) {
        struct virtqueue_place place;
        struct virtqueue queue;
        if (!ring->size || !ring->has_addresses || vhost_user_find_ring(device, ring, &place) < 0 ||
            virtqueue_move(&queue, &place) < 0)
                return -EPROTO;
        ring->base = virtqueue_used_index(&place);
        return 0;
}

/* As many as descriptors_of() says are there. */
static int restore(struct vhost_user *device, const struct vhost_user_saved *saved, int *fds,
                   struct vhost_user_changes *changes) {
        struct vhost_user_taking take = {.device = device, .changes = changes};
        device->features = saved->features;
        device->protocol_features = saved->protocol_features;
        for (unsigned i = 0; i < saved->region_count; i++, fds++)
                if (guest_memory_add(&device->memory, &saved->regions[i], fd_take(*fds)) < 0)
                        return -EPROTO;
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++) {
                struct vhost_user_ring *ring = &device->rings[i];
                uint32_t flags = saved->rings[i].flags;
                ring->descriptors = saved->rings[i].descriptors;
                ring->used = saved->rings[i].used;
                ring->available = saved->rings[i].available;
                ring->size = saved->rings[i].size;
                ring->base = saved->rings[i].base;
                ring->stopped_at = saved->rings[i].stopped_at;
                ring->has_addresses = flags & VHOST_USER_SAVED_ADDRESSES;
                ring->has_kick = flags & VHOST_USER_SAVED_KICK;
                ring->is_enabled = flags & VHOST_USER_SAVED_ENABLED;
                ring->was_stopped = flags & VHOST_USER_SAVED_STOPPED;
                if (flags & VHOST_USER_SAVED_KICK_FD) {
                        ring->kick_fd = fd_take(*fds);
                        fds++;
                }
                if (flags & VHOST_USER_SAVED_CALL_FD) {
                        ring->call_fd = fd_take(*fds);
                        fds++;
                }
                if ((ring->kick_fd >= 0 && !vhost_user_is_event(ring->kick_fd)) ||
                    (ring->call_fd >= 0 && !vhost_user_is_event(ring->call_fd)))
                        return -EPROTO;
                if (flags & VHOST_USER_SAVED_RUNNING && find_base(device, ring) < 0)
                        return -EPROTO;
                changes->call |= ring->call_fd >= 0 ? 1u << i : 0;
        }
        changes->memory = true;
        return vhost_user_run_rings(&take);
}

int vhost_user_restore(struct vhost_user *device, const struct vhost_user_saved *saved, const int *fds,
                       unsigned fd_count, struct vhost_user_changes *ret_changes) {
        int left[VHOST_USER_DESCRIPTORS_MAX];
        int r = -EPROTO;
        *ret_changes = (struct vhost_user_changes){};
        for (unsigned i = 0; i < fd_count; i++)
                if (i < VHOST_USER_DESCRIPTORS_MAX)
                        left[i] = fds[i];
                else
                        fd_close(fds[i]);
        if (fd_count <= VHOST_USER_DESCRIPTORS_MAX && is_possible(device, saved) && descriptors_of(saved) == fd_count)
                r = restore(device, saved, left, ret_changes);
        for (unsigned i = 0; i < fd_count && i < VHOST_USER_DESCRIPTORS_MAX; i++)
                fd_close(left[i]);
        if (r < 0) {
                vhost_user_reset(device);
                *ret_changes = (struct vhost_user_changes){};
        }
        return r;
}
