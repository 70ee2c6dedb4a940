/* SPDX-License-Identifier: MIT */

/* The turns and the sleep of a hybrid VM's thread: hybrid_thread.h has the theory. */

#include "vm/hybrid_internal.h"

#include "base/fd.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define EVENTS_MAX 64
#define DECIDES_MS 1 /* an application makes up its mind about a ring */

int hybrid_watch_add(struct hybrid_thread *thread, int fd, struct hybrid_watch *watch) {
        uint32_t edges = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET;
        struct epoll_event event = {.events = edges, .data.ptr = watch};
        return epoll_ctl(thread->worker.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

void hybrid_watch_remove(struct hybrid_thread *thread, int fd) {
        if (fd >= 0)
                (void)epoll_ctl(thread->worker.epoll_fd, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- whether the VM runs ---- */

static void show(struct hybrid_thread *thread, bool is_running) {
        struct vm_state state = {.is_running = is_running, .connections = (unsigned)thread->channels.count};
        vm_worker_show(&thread->worker, &state);
}

/* The daemon's own lack of something says nothing of the VM. */
static bool is_own_lack(int error) {
        return error == -EMFILE || error == -ENFILE || error == -ENOMEM || error == -ENOBUFS;
}

bool hybrid_peer_is(int fd, uint32_t uid) {
        struct ucred peer;
        socklen_t size = sizeof peer;
        return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0 &&
               (peer.uid == uid || peer.uid == 0 || peer.uid == geteuid());
}

int hybrid_reach(struct hybrid_thread *thread, int *ret_fd) {
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1;
        cleanup(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int r = fd < 0 ? -errno : address_of_path(thread->path, &address, &length, &directory_fd);
        if (!r && connect(fd, (struct sockaddr *)&address, length) < 0)
                r = -errno;
        if (!r && thread->vmm_uid != HYBRID_ANY_UID && !hybrid_peer_is(fd, thread->vmm_uid))
                r = -EPERM;
        if (is_own_lack(r))
                return r == -ENOMEM ? r : -ENOBUFS;
        bool is_running = !r || r == -EAGAIN;
        show(thread, is_running);
        thread->probe_due_ms = is_running ? 0 : vm_worker_now_ms() + HYBRID_PROBE_MS;
        if (!r)
                *ret_fd = fd_take(fd);
        return is_running ? r : -EHOSTUNREACH;
}

bool hybrid_probe(struct hybrid_thread *thread) {
        cleanup(fd_closep) int fd = -1;
        int r = hybrid_reach(thread, &fd);
        return !r || r == -EAGAIN;
}

void hybrid_retry_soon(struct hybrid_thread *thread) {
        if (!thread->retry_due_ms)
                thread->retry_due_ms = vm_worker_now_ms() + HYBRID_RETRY_MS;
}

/* ---- turns ---- */

/* Returns how long it may sleep, as far as channels are concerned; -1: until something happens. */
static int move_all(struct hybrid_thread *thread) {
        int timeout = -1;
        list_for_each_safe(link, &thread->awake) {
                struct hybrid_channel *channel = container_of(link, struct hybrid_channel, awake_link);
                if (channel->over || !hybrid_move(channel))
                        list_unlink(link);
                else
                        timeout = channel->end.out.is_deciding && timeout ? DECIDES_MS : 0;
        }
        hybrid_channels_settle(thread);
        return timeout;
}

static bool is_due(int64_t due_ms, int64_t now_ms) {
        return due_ms && due_ms <= now_ms;
}

static void do_what_is_due(struct hybrid_thread *thread, int64_t now_ms) {
        hybrid_channels_doubt(thread, now_ms);
        if (is_due(thread->probe_due_ms, now_ms))
                (void)hybrid_probe(thread);
        if (is_due(thread->retry_due_ms, now_ms)) {
                thread->retry_due_ms = 0;
                hybrid_channels_retry(thread);
                hybrid_listeners_retry(thread);
        }
        hybrid_channels_settle(thread);
}

static int sleep_ms(const struct hybrid_thread *thread, int64_t now_ms) {
        int64_t due[] = {thread->probe_due_ms, thread->retry_due_ms, 0}, first = 0;
        if (!list_is_empty(&thread->doubted)) /* in order */
                due[2] = container_of(thread->doubted.next, struct hybrid_channel, wait_link)->doubt_due_ms;
        for (size_t i = 0; i < sizeof due / sizeof due[0]; i++)
                if (due[i] && (!first || due[i] < first))
                        first = due[i];
        return !first ? -1 : first <= now_ms ? 0 : (int)(first - now_ms);
}

static void hear_orders(struct hybrid_thread *thread) {
        struct list letters;
        struct vm_message order;
        mailbox_empty(&thread->worker.orders, &letters);
        while (mailbox_next(&letters, &order)) {
                if (order.kind == VM_STOP)
                        thread->worker.is_over = true;
                else if (order.kind == VM_LISTEN)
                        hybrid_listen(thread, order.port);
                else if (order.kind == VM_UNLISTEN)
                        hybrid_unlisten(thread, order.port);
                else
                        hybrid_channel_order(thread, &order);
        }
}

/* Channels and listeners may end by what the loop says, so that comes last. */
static void dispatch(struct hybrid_thread *thread, const struct epoll_event *events, int count) {
        bool has_orders = false;
        for (int i = 0; i < count; i++) {
                struct hybrid_watch *watch = events[i].data.ptr;
                switch (watch->kind) {
                case HYBRID_ORDERS:
                        has_orders = true;
                        break;
                case HYBRID_LISTENER:
                        hybrid_accept(thread, watch);
                        break;
                case HYBRID_STREAM:
                        hybrid_channel_hear(container_of(watch, struct hybrid_channel, stream_watch), events[i].events);
                        break;
                case HYBRID_END:
                        hybrid_channel_hear(container_of(watch, struct hybrid_channel, end_watch), events[i].events);
                        break;
                }
        }
        hybrid_channels_settle(thread);
        if (has_orders)
                hear_orders(thread);
        hybrid_channels_settle(thread);
}

static void run(struct vm_worker *worker) {
        struct hybrid_thread *thread = container_of(worker, struct hybrid_thread, worker);
        struct epoll_event events[EVENTS_MAX];
        (void)hybrid_probe(thread);
        while (!thread->worker.is_over) {
                int timeout = move_all(thread);
                do_what_is_due(thread, vm_worker_now_ms());
                show(thread, thread->worker.state.is_running);
                int64_t now_ms = vm_worker_now_ms();
                int until_due = sleep_ms(thread, now_ms);
                if (timeout < 0 || (until_due >= 0 && until_due < timeout))
                        timeout = until_due;
                int count = epoll_wait(thread->worker.epoll_fd, events, EVENTS_MAX, timeout);
                if (count < 0 && errno != EINTR)
                        break;
                dispatch(thread, events, count > 0 ? count : 0);
        }
        hybrid_listeners_close(thread);
        show(thread, false);
        hybrid_channels_reset(thread);
}

/* ---- beginning and end ---- */

static void thread_free(struct vm_worker *worker) {
        struct hybrid_thread *thread = container_of(worker, struct hybrid_thread, worker);
        table_deinit(&thread->channels);
        vm_worker_deinit(worker);
        free(thread);
}

static const struct vm_worker_kind hybrid_kind = {.run = run, .free = thread_free};

int hybrid_thread_new(const char *path, uint32_t vmm_uid, struct vm_worker **ret_worker) {
        static const uint8_t no_key[16]; /* nobody but the loop and the thread chooses tickets */
        size_t length = strlen(path);
        if (length >= PATH_MAX - sizeof "_4294967295")
                return -ENAMETOOLONG;
        struct hybrid_thread *thread = calloc(1, sizeof *thread);
        if (!thread)
                return -ENOMEM;
        memcpy(thread->path, path, length + 1);
        thread->vmm_uid = vmm_uid;
        thread->next_ticket = 1;
        thread->orders_watch.kind = HYBRID_ORDERS;
        struct list *const lists[] = {&thread->awake, &thread->over, &thread->knocking, &thread->doubted, &thread->listeners};
        for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++)
                list_init(lists[i]);
        int r = vm_worker_init(&thread->worker, &hybrid_kind, &thread->orders_watch);
        if (!r)
                r = table_init(&thread->channels, no_key);
        if (r < 0) {
                vm_worker_free(&thread->worker);
                return r;
        }
        *ret_worker = &thread->worker;
        return 0;
}
