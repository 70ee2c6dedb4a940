/* SPDX-License-Identifier: MIT */

/* Split virtqueues: virtqueue.h has the theory. */

#include "vm/virtqueue.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define DESCRIPTOR_NEXT 1u
#define DESCRIPTOR_WRITE 2u
#define DESCRIPTOR_INDIRECT 4u
#define AVAILABLE_NO_INTERRUPT 1u
#define USED_NO_NOTIFY 1u

#define FETCH_LINE 64u
#define FETCH_TABLE_AHEAD 6u /* chains */
#define FETCH_AHEAD 3u

struct virtqueue_descriptor {
        uint64_t address; /* guest-physical */
        uint32_t length;
        uint16_t flags, next;
};

struct virtqueue_available {
        _Atomic uint16_t flags, index;
        _Atomic uint16_t ring[]; /* after the last: used_event */
};

struct virtqueue_used_element {
        _Atomic uint32_t head, written;
};

struct virtqueue_used {
        _Atomic uint16_t flags, index;
        struct virtqueue_used_element ring[]; /* after the last: available_event */
};

_Static_assert(sizeof(struct virtqueue_descriptor) == 16 && sizeof(struct virtqueue_used_element) == 8, "as specified");

static uint16_t load16(const _Atomic uint16_t *word) {
        return le16toh(atomic_load_explicit(word, memory_order_relaxed));
}

static void store16(_Atomic uint16_t *word, uint16_t value) {
        atomic_store_explicit(word, htole16(value), memory_order_relaxed);
}

static _Atomic uint16_t *available_event(const struct virtqueue *queue) {
        return (_Atomic uint16_t *)&queue->used->ring[queue->size];
}

static const _Atomic uint16_t *used_event(const struct virtqueue *queue) {
        return &queue->available->ring[queue->size];
}

static int break_queue(struct virtqueue *queue) {
        queue->is_broken = true;
        return -EPROTO;
}

static bool is_aligned(const void *pointer, uintptr_t alignment) {
        return !((uintptr_t)pointer & (alignment - 1));
}

int virtqueue_move(struct virtqueue *queue, const struct virtqueue_place *place) {
        if (!is_aligned(place->descriptors, VIRTQUEUE_DESCRIPTOR_ALIGNMENT) ||
            !is_aligned(place->available, VIRTQUEUE_AVAILABLE_ALIGNMENT) ||
            !is_aligned(place->used, VIRTQUEUE_USED_ALIGNMENT))
                return -EINVAL;
        queue->descriptors = place->descriptors;
        queue->available = place->available;
        queue->used = place->used;
        return 0;
}

uint16_t virtqueue_used_index(const struct virtqueue_place *place) {
        return load16(&((const struct virtqueue_used *)place->used)->index);
}

int virtqueue_begin(struct virtqueue *queue, struct guest_memory *memory, const struct virtqueue_place *place) {
        uint16_t size = place->size;
        struct virtqueue moved;
        if (!size || size > VIRTQUEUE_SIZE_MAX || size & (size - 1) || virtqueue_move(&moved, place) < 0)
                return -EINVAL;
        uint16_t used = virtqueue_used_index(place);
        *queue = (struct virtqueue){
                .memory = memory,
                .size = size,
                .next_available = place->index,
                .available_count = place->index,
                .next_used = used,
                .flushed = used,
                .has_event_index = place->has_event_index,
                .has_indirect = place->has_indirect,
                .must_call = true,
        };
        return virtqueue_move(queue, place);
}

/* How many chains are there. A driver cannot have more under way than there are descriptors. */
static int look(struct virtqueue *queue) {
        if (queue->is_broken)
                return -EPROTO;
        uint16_t index = le16toh(atomic_load_explicit(&queue->available->index, memory_order_acquire));
        uint16_t waiting = index - queue->next_available;
        if (waiting > queue->size || (uint16_t)(index - queue->available_count) > waiting)
                return break_queue(queue);
        queue->available_count = index;
        return waiting;
}

