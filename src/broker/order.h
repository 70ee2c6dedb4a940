/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Things in order, found by bisection: what has a name and is listed by it.
 * Owns the array, not what is in it.
 */

#include <stddef.h>

struct order {
        void **items;
        size_t count, room;
};

/* Like strcmp: how the key stands to the item. */
typedef int (*order_compare)(const void *key, const void *item);

/* How many items stand before the key. */
size_t order_place(const struct order *order, order_compare compare, const void *key);
/* 0 or -ENOMEM; never fails when something was removed since the last insertion. */
int order_insert(struct order *order, size_t place, void *item);
void order_remove(struct order *order, size_t place);
void order_deinit(struct order *order);
