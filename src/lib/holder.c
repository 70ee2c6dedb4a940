/* SPDX-License-Identifier: MIT */

/* Holder pages and their locks. */

#include "lib/holder.h"

#include "lib/lock.h"
#include <errno.h>
#include <linux/futex.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LOCK_LOOKS 100u
#define LOCK_WAIT_NS 1000000L
#define LOCK_WAITS_BEFORE_DOUBT 1000u /* a second: no thread that runs holds a lock as long */

_Static_assert(sizeof(struct holder) <= 4096, "one page");

static struct lock spare_lock;
static struct holder **spare;
static unsigned spare_count, spare_size;

static struct holder *map_page(void *at) {
        void *page = mmap(at, sizeof(struct holder), PROT_READ | PROT_WRITE,
                          MAP_SHARED | MAP_ANONYMOUS | (at ? MAP_FIXED : 0), -1, 0);
        return page == MAP_FAILED ? NULL : page;
}

struct holder *holder_new(void) {
        struct holder *holder = NULL;
        lock_take(&spare_lock);
        if (spare_count)
                holder = spare[--spare_count];
        lock_release(&spare_lock);
        return holder ? holder : map_page(NULL);
}

/* The lock is held. */
static bool has_place(void) {
        if (spare_count < spare_size)
                return true;
        unsigned size = spare_size ? spare_size * 2 : 16;
        struct holder **grown = realloc(spare, size * sizeof(struct holder *));
        if (!grown)
                return false;
        spare = grown;
        spare_size = size;
        return true;
}

/* Empty, a page has no memory of its own: it is kept for its address. */
void holder_give_back(struct holder *holder) {
        if (!map_page(holder))
                return;
        lock_take(&spare_lock);
        if (has_place())
                spare[spare_count++] = holder;
        lock_release(&spare_lock);
}

bool holder_thread_is_gone(uint32_t thread) {
        return syscall(SYS_tkill, thread, 0) < 0 && errno == ESRCH;
}

void holder_lock_slowly(struct holder_lock *lock, uint32_t self) {
        uint32_t seen = 0, doubted = 0, waits = 0;
        for (unsigned looks = 0; looks < LOCK_LOOKS; looks++, seen = 0)
                if (atomic_compare_exchange_weak_explicit(&lock->thread, &seen, self, memory_order_acquire, memory_order_relaxed))
                        return;
        atomic_fetch_add(&lock->waiting, 1);
        for (seen = 0; !atomic_compare_exchange_strong_explicit(&lock->thread, &seen, self, memory_order_acquire,
                                                                memory_order_relaxed);
             seen = 0) {
                struct timespec wait = {.tv_nsec = LOCK_WAIT_NS};
                waits = seen == doubted ? waits + 1 : 0;
                doubted = seen;
                if (waits >= LOCK_WAITS_BEFORE_DOUBT && holder_thread_is_gone(seen) &&
                    atomic_compare_exchange_strong_explicit(&lock->thread, &seen, self, memory_order_acquire, memory_order_relaxed))
                        break;
                if (seen)
                        syscall(SYS_futex, &lock->thread, FUTEX_WAIT, seen, &wait);
        }
        atomic_fetch_sub(&lock->waiting, 1);
}

void holder_wake(struct holder_lock *lock) {
        syscall(SYS_futex, &lock->thread, FUTEX_WAKE, 1);
}
