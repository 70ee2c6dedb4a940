/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A split virtqueue from the driver's side, with EVENT_IDX and indirect tables. Chains
 * are of one descriptor, and come back in the order in which they were given, so
 * descriptors are used round and round.
 */

#include <stdbool.h>
#include <stdint.h>

#define GUEST_QUEUE_SIZE 128u /* Linux' */

struct guest_descriptor {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
};

struct guest_queue_memory {
        _Alignas(4096) struct guest_descriptor descriptors[GUEST_QUEUE_SIZE];
        struct {
                uint16_t flags;
                _Atomic uint16_t index;
                uint16_t ring[GUEST_QUEUE_SIZE];
                _Atomic uint16_t used_event;
        } available;
        struct {
                _Alignas(4096) uint16_t flags;
                _Atomic uint16_t index;
                struct {
                        uint32_t head, written;
                } ring[GUEST_QUEUE_SIZE];
                _Atomic uint16_t available_event;
        } used;
        struct guest_descriptor tables[GUEST_QUEUE_SIZE][2];
};

struct guest_queue {
        struct guest_queue_memory *memory;
        uint64_t address;                 /* the memory's, as the device knows it */
        int kick_fd;
        uint16_t given, taken;            /* chains; to the device, and back */
        uint16_t published;               /* of those given */
        uint16_t slots[GUEST_QUEUE_SIZE]; /* by head: whatever the owner keeps with a chain */
};

static inline unsigned guest_queue_under_way(const struct guest_queue *queue) {
        return (uint16_t)(queue->given - queue->taken);
}

/* Memory for the device to write to; fewer than GUEST_QUEUE_SIZE chains are under way. */
void guest_queue_give(struct guest_queue *queue, uint64_t address, uint32_t length, uint16_t slot);
/* Memory for it to read, in two parts that follow each other, through a table as Linux does it; or only the first. */
void guest_queue_send(struct guest_queue *queue, uint64_t address, uint32_t first, uint32_t second, uint16_t slot);
/* The device sees what was given, and is kicked if it wants that. */
void guest_queue_publish(struct guest_queue *queue);
/* A chain that came back. False: none. */
bool guest_queue_take(struct guest_queue *queue, uint16_t *ret_slot);
bool guest_queue_has_used(const struct guest_queue *queue);
/* To be called when so many more came back. False: they are there already. */
bool guest_queue_arm(struct guest_queue *queue, unsigned count);
