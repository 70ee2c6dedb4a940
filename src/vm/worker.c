/* SPDX-License-Identifier: MIT */

/* A VM's thread, of whichever kind: worker.h says what is promised. */

#include "vm/worker.h"

#include "base/fd.h"
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

int64_t vm_worker_now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

int vm_worker_init(struct vm_worker *worker, const struct vm_worker_kind *kind, void *orders_watch) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = orders_watch};
        *worker = (struct vm_worker){
                .kind = kind, .orders.fd = -1, .news.fd = -1, .epoll_fd = -1, .state_lock = PTHREAD_MUTEX_INITIALIZER};
        list_init(&worker->orders.letters);
        list_init(&worker->news.letters);
        int r = mailbox_init(&worker->orders);
        if (!r)
                r = mailbox_init(&worker->news);
        if (r < 0)
                return r;
        worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        return worker->epoll_fd < 0 || epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, worker->orders.fd, &event) < 0 ? -errno : 0;
}

void vm_worker_deinit(struct vm_worker *worker) {
        mailbox_deinit(&worker->orders);
        mailbox_deinit(&worker->news);
        worker->epoll_fd = fd_close(worker->epoll_fd);
        pthread_mutex_destroy(&worker->state_lock);
}

void vm_worker_free(struct vm_worker *worker) {
        worker->kind->free(worker);
}

/* ---- the thread's life ---- */

static void *run(void *argument) {
        struct vm_worker *worker = argument;
        worker->kind->run(worker);
        vm_worker_say(worker, &(struct vm_message){.kind = VM_ENDED, .fd = -1});
        return NULL;
}

int vm_worker_start(struct vm_worker *worker) {
        pthread_attr_t attributes;
        sigset_t all, before;
        sigfillset(&all);
        sigdelset(&all, SIGBUS);
        pthread_attr_init(&attributes);
        int r = pthread_attr_setstacksize(&attributes, VM_STACK_SIZE);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (!r)
                r = pthread_create(&worker->pthread, &attributes, run, worker);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
        return -r;
}

int vm_worker_join(struct vm_worker *worker, int64_t until_ms, struct list *ret_unheard) {
        struct timespec until;
        struct list news;
        int64_t left_ms = until_ms - vm_worker_now_ms();
        clock_gettime(CLOCK_REALTIME, &until);
        int64_t nanoseconds = until.tv_nsec + (left_ms > 0 ? left_ms : 0) % 1000 * 1000000;
        until.tv_sec += (left_ms > 0 ? left_ms : 0) / 1000 + nanoseconds / 1000000000;
        until.tv_nsec = nanoseconds % 1000000000;
        int r = pthread_timedjoin_np(worker->pthread, NULL, &until);
        if (r)
                return -r;
        mailbox_empty(&worker->orders, ret_unheard);
        mailbox_empty(&worker->news, &news);
        while (!list_is_empty(&news)) {
                struct list *letter = news.next;
                list_unlink(letter);
                list_append(ret_unheard, letter);
        }
        vm_worker_free(worker);
        return 0;
}

/* ---- words ---- */

int vm_worker_fd(const struct vm_worker *worker) {
        return worker->news.fd;
}

void vm_worker_hear(struct vm_worker *worker, struct list *ret_letters) {
        mailbox_empty(&worker->news, ret_letters);
}

int vm_worker_tell(struct vm_worker *worker, const struct vm_message *message) {
        if (message->kind == VM_CONNECT && mailbox_count(&worker->orders) >= VM_ORDERS_MAX)
                return -ENOBUFS;
        return mailbox_put(&worker->orders, message);
}

void vm_worker_say(struct vm_worker *worker, const struct vm_message *message) {
        if (mailbox_put(&worker->news, message) < 0)
                worker->is_over = true;
}

void vm_worker_state(struct vm_worker *worker, struct vm_state *ret) {
        pthread_mutex_lock(&worker->state_lock);
        *ret = worker->state;
        pthread_mutex_unlock(&worker->state_lock);
}

void vm_worker_show(struct vm_worker *worker, const struct vm_state *state) {
        pthread_mutex_lock(&worker->state_lock);
        const struct vm_state before = worker->state;
        worker->state = *state;
        pthread_mutex_unlock(&worker->state_lock);
        if (state->is_running != before.is_running || state->is_paused != before.is_paused ||
            state->features != before.features || state->problem != before.problem)
                vm_worker_say(worker, &(struct vm_message){.kind = VM_STATE, .fd = -1});
}
