/* SPDX-License-Identifier: MIT */

/* VMs, their front-ends and threads: see vms.h. */

#include "daemon/vms.h"

#include "base/fd.h"
#include "base/guid.h"
#include "base/log.h"
#include "daemon/discard.h"
#include "daemon/hold.h"
#include "daemon/hybrid.h"
#include "daemon/partitions.h"
#include "daemon/place.h"
#include "daemon/probe.h"
#include "daemon/vm_ports.h"
#include "daemon/vm_door.h"
#include "daemon/watchdog.h"
#include "vm/hybrid_thread.h"
#include "vm/memory_guard.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

static struct list left_alone = LIST_INIT(left_alone); /* whose threads do not end, and still count in their channels */

static int ports_due(struct timer *timer) {
        struct vms *vms = container_of(timer, struct vms, ports);
        list_for_each(link, &vms->all)
                vm_ports_update(container_of(link, struct vm, link));
        return 0;
}

void vm_ports_changed(struct world *world) {
        if (world->vms && !world->vms->ports.deadline_ms)
                loop_arm(world->loop, &world->vms->ports, 0);
}

int vms_open(struct world *world) {
        struct vms *vms = malloc(sizeof *vms);
        if (!vms)
                return -ENOMEM;
        *vms = (struct vms){.all = LIST_INIT(vms->all), .ports = {.expire = ports_due}};
        world->vms = vms;
        return memory_guard_open();
}

struct vm *vm_of(const struct partition *partition) {
        return partition->reach == REACH_VM ? partition->shell : NULL;
}

void vms_reset_service(struct world *world, const GUID *service_id) {
        list_for_each(link, &world->vms->all) {
                struct vm *vm = container_of(link, struct vm, link);
                for (struct table_link *at = NULL; (at = table_next(&vm->channels, at));) {
                        struct vm_channel *vm_channel = container_of(at, struct vm_channel, link);
                        if (vm_channel->channel && guid_equal(&vm_channel->channel->service_id, service_id))
                                vm_channel_tell(vm_channel, VM_RESET);
                }
        }
}

/* ---- what the thread says ---- */

static void show_state(struct vm *vm) {
        struct vm_state state;
        if (!vm->partition)
                return;
        vm_worker_state(vm->worker, &state);
        if (state.is_running != vm->partition->running)
                log_write(LOG_LEVEL_INFO, "VM %s %s", vm->partition->label,
                          state.is_running ? "runs" : state.is_paused ? "is paused, or starts anew" : "does not run");
        vm->partition->running = state.is_running;
        if (state.problem && state.problem != vm->problem)
                log_stranger(LOG_LEVEL_WARNING, "VM %s: %s", vm->partition->label, vhost_user_problem_text(state.problem));
        if (state.problem || state.is_running)
                vm->problem = state.problem;
}

static void wake_waiting(struct vm *vm) {
        for (unsigned i = 0; i < VM_FRONT_ENDS_MAX; i++)
                if (vm->waiting[i].fd >= 0)
                        (void)loop_modify(vm->world->loop, &vm->waiting[i].source, EPOLLIN);
}

static void vm_free(struct vm *vm) {
        table_deinit(&vm->channels);
        list_unlink(&vm->link);
        free(vm->ports);
        free(vm);
}

/* What nobody heard is closed. */
static int join_worker(struct vm *vm, int64_t until_ms) {
        struct list unheard;
        struct vm_message message;
        int r = vm_worker_join(vm->worker, until_ms, &unheard);
        if (r < 0)
                return r;
        vm->worker = NULL;
        while (mailbox_next(&unheard, &message)) {
                discard(message.fd, &vm->stranger);
                hold_discard(&vm->stranger.vm_id, message.held);
        }
        return 0;
}

