/* SPDX-License-Identifier: MIT */

/* A guest's memory and its driver. */

#include "fake_guest.h"

#include "base/fd.h"
#include "test.h"
#include <sys/mman.h>
#include <unistd.h>

#define PAGE 4096u

void fake_guest_init(struct fake_guest *guest) {
        *guest = (struct fake_guest){.socket = -1, .next_address = FAKE_BASE};
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++)
                guest->kick_fds[i] = guest->call_fds[i] = -1;
}

void fake_guest_free(struct fake_guest *guest) {
        for (unsigned i = 0; i < guest->region_count; i++) {
                munmap(guest->regions[i].host, guest->regions[i].size);
                fd_close(guest->regions[i].fd);
        }
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++) {
                fd_close(guest->kick_fds[i]);
                fd_close(guest->call_fds[i]);
        }
        fd_close(guest->socket);
        fake_guest_init(guest);
}

void fake_add_region(struct fake_guest *guest, uint64_t guest_address, uint64_t size) {
        unsigned i = guest->region_count++;
        check(i < FAKE_REGIONS_MAX);
        guest->regions[i].guest_address = guest_address;
        guest->regions[i].size = size;
        guest->regions[i].fd = (int)must(memfd_create("fake-guest", MFD_CLOEXEC));
        must(ftruncate(guest->regions[i].fd, (off_t)size));
        guest->regions[i].host = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, guest->regions[i].fd, 0);
        check(guest->regions[i].host != MAP_FAILED);
}

void fake_guest_start(struct fake_guest *guest) {
        fake_guest_init(guest);
        fake_add_region(guest, FAKE_BASE, 16u << 20);
        fake_queue_make(guest, VHOST_USER_RX, FAKE_QUEUE_SIZE);
        fake_queue_make(guest, VHOST_USER_TX, FAKE_QUEUE_SIZE);
}

void *fake_at(const struct fake_guest *guest, uint64_t guest_address, size_t size) {
        for (unsigned i = 0; i < guest->region_count; i++) {
                uint64_t offset = guest_address - guest->regions[i].guest_address;
                if (offset < guest->regions[i].size && size <= guest->regions[i].size - offset)
                        return guest->regions[i].host + offset;
        }
        test_fail(__FILE__, __LINE__, "no memory at guest address %#llx", (unsigned long long)guest_address);
}

uint64_t fake_allocate(struct fake_guest *guest, size_t size) {
        uint64_t address = guest->next_address;
        guest->next_address += (size + PAGE - 1) & ~(uint64_t)(PAGE - 1);
        (void)fake_at(guest, address, size);
        return address;
}

struct guest_region_definition fake_definition(const struct fake_guest *guest, unsigned region) {
        return (struct guest_region_definition){
                .guest_address = guest->regions[region].guest_address,
                .size = guest->regions[region].size,
                .user_address = guest->regions[region].guest_address + FAKE_USER_OFFSET,
        };
}

void fake_map(const struct fake_guest *guest, struct guest_memory *ret) {
        guest_memory_init(ret);
        for (unsigned i = 0; i < guest->region_count; i++) {
                struct guest_region_definition definition = fake_definition(guest, i);
                int fd = (int)must(dup(guest->regions[i].fd));
                check_ok(guest_memory_add(ret, &definition, fd));
        }
}

/* ---- the driver ---- */

void fake_queue_make(struct fake_guest *guest, unsigned index, uint16_t size) {
        struct fake_queue *queue = &guest->queues[index];
        *queue = (struct fake_queue){
                .size = size,
                .descriptors_address = fake_allocate(guest, virtqueue_descriptors_bytes(size)),
                .available_address = fake_allocate(guest, virtqueue_available_bytes(size)),
                .used_address = fake_allocate(guest, virtqueue_used_bytes(size)),
        };
        queue->descriptors = fake_at(guest, queue->descriptors_address, virtqueue_descriptors_bytes(size));
        queue->available = fake_at(guest, queue->available_address, virtqueue_available_bytes(size));
        queue->used = fake_at(guest, queue->used_address, virtqueue_used_bytes(size));
        memset(queue->descriptors, 0, virtqueue_descriptors_bytes(size));
        memset(queue->available, 0, virtqueue_available_bytes(size));
        memset(queue->used, 0, virtqueue_used_bytes(size));
}

void fake_queue_begin(struct fake_guest *guest, unsigned index, struct guest_memory *memory, bool has_indirect,
                      struct virtqueue *ret) {
        const struct fake_queue *queue = &guest->queues[index];
        struct virtqueue_place place = {
                .descriptors = guest_memory_of_user(memory, queue->descriptors_address + FAKE_USER_OFFSET, 1),
                .available = guest_memory_of_user(memory, queue->available_address + FAKE_USER_OFFSET, 1),
                .used = guest_memory_of_user(memory, queue->used_address + FAKE_USER_OFFSET, 1),
                .size = queue->size,
                .index = queue->published,
                .has_event_index = guest->has_event_index,
                .has_indirect = has_indirect,
        };
        check_ok(virtqueue_begin(ret, memory, &place));
}

void fake_describe(struct fake_queue *queue, uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
                   uint16_t next) {
        queue->descriptors[index] = (struct fake_descriptor){address, length, flags, next};
}

void fake_publish(struct fake_queue *queue, uint16_t head) {
        queue->available[2 + queue->published++ % queue->size] = head;
        __atomic_store_n(&queue->available[1], queue->published, __ATOMIC_RELEASE);
}

