/* SPDX-License-Identifier: MIT */

/* Serving the queues: device.h has the theory. */

#include "vm/device.h"

#include "ring/copy.h"
#include "vm/ledger.h"
#include <errno.h>
#include <string.h>

int device_init(struct device *device, uint64_t guest_cid, uint64_t protocol_features, const uint8_t hash_key[16],
                const struct device_ends *ends) {
        vhost_user_init(&device->front_end, guest_cid, protocol_features);
        device->ends = ends;
        device->packets[VHOST_USER_RX] = device->packets[VHOST_USER_TX] = 0;
        device->given[VHOST_USER_RX] = device->given[VHOST_USER_TX] = 0;
        device->apart = 0;
        return vsock_init(&device->vsock, guest_cid, hash_key);
}

void device_deinit(struct device *device) {
        vsock_deinit(&device->vsock);
        vhost_user_reset(&device->front_end);
}

/* ---- a part of a turn ---- */

struct batch {
        unsigned count;
        size_t bytes;
        bool is_call; /* the driver is to be called */
};

/* The driver sees what was used. Whether it is to be called. */
static bool show(struct virtqueue *queue) {
        copy_fence(); /* the ends may have given past the caches */
        return virtqueue_flush(queue);
}

static bool batch_is_full(const struct batch *batch) {
        return batch->count >= DEVICE_BATCH || batch->bytes >= DEVICE_BATCH_BYTES;
}

static void batch_push(struct batch *batch, struct virtqueue *queue, uint16_t head, size_t written, size_t bytes) {
        virtqueue_push(queue, head, (uint32_t)written);
        batch->bytes += bytes;
        if (++batch->count % DEVICE_SHOWN == 0)
                batch->is_call |= show(queue);
}

/* ---- from the guest ---- */

static void take_packet(struct device *device) {
        const struct chain *chain = &device->chain;
        uint8_t header[VSOCK_HEADER_SIZE];
        struct vsock_packet packet;
        struct vsock_connection *connection;
        if (chain->readable_count && chain->pieces[0].iov_len >= sizeof header)
                memcpy(header, chain->pieces[0].iov_base, sizeof header);
        else if (pieces_read(chain->pieces, chain->readable_count, 0, header, sizeof header) < sizeof header)
                return;
        __asm__("" : "+m"(header)); /* this copy is what is checked, and what is used */
        vsock_packet_decode(header, &packet);
        enum vsock_event event =
                vsock_receive(&device->vsock, &packet, chain->readable_size - sizeof header, &connection);
        if (event == VSOCK_DATA) {
                unsigned count = pieces_slice(chain->pieces, chain->readable_count, sizeof header, packet.length,
                                              device->pieces);
                device->ends->take(device, connection, device->pieces, count, packet.length, packet.flags);
        } else if (event != VSOCK_NOTHING) {
                device->ends->event(device, connection, event);
        }
}

static void serve_tx(struct device *device, struct virtqueue *queue, struct batch *batch) {
        while (!batch_is_full(batch) && virtqueue_pop(queue, &device->chain) == 1) {
                take_packet(device);
                batch_push(batch, queue, device->chain.head, 0, device->chain.readable_size);
        }
        if (batch->count && device->ends->flush)
                device->ends->flush(device);
}

/* ---- to the guest ---- */

/* Fills the chain. Returns its bytes; 0: there is nothing to send. */
static size_t fill_chain(struct device *device) {
        struct chain *chain = &device->chain;
        struct vsock_packet packet;
        struct vsock_wanted wanted;
        uint8_t header[VSOCK_HEADER_SIZE];
        for (;;) {
                enum vsock_next next = vsock_next(&device->vsock, chain->writable_size, &packet, &wanted);
                if (next == VSOCK_IDLE)
                        return 0;
                if (next == VSOCK_DATA_WANTED) {
                        uint32_t flags = 0;
                        bool has_more = false;
                        unsigned count = pieces_slice(chain_writable(chain), chain->writable_count, sizeof header,
                                                      wanted.room, device->pieces);
                        ssize_t size = device->ends->give(device, &wanted, device->pieces, count, &flags, &has_more);
                        if (size < 0) {
                                vsock_unready(&device->vsock, wanted.connection);
                                continue;
                        }
                        vsock_sent(&device->vsock, wanted.connection, (size_t)size, flags, has_more, &packet);
                }
                vsock_packet_encode(&packet, header);
                pieces_write(chain_writable(chain), chain->writable_count, 0, header, sizeof header);
                return sizeof header + packet.length;
        }
}

static void serve_rx(struct device *device, struct virtqueue *queue, struct batch *batch) {
        while (!batch_is_full(batch) && vsock_has_work(&device->vsock) && virtqueue_pop(queue, &device->chain) == 1) {
                size_t size = fill_chain(device);
                if (!size && device->chain.writable_size > VSOCK_HEADER_SIZE) {
                        virtqueue_unpop(queue);
                        break;
                }
                batch_push(batch, queue, device->chain.head, size, size); /* one too small for a packet: as it is */
        }
}

/* ---- a turn ---- */

static struct virtqueue *running(struct device *device, enum vhost_user_ring_index index) {
        struct vhost_user_ring *ring = &device->front_end.rings[index];
        return ring->is_running && !ring->queue.is_broken ? &ring->queue : NULL;
}

typedef void (*serve_function)(struct device *device, struct virtqueue *queue, struct batch *batch);

static void learn_whether_apart(struct device *device, enum vhost_user_ring_index index, uint16_t before,
                                unsigned count) {
        uint16_t after = virtqueue_given(&device->front_end.rings[index].queue);
        bool is_during = after != before, is_between = before != device->given[index];
        device->given[index] = after;
        if (count < DEVICE_TELLING)
                return;
        if (is_during && device->apart < 2 * DEVICE_APART)
                device->apart++;
        else if (!is_during && is_between && device->apart)
                device->apart--;
}

static void serve(struct device *device, enum vhost_user_ring_index index, serve_function serve_queue,
                  struct device_turn *turn) {
        struct batch batch = {};
        struct vhost_user_ring *ring = &device->front_end.rings[index];
        struct virtqueue *queue = running(device, index);
        if (queue) {
                uint16_t before = virtqueue_given(queue);
                virtqueue_disarm(queue);
                serve_queue(device, queue, &batch);
                learn_whether_apart(device, index, before, batch.count);
                device->packets[index] += batch.count;
                turn->has_more |= batch_is_full(&batch);
                if (show(queue) || batch.is_call)
                        turn->calls |= 1u << index;
        }
        if (ring->is_running && ring->queue.is_broken)
                turn->is_broken = true;
}

struct device_turn device_turn(struct device *device) {
        struct device_turn turn = {};
        serve(device, VHOST_USER_TX, serve_tx, &turn);
        serve(device, VHOST_USER_RX, serve_rx, &turn);
        ledger_settle(device->vsock.ledger);
        return turn;
}

bool device_arm(struct device *device) {
        struct virtqueue *tx = running(device, VHOST_USER_TX), *rx = running(device, VHOST_USER_RX);
        bool may_sleep = !tx || virtqueue_arm(tx);
        if (rx && vsock_has_work(&device->vsock)) /* else a buffer more is of no interest */
                may_sleep = virtqueue_arm(rx) && may_sleep;
        return may_sleep;
}
