/* SPDX-License-Identifier: MIT */

/* A chained table by socket cookie. Each change of it is one store, so that a fork may fall between any two. */

#include "lib/state.h"

#include "lib/address.h"
#include "lib/descriptors.h"
#include "lib/lock.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#define BUCKETS 1024u
#define SWEEP_FIRST 256u /* entries that may be there before the first look for those of closed sockets */

struct entry {
        uint64_t cookie;
        struct entry *next;
        struct socket_state state;
        bool is_open; /* during a sweep */
};

_Atomic bool state_some_linger, state_some_reset;

static struct lock lock;
static struct entry *buckets[BUCKETS];
static unsigned sweep_at = SWEEP_FIRST;
static _Atomic unsigned entry_count;

/* The kernel counts cookies up: their last bits spread evenly. */
static struct entry **bucket_of(uint64_t cookie) {
        return &buckets[cookie % BUCKETS];
}

static struct entry *find(uint64_t cookie) {
        struct entry *entry = *bucket_of(cookie);
        while (entry && entry->cookie != cookie)
                entry = entry->next;
        return entry;
}

static void mark_open(int fd, void *argument) {
        uint64_t cookie;
        struct entry *entry = socket_cookie(fd, &cookie) < 0 ? NULL : find(cookie);
        if (entry)
                entry->is_open = true;
}

/* Sockets closed by close(2), or not by this process, leave their state behind: it goes here. */
static void sweep(void) {
        for (unsigned i = 0; i < BUCKETS; i++)
                for (struct entry *entry = buckets[i]; entry; entry = entry->next)
                        entry->is_open = false;
        descriptors_visit(mark_open, NULL);
        for (unsigned i = 0; i < BUCKETS; i++)
                for (struct entry **at = &buckets[i], *entry; (entry = *at);) {
                        if (entry->is_open) {
                                at = &entry->next;
                                continue;
                        }
                        *at = entry->next;
                        free(entry);
                        entry_count--;
                }
        sweep_at = entry_count < SWEEP_FIRST / 2 ? SWEEP_FIRST : entry_count * 2;
}

void state_read(int fd, struct socket_state *ret) {
        uint64_t cookie;
        *ret = (struct socket_state){};
        if (!entry_count || socket_cookie(fd, &cookie) < 0)
                return;
        lock_take(&lock);
        const struct entry *entry = find(cookie);
        if (entry)
                *ret = entry->state;
        lock_release(&lock);
}

int state_begin(int fd, struct socket_state **ret) {
        uint64_t cookie;
        int r = socket_cookie(fd, &cookie);
        if (r < 0)
                return r;
        lock_take(&lock);
        struct entry *entry = find(cookie);
        if (!entry) {
                if (entry_count >= sweep_at)
                        sweep();
                entry = calloc(1, sizeof *entry);
                if (!entry) {
                        lock_release(&lock);
                        return -ENOMEM;
                }
                entry->cookie = cookie;
                entry->next = *bucket_of(cookie);
                *bucket_of(cookie) = entry;
                entry_count++;
        }
        *ret = &entry->state;
        return 0;
}

void state_end(void) {
        lock_release(&lock);
}

int state_set(int fd, uint32_t flags) {
        struct socket_state *state;
        int r = state_begin(fd, &state);
        if (r < 0)
                return r;
        state->flags |= flags;
        state_end();
        if (flags & STATE_RESET)
                state_some_reset = true;
        return 0;
}

bool state_take(int fd, uint32_t flags) {
        struct socket_state state, *kept;
        state_read(fd, &state);
        if (!(state.flags & flags) || state_begin(fd, &kept) < 0)
                return false;
        bool were_set = kept->flags & flags;
        kept->flags &= ~flags;
        state_end();
        return were_set;
}
