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
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>

#define EVENTS_MAX 64
#define TURNS_PER_LOOK 8u /* while it does not sleep, the epoll set is asked this seldom */
#define LOOK_CALLED_NS 60000u /* a guest that had to be called takes its time; it is not to find a sleeper, too */
#define DECIDES_MS 1

int64_t thread_now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

void thread_say(struct vm_thread *thread, const struct vm_message *message) {
        if (mailbox_put(&thread->news, message) < 0)
                thread->is_over = true;
}

void thread_show(struct vm_thread *thread) {
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
        pthread_mutex_lock(&thread->state_lock);
        bool is_news = state.is_running != thread->state.is_running || state.is_paused != thread->state.is_paused ||
                       state.features != thread->state.features || state.problem != thread->state.problem;
        thread->state = state;
        pthread_mutex_unlock(&thread->state_lock);
        if (is_news)
                thread_say(thread, &(struct vm_message){.kind = VM_STATE, .fd = -1});
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
        int64_t now_ms = thread_now_ms();
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
        mailbox_empty(&thread->orders, &letters);
        while (mailbox_next(&letters, &order)) {
                if (order.kind == VM_STOP)
                        thread->is_over = thread->is_stopped = true;
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
        int64_t due = vsock_deadline(&thread->device.vsock), now = thread_now_ms();
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
        while (!thread->is_over) {
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
                        thread_show(thread);
                        timeout = sleep_ms(thread);
                }
                int count = epoll_wait(thread->epoll_fd, events, EVENTS_MAX, timeout);
                if (count < 0 && errno != EINTR)
                        break;
                if (thread->is_deciding)
                        bridges_try_again(thread);
                dispatch(thread, events, count > 0 ? count : 0);
        }
}

/* ---- beginning and end ---- */

static void *run(void *argument) {
        struct vm_thread *thread = argument;
        memory_guard_watch(&thread->device.front_end.memory);
        if (thread->options.held)
                front_end_restore(thread);
        serve(thread);
        thread->is_running = false;
        bridges_reset(thread, false, true);
        thread_show(thread);
        memory_guard_watch(NULL);
        for (unsigned i = 0; i < 2; i++)
                fd_closep(&thread->kick_watches[i].fd);
        vhost_user_reader_reset(&thread->reader);
        if (!thread->is_stopped) /* for the VMM it is the end, whoever holds a duplicate */
                (void)shutdown(thread->front_end_watch.fd, SHUT_RDWR);
        fd_closep(&thread->front_end_watch.fd);
        vhost_user_reset(&thread->device.front_end);
        thread_say(thread, &(struct vm_message){.kind = VM_ENDED, .fd = -1});
        return NULL;
}

static void thread_free(struct vm_thread *thread) {
        for (struct table_link *link; (link = table_next(&thread->bridges, NULL));) { /* the loop's answers never came */
                table_remove(&thread->bridges, link);
                free(container_of(link, struct bridge, link));
        }
        table_deinit(&thread->bridges);
        device_deinit(&thread->device);
        ledger_free(thread->ledger);
        mailbox_deinit(&thread->orders);
        mailbox_deinit(&thread->news);
        fd_close(thread->epoll_fd);
        pthread_mutex_destroy(&thread->state_lock);
        free(thread);
}

static int watch(struct vm_thread *thread, struct watch *watch, enum watch_kind kind, int fd) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = watch};
        *watch = (struct watch){.kind = kind, .fd = fd};
        return epoll_ctl(thread->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

/* Signals are the loop's, but for the one that an access to guest memory may cause. */
static int start(struct vm_thread *thread) {
        pthread_attr_t attributes;
        sigset_t all, before;
        sigfillset(&all);
        sigdelset(&all, SIGBUS);
        pthread_attr_init(&attributes);
        int r = pthread_attr_setstacksize(&attributes, VM_STACK_SIZE);
        pthread_sigmask(SIG_SETMASK, &all, &before);
        if (!r)
                r = pthread_create(&thread->pthread, &attributes, run, thread);
        pthread_sigmask(SIG_SETMASK, &before, NULL);
        pthread_attr_destroy(&attributes);
        return -r;
}

/* The predecessor's, or a new one. */
static int open_ledger(struct vm_thread *thread) {
        struct vm_held *held = thread->options.held;
        int r = held ? ledger_adopt(fcntl(held->fds[1], F_DUPFD_CLOEXEC, 3), &thread->ledger)
                     : ledger_create(&thread->ledger);
        thread->device.vsock.ledger = thread->ledger;
        return r;
}

int vm_thread_start(const struct vm_thread_options *options, struct vm_thread **ret_thread) {
        struct vm_thread *thread = calloc(1, sizeof *thread);
        if (!thread)
                return -ENOMEM;
        *thread = (struct vm_thread){
                .options = *options, .epoll_fd = -1, .orders.fd = -1, .news.fd = -1, .next_ticket = 1,
                .kick_watches = {{.kind = WATCH_KICK, .fd = -1}, {.kind = WATCH_KICK, .fd = -1}},
                .state_lock = PTHREAD_MUTEX_INITIALIZER};
        list_init(&thread->awake);
        list_init(&thread->held);
        list_init(&thread->over);
        list_init(&thread->orders.letters);
        list_init(&thread->news.letters);
        int r = device_init(&thread->device, options->guest_cid, options->protocol_features, options->hash_key, &bridge_ends);
        if (!r)
                r = table_init(&thread->bridges, options->hash_key);
        if (!r)
                r = mailbox_init(&thread->orders);
        if (!r)
                r = mailbox_init(&thread->news);
        if (!r && (thread->epoll_fd = epoll_create1(EPOLL_CLOEXEC)) < 0)
                r = -errno;
        if (!r)
                r = watch(thread, &thread->mailbox_watch, WATCH_MAILBOX, thread->orders.fd);
        if (!r)
                r = open_ledger(thread);
        if (!r)
                r = watch(thread, &thread->front_end_watch, WATCH_FRONT_END,
                          options->held ? options->held->fds[0] : options->front_end_fd);
        if (!r)
                r = start(thread);
        if (r < 0) {
                thread_free(thread);
                return r;
        }
        *ret_thread = thread;
        return 0;
}

int vm_thread_fd(const struct vm_thread *thread) {
        return thread->news.fd;
}

void vm_thread_hear(struct vm_thread *thread, struct list *ret_letters) {
        mailbox_empty(&thread->news, ret_letters);
}

int vm_thread_tell(struct vm_thread *thread, const struct vm_message *message) {
        if (message->kind == VM_CONNECT && mailbox_count(&thread->orders) >= VM_ORDERS_MAX)
                return -ENOBUFS;
        return mailbox_put(&thread->orders, message);
}

void vm_thread_state(struct vm_thread *thread, struct vm_state *ret) {
        pthread_mutex_lock(&thread->state_lock);
        *ret = thread->state;
        pthread_mutex_unlock(&thread->state_lock);
}

int vm_thread_join(struct vm_thread *thread) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += VM_STOP_MS / 1000;
        int r = pthread_timedjoin_np(thread->pthread, NULL, &until);
        if (!r)
                thread_free(thread);
        return -r;
}
