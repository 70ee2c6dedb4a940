/* SPDX-License-Identifier: MIT */

/* Channels by number and by cookie. */

#include "lib/channel.h"

#include "lib/address.h"
#include "lib/carrier.h"
#include <stdlib.h>

#define BUCKETS 1024u

struct channel *_Atomic *_Atomic channel_numbers[CHANNEL_NUMBERS_CHUNKS];
struct channel_new channel_new[CHANNEL_NEW_NUMBERS];

static struct lock lock; /* of the buckets, the free ones, and each channel's count of numbers */
static struct channel *buckets[BUCKETS], *free_channels;

bool channel_is_at(const struct channel *channel, int fd) {
        uint64_t cookie;
        return socket_cookie(fd, &cookie) == 0 && cookie == channel->cookie;
}

static struct channel *_Atomic *place_of(int fd) {
        struct channel *_Atomic *_Atomic *chunk = &channel_numbers[fd / CHANNEL_NUMBERS_CHUNK];
        struct channel *_Atomic *none = NULL, *_Atomic *made = atomic_load(chunk);
        if (!made) {
                made = calloc(CHANNEL_NUMBERS_CHUNK, sizeof *made);
                if (made && !atomic_compare_exchange_strong(chunk, &none, made)) {
                        free((void *)made);
                        made = none;
                }
        }
        return made ? &made[fd % CHANNEL_NUMBERS_CHUNK] : NULL;
}

static struct channel **bucket_of(uint64_t cookie) {
        return &buckets[cookie % BUCKETS];
}

static void give_up(struct channel *channel) {
        for (struct channel **at = bucket_of(channel->cookie); *at; at = &(*at)->next)
                if (*at == channel) {
                        *at = channel->next;
                        break;
                }
        channel->cookie = 0;
        carrier_end(channel);
        free(channel->outgoing.bytes);
        free(channel->incoming.bytes);
        channel->outgoing = channel->incoming = (struct channel_buffer){};
        channel->next = free_channels;
        free_channels = channel;
}

static void forget_place(struct channel *_Atomic *place) {
        struct channel *channel = atomic_exchange(place, NULL);
        if (channel && --channel->numbers == 0)
                give_up(channel);
}

void channel_begins(int fd) {
        if (fd < 0 || fd >= CHANNEL_NEW_NUMBERS)
                return;
        channel_new[fd].process = process_id();
        channel_new[fd].calls = CHANNEL_NEW_CALLS;
}

void channel_forget(int fd) {
        if (fd >= 0 && fd < CHANNEL_NEW_NUMBERS)
                channel_new[fd].calls = 0;
        if (!channel_known(fd))
                return;
        lock_take(&lock);
        forget_place(place_of(fd));
        lock_release(&lock);
}

static struct channel *new_channel(uint64_t cookie, int type) {
        struct channel *channel = free_channels;
        if (channel)
                free_channels = channel->next;
        else if (!(channel = calloc(1, sizeof *channel)))
                return NULL;
        channel->type = type;
        channel->messages = 0;
        channel->bytes = 0;
        channel->numbers = 0;
        channel->senders = channel->receivers = 0;
        channel->is_switching = false;
        channel->asks_library = channel->was_told = false;
        channel->owner = 0;
        channel->cookie = cookie;
        channel->next = *bucket_of(cookie);
        return *bucket_of(cookie) = channel;
}

struct channel *channel_find_slowly(int fd) {
        struct channel *channel;
        uint64_t cookie;
        int type;
        if (fd < 0 || fd >= CHANNEL_NUMBERS_CHUNK * CHANNEL_NUMBERS_CHUNKS || socket_cookie(fd, &cookie) < 0 ||
            socket_option(fd, SO_TYPE, &type) < 0 || !socket_is_connected(fd))
                return NULL;
        struct channel *_Atomic *place = place_of(fd);
        if (!place)
                return NULL;
        lock_take(&lock);
        channel = *bucket_of(cookie);
        while (channel && channel->cookie != cookie)
                channel = channel->next;
        if (!channel && (channel = new_channel(cookie, type)))
                carrier_begin(channel, fd);
        if (channel && *place != channel) {
                forget_place(place);
                channel->numbers++;
                *place = channel;
        }
        lock_release(&lock);
        return channel;
}

int channel_buffer_make(struct channel_buffer *buffer, size_t size) {
        if (buffer->size < size) {
                void *bytes = malloc(size);
                if (!bytes)
                        return -ENOMEM;
                free(buffer->bytes);
                *buffer = (struct channel_buffer){.bytes = bytes, .size = size};
        }
        return 0;
}