/* One descriptor's memory. Readable ones come before writable ones. */
static int take(struct virtqueue *queue, const struct virtqueue_descriptor *descriptor, struct chain *chain) {
        unsigned count = chain->readable_count + chain->writable_count;
        bool is_writable = descriptor->flags & DESCRIPTOR_WRITE;
        if (!is_writable && chain->writable_count)
                return -EPROTO;
        int added = 1;
        void *near = descriptor->length && count < CHAIN_PIECES_MAX
                             ? guest_memory_near(queue->memory, descriptor->address, descriptor->length)
                             : NULL;
        if (near)
                chain->pieces[count] = (struct iovec){near, descriptor->length};
        else
                added = guest_memory_pieces(queue->memory, descriptor->address, descriptor->length,
                                            chain->pieces + count, CHAIN_PIECES_MAX - count);
        if (added < 0)
                return -EPROTO;
        *(is_writable ? &chain->writable_count : &chain->readable_count) += (unsigned)added;
        size_t *size = is_writable ? &chain->writable_size : &chain->readable_size;
        return __builtin_add_overflow(*size, descriptor->length, size) ? -EPROTO : 0;
}

static struct virtqueue_descriptor decode(struct virtqueue_descriptor descriptor) {
        return (struct virtqueue_descriptor){le64toh(descriptor.address), le32toh(descriptor.length),
                                             le16toh(descriptor.flags), le16toh(descriptor.next)};
}

/* The copy is what is checked, and what is used. */
static void copy_once(const struct virtqueue_descriptor *from, struct virtqueue_descriptor *ret) {
        memcpy(ret, from, sizeof *ret);
        __asm__("" : "+m"(*ret));
}

/* A table of descriptors in guest memory, with no table in it. It is as long as a queue at most, and so is its chain. */
static int take_table(struct virtqueue *queue, const struct virtqueue_descriptor *table, struct chain *chain) {
        uint32_t count = table->length / sizeof(struct virtqueue_descriptor), next = 0;
        if (!count || table->length % sizeof(struct virtqueue_descriptor) || count > queue->size)
                return -EPROTO;
        const struct virtqueue_descriptor *near = guest_memory_near(queue->memory, table->address, table->length);
        for (uint32_t taken = 0; taken < count; taken++) {
                struct virtqueue_descriptor descriptor;
                uint64_t address = table->address + next * sizeof descriptor;
                if (next >= count || address < table->address)
                        return -EPROTO;
                if (near)
                        copy_once(&near[next], &descriptor);
                else if (guest_memory_read(queue->memory, address, &descriptor, sizeof descriptor) < 0)
                        return -EPROTO;
                descriptor = decode(descriptor);
                if (descriptor.flags & DESCRIPTOR_INDIRECT || take(queue, &descriptor, chain) < 0)
                        return -EPROTO;
                if (!(descriptor.flags & DESCRIPTOR_NEXT))
                        return 0;
                next = descriptor.next;
        }
        return -EPROTO; /* a loop */
}

static int take_chain(struct virtqueue *queue, uint16_t head, struct chain *chain) {
        uint16_t next = head;
        for (unsigned taken = 0; taken < queue->size; taken++) {
                struct virtqueue_descriptor descriptor;
                if (next >= queue->size)
                        return -EPROTO;
                copy_once(&queue->descriptors[next], &descriptor);
                descriptor = decode(descriptor);
                if (descriptor.flags & DESCRIPTOR_INDIRECT)
                        return !queue->has_indirect || descriptor.flags & (DESCRIPTOR_NEXT | DESCRIPTOR_WRITE)
                                       ? -EPROTO
                                       : take_table(queue, &descriptor, chain);
                if (take(queue, &descriptor, chain) < 0)
                        return -EPROTO;
                if (!(descriptor.flags & DESCRIPTOR_NEXT))
                        return 0;
                next = descriptor.next;
        }
        return -EPROTO; /* a loop */
}

/*
 * What a chain a little later leads to, whose lines another core wrote: they come while this one is looked at. Where
 * that is decides nothing, so it is looked at unchecked, but within the queue and memory.
 */
static void fetch(struct virtqueue *queue, unsigned ahead, bool has_come) {
        struct virtqueue_descriptor descriptor;
        if ((uint16_t)(queue->available_count - queue->next_available) <= ahead)
                return;
        uint16_t head = load16(&queue->available->ring[(queue->next_available + ahead) & (queue->size - 1)]);
        copy_once(&queue->descriptors[head & (queue->size - 1)], &descriptor);
        descriptor = decode(descriptor);
        const void *place = guest_memory_near(queue->memory, descriptor.address, sizeof descriptor);
        if (place && has_come && descriptor.flags & DESCRIPTOR_INDIRECT) {
                copy_once(place, &descriptor);
                place = guest_memory_near(queue->memory, decode(descriptor).address, 2 * FETCH_LINE);
        }
        if (place) {
                __builtin_prefetch(place);
                __builtin_prefetch((const uint8_t *)place + FETCH_LINE);
        }
}

