/* SPDX-License-Identifier: MIT */

/*
 * What the VMM says to a VM's thread, and what that does to the VM's connections.
 *
 * Theory of operation. The device runs while both queues do. Queues that stop at an
 * index and start again there belong to a guest that was paused; elsewhere, to one
 * that began anew, which knows nothing of the connections of before. Until it is
 * known which, connections wait, but for those whose application does not want that.
 */

#include "vm/thread_internal.h"

#include "base/fd.h"
#include "vm/memory_guard.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>

#define MESSAGES_PER_TURN 32u /* a VMM that never ends talking holds up neither its guest nor the loop's orders */

void front_end_call(struct vm_thread *thread, unsigned rings) {
        for (unsigned i = 0; i < 2; i++) {
                int fd = thread->device.front_end.rings[i].call_fd;
                if (rings & 1u << i && fd >= 0)
                        (void)eventfd_write(fd, 1);
        }
}

/* ---- kicks ---- */

static void kick_forget(struct vm_thread *thread, struct watch *watch) {
        if (watch->fd >= 0)
                (void)epoll_ctl(thread->worker.epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
        watch->fd = fd_close(watch->fd);
}

/* Edges are enough: each write is one, and nobody has to read. */
static int kick_watch(struct vm_thread *thread, unsigned ring) {
        struct watch *watch = &thread->kick_watches[ring];
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.ptr = watch};
        int fd = thread->device.front_end.rings[ring].kick_fd;
        kick_forget(thread, watch);
        if (fd < 0)
                return 0;
        watch->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        return watch->fd < 0 || epoll_ctl(thread->worker.epoll_fd, EPOLL_CTL_ADD, watch->fd, &event) < 0 ? -errno : 0;
}

/* A driver that was heard in either queue shares its memory. */
static bool is_blank(const struct vhost_user *front_end) {
        for (unsigned i = 0; i < 2; i++)
                if (!front_end->rings[i].is_running || !virtqueue_is_blank(&front_end->rings[i].queue))
                        return false;
        return true;
}

void front_end_doubt(struct vm_thread *thread) {
        if (!thread->private_due_ms && is_blank(&thread->device.front_end))
                thread->private_due_ms = vm_worker_now_ms() + VM_PRIVATE_MS;
}

/* ---- starting and stopping ---- */

static void begin_anew(struct vm_thread *thread) {
        struct device *device = &thread->device;
        uint8_t key[16];
        memcpy(key, thread->options.hash_key, sizeof key);
        bridges_reset(thread, false, false);
        vsock_deinit(&device->vsock);
        if (vsock_init(&device->vsock, device->front_end.guest_cid, key) < 0)
                thread->worker.is_over = true;
        device->vsock.ledger = thread->ledger;
        ledger_forget_all(thread->ledger);
}

static void driver_starts(struct vm_thread *thread) {
        const struct vhost_user *front_end = &thread->device.front_end;
        bool is_resumed = front_end->rings[VHOST_USER_RX].is_resumed && front_end->rings[VHOST_USER_TX].is_resumed;
        if (!is_resumed)
                begin_anew(thread);
        thread->device.vsock.has_seqpacket = front_end->features & VHOST_USER_FEATURE_SEQPACKET;
        thread->device.front_end.problem = VHOST_USER_FINE;
        thread->is_running = true;
        thread->was_broken = false;
}

static void driver_stops(struct vm_thread *thread) {
        thread->is_running = false;
        thread->private_due_ms = 0;
        bridges_reset(thread, true, true);
}

static void take_changes(struct vm_thread *thread, const struct vhost_user_message *message,
                         const struct vhost_user_changes *changes) {
        const struct vhost_user_ring *rings = thread->device.front_end.rings;
        for (unsigned i = 0; i < 2; i++)
                if ((message->request == VHOST_USER_SET_VRING_KICK || (changes->started | changes->stopped) & 1u << i) &&
                    kick_watch(thread, i) < 0) {
                        thread->device.front_end.problem = VHOST_USER_BAD_DESCRIPTORS;
                        thread->worker.is_over = true;
                }
        bool runs = rings[VHOST_USER_RX].is_running && rings[VHOST_USER_TX].is_running;
        if (thread->is_running && (!runs || changes->stopped))
                driver_stops(thread);
        if (!thread->is_running && runs && changes->started)
                driver_starts(thread);
        front_end_call(thread, changes->call);
}