bool fake_wants_kick(const struct fake_guest *guest, unsigned index, uint16_t before) {
        const struct fake_queue *queue = &guest->queues[index];
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        if (!guest->has_event_index)
                return !(queue->used[0] & 1);
        uint16_t event = queue->used[2 + 4 * queue->size];
        return (uint16_t)(queue->published - event - 1) < (uint16_t)(queue->published - before);
}

bool fake_arm(const struct fake_guest *guest, unsigned index) {
        const struct fake_queue *queue = &guest->queues[index];
        queue->available[2 + queue->size] = queue->taken;
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
        return __atomic_load_n(&queue->used[1], __ATOMIC_ACQUIRE) == queue->taken;
}

bool fake_take_used(struct fake_queue *queue, uint32_t *ret_head, uint32_t *ret_written) {
        if (__atomic_load_n(&queue->used[1], __ATOMIC_ACQUIRE) == queue->taken)
                return false;
        const uint16_t *element = &queue->used[2 + 4 * (queue->taken++ % queue->size)];
        memcpy(ret_head, element, sizeof *ret_head);
        memcpy(ret_written, element + 2, sizeof *ret_written);
        return true;
}

/* A run of descriptors that nothing is in, as long as at most a queue's worth is under way. */
static uint16_t take_descriptors(struct fake_queue *queue, unsigned count) {
        if (queue->next + count > queue->size)
                queue->next = 0;
        uint16_t first = queue->next;
        queue->next = (uint16_t)(first + count);
        return first;
}

static void send_table(struct fake_guest *guest, struct fake_queue *queue, uint64_t header, uint64_t payload,
                       uint32_t length) {
        struct fake_descriptor table[2] = {{header, VSOCK_HEADER_SIZE, FAKE_NEXT, 1}, {payload, length, 0, 0}};
        uint64_t address = fake_allocate(guest, sizeof table);
        uint16_t head = take_descriptors(queue, 1);
        memcpy(fake_at(guest, address, sizeof table), table, sizeof table);
        fake_describe(queue, head, address, sizeof table, FAKE_INDIRECT, 0);
        fake_publish(queue, head);
}

void fake_send(struct fake_guest *guest, const struct vsock_packet *packet, const void *payload,
               enum fake_layout layout) {
        struct fake_queue *queue = &guest->queues[VHOST_USER_TX];
        uint32_t length = payload ? packet->length : 0, whole = VSOCK_HEADER_SIZE + length;
        if (guest->next_address + whole + 2 * PAGE > FAKE_BASE + guest->regions[0].size)
                guest->next_address = FAKE_BASE + (8u << 20); /* what was there is long used */
        uint64_t address = fake_allocate(guest, whole);
        uint8_t *bytes = fake_at(guest, address, whole);
        vsock_packet_encode(packet, bytes);
        if (length)
                memcpy(bytes + VSOCK_HEADER_SIZE, payload, length);
        if (layout == FAKE_TABLE) {
                send_table(guest, queue, address, address + VSOCK_HEADER_SIZE, length);
                return;
        }
        uint32_t first = layout == FAKE_SPLIT && length ? VSOCK_HEADER_SIZE
                         : layout == FAKE_PAGES && whole > PAGE ? PAGE : whole;
        uint32_t rest = whole - first, step = layout == FAKE_PAGES ? PAGE : rest;
        unsigned count = 1 + (rest ? (rest + step - 1) / step : 0);
        uint16_t head = take_descriptors(queue, count);
        fake_describe(queue, head, address, first, rest ? FAKE_NEXT : 0, (uint16_t)(head + 1));
        for (unsigned i = 1; i < count; i++) {
                uint32_t done = first + (i - 1) * step, size = whole - done < step ? whole - done : step;
                fake_describe(queue, (uint16_t)(head + i), address + done, size, i + 1 < count ? FAKE_NEXT : 0,
                              (uint16_t)(head + i + 1));
        }
        fake_publish(queue, head);
}

unsigned fake_reclaim(struct fake_guest *guest) {
        uint32_t head, written;
        unsigned count = 0;
        for (; fake_take_used(&guest->queues[VHOST_USER_TX], &head, &written); count++)
                check_equal(written, 0);
        return count;
}

void fake_give_buffers(struct fake_guest *guest, unsigned count, uint32_t size) {
        struct fake_queue *queue = &guest->queues[VHOST_USER_RX];
        while (count--) {
                uint16_t head = take_descriptors(queue, 1);
                if (guest->buffers[head].size < size) {
                        guest->buffers[head].address = fake_allocate(guest, size);
                        guest->buffers[head].size = size;
                }
                fake_describe(queue, head, guest->buffers[head].address, size, FAKE_WRITE, 0);
                fake_publish(queue, head);
        }
}

bool fake_receive(struct fake_guest *guest, struct vsock_packet *ret, void *ret_payload, size_t size) {
        struct fake_queue *queue = &guest->queues[VHOST_USER_RX];
        uint32_t head, written;
        if (!fake_take_used(queue, &head, &written))
                return false;
        check(head < queue->size && written >= VSOCK_HEADER_SIZE && written <= queue->descriptors[head].length);
        const uint8_t *bytes = fake_at(guest, queue->descriptors[head].address, written);
        vsock_packet_decode(bytes, ret);
        check_equal(ret->length, written - VSOCK_HEADER_SIZE);
        check(ret->length <= size);
        if (ret->length)
                memcpy(ret_payload, bytes + VSOCK_HEADER_SIZE, ret->length);
        return true;
}