static void thread_ended(struct vm *vm) {
        show_state(vm);
        loop_remove(vm->world->loop, &vm->news);
        (void)join_worker(vm, vm_worker_now_ms() + VM_STOP_MS); /* whose last word this was */
        vm_channels_end(vm);
        if (vm->partition) {
                vm_front_end_left(vm);
                vm_doors_close(&vm->partition->vm_id);
                wake_waiting(vm);
        } else {
                vm_free(vm);
        }
}

static void take_message(struct vm *vm, const struct vm_message *message) {
        struct vm_channel *vm_channel = vm_channel_find(vm, message->ticket);
        switch (message->kind) {
        case VM_STATE:
                show_state(vm);
                break;
        case VM_ANSWERED:
        case VM_REFUSED:
                if (vm_channel)
                        vm_channel->host_port = message->port;
                if (vm_channel && vm_channel->answered)
                        vm_channel_answered(vm_channel, message->kind == VM_REFUSED ? message->error : 0);
                break;
        case VM_REQUEST:
                vm_channel = vm->partition ? vm_channel_new(vm, message->ticket) : NULL;
                if (vm_channel)
                        vm_asked(vm_channel, message);
                else
                        (void)vm_worker_tell(vm->worker, &(struct vm_message){
                                        .kind = VM_REFUSE, .ticket = message->ticket, .fd = -1});
                break;
        case VM_HELD:
                vm_hold(vm, message->held);
                break;
        case VM_HELD_END:
                if (vm_channel) {
                        hold_forget_end(vm->world, vm_channel->held_end);
                        vm_channel->held_end = hold_end(vm->world, message->fd);
                }
                break;
        case VM_CLOSED:
                if (vm_channel)
                        vm_channel_over(vm_channel);
                break;
        default:
                break;
        }
        if (message->fd >= 0)
                (void)watchdog_close_descriptor(message->fd); /* a channel's end */
}

static int news_dispatch(struct source *source, uint32_t events) {
        struct vm *vm = container_of(source, struct vm, news);
        struct list letters;
        struct vm_message message;
        bool has_ended = false;
        vm_worker_hear(vm->worker, &letters);
        while (mailbox_next(&letters, &message)) {
                has_ended |= message.kind == VM_ENDED;
                take_message(vm, &message);
        }
        if (has_ended)
                thread_ended(vm);
        return 0;
}

/* ---- front-ends ---- */

/* What a VMM sent, and nobody took, is closed with it. */
static void front_end_drop(struct front_end *front_end) {
        loop_remove(front_end->vm->world->loop, &front_end->source);
        discard(fd_take(front_end->fd), &front_end->vm->stranger);
}

/* Or it is freed. */
static int start_worker(struct vm *vm, struct vm_worker *worker) {
        int r = loop_add(vm->world->loop, &vm->news, vm_worker_fd(worker), EPOLLIN);
        if (!r)
                r = vm_worker_start(worker);
        if (r < 0) {
                loop_remove(vm->world->loop, &vm->news);
                vm_worker_free(worker);
                return r;
        }
        vm->worker = worker;
        return 0;
}

int vm_start_thread(struct vm *vm, int front_end_fd, struct vm_held *held) {
        struct vm_thread_options options = {.guest_cid = vm->partition->cid,
                                            .protocol_features = VHOST_USER_PROTOCOL_FEATURES,
                                            .is_held = true,
                                            .front_end_fd = front_end_fd,
                                            .held = held};
        struct vm_worker *worker;
        int r = getrandom(options.hash_key, sizeof options.hash_key, 0) == sizeof options.hash_key ? 0 : -errno;
        vm_front_end_came(vm);
        if (!r)
                r = vm_thread_new(&options, &worker);
        if (!r)
                r = start_worker(vm, worker);
        if (r < 0) {
                vm_front_end_left(vm);
                discard(front_end_fd, &vm->stranger);
                hold_discard(&vm->stranger.vm_id, held);
        }
        return r;
}

