/* SPDX-License-Identifier: MIT */

/* Things in order. */

#include "broker/order.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MIN 16

size_t order_place(const struct order *order, order_compare compare, const void *key) {
        size_t low = 0, high = order->count;
        while (low < high) {
                size_t middle = low + (high - low) / 2;
                if (compare(key, order->items[middle]) > 0)
                        low = middle + 1;
                else
                        high = middle;
        }
        return low;
}

int order_insert(struct order *order, size_t place, void *item) {
        if (order->count == order->room) {
                size_t room = order->room ? 2 * order->room : ROOM_MIN;
                void **items = reallocarray(order->items, room, sizeof *items);
                if (!items)
                        return -ENOMEM;
                order->items = items;
                order->room = room;
        }
        void **at = order->items + place;
        memmove(at + 1, at, (order->count - place) * sizeof *at);
        *at = item;
        order->count++;
        return 0;
}

void order_remove(struct order *order, size_t place) {
        void **at = order->items + place;
        order->count--;
        memmove(at, at + 1, (order->count - place) * sizeof *at);
}

void order_deinit(struct order *order) {
        free(order->items);
        *order = (struct order){};
}
