/* SPDX-License-Identifier: MIT */
#pragma once

/* Who runs: asked so often that the kernel is not. Right after fork and clone too: the page is empty in a child. */

#include <stdatomic.h>
#include <stdint.h>
#include <sys/types.h>

struct process_thread {
        pid_t process;
        uint32_t id;
};

extern _Atomic pid_t *_Atomic process_page; /* holds the process id; NULL or 0: not known */
extern _Thread_local struct process_thread process_thread __attribute__((tls_model("initial-exec")));

pid_t process_id(void);
uint32_t process_mark(void); /* chosen at random by each process, and again by its children */
uint32_t process_learn_thread(void);

static inline uint32_t process_thread_id(void) {
        _Atomic pid_t *page = atomic_load_explicit(&process_page, memory_order_acquire);
        pid_t process = page ? atomic_load_explicit(page, memory_order_relaxed) : 0;
        return __builtin_expect(process && process == process_thread.process, 1) ? process_thread.id : process_learn_thread();
}
