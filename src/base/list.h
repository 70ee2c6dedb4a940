/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Intrusive, circular, doubly linked lists. A `struct list` is a head or a
 * link; an empty head and an unlinked link point at themselves. Linking owns
 * nothing.
 */

#include <stdbool.h>
#include <stddef.h>

struct list {
        struct list *previous, *next;
};

#define LIST_INIT(name) {&(name), &(name)}

static inline void list_init(struct list *list) {
        list->previous = list->next = list;
}

static inline bool list_is_empty(const struct list *list) {
        return list->next == list;
}

static inline void list_insert_before(struct list *at, struct list *link) {
        link->previous = at->previous;
        link->next = at;
        at->previous->next = link;
        at->previous = link;
}

static inline void list_append(struct list *head, struct list *link) {
        list_insert_before(head, link);
}

/* Safe to call again: an unlinked link stays unlinked. */
static inline void list_unlink(struct list *link) {
        link->previous->next = link->next;
        link->next->previous = link->previous;
        list_init(link);
}

#define container_of(pointer, type, member) ((type *)((char *)(pointer) - offsetof(type, member)))

#define list_for_each(iterator, head) \
        for (struct list *iterator = (head)->next; iterator != (head); iterator = iterator->next)

/* The current link may be unlinked in the body. */
#define list_for_each_safe(iterator, head)                                                         \
        for (struct list *iterator = (head)->next, *iterator##_next = iterator->next; iterator != (head); \
             iterator = iterator##_next, iterator##_next = iterator->next)
