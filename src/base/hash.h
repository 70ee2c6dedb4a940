/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * SipHash-2-4 with a secret key, and a chained table that grows: for keys that
 * strangers choose. The table owns its buckets, not what is linked in it.
 */

#include "base/list.h"
#include <stddef.h>
#include <stdint.h>

uint64_t siphash(const uint8_t key[16], const void *bytes, size_t length);

struct table {
        struct list *buckets;
        size_t bucket_count, count;
        uint8_t key[16];
};

struct table_link {
        struct list link;
        uint64_t hash;
};

int table_init(struct table *table, const uint8_t key[16]);
void table_deinit(struct table *table);
uint64_t table_hash(const struct table *table, const void *key, size_t length);
int table_insert(struct table *table, struct table_link *link, uint64_t hash); /* 0 or -ENOMEM */
void table_remove(struct table *table, struct table_link *link);
/* The first link with this hash after `after` (NULL: from the start); the caller compares keys. */
struct table_link *table_find(const struct table *table, uint64_t hash, const struct table_link *after);
/* Any order. NULL ends. */
struct table_link *table_next(const struct table *table, const struct table_link *after);
