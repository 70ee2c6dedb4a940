/* SPDX-License-Identifier: MIT */

/*
 * Finding the next library's functions, and what libhvsock's own sources call in the
 * place of names that are wrapped, by the linker's --wrap: their socket() is
 * __wrap_socket().
 */

#include "preload/next.h"

#include "lib/hint.h"
#include "preload/cancel.h"
#include <dlfcn.h>
#include <stdatomic.h>
#include <stdbool.h>

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags);
void __wrap_carrier_own(int fd);
void __wrap_hint_set(int fd, enum hint hint, const GUID *ephemeral_id);

_Thread_local int cancel_state_of_caller;

static struct next_functions found;
static atomic_bool is_found;

/* Two threads that are first find the same. A name that this libc lacks is one that nobody calls. */
__attribute__((constructor)) static void find(void) {
#define FIND(name, ...) *(void **)&found.name = dlsym(RTLD_NEXT, #name);
        NEXT_SOCKET_FUNCTIONS(FIND)
        NEXT_ACCEPT4(FIND)
        NEXT_FILE_FUNCTIONS(FIND)
#undef FIND
        atomic_store_explicit(&is_found, true, memory_order_release);
}

const struct next_functions *next_functions(void) {
        if (!atomic_load_explicit(&is_found, memory_order_acquire))
                find();
        return &found;
}

#define WRAP(name, parameters, arguments)  \
        int __wrap_##name parameters;      \
        int __wrap_##name parameters {     \
                return NEXT(name) arguments; \
        }
NEXT_SOCKET_FUNCTIONS(WRAP)

int __wrap_accept4(int fd, struct sockaddr *address, socklen_t *length, int flags) {
        int state;
        pthread_setcancelstate(cancel_state_of_caller, &state);
        int accepted = NEXT(accept4)(fd, address, length, flags);
        pthread_setcancelstate(state, NULL);
        return accepted;
}

/* Data is the kernel's, and descriptors are closed and reused behind this library's back: libhvsock shall know of none. */
void __wrap_carrier_own(int fd) {}
void __wrap_hint_set(int fd, enum hint hint, const GUID *ephemeral_id) {}
