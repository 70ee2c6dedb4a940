/* SPDX-License-Identifier: MIT */

/* Tickets: a guest's connections as the loop sees them. vm_channel.h has the theory. */

#include "daemon/vms.h"

#include "daemon/hold.h"
#include "daemon/probe.h"
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

struct vm_channel *vm_channel_new(struct vm *vm, uint64_t ticket) {
        struct vm_channel *vm_channel = calloc(1, sizeof *vm_channel);
        if (!vm_channel)
                return NULL;
        vm_channel->vm = vm;
        vm_channel->ticket = ticket;
        if (table_insert(&vm->channels, &vm_channel->link, table_hash(&vm->channels, &ticket, sizeof ticket)) < 0) {
                free(vm_channel);
                return NULL;
        }
        return vm_channel;
}

struct vm_channel *vm_channel_find(struct vm *vm, uint64_t ticket) {
        uint64_t hash = table_hash(&vm->channels, &ticket, sizeof ticket);
        for (struct table_link *link = NULL; (link = table_find(&vm->channels, hash, link));) {
                struct vm_channel *vm_channel = container_of(link, struct vm_channel, link);
                if (vm_channel->ticket == ticket)
                        return vm_channel;
        }
        return NULL;
}

static void vm_channel_free(struct vm_channel *vm_channel) {
        table_remove(&vm_channel->vm->channels, &vm_channel->link);
        vm_channel->vm->dialling_count -= vm_channel->answered != NULL;
        hold_forget_end(vm_channel->vm->world, vm_channel->held_end);
        free(vm_channel);
}

void vm_channel_tell(struct vm_channel *vm_channel, enum vm_message_kind kind) {
        struct vm_worker *worker = vm_channel->vm->worker;
        if (worker)
                (void)vm_worker_tell(worker, &(struct vm_message){.kind = kind, .ticket = vm_channel->ticket, .fd = -1});
}

int vm_dial(struct vm *vm, uint64_t from_cid, uint32_t port, int socket_type, vm_answer answered, void *waiting,
            struct vm_channel **ret) {
        if (!vm->worker)
                return -EHOSTUNREACH;
        if (vm->dialling_count >= VM_PENDING_MAX)
                return -ENOBUFS;
        struct vm_channel *vm_channel = vm_channel_new(vm, vm->next_ticket);
        if (!vm_channel)
                return -ENOMEM;
        int r = vm_worker_tell(vm->worker, &(struct vm_message){
                        .kind = VM_CONNECT,
                        .ticket = vm_channel->ticket,
                        .cid = from_cid,
                        .port = port,
                        .type = socket_type == SOCK_STREAM ? VSOCK_STREAM : VSOCK_SEQPACKET,
                        .fd = -1});
        if (r < 0) {
                vm_channel_free(vm_channel);
                return r;
        }
        vm->next_ticket += 2;
        vm->dialling_count++;
        vm_channel->answered = answered;
        vm_channel->waiting = waiting;
        *ret = vm_channel;
        return 0;
}

void vm_give_up(struct vm_channel *vm_channel) {
        vm_channel_tell(vm_channel, VM_GIVE_UP);
        vm_channel_free(vm_channel);
}

void vm_refuse(struct vm_channel *vm_channel) {
        vm_channel_tell(vm_channel, VM_REFUSE);
        vm_channel_free(vm_channel);
}

void vm_give_end(struct vm_channel *vm_channel, const struct vm_end *end) {
        vm_channel->held_end = hold_end(vm_channel->vm->world, end->fd);
        (void)vm_worker_tell(vm_channel->vm->worker, &(struct vm_message){
                        .kind = vm_channel->ticket % 2 ? VM_ACCEPT : VM_END,
                        .ticket = vm_channel->ticket,
                        .has_records = end->has_records,
                        .fd = end->fd,
                        .traffic = &vm_channel->traffic});
}

void vm_channel_survives(struct vm_channel *vm_channel, bool survives) {
        (void)vm_worker_tell(vm_channel->vm->worker, &(struct vm_message){.kind = VM_SUSPEND,
                                                                          .ticket = vm_channel->ticket,
                                                                          .survives_pause = survives,
                                                                          .fd = -1});
}

void vm_suspend_told(const struct client *client, const struct wire_request *request) {
        enum direction says = request->flags & WIRE_SUSPEND_FROM_ACCEPTOR ? FROM_ACCEPTOR : FROM_CONNECTOR;
        struct channel *channel = broker_channel_find(client->world->broker, &request->service_id);
        const struct channel_shell *shell = channel ? channel->shell : NULL;
        if (!shell || !channel_has_part(client, channel, says))
                return;
        struct vm_channel *other = shell->vm_channels[says == FROM_ACCEPTOR ? FROM_CONNECTOR : FROM_ACCEPTOR];
        if (other)
                vm_channel_survives(other, request->flags & WIRE_SUSPEND_SURVIVES);
}

/* ---- in the books ---- */

void vm_channel_booked(struct vm_channel *vm_channel, struct channel *channel, enum direction end) {
        struct channel_shell *shell = channel->shell;
        vm_channel->channel = channel;
        shell->vm_channels[end] = vm_channel;
}

void vm_channel_count(struct vm_channel *vm_channel, enum direction end) {
        const struct vm_traffic *traffic = &vm_channel->traffic;
        broker_counted(vm_channel->channel, end, atomic_load_explicit(&traffic->from_guest, memory_order_relaxed));
        broker_counted(vm_channel->channel, end == FROM_CONNECTOR ? FROM_ACCEPTOR : FROM_CONNECTOR,
                       atomic_load_explicit(&traffic->to_guest, memory_order_relaxed));
}

void vm_channel_over(struct vm_channel *vm_channel) {
        struct channel *channel = vm_channel->channel;
        if (vm_channel->left)
                vm_channel->left(vm_channel, vm_channel->waiting);
        if (channel) {
                struct channel_shell *shell = channel->shell;
                rings_count(channel);
                if (shell->vm_channels[FROM_CONNECTOR] == vm_channel || !shell->address_length) {
                        channel_forget(vm_channel->vm->world, channel);
                } else {
                        shell->vm_channels[FROM_ACCEPTOR] = NULL;
                        channel->ended = true;
                }
        }
        vm_channel_free(vm_channel);
}

void vm_channel_answered(struct vm_channel *vm_channel, int error) {
        vm_answer answered = vm_channel->answered;
        vm_channel->answered = NULL;
        vm_channel->vm->dialling_count--;
        answered(vm_channel, error, vm_channel->waiting);
        if (error)
                vm_channel_free(vm_channel);
}

void vm_channels_end(struct vm *vm) {
        for (struct table_link *link; (link = table_next(&vm->channels, NULL));) {
                struct vm_channel *vm_channel = container_of(link, struct vm_channel, link);
                if (vm_channel->answered)
                        vm_channel_answered(vm_channel, EHOSTUNREACH);
                else
                        vm_channel_over(vm_channel);
        }
}