uint16_t virtqueue_given(const struct virtqueue *queue) {
        return load16(&queue->available->index);
}

int virtqueue_pop(struct virtqueue *queue, struct chain *ret) {
        if (queue->next_available == queue->available_count || queue->is_broken) {
                int waiting = look(queue);
                if (waiting <= 0)
                        return waiting;
        }
        fetch(queue, FETCH_TABLE_AHEAD, false);
        fetch(queue, FETCH_AHEAD, true);
        ret->head = load16(&queue->available->ring[queue->next_available & (queue->size - 1)]);
        ret->readable_count = ret->writable_count = 0;
        ret->readable_size = ret->writable_size = 0;
        if (take_chain(queue, ret->head, ret) < 0)
                return break_queue(queue);
        queue->next_available++;
        return 1;
}

void virtqueue_unpop(struct virtqueue *queue) {
        queue->next_available--;
}

void virtqueue_push(struct virtqueue *queue, uint16_t head, uint32_t written) {
        struct virtqueue_used_element *element = &queue->used->ring[queue->next_used++ & (queue->size - 1)];
        atomic_store_explicit(&element->head, htole32(head), memory_order_relaxed);
        atomic_store_explicit(&element->written, htole32(written), memory_order_relaxed);
}

bool virtqueue_flush(struct virtqueue *queue) {
        uint16_t from = queue->flushed, to = queue->next_used;
        if (from == to)
                return false;
        atomic_store_explicit(&queue->used->index, htole16(to), memory_order_release);
        atomic_thread_fence(memory_order_seq_cst);
        queue->flushed = to;
        if (queue->must_call) {
                queue->must_call = false;
                return true;
        }
        if (!queue->has_event_index)
                return !(load16(&queue->available->flags) & AVAILABLE_NO_INTERRUPT);
        uint16_t event = load16(used_event(queue));
        return (uint16_t)(to - event - 1) < (uint16_t)(to - from);
}

void virtqueue_disarm(struct virtqueue *queue) {
        if (!queue->has_event_index)
                store16(&queue->used->flags, USED_NO_NOTIFY);
}

bool virtqueue_arm(struct virtqueue *queue) {
        if (queue->is_broken)
                return false;
        if (queue->has_event_index)
                store16(available_event(queue), queue->next_available);
        else
                store16(&queue->used->flags, 0);
        atomic_thread_fence(memory_order_seq_cst);
        return look(queue) == 0;
}

bool virtqueue_is_blank(const struct virtqueue *queue) {
        const uint8_t *bytes = (const uint8_t *)queue->descriptors;
        for (size_t i = 0; i < virtqueue_descriptors_bytes(queue->size); i++)
                if (bytes[i])
                        return false;
        return !load16(&queue->available->index) && !load16(&queue->used->index);
}

size_t pieces_read(const struct iovec *pieces, unsigned count, size_t offset, void *ret_bytes, size_t size) {
        size_t done = 0;
        for (unsigned i = 0; i < count && done < size; i++) {
                if (offset >= pieces[i].iov_len) {
                        offset -= pieces[i].iov_len;
                        continue;
                }
                size_t length = pieces[i].iov_len - offset;
                if (length > size - done)
                        length = size - done;
                memcpy((uint8_t *)ret_bytes + done, (const uint8_t *)pieces[i].iov_base + offset, length);
                done += length;
                offset = 0;
        }
        return done;
}

size_t pieces_write(const struct iovec *pieces, unsigned count, size_t offset, const void *bytes, size_t size) {
        size_t done = 0;
        for (unsigned i = 0; i < count && done < size; i++) {
                if (offset >= pieces[i].iov_len) {
                        offset -= pieces[i].iov_len;
                        continue;
                }
                size_t length = pieces[i].iov_len - offset;
                if (length > size - done)
                        length = size - done;
                memcpy((uint8_t *)pieces[i].iov_base + offset, (const uint8_t *)bytes + done, length);
                done += length;
                offset = 0;
        }
        return done;
}

unsigned pieces_slice(const struct iovec *pieces, unsigned count, size_t offset, size_t size, struct iovec *ret) {
        unsigned made = 0;
        for (unsigned i = 0; i < count && size; i++) {
                if (offset >= pieces[i].iov_len) {
                        offset -= pieces[i].iov_len;
                        continue;
                }
                size_t length = pieces[i].iov_len - offset;
                if (length > size)
                        length = size;
                ret[made++] = (struct iovec){(uint8_t *)pieces[i].iov_base + offset, length};
                size -= length;
                offset = 0;
        }
        return made;
}
