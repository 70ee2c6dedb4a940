/* SPDX-License-Identifier: MIT */

/*
 * A front-end that sends what it likes on the vhost-user socket, in whatever
 * pieces, with whatever descriptors, and a driver that wrote what it likes into the
 * memory. Whatever comes: no descriptor is left over; a ring that runs lies in
 * memory, and so do the chains that are taken from it.
 *
 * The input is records: a byte that says which descriptors, a byte that says how
 * many bytes follow, and these bytes. All of the input is in the memory that the
 * front-end can share, too.
 */

#include "vm/vhost_user_socket.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

#define MEMORY_SIZE 65536u
#define MESSAGES_MAX 200u
#define CHAINS_MAX 64u

static int memory_fd = -1, event_fd, pipe_fds[2], first_free_fd;
static uint8_t *memory;

static void open_all(void) {
        memory_fd = memfd_create("guest", MFD_CLOEXEC);
        event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        require(memory_fd >= 0 && event_fd >= 0 && pipe(pipe_fds) == 0 && ftruncate(memory_fd, MEMORY_SIZE) == 0);
        memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, memory_fd, 0);
        require(memory != MAP_FAILED);
}

/* The lowest number that stands for nothing. */
static int free_fd(void) {
        int fd = dup(event_fd);
        require(fd >= 0);
        close(fd);
        return fd;
}

/* `which`: two bits for the kind, the others for how many. False: the socket is full. */
static bool send_record(int socket, uint8_t which, const uint8_t *bytes, size_t length) {
        const int kinds[4] = {memory_fd, event_fd, pipe_fds[0], memory_fd};
        unsigned count = (which >> 2) % 12;
        int fds[12];
        _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof fds)];
        struct iovec piece = {(void *)bytes, length};
        struct msghdr message = {.msg_iov = &piece, .msg_iovlen = 1};
        if (count) {
                message.msg_control = control;
                message.msg_controllen = CMSG_SPACE(count * sizeof(int));
                struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
                *rights = (struct cmsghdr){
                        .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS, .cmsg_len = CMSG_LEN(count * sizeof(int))};
                for (unsigned i = 0; i < count; i++)
                        fds[i] = kinds[which & 3];
                memcpy(CMSG_DATA(rights), fds, count * sizeof(int));
        }
        return sendmsg(socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL) == (ssize_t)length;
}

static void require_in_memory(const struct guest_memory *guest, const void *pointer, size_t size) {
        for (unsigned i = 0; i < guest->count; i++) {
                const struct guest_region *region = &guest->regions[i];
                const uint8_t *at = pointer;
                if (at >= region->host && at < region->host + region->size &&
                    size <= (size_t)(region->host + region->size - at))
                        return;
        }
        abort();
}

static void serve_ring(struct vhost_user *device, struct vhost_user_ring *ring) {
        static struct chain chain;
        struct virtqueue *queue = &ring->queue;
        require(device->memory.count && ring->size && ring->size <= VIRTQUEUE_SIZE_MAX);
        require_in_memory(&device->memory, queue->descriptors, virtqueue_descriptors_bytes(queue->size));
        require_in_memory(&device->memory, queue->available, virtqueue_available_bytes(queue->size));
        require_in_memory(&device->memory, queue->used, virtqueue_used_bytes(queue->size));
        (void)virtqueue_is_blank(queue);
        for (unsigned i = 0; i < CHAINS_MAX && virtqueue_pop(queue, &chain) == 1; i++) {
                size_t size = 0;
                for (unsigned piece = 0; piece < chain.readable_count + chain.writable_count; piece++) {
                        require_in_memory(&device->memory, chain.pieces[piece].iov_base, chain.pieces[piece].iov_len);
                        size += chain.pieces[piece].iov_len;
                }
                require(size == chain.readable_size + chain.writable_size);
                virtqueue_push(queue, chain.head, 0);
        }
        (void)virtqueue_flush(queue);
        (void)virtqueue_arm(queue);
}

/* All messages that are there. Below 0: the connection is over. */
static int serve(struct vhost_user *device, struct vhost_user_reader *reader, int socket) {
        static struct vhost_user_message message, reply;
        struct vhost_user_changes changes;
        int fds[VHOST_USER_TABLE_MAX], r;
        unsigned fd_count, messages = 0;
        bool has_reply;
        while ((r = vhost_user_receive(reader, socket, &message, fds, &fd_count)) == 1 && messages++ < MESSAGES_MAX) {
                r = vhost_user_take(device, &message, fds, fd_count, &reply, &has_reply, &changes);
                require(!has_reply || (reply.request == message.request && reply.size <= VHOST_USER_PAYLOAD_MAX));
                require((r < 0) == (device->problem != VHOST_USER_FINE));
                if (r < 0)
                        return r;
                for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++)
                        if (device->rings[i].is_running)
                                serve_ring(device, &device->rings[i]);
        }
        return r;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        static struct vhost_user device;
        struct vhost_user_reader reader = {};
        int ends[2];
        if (memory_fd < 0)
                open_all();
        first_free_fd = free_fd();
        memset(memory, 0, MEMORY_SIZE);
        memcpy(memory, bytes, size < MEMORY_SIZE ? size : MEMORY_SIZE);
        require(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
        vhost_user_init(&device, 42, VHOST_USER_PROTOCOL_FEATURES);
        while (size > 2) {
                size_t length = bytes[1] < size - 2 ? bytes[1] : size - 2;
                if (!length || !send_record(ends[0], bytes[0], bytes + 2, length) ||
                    serve(&device, &reader, ends[1]) < 0)
                        break;
                bytes += 2 + length;
                size -= 2 + length;
        }
        vhost_user_reader_reset(&reader);
        vhost_user_reset(&device);
        close(ends[0]);
        close(ends[1]);
        require(free_fd() == first_free_fd);
        return 0;
}
