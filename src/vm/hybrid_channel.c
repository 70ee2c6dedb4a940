/* SPDX-License-Identifier: MIT */

/* Channels of a hybrid VM, from their first word to their last. */

#include "vm/hybrid_internal.h"

#include "base/fd.h"
#include "vm/hybrid_line.h"
#include <errno.h>
#include <sys/epoll.h>
#include <sys/socket.h>

static struct hybrid_channel *channel_of(struct table_link *link) {
        return link ? container_of(link, struct hybrid_channel, link) : NULL;
}

static struct hybrid_channel *channel_find(struct hybrid_thread *thread, uint64_t ticket) {
        uint64_t hash = table_hash(&thread->channels, &ticket, sizeof ticket);
        for (struct table_link *link = NULL; (link = table_find(&thread->channels, hash, link));)
                if (channel_of(link)->ticket == ticket)
                        return channel_of(link);
        return NULL;
}

static struct hybrid_channel *channel_new(struct hybrid_thread *thread, uint64_t ticket) {
        struct hybrid_channel *channel = calloc(1, sizeof *channel);
        if (!channel)
                return NULL;
        *channel = (struct hybrid_channel){
                .thread = thread, .ticket = ticket, .stream_fd = -1, .stream_watch.kind = HYBRID_STREAM};
        list_init(&channel->awake_link);
        list_init(&channel->wait_link);
        list_init(&channel->over_link);
        uint64_t hash = table_hash(&thread->channels, &ticket, sizeof ticket);
        if (table_insert(&thread->channels, &channel->link, hash) < 0) {
                free(channel);
                return NULL;
        }
        return channel;
}

static void channel_free(struct hybrid_channel *channel) {
        struct hybrid_thread *thread = channel->thread;
        table_remove(&thread->channels, &channel->link);
        list_unlink(&channel->awake_link);
        list_unlink(&channel->wait_link);
        list_unlink(&channel->over_link);
        thread->asked_count -= channel->is_asked;
        backlog_clear(&channel->to_guest);
        backlog_clear(&channel->from_guest);
        hybrid_watch_remove(thread, channel->stream_fd);
        fd_close(channel->stream_fd);
        free(channel);
}

static void say(const struct hybrid_channel *channel, enum vm_message_kind kind, int error) {
        vm_worker_say(&channel->thread->worker,
                   &(struct vm_message){.kind = kind, .ticket = channel->ticket, .error = error, .fd = -1});
}

/* ---- the end of a channel ---- */

void hybrid_channel_put_over(struct hybrid_channel *channel, enum hybrid_over over) {
        if (channel->over < over)
                channel->over = over;
        if (list_is_empty(&channel->over_link))
                list_append(&channel->thread->over, &channel->over_link);
}

static void finish(struct hybrid_channel *channel) {
        if (channel->stage == HYBRID_JOINED && channel->end.fd >= 0) {
                hybrid_watch_remove(channel->thread, channel->end.fd);
                if (channel->over == HYBRID_RESET)
                        end_abort(&channel->end);
                else
                        end_close(&channel->end);
        }
        if (channel->stage == HYBRID_JOINED)
                say(channel, VM_CLOSED, 0);
        else if (!channel->is_asked && channel->stage != HYBRID_WAITING)
                say(channel, VM_REFUSED, channel->thread->worker.state.is_running ? ECONNREFUSED : EHOSTUNREACH);
        channel_free(channel);
}

void hybrid_channels_settle(struct hybrid_thread *thread) {
        while (!list_is_empty(&thread->over))
                finish(container_of(thread->over.next, struct hybrid_channel, over_link));
}

void hybrid_channels_reset(struct hybrid_thread *thread) {
        for (struct table_link *link = NULL; (link = table_next(&thread->channels, link));)
                hybrid_channel_put_over(channel_of(link), HYBRID_RESET);
        hybrid_channels_settle(thread);
}

void hybrid_channels_doubt(struct hybrid_thread *thread, int64_t now_ms) {
        bool is_there = false, is_known = false;
        list_for_each_safe(link, &thread->doubted) {
                struct hybrid_channel *channel = container_of(link, struct hybrid_channel, wait_link);
                if (channel->doubt_due_ms > now_ms)
                        break;
                if (!is_known)
                        is_there = hybrid_probe(thread);
                is_known = true;
                list_unlink(&channel->wait_link);
                hybrid_channel_put_over(channel, is_there && !channel->is_reset ? HYBRID_CLOSED : HYBRID_RESET);
        }
}

/* ---- to the guest ---- */

static int send_line(struct hybrid_channel *channel) {
        char line[HYBRID_LINE_MAX];
        size_t length = hybrid_line_format_connect(channel->port, line);
        ssize_t sent = send(channel->stream_fd, line, length, MSG_DONTWAIT | MSG_NOSIGNAL);
        return sent == (ssize_t)length ? 0 : -ECONNREFUSED;
}

static void refuse(struct hybrid_channel *channel, int error) {
        say(channel, VM_REFUSED, error);
        channel_free(channel);
}

