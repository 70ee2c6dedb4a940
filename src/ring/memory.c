/* SPDX-License-Identifier: MIT */

/* Making, checking and mapping the memory of a ring. */

#include "ring/memory.h"

#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

#define SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

/* A header is one page of the machine's, or nothing after it could be mapped. */
static bool pages_fit(void) {
        return RING_HEADER_SIZE % (size_t)sysconf(_SC_PAGESIZE) == 0;
}

/* A file that is too long for RLIMIT_FSIZE would bring SIGXFSZ. */
static bool may_be_as_long(size_t size) {
        struct rlimit limit;
        return getrlimit(RLIMIT_FSIZE, &limit) < 0 || limit.rlim_cur == RLIM_INFINITY || size <= limit.rlim_cur;
}

static int make_file(size_t size, int *ret_fd) {
        if (!may_be_as_long(size))
                return -EFBIG;
        cleanup(fd_closep) int fd = memfd_create("hvsock-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
        if (fd < 0 && errno == EINVAL)
                fd = memfd_create("hvsock-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
        if (fd < 0 || ftruncate(fd, (off_t)size) < 0 || fcntl(fd, F_ADD_SEALS, SEALS) < 0)
                return -errno;
        *ret_fd = fd_take(fd);
        return 0;
}

/* The header, the data, and the data again, as one range of addresses. */
static int map_file(int fd, uint32_t capacity, int data_protection, struct ring_memory *ret) {
        size_t size = RING_HEADER_SIZE + 2 * (size_t)capacity;
        uint8_t *base = mmap(NULL, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (base == MAP_FAILED)
                return -errno;
        uint8_t *data = base + RING_HEADER_SIZE;
        if (mmap(base, RING_HEADER_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED ||
            mmap(data, capacity, data_protection, MAP_SHARED | MAP_FIXED, fd, RING_HEADER_SIZE) == MAP_FAILED ||
            mmap(data + capacity, capacity, data_protection, MAP_SHARED | MAP_FIXED, fd, RING_HEADER_SIZE) == MAP_FAILED) {
                int error = errno;
                munmap(base, size);
                return -error;
        }
        *ret = (struct ring_memory){.header = (struct ring_header *)base, .data = data, .capacity = capacity};
        return 0;
}

int ring_create(int socket_type, size_t capacity, struct ring_memory *ret, int *ret_fd) {
        uint32_t rounded = RING_CAPACITY_MIN;
        cleanup(fd_closep) int fd = -1;
        while (rounded < capacity && rounded < RING_CAPACITY_MAX)
                rounded *= 2;
        int r = pages_fit() ? make_file(RING_HEADER_SIZE + (size_t)rounded, &fd) : -ENOSYS;
        if (!r)
                r = map_file(fd, rounded, PROT_READ | PROT_WRITE, ret);
        if (r < 0)
                return r;
        struct ring_header *header = ret->header;
        header->magic = RING_MAGIC;
        header->version = RING_VERSION;
        header->features = 0;
        header->capacity = rounded;
        header->socket_type = (uint32_t)socket_type;
        *ret_fd = fd_take(fd);
        return 0;
}

static bool is_capacity(uint32_t capacity) {
        return capacity >= RING_CAPACITY_MIN && capacity <= RING_CAPACITY_MAX && !(capacity & (capacity - 1));
}

/* Its first fields, copied once. `socket_type` 0: of either type. */
static int check_file(int fd, int socket_type, uint32_t *ret_capacity) {
        struct ring_header header;
        struct stat status;
        int seals = fcntl(fd, F_GET_SEALS);
        if (seals < 0 || (seals & SEALS) != SEALS || fstat(fd, &status) < 0 || !pages_fit())
                return -EPROTO;
        if (pread(fd, &header, offsetof(struct ring_header, accepted), 0) != offsetof(struct ring_header, accepted))
                return -EPROTO;
        if (header.magic != RING_MAGIC || header.version != RING_VERSION || header.features || !is_capacity(header.capacity) ||
            status.st_size != (off_t)RING_HEADER_SIZE + header.capacity)
                return -EPROTO;
        if (socket_type ? header.socket_type != (uint32_t)socket_type
                        : header.socket_type != SOCK_STREAM && header.socket_type != SOCK_SEQPACKET)
                return -EPROTO;
        *ret_capacity = header.capacity;
        return 0;
}

int ring_accept(int fd, int socket_type, struct ring_memory *ret) {
        uint32_t capacity;
        int r = check_file(fd, socket_type, &capacity);
        if (!r)
                r = map_file(fd, capacity, PROT_READ, ret);
        return r == -EACCES || r == -EPERM ? -EPROTO : r; /* read-only, or sealed against writing */
}

bool ring_is_offer(int fd) {
        return fcntl(fd, F_GET_SEALS) >= 0;
}

void ring_unmap(struct ring_memory *memory) {
        if (memory->header)
                munmap(memory->header, RING_HEADER_SIZE + 2 * (size_t)memory->capacity);
        *memory = (struct ring_memory){};
}

int ring_observe(int fd, const struct ring_header **ret) {
        uint32_t capacity;
        int r = check_file(fd, 0, &capacity);
        if (r < 0)
                return r;
        void *header = mmap(NULL, RING_HEADER_SIZE, PROT_READ, MAP_SHARED, fd, 0);
        if (header == MAP_FAILED)
                return -errno;
        *ret = header;
        return 0;
}

void ring_unobserve(const struct ring_header *header) {
        munmap((void *)header, RING_HEADER_SIZE);
}
