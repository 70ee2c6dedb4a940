/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A VM's thread, of whichever kind: of a front-end (thread.h), or of a VMM that speaks
 * the hybrid protocol (hybrid_thread.h). Both are told and tell the same; who starts
 * one sets one of the two.
 */

#include "vm/hybrid_thread.h"
#include "vm/thread.h"

struct vm_worker {
        struct vm_thread *thread;
        struct hybrid_thread *hybrid;
};

static inline bool worker_is_there(const struct vm_worker *worker) {
        return worker->thread || worker->hybrid;
}

static inline int worker_fd(const struct vm_worker *worker) {
        return worker->hybrid ? hybrid_thread_fd(worker->hybrid) : vm_thread_fd(worker->thread);
}

static inline void worker_hear(struct vm_worker *worker, struct list *ret_letters) {
        if (worker->hybrid)
                hybrid_thread_hear(worker->hybrid, ret_letters);
        else
                vm_thread_hear(worker->thread, ret_letters);
}

static inline int worker_tell(struct vm_worker *worker, const struct vm_message *message) {
        return worker->hybrid ? hybrid_thread_tell(worker->hybrid, message) : vm_thread_tell(worker->thread, message);
}

/* Zeros when none is there. */
static inline void worker_state(const struct vm_worker *worker, struct vm_state *ret) {
        *ret = (struct vm_state){};
        if (worker->hybrid)
                hybrid_thread_state(worker->hybrid, ret);
        else if (worker->thread)
                vm_thread_state(worker->thread, ret);
}

/* Afterwards none is there, unless it fails. */
static inline int worker_join(struct vm_worker *worker) {
        int r = worker->hybrid ? hybrid_thread_join(worker->hybrid) : vm_thread_join(worker->thread);
        if (!r)
                *worker = (struct vm_worker){};
        return r;
}