static void knock(struct hybrid_channel *channel) {
        int r = hybrid_reach(channel->thread, &channel->stream_fd);
        list_unlink(&channel->wait_link);
        if (r == -EAGAIN) {
                list_append(&channel->thread->knocking, &channel->wait_link);
                hybrid_retry_soon(channel->thread);
                return;
        }
        if (!r) {
                channel->stage = HYBRID_ASKING;
                r = send_line(channel);
                if (!r)
                        r = hybrid_watch_add(channel->thread, channel->stream_fd, &channel->stream_watch);
        }
        if (r < 0)
                refuse(channel, -r);
}

void hybrid_channels_retry(struct hybrid_thread *thread) {
        struct list knocking = LIST_INIT(knocking);
        while (!list_is_empty(&thread->knocking)) {
                struct list *link = thread->knocking.next;
                list_unlink(link);
                list_append(&knocking, link);
        }
        list_for_each_safe(link, &knocking)
                knock(container_of(link, struct hybrid_channel, wait_link));
}

static void dial(struct hybrid_thread *thread, const struct vm_message *order) {
        int error = order->type != VSOCK_STREAM                      ? EPROTOTYPE
                  : thread->channels.count >= VSOCK_CONNECTIONS_MAX ? ENOBUFS
                                                                     : 0;
        struct hybrid_channel *channel = error ? NULL : channel_new(thread, order->ticket);
        if (!channel) {
                error = error ? error : ENOMEM;
                vm_worker_say(&thread->worker, &(struct vm_message){
                                .kind = VM_REFUSED, .ticket = order->ticket, .error = error, .fd = -1});
                return;
        }
        channel->port = order->port;
        knock(channel);
}

/* The answer, and what the guest may have sent behind it. */
static void hear_answer(struct hybrid_channel *channel, uint32_t events) {
        char line[HYBRID_LINE_MAX];
        ssize_t size = recv(channel->stream_fd, line, sizeof line, MSG_PEEK | MSG_DONTWAIT);
        ssize_t length = size > 0 ? hybrid_line_parse_ok(line, (size_t)size) : 0;
        if (length > 0 && recv(channel->stream_fd, line, (size_t)length, MSG_DONTWAIT) == length) {
                channel->stage = HYBRID_WAITING;
                say(channel, VM_ANSWERED, 0);
                return;
        }
        if (length || events & (EPOLLRDHUP | EPOLLHUP))
                hybrid_channel_put_over(channel, HYBRID_RESET);
}

void hybrid_channel_hear(struct hybrid_channel *channel, uint32_t events) {
        if (channel->over)
                return;
        if (channel->stage == HYBRID_ASKING)
                hear_answer(channel, events);
        else if (channel->stage == HYBRID_JOINED && list_is_empty(&channel->awake_link))
                list_append(&channel->thread->awake, &channel->awake_link);
}

/* ---- from the guest ---- */

int hybrid_channel_ask(struct hybrid_thread *thread, uint32_t port, int stream_fd) {
        if (thread->asked_count >= VM_PENDING_MAX || thread->channels.count >= VSOCK_CONNECTIONS_MAX)
                return -ENOBUFS;
        struct hybrid_channel *channel = channel_new(thread, thread->next_ticket);
        if (!channel)
                return -ENOMEM;
        int r = hybrid_watch_add(thread, stream_fd, &channel->stream_watch);
        if (r < 0) {
                channel_free(channel);
                return r;
        }
        thread->next_ticket += 2;
        thread->asked_count++;
        channel->stream_fd = stream_fd;
        channel->stage = HYBRID_WAITING;
        channel->is_asked = true;
        vm_worker_say(&thread->worker, &(struct vm_message){
                        .kind = VM_REQUEST,
                        .ticket = channel->ticket,
                        .cid = VSOCK_CID_HOST,
                        .port = port,
                        .type = VSOCK_STREAM,
                        .fd = -1,
                        });
        return 0;
}

/* ---- what the loop says ---- */

static void take_end(struct hybrid_channel *channel, const struct vm_message *order) {
        channel->thread->asked_count -= channel->is_asked;
        channel->is_asked = false;
        channel->traffic = order->traffic;
        hybrid_join(channel, order->fd);
}

void hybrid_channel_order(struct hybrid_thread *thread, const struct vm_message *order) {
        if (order->kind == VM_CONNECT) {
                dial(thread, order);
                return;
        }
        struct hybrid_channel *channel = channel_find(thread, order->ticket);
        bool is_waiting = channel && channel->stage == HYBRID_WAITING;
        switch (order->kind) {
        case VM_END:
        case VM_ACCEPT:
                if (is_waiting)
                        take_end(channel, order);
                else
                        fd_close(order->fd);
                break;
        case VM_GIVE_UP:
        case VM_REFUSE:
                if (channel && channel->stage != HYBRID_JOINED)
                        channel_free(channel);
                break;
        case VM_RESET:
                if (channel && channel->stage == HYBRID_JOINED)
                        hybrid_channel_put_over(channel, HYBRID_RESET);
                break;
        default:
                fd_close(order->fd);
        }
}
