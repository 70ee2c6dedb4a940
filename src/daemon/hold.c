/* SPDX-License-Identifier: MIT */

/* Talking to the holder: hold.h has the theory. */

#include "daemon/hold.h"

#include "base/fd.h"
#include "base/log.h"
#include "daemon/discard.h"
#include "daemon/vms.h"
#include "daemon/watchdog.h"
#include "vm/holder_packet.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* A packet that waits for the loop's next turn, or for the holder. */
struct waiting {
        struct list link;
        struct holder_packet packet;
        int fds[HOLDER_FDS_MAX]; /* owned */
        unsigned fd_count;
};

struct found {
        struct list link;
        GUID vm_id;
        struct vm_held *held;
};

/* A VM of which the holder has a set, or will have. */
struct held_vm {
        struct list link;
        GUID vm_id;
};

struct hold {
        struct world *world;
        struct source source;
        int fd;               /* -1: there is no holder */
        int64_t not_before_ms; /* a holder is not started again */
        struct child starter; /* of the last one: ends at once, unless a stranger's descriptor holds it up */
        struct timer flush, idle, again;
        struct list queue, found, vms;
        unsigned queue_count, queue_fd_count, end_count;
        uint64_t first_number, next_number; /* of the ends that this holder was given */
};

/* ---- the queue ---- */

/* What a VMM sent, its connection among it. */
static void discard_set(const GUID *vm_id, const int *fds, unsigned count) {
        const struct stranger stranger = stranger_of_vm(vm_id);
        for (unsigned i = 0; i < count; i++)
                discard(fds[i], &stranger);
}

void hold_discard(const GUID *vm_id, struct vm_held *held) {
        if (held)
                discard_set(vm_id, held->fds, held->count);
        free(held);
}

/* An end is mostly not the last of its socket, and is closed at once. */
static void waiting_free(struct hold *hold, struct waiting *waiting) {
        if (waiting->packet.kind == HOLDER_SET)
                discard_set(&waiting->packet.vm_id, waiting->fds, waiting->fd_count);
        for (unsigned i = 0; i < waiting->fd_count && waiting->packet.kind == HOLDER_ENDS; i++)
                (void)watchdog_close_descriptor(waiting->fds[i]);
        hold->queue_fd_count -= waiting->fd_count;
        list_unlink(&waiting->link);
        hold->queue_count--;
        free(waiting);
}

static void clear_queue(struct hold *hold) {
        while (!list_is_empty(&hold->queue))
                waiting_free(hold, container_of(hold->queue.next, struct waiting, link));
}

static void disconnect(struct hold *hold) {
        loop_remove(hold->world->loop, &hold->source);
        watchdog_closep(&hold->fd);
        clear_queue(hold);
        while (!list_is_empty(&hold->vms)) {
                struct held_vm *vm = container_of(hold->vms.next, struct held_vm, link);
                list_unlink(&vm->link);
                free(vm);
        }
        hold->end_count = 0;
        hold->first_number = hold->next_number;
}

static void flush_soon(struct hold *hold) {
        if (!hold->flush.deadline_ms)
                loop_arm(hold->world->loop, &hold->flush, 0);
}

/* The one to fill in, sent at the next turn. NULL: the holder does not keep up, or there is none. */
static struct waiting *queue(struct hold *hold, enum holder_kind kind) {
        struct waiting *waiting = hold->fd >= 0 && hold->queue_count < HOLD_QUEUE_MAX ? malloc(sizeof *waiting) : NULL;
        if (!waiting)
                return NULL;
        waiting->packet = (struct holder_packet){.kind = kind};
        waiting->fd_count = 0;
        list_append(&hold->queue, &waiting->link);
        hold->queue_count++;
        flush_soon(hold);
        return waiting;
}

/* The last one that waits, if it is of this kind and has room for one more number; else a new one. */
static struct waiting *queue_in_batch(struct hold *hold, enum holder_kind kind) {
        if (!list_is_empty(&hold->queue)) {
                struct waiting *last = container_of(hold->queue.previous, struct waiting, link);
                if (last->packet.kind == kind && last->packet.count < HOLDER_BATCH_MAX)
                        return last;
        }
        return queue(hold, kind);
}

static bool is_idle(const struct hold *hold) {
        return hold->fd >= 0 && list_is_empty(&hold->vms) && !hold->end_count;
}

static int idle_expire(struct timer *timer) {
        struct hold *hold = container_of(timer, struct hold, idle);
        if (is_idle(hold) && list_is_empty(&hold->queue))
                disconnect(hold);
        return 0;
}

