/* SPDX-License-Identifier: MIT */

/* What threads of both kinds have in common, with one that does nothing, for as long as it is held up. */

#include "join.h"

#include "base/fd.h"
#include "test.h"
#include <semaphore.h>
#include <stdlib.h>
#include <sys/eventfd.h>

static sem_t gate;
static unsigned freed;

static void run(struct vm_worker *worker) {
        sem_wait(&gate);
}

static void free_worker(struct vm_worker *worker) {
        vm_worker_deinit(worker);
        free(worker);
        freed++;
}

static const struct vm_worker_kind kind = {.run = run, .free = free_worker};

static struct vm_worker *make(void) {
        static int watch;
        struct vm_worker *worker = malloc(sizeof *worker);
        check(worker);
        check_ok(vm_worker_init(worker, &kind, &watch));
        return worker;
}

static struct vm_worker *start(void) {
        struct vm_worker *worker = make();
        must(sem_init(&gate, 0, 0));
        check_ok(vm_worker_start(worker));
        return worker;
}

static void end(struct vm_worker *worker) {
        must(sem_post(&gate));
        join(worker);
        check_equal(freed, 1);
}

TEST(a_thread_that_is_held_up_gathers_only_so_many_connects) {
        struct vm_worker *worker = start();
        const struct vm_message order = {.kind = VM_CONNECT, .fd = -1}, other = {.kind = VM_GIVE_UP, .fd = -1};
        for (unsigned i = 0; i < VM_ORDERS_MAX; i++)
                check_ok(vm_worker_tell(worker, &order));
        check_equal(vm_worker_tell(worker, &order), -ENOBUFS);
        check_ok(vm_worker_tell(worker, &other)); /* which ends what was begun */
        end(worker);
}

TEST(what_nobody_heard_is_given_back_in_order) {
        struct vm_worker *worker = start();
        struct list unheard;
        struct vm_message message;
        struct vm_held *held = calloc(1, sizeof *held);
        check(held);
        int fd = (int)must(eventfd(0, EFD_CLOEXEC));
        vm_worker_say(worker, &(struct vm_message){.kind = VM_HELD, .fd = -1, .held = held});
        check_ok(vm_worker_tell(worker, &(struct vm_message){.kind = VM_END, .fd = fd}));
        must(sem_post(&gate));
        check_ok(vm_worker_join(worker, vm_worker_now_ms() + VM_STOP_MS, &unheard));
        check(mailbox_next(&unheard, &message) && message.kind == VM_END && message.fd == fd);
        check(mailbox_next(&unheard, &message) && message.kind == VM_HELD && message.held == held);
        check(mailbox_next(&unheard, &message) && message.kind == VM_ENDED);
        check(!mailbox_next(&unheard, &message));
        check_equal(freed, 1);
        fd_close(fd);
        vm_held_free(held);
}

TEST(a_thread_that_does_not_end_in_time_is_left_alone) {
        struct vm_worker *worker = start();
        struct list unheard;
        check_equal(vm_worker_join(worker, vm_worker_now_ms(), &unheard), -ETIMEDOUT);
        check_equal(vm_worker_join(worker, vm_worker_now_ms() + 5, &unheard), -ETIMEDOUT);
        check_equal(freed, 0);
        end(worker);
}

TEST(one_that_was_not_started_is_freed) {
        vm_worker_free(make());
        check_equal(freed, 1);
}

TEST(the_loop_is_told_of_what_changed_but_not_of_counts) {
        struct vm_worker *worker = start();
        struct vm_state state = {.is_running = true};
        struct list letters;
        vm_worker_show(worker, &state);
        vm_worker_hear(worker, &letters);
        struct vm_message message;
        check(mailbox_next(&letters, &message) && message.kind == VM_STATE);
        state.connections = 7;
        vm_worker_show(worker, &state);
        vm_worker_hear(worker, &letters);
        check(!mailbox_next(&letters, &message));
        vm_worker_state(worker, &state);
        check_equal(state.connections, 7);
        end(worker);
}