/* A front-end speaks; one that is there already goes first, since a VMM that comes back may be quicker than its end. */
static int front_end_dispatch(struct source *source, uint32_t events) {
        struct front_end *front_end = container_of(source, struct front_end, source);
        struct vm *vm = front_end->vm;
        if (events & (EPOLLHUP | EPOLLERR) || discard_is_clogged(&vm->stranger)) {
                front_end_drop(front_end);
                return 0;
        }
        if (vm->worker)
                return loop_modify(vm->world->loop, source, 0);
        int fd = front_end->fd;
        loop_remove(vm->world->loop, source);
        front_end->fd = -1;
        int r = vm_start_thread(vm, fd, NULL);
        if (r < 0)
                log_stranger(LOG_LEVEL_ERROR, "cannot serve VM %s: %s", vm->partition->label, strerror(-r));
        return 0;
}

static int door_opens_again(struct timer *timer) {
        struct vm *vm = container_of(timer, struct vm, door_again);
        return loop_modify(vm->world->loop, &vm->door, EPOLLIN);
}

static int door_dispatch(struct source *source, uint32_t events) {
        struct vm *vm = container_of(source, struct vm, door);
        int fd = accept4(vm->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0 && (errno == EAGAIN || errno == EINTR || errno == ECONNABORTED))
                return 0;
        if (fd < 0) {
                log_stranger(LOG_LEVEL_WARNING, "out of descriptors: the VMM of VM %s waits", vm->partition->label);
                loop_arm(vm->world->loop, &vm->door_again, ACCEPT_PAUSE_MS);
                return loop_modify(vm->world->loop, source, 0);
        }
        for (unsigned i = 0; i < VM_FRONT_ENDS_MAX && !discard_is_clogged(&vm->stranger); i++) {
                struct front_end *front_end = &vm->waiting[i];
                if (front_end->fd >= 0)
                        continue;
                if (loop_add(vm->world->loop, &front_end->source, fd, EPOLLIN) < 0)
                        break;
                front_end->fd = fd;
                return 0;
        }
        discard(fd, &vm->stranger);
        return 0;
}

/* ---- beginning and end ---- */

/* Who runs the VMM, if that is said; the broker's own user where it is nobody. */
static bool find_vmm_user(const struct partition *partition, uint32_t *ret_uid) {
        if (!*partition->vmm_user)
                return false;
        if (world_principal_lookup(PRINCIPAL_USER, partition->vmm_user, ret_uid) < 0) {
                log_write(LOG_LEVEL_WARNING, "VM %s: user \"%s\" is not to be found, and cannot run its VMM",
                          partition->label, partition->vmm_user);
                *ret_uid = geteuid();
        }
        return true;
}

