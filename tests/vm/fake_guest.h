/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A guest without a machine: memory in memfds, a virtio driver on it, and the
 * VMM's end of a vhost-user connection. It does what Linux and QEMU do, and
 * whatever else a test makes it do: every field and index may be written by hand.
 *
 * Guest-physical and user-virtual addresses are far apart, so that to take one for
 * the other is found out. A failure ends the test.
 */

#include "vm/vhost_user.h"
#include "vm/vsock_packet.h"

#define FAKE_USER_OFFSET UINT64_C(0x7f1200000000) /* user-virtual less guest-physical address */
#define FAKE_BASE UINT64_C(0x40000000)            /* the first region's guest-physical address */
#define FAKE_REGIONS_MAX 8u
#define FAKE_QUEUE_SIZE 128u
#define FAKE_CID 42u

#define FAKE_NEXT 1u /* flags of a descriptor */
#define FAKE_WRITE 2u
#define FAKE_INDIRECT 4u

struct fake_descriptor {
        uint64_t address;
        uint32_t length;
        uint16_t flags, next;
};

struct fake_queue {
        struct fake_descriptor *descriptors;
        uint16_t *available; /* flags, index, ring, used_event */
        uint16_t *used;      /* flags, index, ring, available_event */
        uint64_t descriptors_address, available_address, used_address; /* guest-physical */
        uint16_t size;
        uint16_t published;  /* the driver's own index */
        uint16_t taken;      /* of the used ring */
        uint16_t next;       /* the descriptor that a chain begins with next; all chains of before are over by then */
};

struct fake_guest {
        struct {
                uint64_t guest_address, size;
                uint8_t *host;
                int fd;
        } regions[FAKE_REGIONS_MAX];
        unsigned region_count;
        uint64_t next_address; /* guest memory that is not given out yet, in the first region */
        struct fake_queue queues[VHOST_USER_RINGS_MAX];
        struct {
                uint64_t address;
                uint32_t size;
        } buffers[FAKE_QUEUE_SIZE]; /* of the RX queue, by descriptor: used again when they are given again */
        bool has_event_index;
        int socket;            /* the front-end's end; -1: none */
        int kick_fds[VHOST_USER_RINGS_MAX], call_fds[VHOST_USER_RINGS_MAX];
};

/* Without a region. */
void fake_guest_init(struct fake_guest *guest);
void fake_guest_free(struct fake_guest *guest);
void fake_add_region(struct fake_guest *guest, uint64_t guest_address, uint64_t size);
/* One region of 16 MiB at FAKE_BASE, and queues 0 and 1 in it. */
void fake_guest_start(struct fake_guest *guest);

void *fake_at(const struct fake_guest *guest, uint64_t guest_address, size_t size);
/* `size` bytes of guest memory, on a page of their own. */
uint64_t fake_allocate(struct fake_guest *guest, size_t size);
struct guest_region_definition fake_definition(const struct fake_guest *guest, unsigned region);
/* Maps the regions as a back-end does. */
void fake_map(const struct fake_guest *guest, struct guest_memory *ret);

/* ---- the driver ---- */

void fake_queue_make(struct fake_guest *guest, unsigned queue, uint16_t size);
/* The queue from the device's side, on memory that fake_map() mapped. */
void fake_queue_begin(struct fake_guest *guest, unsigned queue, struct guest_memory *memory, bool has_indirect,
                      struct virtqueue *ret);
void fake_describe(struct fake_queue *queue, uint16_t index, uint64_t address, uint32_t length, uint16_t flags,
                   uint16_t next);
/* Puts a chain's head into the available ring. */
void fake_publish(struct fake_queue *queue, uint16_t head);
/* Whether the device wants a kick for what was published since `before`. */
bool fake_wants_kick(const struct fake_guest *guest, unsigned queue, uint16_t before);
/* Asks to be called from now on, as a driver that is about to sleep. False: there already is something. */
bool fake_arm(const struct fake_guest *guest, unsigned queue);
/* The next used entry. */
bool fake_take_used(struct fake_queue *queue, uint32_t *ret_head, uint32_t *ret_written);

/* How a packet lies in descriptors. */
enum fake_layout {
        FAKE_SPLIT,    /* the header in one, the payload in another */
        FAKE_MERGED,   /* both in one */
        FAKE_PAGES,    /* the payload in pages of 4096 bytes, the first together with the header */
        FAKE_TABLE,    /* FAKE_SPLIT, in an indirect table */
};
/* Sends on the TX queue. */
void fake_send(struct fake_guest *guest, const struct vsock_packet *packet, const void *payload,
               enum fake_layout layout);
/* Takes back what the device has used of the TX queue; returns how many. */
unsigned fake_reclaim(struct fake_guest *guest);
/* Gives `count` RX buffers of `size` bytes. */
void fake_give_buffers(struct fake_guest *guest, unsigned count, uint32_t size);
/* A packet that came, with at most `size` bytes of its payload. */
bool fake_receive(struct fake_guest *guest, struct vsock_packet *ret, void *ret_payload, size_t size);

/* ---- the front-end ---- */

/* Makes the socket pair; returns the back-end's end, non-blocking. */
int fake_connect(struct fake_guest *guest);
void fake_message(const struct fake_guest *guest, uint32_t request, uint32_t flags, const void *payload, uint32_t size,
                  const int *fds, unsigned fd_count);
void fake_message_number(const struct fake_guest *guest, uint32_t request, uint64_t value);
void fake_message_state(const struct fake_guest *guest, uint32_t request, uint32_t index, uint32_t value);
/* As many bytes of the answer to a request as its payload has; false: there is none. */
bool fake_answer(const struct fake_guest *guest, uint32_t request, void *ret_payload, uint32_t *ret_size);
/* The messages of QEMU 7.2 up to where the driver starts, and from there, with answers left unread. */
void fake_realize(struct fake_guest *guest);
void fake_driver_starts(struct fake_guest *guest, uint64_t features, uint16_t rx_base, uint16_t tx_base);
void fake_driver_stops(struct fake_guest *guest);