static int flush_expire(struct timer *timer) {
        struct hold *hold = container_of(timer, struct hold, flush);
        while (hold->fd >= 0 && !list_is_empty(&hold->queue)) {
                struct waiting *waiting = container_of(hold->queue.next, struct waiting, link);
                int r = holder_send(hold->fd, &waiting->packet, waiting->fds, waiting->fd_count, MSG_DONTWAIT);
                if (r == -EAGAIN || r == -ETOOMANYREFS || r == -EINTR)
                        return loop_modify(hold->world->loop, &hold->source, EPOLLIN | EPOLLOUT);
                waiting_free(hold, waiting); /* any other error is its end, which the source tells */
        }
        if (is_idle(hold) && !hold->idle.deadline_ms)
                loop_arm(hold->world->loop, &hold->idle, HOLD_IDLE_MS);
        return hold->fd >= 0 ? loop_modify(hold->world->loop, &hold->source, EPOLLIN) : 0;
}

/* ---- the connection ---- */

static struct held_vm *find_vm(struct hold *hold, const GUID *vm_id) {
        list_for_each(link, &hold->vms) {
                struct held_vm *vm = container_of(link, struct held_vm, link);
                if (guid_equal(&vm->vm_id, vm_id))
                        return vm;
        }
        return NULL;
}

static void add_vm(struct hold *hold, const GUID *vm_id) {
        struct held_vm *vm = find_vm(hold, vm_id) ? NULL : malloc(sizeof *vm);
        if (vm) {
                vm->vm_id = *vm_id;
                list_append(&hold->vms, &vm->link);
        }
}

static int find_set(struct hold *hold, const struct holder_packet *packet, const int *fds, unsigned fd_count) {
        struct found *found = malloc(sizeof *found);
        struct vm_held *held = malloc(sizeof *held);
        if (!found || !held) {
                discard_set(&packet->vm_id, fds, fd_count);
                free(found);
                free(held);
                return -ENOMEM;
        }
        held->generation = packet->generation;
        held->count = fd_count;
        memcpy(held->fds, fds, fd_count * sizeof *fds);
        found->vm_id = packet->vm_id;
        found->held = held;
        list_append(&hold->found, &found->link);
        add_vm(hold, &packet->vm_id);
        return 0;
}

static void found_free(struct found *found) {
        list_unlink(&found->link);
        hold_discard(&found->vm_id, found->held);
        free(found);
}

/* What a predecessor had held. */
static int hear_sets(struct hold *hold) {
        struct pollfd poll_fd = {.fd = hold->fd, .events = POLLIN};
        for (;;) {
                struct holder_packet packet;
                int fds[HOLDER_FDS_MAX];
                unsigned fd_count;
                int r = holder_receive(hold->fd, &packet, fds, &fd_count);
                if (r == -EAGAIN && poll(&poll_fd, 1, HOLD_ANSWER_MS) == 0)
                        return -ETIMEDOUT;
                if (r == -EAGAIN)
                        continue;
                if (r < 0)
                        return r;
                if (packet.kind == HOLDER_DONE)
                        return 0;
                r = packet.kind == HOLDER_SET ? find_set(hold, &packet, fds, fd_count) : -EPROTO;
                if (r < 0)
                        return r;
        }
}

/* It has nothing to say after its first answer. */
static int holder_dispatch(struct source *source, uint32_t events) {
        struct hold *hold = container_of(source, struct hold, source);
        struct holder_packet packet;
        int fds[HOLDER_FDS_MAX];
        unsigned fd_count;
        if (events & EPOLLOUT)
                return flush_expire(&hold->flush);
        int r = holder_receive(hold->fd, &packet, fds, &fd_count);
        if (!r && packet.kind == HOLDER_SET)
                discard_set(&packet.vm_id, fds, fd_count);
        if (r < 0 && r != -EAGAIN) {
                log_write(LOG_LEVEL_WARNING, "the holder is gone: VMs would not outlive hvsockd; starting another");
                disconnect(hold);
                loop_arm(hold->world->loop, &hold->again, HOLD_AGAIN_MS);
        }
        return 0;
}

/* ---- the process ---- */

/* There is one, from here on. */
static int need_holder(struct hold *hold) {
        if (hold->fd >= 0)
                return 0;
        if (loop_now_ms() < hold->not_before_ms || hold->starter.pid)
                return -EAGAIN;
        pid_t pid;
        int r = hold_start(hold->world, &pid);
        if (!r)
                r = loop_watch_child(hold->world->loop, &hold->starter, pid);
        if (!r)
                r = hold_connect(&hold->fd);
        if (!r)
                r = loop_add(hold->world->loop, &hold->source, hold->fd, EPOLLIN);
        if (r < 0) {
                disconnect(hold);
                hold->not_before_ms = loop_now_ms() + HOLD_AGAIN_MS;
                log_write(LOG_LEVEL_WARNING, "cannot start the holder, VMs will not outlive hvsockd: %s",
                          strerror(-r));
        }
        return r;
}

static void starter_exited(struct child *child, int status) {
        if (status)
                log_write(LOG_LEVEL_WARNING, "cannot start the holder: VMs will not outlive hvsockd");
}

