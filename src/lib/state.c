/* SPDX-License-Identifier: MIT */

/* What the kernel cannot keep for us about a socket: a small table by cookie. */

#include "lib/state.h"

#include "lib/process_lock.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define SLOTS_FIRST 16u

/* Open addressing; cookie 0 is no socket's, so it marks a free slot. */
struct slot {
        uint64_t cookie;
        int fd; /* the last number that it was known by: how a socket closed behind our back is found out */
        struct socket_state state;
};

static struct process_lock lock;
static struct slot *slots;
static size_t slot_count;
static _Atomic(size_t) used;

static int cookie_of(int fd, uint64_t *ret_cookie) {
        socklen_t length = sizeof *ret_cookie;
        return getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret_cookie, &length) < 0 ? -errno : 0;
}

/* A table that another thread was changing while this process was forked off is not to be trusted: it is left behind. */
static void lock_table(void) {
        if (process_lock(&lock))
                return;
        slots = NULL;
        slot_count = 0;
        atomic_store(&used, 0);
}

static struct slot *probe(struct slot *table, size_t count, uint64_t cookie) {
        size_t i = (size_t)(cookie * 0x9E3779B97F4A7C15u) & (count - 1);
        while (table[i].cookie && table[i].cookie != cookie)
                i = (i + 1) & (count - 1);
        return &table[i];
}

/* Moves what still lives to a table twice what that needs. */
static int rebuild(void) {
        size_t alive = 0, count = SLOTS_FIRST;
        for (size_t i = 0; i < slot_count; i++) {
                uint64_t cookie;
                if (slots[i].cookie && (cookie_of(slots[i].fd, &cookie) || cookie != slots[i].cookie))
                        slots[i].cookie = 0;
                alive += slots[i].cookie != 0;
        }
        while (count < (alive + 1) * 4)
                count *= 2;
        struct slot *table = calloc(count, sizeof *table);
        if (!table)
                return -ENOMEM;
        for (size_t i = 0; i < slot_count; i++)
                if (slots[i].cookie)
                        *probe(table, count, slots[i].cookie) = slots[i];
        free(slots);
        slots = table;
        slot_count = count;
        atomic_store(&used, alive);
        return 0;
}

struct socket_state state_get(int fd) {
        struct socket_state state = {};
        uint64_t cookie;
        if (!atomic_load_explicit(&used, memory_order_relaxed) || cookie_of(fd, &cookie))
                return state;
        lock_table();
        if (slot_count) {
                const struct slot *slot = probe(slots, slot_count, cookie);
                if (slot->cookie)
                        state = slot->state;
        }
        process_unlock(&lock);
        return state;
}

int state_set(int fd, const struct socket_state *state) {
        uint64_t cookie;
        int r = cookie_of(fd, &cookie);
        if (r)
                return r;
        lock_table();
        struct slot *slot = slot_count ? probe(slots, slot_count, cookie) : NULL;
        if (!slot || (!slot->cookie && (atomic_load(&used) + 1) * 2 > slot_count)) {
                r = rebuild();
                slot = r ? NULL : probe(slots, slot_count, cookie);
        }
        if (slot) {
                if (!slot->cookie)
                        atomic_fetch_add(&used, 1);
                *slot = (struct slot){cookie, fd, *state};
        }
        process_unlock(&lock);
        return r;
}

void state_mark_reset(int fd) {
        int saved = errno;
        struct socket_state state = state_get(fd);
        state.reset = true;
        (void)state_set(fd, &state);
        errno = saved;
}

/* Empties the slot and moves up what had been pushed past it. */
static void vacate(struct slot *slot) {
        size_t hole = (size_t)(slot - slots), i = hole;
        slots[hole].cookie = 0;
        for (;;) {
                i = (i + 1) & (slot_count - 1);
                if (!slots[i].cookie)
                        return;
                struct slot moved = slots[i];
                slots[i].cookie = 0;
                *probe(slots, slot_count, moved.cookie) = moved;
        }
}

void state_forget(int fd) {
        uint64_t cookie;
        if (!atomic_load_explicit(&used, memory_order_relaxed) || cookie_of(fd, &cookie))
                return;
        lock_table();
        struct slot *slot = slot_count ? probe(slots, slot_count, cookie) : NULL;
        if (slot && slot->cookie) {
                vacate(slot);
                atomic_fetch_sub(&used, 1);
        }
        process_unlock(&lock);
}
