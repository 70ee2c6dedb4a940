/* SPDX-License-Identifier: MIT */

/* SipHash-2-4 (Aumasson and Bernstein, 2012) and the table over it. */

#include "base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUCKETS_MIN 16

static uint64_t load_little_endian(const uint8_t *bytes, size_t length) {
        uint64_t word = 0;
        for (size_t i = 0; i < length; i++)
                word |= (uint64_t)bytes[i] << 8 * i;
        return word;
}

static uint64_t rotate_left(uint64_t word, unsigned bits) {
        return word << bits | word >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned rounds) {
        while (rounds--) {
                v[0] += v[1];
                v[2] += v[3];
                v[1] = rotate_left(v[1], 13) ^ v[0];
                v[3] = rotate_left(v[3], 16) ^ v[2];
                v[0] = rotate_left(v[0], 32);
                v[2] += v[1];
                v[0] += v[3];
                v[1] = rotate_left(v[1], 17) ^ v[2];
                v[3] = rotate_left(v[3], 21) ^ v[0];
                v[2] = rotate_left(v[2], 32);
        }
}

static void sip_absorb(uint64_t v[4], uint64_t word) {
        v[3] ^= word;
        sip_rounds(v, 2);
        v[0] ^= word;
}

uint64_t siphash(const uint8_t key[16], const void *bytes, size_t length) {
        uint64_t k0 = load_little_endian(key, 8), k1 = load_little_endian(key + 8, 8);
        uint64_t v[4] = {
                k0 ^ 0x736f6d6570736575u,
                k1 ^ 0x646f72616e646f6du,
                k0 ^ 0x6c7967656e657261u,
                k1 ^ 0x7465646279746573u,
        };
        const uint8_t *from = bytes;
        size_t left = length;
        for (; left >= 8; left -= 8, from += 8)
                sip_absorb(v, load_little_endian(from, 8));
        sip_absorb(v, load_little_endian(from, left) | (uint64_t)length << 56);
        v[2] ^= 0xff;
        sip_rounds(v, 4);
        return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct table_link *link_of(struct list *link) {
        return container_of(link, struct table_link, link);
}

/* The number of buckets is a power of two. */
static size_t bucket_of(const struct table *table, uint64_t hash) {
        return hash & (table->bucket_count - 1);
}

static struct list *buckets_new(size_t count) {
        struct list *buckets = calloc(count, sizeof *buckets);
        if (buckets)
                for (size_t i = 0; i < count; i++)
                        list_init(buckets + i);
        return buckets;
}

int table_init(struct table *table, const uint8_t key[16]) {
        struct list *buckets = buckets_new(BUCKETS_MIN);
        if (!buckets)
                return -ENOMEM;
        *table = (struct table){.buckets = buckets, .bucket_count = BUCKETS_MIN};
        memcpy(table->key, key, sizeof table->key);
        return 0;
}

void table_deinit(struct table *table) {
        free(table->buckets);
        *table = (struct table){};
}

uint64_t table_hash(const struct table *table, const void *key, size_t length) {
        return siphash(table->key, key, length);
}

static int table_grow(struct table *table) {
        struct table grown = *table;
        grown.bucket_count *= 2;
        grown.buckets = buckets_new(grown.bucket_count);
        if (!grown.buckets)
                return -ENOMEM;
        for (size_t i = 0; i < table->bucket_count; i++)
                list_for_each_safe(link, table->buckets + i) {
                        list_unlink(link);
                        list_append(grown.buckets + bucket_of(&grown, link_of(link)->hash), link);
                }
        free(table->buckets);
        *table = grown;
        return 0;
}

int table_insert(struct table *table, struct table_link *link, uint64_t hash) {
        if (table->count >= table->bucket_count) {
                int r = table_grow(table);
                if (r < 0)
                        return r;
        }
        link->hash = hash;
        list_append(table->buckets + bucket_of(table, hash), &link->link);
        table->count++;
        return 0;
}

void table_remove(struct table *table, struct table_link *link) {
        list_unlink(&link->link);
        table->count--;
}

struct table_link *table_find(const struct table *table, uint64_t hash, const struct table_link *after) {
        if (!table->buckets)
                return NULL;
        struct list *head = table->buckets + bucket_of(table, hash);
        for (struct list *link = after ? after->link.next : head->next; link != head; link = link->next)
                if (link_of(link)->hash == hash)
                        return link_of(link);
        return NULL;
}

struct table_link *table_next(const struct table *table, const struct table_link *after) {
        size_t i = 0;
        if (after) {
                i = bucket_of(table, after->hash);
                if (after->link.next != table->buckets + i)
                        return link_of(after->link.next);
                i++;
        }
        for (; i < table->bucket_count; i++)
                if (!list_is_empty(table->buckets + i))
                        return link_of(table->buckets[i].next);
        return NULL;
}
