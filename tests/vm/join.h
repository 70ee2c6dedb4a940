/* SPDX-License-Identifier: MIT */
#pragma once

#include "base/fd.h"
#include "test.h"
#include "vm/worker.h"

/* Of a thread that said its last word. What nobody heard is closed. */
static inline void join(struct vm_worker *worker) {
        struct list unheard;
        struct vm_message message;
        check_ok(vm_worker_join(worker, vm_worker_now_ms() + VM_STOP_MS, &unheard));
        while (mailbox_next(&unheard, &message)) {
                fd_close(message.fd);
                vm_held_free(message.held);
        }
}
