/* SPDX-License-Identifier: MIT */

/*
 * A VM's thread: its turns and its sleep. thread.h and docs/vm.md have the theory.
 *
 * While there is something to do, turns follow each other, and the epoll set is asked
 * in between without waiting. Then the thread looks a while longer, since who answers
 * at once is cheaper waited for so. Before it sleeps it arms all that it looked at, the
 * queues and the rings of its ends, each of which is looked at once more by that.
 */

#include "vm/thread_internal.h"

#include "base/fd.h"
#include "ring/wait.h"
#include "vm/memory_guard.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define EVENTS_MAX 64
#define TURNS_PER_LOOK 8u /* while it does not sleep, the epoll set is asked this seldom */
#define LOOK_CALLED_NS 60000u /* a guest that had to be called takes its time; it is not to find a sleeper, too */
#define DECIDES_MS 1

static void show(struct vm_thread *thread) {
        const struct vhost_user *front_end = &thread->device.front_end;
        struct vm_state state = {
                .is_running = thread->is_running,
                .is_paused = !thread->is_running && front_end->rings[VHOST_USER_TX].was_stopped,
                .features = front_end->features,
                .regions = front_end->memory.count,
                .connections = thread->device.vsock.count,
                .packets_to_guest = thread->device.packets[VHOST_USER_RX],
                .packets_from_guest = thread->device.packets[VHOST_USER_TX],
                .problem = front_end->problem,
        };
        for (unsigned i = 0; i < front_end->memory.count; i++)
                state.memory += front_end->memory.regions[i].size;
        vm_worker_show(&thread->worker, &state);
}

/* ---- turns ---- */

/*
 * A driver wants to know what became of its packets only to use their memory again: it is called for that once a good
 * part of the queue was given back, or when the thread is about to sleep, since it may be waiting for just this. So a
 * guest that goes on sending is not interrupted by each packet.
 */
static unsigned keep_back(struct vm_thread *thread, unsigned calls) {
        const struct vhost_user_ring *tx = &thread->device.front_end.rings[VHOST_USER_TX];
        const unsigned bit = 1u << VHOST_USER_TX;
        uint64_t given = thread->device.packets[VHOST_USER_TX];
        if (calls & bit && !thread->is_call_kept) {
                thread->is_call_kept = true;
                thread->kept_since = given;
        }
        bool is_enough = given - thread->kept_since >= tx->size / 4 || calls & ~bit; /* or it is called anyway */
        if (!thread->is_call_kept || !is_enough)
                return calls & ~bit;
        thread->is_call_kept = false;
        return calls | bit;
}

static void call_kept(struct vm_thread *thread) {
        if (thread->is_call_kept)
                front_end_call(thread, 1u << VHOST_USER_TX);
        thread->is_call_kept = false;
}

/* Whether anything was moved. *ret_is_called: the guest was called for it. */
static bool turn(struct vm_thread *thread, bool *ret_is_called) {
        struct device *device = &thread->device;
        uint64_t before = device->packets[0] + device->packets[1];
        int64_t now_ms = vm_worker_now_ms();
        vsock_tick(&device->vsock, now_ms);
        bridges_look(thread);
        struct device_turn turn = device_turn(device);
        front_end_call(thread, keep_back(thread, turn.calls));
        bridges_settle(thread);
        front_end_check(thread, turn.is_broken, now_ms);
        bool has_moved = turn.has_more || device->packets[0] + device->packets[1] != before;
        if (has_moved)
                *ret_is_called = turn.calls;
        return has_moved;
}

static void say_held(struct vm_thread *thread) {
        front_end_say_held(thread);
        bridges_say_held(thread);
}

static void hear_orders(struct vm_thread *thread) {
        struct list letters;
        struct vm_message order;
        mailbox_empty(&thread->worker.orders, &letters);
        while (mailbox_next(&letters, &order)) {
                if (order.kind == VM_STOP)
                        thread->worker.is_over = thread->is_stopped = true;
                else if (order.kind == VM_SAY_HELD)
                        say_held(thread);
                else
                        bridge_order(thread, &order);
        }
}

/* Bridges may end by what the front-end and the loop say, so that comes last. */
static void dispatch(struct vm_thread *thread, const struct epoll_event *events, int count) {
        bool has_orders = false, has_messages = false;
        for (int i = 0; i < count; i++) {
                struct watch *watch = events[i].data.ptr;
                switch (watch->kind) {
                case WATCH_MAILBOX:
                        has_orders = true;
                        break;
                case WATCH_FRONT_END:
                        has_messages = true;
                        break;
                case WATCH_KICK:
                        front_end_doubt(thread);
                        break;
                case WATCH_END:
                        bridge_hear(container_of(watch, struct bridge, watch), events[i].events);
                        break;
                }
        }
        if (has_orders) /* before a pause: which channels survive it */
                hear_orders(thread);
        if (has_messages)
                front_end_hear(thread);
        bridges_settle(thread);
}