void front_end_hear(struct vm_thread *thread) {
        struct vhost_user_message message, reply;
        struct vhost_user_changes changes;
        int fds[VHOST_USER_TABLE_MAX], r = 0;
        unsigned fd_count;
        bool has_reply;
        for (unsigned i = 0; i < MESSAGES_PER_TURN && !thread->worker.is_over; i++) {
                ledger_begin_message(thread->ledger);
                r = vhost_user_receive(&thread->reader, thread->front_end_watch.fd, &message, fds, &fd_count);
                if (r != 1)
                        break;
                changes = (struct vhost_user_changes){};
                r = vhost_user_take(&thread->device.front_end, &message, fds, fd_count, &reply, &has_reply, &changes);
                if (has_reply && vhost_user_send(thread->front_end_watch.fd, &reply) < 0)
                        r = -ECONNRESET;
                ledger_end_message(thread->ledger, &thread->device.front_end, message.request);
                if (r < 0)
                        break;
                take_changes(thread, &message, &changes);
        }
        if (!thread->reader.length)
                ledger_no_message(thread->ledger);
        if (r < 0)
                thread->worker.is_over = true;
        else if (ledger_generation(thread->ledger) != thread->held_generation)
                front_end_say_held(thread);
}

/* ---- before a successor, and as one ---- */

void front_end_say_held(struct vm_thread *thread) {
        struct vm_held *held;
        if (!thread->options.is_held ||
            vm_held_new(thread->front_end_watch.fd, thread->ledger, &thread->device.front_end, &held) < 0)
                return; /* without descriptors it is not held: a successor sees that what is held is too old */
        thread->held_generation = held->generation;
        vm_worker_say(&thread->worker, &(struct vm_message){.kind = VM_HELD, .fd = -1, .held = held});
}

void front_end_restore(struct vm_thread *thread) {
        struct vm_held *held = thread->options.held;
        struct device *device = &thread->device;
        struct vhost_user_changes changes;
        int fds[VHOST_USER_DESCRIPTORS_MAX];
        unsigned count = held->count - VM_HELD_FIXED;
        for (unsigned i = 0; i < count; i++)
                fds[i] = fd_take(held->fds[VM_HELD_FIXED + i]);
        int r = ledger_restore(thread->ledger, device, held->generation, fds, count, &changes);
        thread->held_generation = held->generation;
        held->fds[0] = -1; /* it is watched, and the thread's */
        thread->options.held = vm_held_free(held);
        for (unsigned i = 0; i < 2 && !r; i++)
                r = kick_watch(thread, i);
        if (r < 0) {
                device->front_end.problem = VHOST_USER_LOST;
                thread->worker.is_over = true;
                return;
        }
        const struct vhost_user_ring *rings = device->front_end.rings;
        thread->is_running = rings[VHOST_USER_RX].is_running && rings[VHOST_USER_TX].is_running;
        front_end_call(thread, changes.call);
        front_end_say_held(thread);
}

/* ---- what goes wrong ---- */

void front_end_check(struct vm_thread *thread, bool is_broken, int64_t now_ms) {
        struct vhost_user *front_end = &thread->device.front_end;
        if (guest_memory_is_torn(&front_end->memory)) {
                front_end->problem = VHOST_USER_BAD_MEMORY;
                thread->worker.is_over = true;
        }
        if (is_broken && !thread->was_broken) {
                thread->was_broken = true;
                thread->is_running = false;
                front_end->problem = VHOST_USER_BROKEN_QUEUE;
                bridges_reset(thread, false, true);
        }
        if (thread->private_due_ms && now_ms >= thread->private_due_ms) {
                thread->private_due_ms = 0;
                if (is_blank(front_end)) {
                        front_end->problem = VHOST_USER_PRIVATE_MEMORY;
                        thread->worker.is_over = true;
                }
        }
}
