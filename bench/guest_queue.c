/* SPDX-License-Identifier: MIT */
#include "guest_queue.h"
#include "transport.h"

#include <errno.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#define NEXT 1u /* flags of a descriptor */
#define WRITE 2u
#define INDIRECT 4u

static void put(struct guest_queue *queue, struct guest_descriptor descriptor, uint16_t slot) {
        struct guest_queue_memory *memory = queue->memory;
        uint16_t at = queue->given++ % GUEST_QUEUE_SIZE;

        memory->descriptors[at] = descriptor;
        memory->available.ring[at] = at;
        queue->slots[at] = slot;
}

void guest_queue_give(struct guest_queue *queue, uint64_t address, uint32_t length, uint16_t slot) {
        put(queue, (struct guest_descriptor){address, length, WRITE, 0}, slot);
}

void guest_queue_send(struct guest_queue *queue, uint64_t address, uint32_t first, uint32_t second, uint16_t slot) {
        uint16_t at = queue->given % GUEST_QUEUE_SIZE;
        struct guest_descriptor *table = queue->memory->tables[at];

        if (!second) {
                put(queue, (struct guest_descriptor){address, first, 0, 0}, slot);
                return;
        }
        table[0] = (struct guest_descriptor){address, first, NEXT, 1};
        table[1] = (struct guest_descriptor){address + first, second, 0, 0};
        uint64_t tables = queue->address + offsetof(struct guest_queue_memory, tables);
        uint64_t size = sizeof queue->memory->tables[0];
        put(queue, (struct guest_descriptor){tables + at * size, (uint32_t)size, INDIRECT, 0}, slot);
}

void guest_queue_publish(struct guest_queue *queue) {
        struct guest_queue_memory *memory = queue->memory;
        uint16_t from = queue->published, to = queue->given;
        const uint64_t one = 1;

        if (from == to)
                return;
        queue->published = to;
        atomic_store_explicit(&memory->available.index, to, memory_order_release);
        atomic_thread_fence(memory_order_seq_cst);
        uint16_t event = atomic_load_explicit(&memory->used.available_event, memory_order_relaxed);
        if ((uint16_t)(to - event - 1) < (uint16_t)(to - from) && write(queue->kick_fd, &one, sizeof one) < 0)
                die("cannot kick: %s", strerror(errno));
}

bool guest_queue_has_used(const struct guest_queue *queue) {
        return atomic_load_explicit(&queue->memory->used.index, memory_order_acquire) != queue->taken;
}

bool guest_queue_take(struct guest_queue *queue, uint16_t *ret_slot) {
        if (!guest_queue_has_used(queue))
                return false;
        *ret_slot = queue->slots[queue->memory->used.ring[queue->taken++ % GUEST_QUEUE_SIZE].head % GUEST_QUEUE_SIZE];
        return true;
}

bool guest_queue_arm(struct guest_queue *queue, unsigned count) {
        uint16_t event = (uint16_t)(queue->taken + count - 1);

        atomic_store_explicit(&queue->memory->available.used_event, event, memory_order_relaxed);
        atomic_thread_fence(memory_order_seq_cst);
        uint16_t used = atomic_load_explicit(&queue->memory->used.index, memory_order_acquire);
        return (uint16_t)(used - queue->taken) < count;
}