static int give_to_vmm_user(const struct partition *partition, int directory_fd) {
        uint32_t uid;
        if (!find_vmm_user(partition, &uid))
                return 0;
        return fchownat(directory_fd, "vhost-user", uid, (gid_t)-1, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* A VMM connects to a socket of ours, and so do clients in any language. */
static int open_sockets(struct vm *vm, int directory_fd) {
        struct world *world = vm->world;
        int r = place_socket(directory_fd, "vhost-user", SOCK_STREAM, 0660, world->listeners_fd, &vm->fd);
        if (!r)
                r = give_to_vmm_user(vm->partition, directory_fd);
        if (!r)
                r = loop_add(world->loop, &vm->door, vm->fd, EPOLLIN);
        return r < 0 ? r : hybrid_attach(world, vm->partition, directory_fd, &vm->hybrid);
}

/* A VMM has a socket of its own. */
static int open_hybrid(struct vm *vm) {
        uint32_t uid = HYBRID_ANY_UID;
        (void)find_vmm_user(vm->partition, &uid);
        struct vm_worker *worker;
        int r = hybrid_thread_new(vm->partition->hybrid, uid, &worker);
        if (!r)
                r = start_worker(vm, worker);
        if (!r)
                vm_ports_changed(vm->world);
        return r;
}

int vm_attach(struct world *world, struct partition *partition, int directory_fd) {
        uint8_t key[16];
        struct vm *vm = calloc(1, sizeof *vm);
        if (!vm)
                return -ENOMEM;
        *vm = (struct vm){.world = world,
                          .partition = partition,
                          .stranger = stranger_of_vm(&partition->vm_id),
                          .fd = -1,
                          .door = {.dispatch = door_dispatch, .fd = -1},
                          .door_again = {.expire = door_opens_again},
                          .news = {.dispatch = news_dispatch, .fd = -1},
                          .next_ticket = 2};
        for (unsigned i = 0; i < VM_FRONT_ENDS_MAX; i++)
                vm->waiting[i] = (struct front_end){.source = {.dispatch = front_end_dispatch, .fd = -1}, .vm = vm, .fd = -1};
        int r = getrandom(key, sizeof key, 0) == sizeof key ? table_init(&vm->channels, key) : -errno;
        if (!r)
                r = *partition->hybrid ? open_hybrid(vm) : open_sockets(vm, directory_fd);
        if (r < 0) {
                loop_remove(world->loop, &vm->door);
                watchdog_closep(&vm->fd);
                table_deinit(&vm->channels);
                free(vm);
                return r;
        }
        list_append(&world->vms->all, &vm->link);
        partition->shell = vm;
        vm_serve_on(vm);
        return 0;
}

/* Nobody reaches it any more; its thread, if there is one, is told to end. */
static void vm_leave(struct vm *vm) {
        hybrid_detach(vm->hybrid);
        vm->hybrid = NULL;
        loop_disarm(vm->world->loop, &vm->door_again);
        loop_remove(vm->world->loop, &vm->door);
        watchdog_closep(&vm->fd);
        for (unsigned i = 0; i < VM_FRONT_ENDS_MAX; i++)
                if (vm->waiting[i].fd >= 0)
                        front_end_drop(&vm->waiting[i]);
        vm_doors_close(&vm->partition->vm_id);
        vm->partition->running = false;
        vm->partition->shell = NULL;
        vm->partition = NULL;
        if (vm->worker)
                (void)vm_worker_tell(vm->worker, &(struct vm_message){.kind = VM_STOP, .fd = -1});
}

void vm_detach(struct world *world, struct partition *partition) {
        struct vm *vm = vm_of(partition);
        vm_front_end_left(vm);
        vm_leave(vm);
        if (!vm->worker)
                vm_free(vm);
}

void vms_close(struct world *world) {
        if (!world->vms)
                return;
        list_for_each(link, &world->vms->all) {
                struct vm *vm = container_of(link, struct vm, link);
                if (vm->partition)
                        vm_leave(vm);
        }
        int64_t until_ms = vm_worker_now_ms() + VM_STOP_MS;
        list_for_each_safe(link, &world->vms->all) {
                struct vm *vm = container_of(link, struct vm, link);
                if (vm->worker) {
                        loop_remove(world->loop, &vm->news);
                        if (join_worker(vm, until_ms) < 0) {
                                list_unlink(&vm->link);
                                list_append(&left_alone, &vm->link);
                                continue;
                        }
                }
                vm_channels_end(vm);
                vm_free(vm);
        }
        loop_disarm(world->loop, &world->vms->ports);
        free(world->vms);
        world->vms = NULL;
}

void vm_view(struct world *world, const struct partition *partition, struct vm_view *ret) {
        const struct vm *vm = vm_of(partition);
        char directory[PATH_MAX];
        *ret = (struct vm_view){.problem = vm->problem};
        if (vm->worker)
                vm_worker_state(vm->worker, &ret->state);
        ret->has_front_end = (vm->worker && !*partition->hybrid) || ret->state.is_running;
        ret->needs_replug = vm->problem == VHOST_USER_LOST && !partition->running;
        world_partition_directory(world, partition, directory);
        if (*partition->hybrid)
                snprintf(ret->socket, sizeof ret->socket, "%s", partition->hybrid);
        else
                snprintf(ret->socket, sizeof ret->socket, "%.*s/vhost-user", PATH_MAX - 12, directory);
}
