/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A VM's vsock device: packets between its two queues and the machine that knows
 * what they mean.
 *
 * Theory of operation. device_turn() serves both queues, a batch of each. The TX
 * queue is served whether or not there are RX buffers: what the guest is owed waits
 * in the machine, in bounded room. A header is copied out of guest memory once, and
 * only the copy is looked at. Payload is never copied here: the ends take it out of
 * the guest's memory, and put it there. The driver sees what was used a part of a
 * batch at a time, so that it may use it again meanwhile, and is called once a batch.
 *
 * Copying is quicker if one knows whether the reader has a core of its own
 * (ring/copy.h), and nobody tells where a guest's processor runs. But one that does
 * not share the core goes on while a batch is served, and one that does cannot.
 *
 * The pieces that ends are given are good until they return.
 */

#include "vm/vhost_user.h"
#include "vm/vsock.h"

#define DEVICE_BATCH 512u /* chains of each queue in one turn, */
#define DEVICE_BATCH_BYTES (1u << 20) /* or of so many bytes */
#define DEVICE_SHOWN 32u  /* of them: then the driver sees that they were used, and may go on */
#define DEVICE_TELLING 8u /* a batch that is so long tells whether the driver goes on meanwhile */
#define DEVICE_APART 4u   /* so many times more often it did than it did not: its core is another one */
#define DEVICE_NOTHING (-EAGAIN)

struct device;

/* The host's ends of connections: whoever owns them. */
struct device_ends {
        /* Any event but DATA. */
        void (*event)(struct device *device, struct vsock_connection *connection, enum vsock_event event);
        /* The guest's data, all of it, which is within its credit; `flags` are the packet's. */
        void (*take)(struct device *device, struct vsock_connection *connection, const struct iovec *pieces,
                     unsigned count, size_t size, uint32_t flags);
        /*
         * Puts data for the guest into the pieces, which are `wanted->room` bytes long. Returns how many bytes, or
         * DEVICE_NOTHING if there are less than `wanted->least`. 0 is an empty part of a message.
         */
        ssize_t (*give)(struct device *device, const struct vsock_wanted *wanted, const struct iovec *pieces,
                        unsigned count, uint32_t *ret_flags, bool *ret_has_more);
        /* There is no more of the guest's for the moment: what take() held back goes on. May be NULL. */
        void (*flush)(struct device *device);
};

struct device {
        struct vhost_user front_end;
        struct vsock vsock;
        const struct device_ends *ends;
        struct chain chain;
        struct iovec pieces[CHAIN_PIECES_MAX];
        uint64_t packets[2]; /* moved so far, by queue */
        uint16_t given[2];   /* as the driver's indices were after the last turn */
        unsigned apart;      /* up to 2 * DEVICE_APART */
};

int device_init(struct device *device, uint64_t guest_cid, uint64_t protocol_features, const uint8_t hash_key[16],
                const struct device_ends *ends);
void device_deinit(struct device *device);

struct device_turn {
        unsigned calls; /* queues whose driver wants to be called, a bit each */
        bool has_more;  /* a batch was full */
        bool is_broken; /* a queue is, and is served no more: its connections are to be reset */
};
/* The driver seems to run on another core than the caller. */
static inline bool device_is_apart(const struct device *device) {
        return device->apart >= DEVICE_APART;
}
/* Of a queue that does not run nothing is asked. */
struct device_turn device_turn(struct device *device);
/* Before sleeping: what the driver does next comes with a kick. False: there is something to do. */
bool device_arm(struct device *device);
