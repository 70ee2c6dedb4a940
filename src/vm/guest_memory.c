/* SPDX-License-Identifier: MIT */

/* Regions of guest memory: guest_memory.h says what is promised. */

#include "vm/guest_memory.h"

#include "base/fd.h"
#include <errno.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>

#define READ_PIECES_MAX 4u /* what is read so is small; and who makes regions of a few bytes need not be served */

void guest_memory_init(struct guest_memory *memory) {
        memory->count = 0;
        memory->last = 0;
}

static void unmap(struct guest_region *region) {
        munmap(region->mapping, region->mapping_size);
        fd_close(region->fd);
}

void guest_memory_clear(struct guest_memory *memory) {
        for (unsigned i = 0; i < memory->count; i++)
                unmap(&memory->regions[i]);
        guest_memory_init(memory);
}

static bool wraps(uint64_t start, uint64_t size) {
        return start + (size - 1) < start;
}

static bool overlaps(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size) {
        return a <= b ? b - a < a_size : a - b < b_size;
}

/* The file as large as it is said to be, and where a mapping of it may begin. */
static int look_at_file(int fd, const struct guest_region_definition *definition, uint64_t *ret_granule) {
        struct stat status;
        if (fstat(fd, &status) < 0)
                return -errno;
        if (!S_ISREG(status.st_mode) || status.st_size < 0 ||
            definition->file_offset > (uint64_t)status.st_size ||
            definition->size > (uint64_t)status.st_size - definition->file_offset)
                return -EINVAL;
        /* Of a file on huge pages the block size is that of a page. */
        uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE), block = (uint64_t)status.st_blksize;
        *ret_granule = block > page && !(block & (block - 1)) ? block : page;
        return 0;
}

int guest_memory_add(struct guest_memory *memory, const struct guest_region_definition *definition, int fd) {
        cleanup(fd_closep) int file_fd = fd;
        uint64_t granule = 1;
        if (!definition->size || wraps(definition->guest_address, definition->size) ||
            wraps(definition->user_address, definition->size))
                return -EINVAL;
        if (memory->count == GUEST_REGIONS_MAX)
                return -ENOSPC;
        unsigned at = 0;
        for (unsigned i = 0; i < memory->count; i++) {
                const struct guest_region *other = &memory->regions[i];
                if (overlaps(definition->guest_address, definition->size, other->guest_address, other->size) ||
                    overlaps(definition->user_address, definition->size, other->user_address, other->size))
                        return -EINVAL;
                at += other->guest_address < definition->guest_address;
        }
        int r = look_at_file(file_fd, definition, &granule);
        if (r < 0)
                return r;
        uint64_t before = definition->file_offset & (granule - 1), length = before + definition->size;
        if (length > SIZE_MAX - granule || definition->file_offset > INT64_MAX)
                return -EINVAL;
        length = (length + granule - 1) & ~(granule - 1); /* munmap(2) of huge pages wants it so */
        void *mapping = mmap(NULL, (size_t)length, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, file_fd,
                             (off_t)(definition->file_offset - before));
        if (mapping == MAP_FAILED)
                return -errno;
        (void)madvise(mapping, (size_t)length, MADV_DONTDUMP);
        memmove(&memory->regions[at + 1], &memory->regions[at], (memory->count - at) * sizeof memory->regions[0]);
        memory->regions[at] = (struct guest_region){
                .guest_address = definition->guest_address,
                .user_address = definition->user_address,
                .size = definition->size,
                .file_offset = definition->file_offset,
                .host = (uint8_t *)mapping + before,
                .mapping = mapping,
                .mapping_size = (size_t)length,
                .fd = fd_take(file_fd),
        };
        memory->count++;
        return 0;
}

int guest_memory_remove(struct guest_memory *memory, const struct guest_region_definition *definition) {
        for (unsigned i = 0; i < memory->count; i++) {
                struct guest_region *region = &memory->regions[i];
                if (region->guest_address != definition->guest_address ||
                    region->user_address != definition->user_address || region->size != definition->size)
                        continue;
                unmap(region);
                memory->count--;
                memmove(region, region + 1, (memory->count - i) * sizeof *region);
                memory->last = 0;
                return 0;
        }
        return -ENOENT;
}

static const struct guest_region *region_of_user(const struct guest_memory *memory, uint64_t user_address) {
        for (unsigned i = 0; i < memory->count; i++)
                if (user_address - memory->regions[i].user_address < memory->regions[i].size)
                        return &memory->regions[i];
        return NULL;
}

void *guest_memory_of_user(const struct guest_memory *memory, uint64_t user_address, uint64_t size) {
        const struct guest_region *region = region_of_user(memory, user_address);
        uint64_t offset = region ? user_address - region->user_address : 0;
        return region && size <= region->size - offset ? region->host + offset : NULL;
}

/* Addresses that follow each other are mostly of the same region. */
static const struct guest_region *region_of_guest(struct guest_memory *memory, uint64_t guest_address) {
        unsigned first = 0, end = memory->count;
        if (memory->last < end) {
                const struct guest_region *last = &memory->regions[memory->last];
                if (guest_address - last->guest_address < last->size)
                        return last;
        }
        while (first < end) {
                unsigned middle = (first + end) / 2;
                const struct guest_region *region = &memory->regions[middle];
                if (guest_address < region->guest_address) {
                        end = middle;
                } else if (guest_address - region->guest_address >= region->size) {
                        first = middle + 1;
                } else {
                        memory->last = middle;
                        return region;
                }
        }
        return NULL;
}

int guest_memory_pieces(struct guest_memory *memory, uint64_t guest_address, uint64_t size, struct iovec *ret_pieces,
                        unsigned limit) {
        unsigned count = 0;
        while (size) {
                const struct guest_region *region = region_of_guest(memory, guest_address);
                if (!region)
                        return -EFAULT;
                if (count == limit)
                        return -E2BIG;
                uint64_t offset = guest_address - region->guest_address, length = region->size - offset;
                if (length > size)
                        length = size;
                ret_pieces[count++] = (struct iovec){region->host + offset, (size_t)length};
                size -= length;
                if (size && guest_address + length < guest_address)
                        return -EFAULT; /* beyond the last address there is none */
                guest_address += length;
        }
        return (int)count;
}

int guest_memory_read(struct guest_memory *memory, uint64_t guest_address, void *ret_bytes, size_t size) {
        struct iovec pieces[READ_PIECES_MAX];
        uint8_t *bytes = ret_bytes;
        int count = guest_memory_pieces(memory, guest_address, size, pieces, READ_PIECES_MAX);
        if (count < 0)
                return -EFAULT;
        for (int i = 0; i < count; i++) {
                memcpy(bytes, pieces[i].iov_base, pieces[i].iov_len);
                bytes += pieces[i].iov_len;
        }
        return 0;
}

bool guest_memory_is_torn(const struct guest_memory *memory) {
        for (unsigned i = 0; i < memory->count; i++)
                if (atomic_load_explicit(&memory->regions[i].is_torn, memory_order_relaxed))
                        return true;
        return false;
}
