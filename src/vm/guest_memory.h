/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A guest's memory, as its VMM shares it: regions, each with a guest-physical
 * address, an address in the VMM's own address space, and a place here.
 *
 * Owns the mappings. Every address that comes from outside becomes a pointer here,
 * in one of two ways that are never mixed up: descriptors hold guest-physical
 * addresses, the front-end's messages its own virtual ones. Sums are checked, and
 * nothing that is given reaches beyond its region.
 *
 * What a pointer leads to is written by others at any time: it is copied once, then
 * looked at. A file may be truncated under its mapping; memory_guard.h is for that.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define GUEST_REGIONS_MAX 64u

struct guest_region {
        uint64_t guest_address;
        uint64_t user_address; /* in the front-end's address space */
        uint64_t size;
        uint64_t file_offset;
        uint8_t *host;         /* where the region begins here */
        void *mapping;         /* with what a large page wants before and after it */
        size_t mapping_size;
        int fd;                /* of the file: whoever comes after this process needs it */
        _Atomic bool is_torn;  /* its file shrank; what is mapped now is memory of no file */
};

struct guest_memory {
        struct guest_region regions[GUEST_REGIONS_MAX]; /* by guest address, none overlaps the next */
        unsigned count;
        unsigned last; /* where the last address was found */
};

struct guest_region_definition {
        uint64_t guest_address, size, user_address, file_offset;
};

void guest_memory_init(struct guest_memory *memory);
/* Unmaps and closes all. */
void guest_memory_clear(struct guest_memory *memory);

/*
 * Maps a region, whose descriptor is taken in any case. -EINVAL: it is empty, wraps
 * around, or overlaps another one; the file is no regular one, or shorter; -ENOSPC:
 * GUEST_REGIONS_MAX; else mmap's. All pointers that were given before stay right.
 */
int guest_memory_add(struct guest_memory *memory, const struct guest_region_definition *definition, int fd);
/* -ENOENT: no region with these addresses and this size. */
int guest_memory_remove(struct guest_memory *memory, const struct guest_region_definition *definition);

/* `size` bytes at a front-end's virtual address, all in one region. NULL: there are none. */
void *guest_memory_of_user(const struct guest_memory *memory, uint64_t user_address, uint64_t size);

/* `size` bytes at a guest-physical address, if all are in the region that the last address was found in; else NULL. */
static inline void *guest_memory_near(const struct guest_memory *memory, uint64_t guest_address, uint64_t size) {
        const struct guest_region *region = &memory->regions[memory->last];
        uint64_t offset = guest_address - region->guest_address;
        bool is_near = memory->last < memory->count && offset < region->size && size <= region->size - offset;
        return is_near ? region->host + offset : NULL;
}

/*
 * `size` bytes at a guest-physical address as pieces, one for each region that they
 * lie in. Returns how many pieces; -EFAULT: not all of it is memory; -E2BIG: more
 * than `limit`.
 */
int guest_memory_pieces(struct guest_memory *memory, uint64_t guest_address, uint64_t size, struct iovec *ret_pieces,
                        unsigned limit);
/* Copies `size` bytes out, once. -EFAULT. */
int guest_memory_read(struct guest_memory *memory, uint64_t guest_address, void *ret_bytes, size_t size);

/* A region's file shrank since it was added. */
bool guest_memory_is_torn(const struct guest_memory *memory);
