/* SPDX-License-Identifier: MIT */

/* Process and thread ids, kept in memory that a fork empties. */

#include "lib/process.h"

#include <stddef.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <sys/syscall.h>
#include <unistd.h>

_Atomic pid_t *_Atomic process_page;
_Thread_local struct process_thread process_thread;

pid_t process_id(void) {
        _Atomic pid_t *known = atomic_load(&process_page), *none = NULL;
        if (!known) {
                known = mmap(NULL, sizeof *known, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
                if (known == MAP_FAILED)
                        return getpid();
                if (madvise(known, sizeof *known, MADV_WIPEONFORK) < 0 ||
                    !atomic_compare_exchange_strong(&process_page, &none, known)) {
                        munmap(known, sizeof *known);
                        return getpid();
                }
        }
        pid_t pid = atomic_load_explicit(known, memory_order_relaxed);
        if (!pid)
                atomic_store_explicit(known, pid = getpid(), memory_order_relaxed);
        return pid;
}

uint32_t process_mark(void) {
        static struct {
                _Atomic pid_t process;
                _Atomic uint32_t mark;
        } known;
        pid_t process = process_id();
        if (known.process != process) {
                uint32_t mark = 0;
                if (getrandom(&mark, sizeof mark, GRND_NONBLOCK) != sizeof mark)
                        mark = (uint32_t)process;
                known.mark = mark;
                known.process = process;
        }
        return known.mark;
}

uint32_t process_learn_thread(void) {
        process_thread.id = (uint32_t)syscall(SYS_gettid);
        process_thread.process = process_id();
        return process_thread.id;
}
