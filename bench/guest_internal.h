/* SPDX-License-Identifier: MIT */
#pragma once

/* Between guest.c, the streams and the driver, and guest_front_end.c, which tells the device where everything is. */

#include "guest.h"
#include "guest_queue.h"
#include "vm/vsock_packet.h"

#define GUEST_BUFFER_SIZE 262144u   /* credit that a stream gives, as Linux does by default */
#define GUEST_RX_PACKET 3732u       /* that a buffer holds, behind a header */
#define GUEST_RX_SLOTS 512u         /* given to the device, or waiting to be read */
#define GUEST_SMALL_PACKET 4096u
#define GUEST_SMALL_SLOTS GUEST_QUEUE_SIZE
#define GUEST_LARGE_SLOTS 16u       /* credit ends sooner */
#define GUEST_SLOT_NONE UINT16_MAX

/* The guest's memory, all of it. */
struct guest_map {
        struct guest_queue_memory rx_queue, tx_queue;
        struct {
                _Alignas(64) uint8_t bytes[VSOCK_HEADER_SIZE + GUEST_RX_PACKET];
        } rx[GUEST_RX_SLOTS];
        struct {
                _Alignas(64) uint8_t bytes[VSOCK_HEADER_SIZE + GUEST_SMALL_PACKET];
        } small[GUEST_SMALL_SLOTS];
        struct {
                _Alignas(64) uint8_t bytes[VSOCK_HEADER_SIZE + VSOCK_PAYLOAD_MAX];
        } large[GUEST_LARGE_SLOTS];
};

/* Free slots: the one that was used last is used next, as allocators do it, and is still in a cache. */
struct guest_slots {
        uint16_t free[GUEST_RX_SLOTS];
        unsigned count;
};

struct guest_stream {
        enum { STREAM_FREE, STREAM_DIALLING, STREAM_OPEN, STREAM_OVER } state; /* OVER: for the host there is none */
        bool is_shut;                               /* the host sends no more */
        uint32_t port, host_port;
        uint32_t sent, host_forwarded, host_buffer; /* credit from the host */
        uint32_t forwarded, forwarded_told;         /* and for it */
        uint16_t first, last;                       /* slots to be read, linked by guest->next */
        uint32_t offset;                            /* of what is unread in the first one */
};

struct guest {
        struct guest_map *map;
        int memory_fd, socket, call_fd;
        uint64_t cid;
        struct guest_queue rx, tx;
        struct guest_slots rx_slots, small_slots, large_slots; /* the large ones are numbered behind the small ones */
        uint16_t next[GUEST_RX_SLOTS];
        struct guest_stream streams[GUEST_STREAMS_MAX];
        unsigned last_stream;                       /* that a packet came for */
        unsigned accepted[GUEST_STREAMS_MAX], accepted_first, accepted_count;
        uint32_t next_port;
};

/* The device is told of memory, queues and their descriptors, and starts. */
void guest_front_end_start(struct guest *guest);
uint64_t guest_address(const struct guest *guest, const void *pointer);
