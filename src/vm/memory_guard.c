/* SPDX-License-Identifier: MIT */

/* Surviving SIGBUS in guest memory: see memory_guard.h. */

#include "vm/memory_guard.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>

/* Accessed in a signal handler: of the kind of thread-local memory that is there from the thread's beginning. */
static __thread struct guest_memory *volatile watched __attribute__((tls_model("initial-exec")));
static struct sigaction before;

static bool mend(const void *address) {
        struct guest_memory *memory = watched;
        for (unsigned i = 0; memory && i < memory->count; i++) {
                struct guest_region *region = &memory->regions[i];
                if ((uintptr_t)address - (uintptr_t)region->mapping >= region->mapping_size)
                        continue;
                if (atomic_load_explicit(&region->is_torn, memory_order_relaxed))
                        return false;
                atomic_store_explicit(&region->is_torn, true, memory_order_relaxed);
                return mmap(region->mapping, region->mapping_size, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
        }
        return false;
}

static void on_bus_error(int signal, siginfo_t *info, void *context) {
        int error = errno;
        bool is_mended = info->si_code > 0 && mend(info->si_addr);
        errno = error;
        if (is_mended)
                return;
        if (before.sa_flags & SA_SIGINFO) {
                before.sa_sigaction(signal, info, context);
        } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
                before.sa_handler(signal);
        } else { /* the access, made again, or this, kills */
                sigaction(SIGBUS, &(struct sigaction){.sa_handler = SIG_DFL}, NULL);
                if (info->si_code <= 0)
                        raise(SIGBUS);
        }
}

int memory_guard_open(void) {
        struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO};
        sigemptyset(&action.sa_mask);
        return sigaction(SIGBUS, &action, &before) < 0 ? -errno : 0;
}

void memory_guard_watch(struct guest_memory *memory) {
        watched = memory;
}