static int again_expire(struct timer *timer) {
        struct hold *hold = container_of(timer, struct hold, again);
        if (need_holder(hold) == 0)
                vms_say_held(hold->world);
        return 0;
}

/* ---- for the VMs ---- */

int hold_open(struct world *world) {
        struct hold *hold = calloc(1, sizeof *hold);
        if (!hold)
                return -ENOMEM;
        *hold = (struct hold){.world = world,
                              .source = {.dispatch = holder_dispatch, .fd = -1},
                              .fd = -1,
                              .flush.expire = flush_expire,
                              .idle.expire = idle_expire,
                              .again.expire = again_expire,
                              .starter.exited = starter_exited,
                              .first_number = 1,
                              .next_number = 1};
        list_init(&hold->vms);
        list_init(&hold->queue);
        list_init(&hold->found);
        world->hold = hold;
        int r = hold_connect(&hold->fd);
        if (r < 0) /* nobody left one */
                return 0;
        if (!(r = hear_sets(hold)))
                r = loop_add(world->loop, &hold->source, hold->fd, EPOLLIN);
        if (r < 0) {
                log_write(LOG_LEVEL_WARNING, "the holder of the hvsockd before does not answer: %s", strerror(-r));
                disconnect(hold);
        }
        return 0;
}

void hold_close(struct world *world) {
        struct hold *hold = world->hold;
        if (!hold)
                return;
        (void)flush_expire(&hold->flush);
        disconnect(hold);
        loop_disarm(world->loop, &hold->flush);
        loop_disarm(world->loop, &hold->idle);
        loop_disarm(world->loop, &hold->again);
        loop_forget_child(world->loop, &hold->starter);
        while (!list_is_empty(&hold->found))
                found_free(container_of(hold->found.next, struct found, link));
        free(hold);
        world->hold = NULL;
}

struct vm_held *hold_take(struct world *world, const GUID *vm_id) {
        list_for_each(link, &world->hold->found) {
                struct found *found = container_of(link, struct found, link);
                if (!guid_equal(&found->vm_id, vm_id))
                        continue;
                struct vm_held *held = found->held;
                found->held = NULL;
                found_free(found);
                return held;
        }
        return NULL;
}

int hold_settle(struct world *world) {
        struct hold *hold = world->hold;
        while (!list_is_empty(&hold->found)) {
                struct found *found = container_of(hold->found.next, struct found, link);
                hold_forget_vm(world, &found->vm_id);
                found_free(found);
        }
        return 0;
}

void hold_expect_vm(struct world *world, const GUID *vm_id) {
        if (need_holder(world->hold) == 0)
                add_vm(world->hold, vm_id);
}

void hold_vm(struct world *world, const GUID *vm_id, struct vm_held *held) {
        struct hold *hold = world->hold;
        bool may = need_holder(hold) == 0 && hold->queue_fd_count + held->count <= HOLD_QUEUE_FDS_MAX;
        struct waiting *waiting = may ? queue(hold, HOLDER_SET) : NULL;
        if (waiting) {
                waiting->packet.vm_id = *vm_id;
                waiting->packet.generation = held->generation;
                memcpy(waiting->fds, held->fds, held->count * sizeof held->fds[0]);
                waiting->fd_count = held->count;
                hold->queue_fd_count += held->count;
                held->count = 0;
                add_vm(hold, vm_id);
        }
        hold_discard(vm_id, held);
}

void hold_forget_vm(struct world *world, const GUID *vm_id) {
        struct held_vm *vm = find_vm(world->hold, vm_id);
        struct waiting *waiting = vm ? queue(world->hold, HOLDER_DROP_SET) : NULL;
        if (waiting)
                waiting->packet.vm_id = *vm_id;
        if (vm) {
                list_unlink(&vm->link);
                free(vm);
        }
        flush_soon(world->hold);
}

uint64_t hold_end(struct world *world, int fd) {
        struct hold *hold = world->hold;
        bool may = need_holder(hold) == 0 && hold->queue_fd_count < HOLD_QUEUE_FDS_MAX;
        int held_fd = may ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
        struct waiting *waiting = held_fd >= 0 ? queue_in_batch(hold, HOLDER_ENDS) : NULL;
        if (!waiting) {
                if (held_fd >= 0)
                        (void)watchdog_close_descriptor(held_fd);
                return 0;
        }
        waiting->packet.numbers[waiting->packet.count++] = hold->next_number;
        waiting->fds[waiting->fd_count++] = held_fd;
        hold->queue_fd_count++;
        hold->end_count++;
        return hold->next_number++;
}

void hold_forget_end(struct world *world, uint64_t number) {
        struct hold *hold = world->hold;
        if (!number || number < hold->first_number) /* 0, or of another holder */
                return;
        struct waiting *waiting = queue_in_batch(hold, HOLDER_DROP_ENDS);
        if (waiting)
                waiting->packet.numbers[waiting->packet.count++] = number;
        hold->end_count--;
        flush_soon(hold);
}