/* Milliseconds that it may sleep; -1: until something happens. */
static int sleep_ms(struct vm_thread *thread) {
        int64_t due = vsock_deadline(&thread->device.vsock), now = vm_worker_now_ms();
        if (thread->private_due_ms && (!due || thread->private_due_ms < due))
                due = thread->private_due_ms;
        if (thread->is_deciding && (!due || now + DECIDES_MS < due))
                due = now + DECIDES_MS;
        return !due ? -1 : due <= now ? 0 : due - now > INT32_MAX ? INT32_MAX : (int)(due - now);
}

static bool arm(struct vm_thread *thread) {
        bool may_sleep = bridges_arm(thread);
        return device_arm(&thread->device) && may_sleep;
}

static void serve(struct vm_thread *thread) {
        struct epoll_event events[EVENTS_MAX];
        struct wait wait = {};
        unsigned turns = 0;
        bool is_warm = false, is_called = false;
        while (!thread->worker.is_over) {
                bool has_moved = turn(thread, &is_called);
                if (has_moved) {
                        is_warm = true;
                        wait = (struct wait){};
                }
                uint32_t look_ns = is_called || thread->is_call_kept ? LOOK_CALLED_NS : WAIT_LOOK_NS;
                bool goes_on = has_moved || (is_warm && wait_for_any(&wait, look_ns));
                if (goes_on && ++turns % TURNS_PER_LOOK)
                        continue;
                int timeout = 0;
                if (!goes_on)
                        call_kept(thread);
                if (!goes_on && arm(thread)) {
                        is_warm = false;
                        show(thread);
                        timeout = sleep_ms(thread);
                }
                int count = epoll_wait(thread->worker.epoll_fd, events, EVENTS_MAX, timeout);
                if (count < 0 && errno != EINTR)
                        break;
                if (thread->is_deciding)
                        bridges_try_again(thread);
                dispatch(thread, events, count > 0 ? count : 0);
        }
}

/* ---- beginning and end ---- */

static void run(struct vm_worker *worker) {
        struct vm_thread *thread = container_of(worker, struct vm_thread, worker);
        memory_guard_watch(&thread->device.front_end.memory);
        if (thread->options.held)
                front_end_restore(thread);
        serve(thread);
        thread->is_running = false;
        bridges_reset(thread, false, true);
        show(thread);
        memory_guard_watch(NULL);
        for (unsigned i = 0; i < 2; i++)
                fd_closep(&thread->kick_watches[i].fd);
        vhost_user_reader_reset(&thread->reader);
        if (!thread->is_stopped) /* for the VMM it is the end, whoever holds a duplicate */
                (void)shutdown(thread->front_end_watch.fd, SHUT_RDWR);
        fd_closep(&thread->front_end_watch.fd);
        vhost_user_reset(&thread->device.front_end);
}

static void thread_free(struct vm_worker *worker) {
        struct vm_thread *thread = container_of(worker, struct vm_thread, worker);
        for (struct table_link *link; (link = table_next(&thread->bridges, NULL));) { /* the loop's answers never came */
                table_remove(&thread->bridges, link);
                free(container_of(link, struct bridge, link));
        }
        table_deinit(&thread->bridges);
        device_deinit(&thread->device);
        ledger_free(thread->ledger);
        vm_worker_deinit(worker);
        free(thread);
}

static int watch_front_end(struct vm_thread *thread) {
        struct watch *watch = &thread->front_end_watch;
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};
        int fd = thread->options.held ? thread->options.held->fds[0] : thread->options.front_end_fd;
        *watch = (struct watch){.kind = WATCH_FRONT_END, .fd = fd};
        return epoll_ctl(thread->worker.epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* The predecessor's, or a new one. */
static int open_ledger(struct vm_thread *thread) {
        struct vm_held *held = thread->options.held;
        int r = held ? ledger_adopt(fcntl(held->fds[1], F_DUPFD_CLOEXEC, 3), &thread->ledger)
                     : ledger_create(&thread->ledger);
        thread->device.vsock.ledger = thread->ledger;
        return r;
}

static const struct vm_worker_kind front_end_kind = {.run = run, .free = thread_free};

int vm_thread_new(const struct vm_thread_options *options, struct vm_worker **ret_worker) {
        struct vm_thread *thread = calloc(1, sizeof *thread);
        if (!thread)
                return -ENOMEM;
        *thread = (struct vm_thread){
                .options = *options,
                .next_ticket = 1,
                .mailbox_watch = {.kind = WATCH_MAILBOX, .fd = -1},
                .kick_watches = {{.kind = WATCH_KICK, .fd = -1}, {.kind = WATCH_KICK, .fd = -1}},
        };
        list_init(&thread->awake);
        list_init(&thread->held);
        list_init(&thread->over);
        int worker_r = vm_worker_init(&thread->worker, &front_end_kind, &thread->mailbox_watch);
        int r = device_init(&thread->device, options->guest_cid, options->protocol_features, options->hash_key, &bridge_ends);
        if (!r) /* both are to be freed in any case */
                r = worker_r;
        if (!r)
                r = table_init(&thread->bridges, options->hash_key);
        if (!r)
                r = open_ledger(thread);
        if (!r)
                r = watch_front_end(thread);
        if (r < 0) {
                vm_worker_free(&thread->worker);
                return r;
        }
        *ret_worker = &thread->worker;
        return 0;
}
