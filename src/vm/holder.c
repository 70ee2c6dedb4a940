/* SPDX-License-Identifier: MIT */

/* The holder process: holder.h has the theory. */

#include "vm/holder.h"

#include "base/fd.h"
#include "base/hash.h"
#include "base/list.h"
#include "ring/marks.h"
#include "vm/holder_packet.h"
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <time.h>

#define EVENTS_MAX 64

/* What an event is of. */
struct source {
        enum source_kind { LISTENER, DAEMON, SET } kind;
};

struct set {
        struct source source;
        struct list link;
        GUID vm_id;
        uint64_t generation;
        unsigned count;
        int fds[VM_HELD_MAX];
};

struct held_end {
        struct table_link link;
        uint64_t number;
        int fd;
};

struct holder {
        struct source listener, daemon;
        int epoll_fd, listen_fd, daemon_fd; /* daemon_fd -1: there is none */
        struct holder_limits limits;
        holder_discard discard;
        int64_t alone_since_ms;
        struct list sets;
        unsigned set_count, end_count;
        struct table ends;
};

static int64_t now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

static void discard_set(const struct holder *holder, const GUID *vm_id, const int *fds, unsigned count) {
        while (count)
                holder->discard(fds[--count], vm_id);
}

/* ---- sets ---- */

static void set_free(struct holder *holder, struct set *set) {
        (void)epoll_ctl(holder->epoll_fd, EPOLL_CTL_DEL, set->fds[0], NULL); /* a duplicate would keep it there */
        discard_set(holder, &set->vm_id, set->fds, set->count);
        list_unlink(&set->link);
        holder->set_count--;
        free(set);
}

static void drop_set(struct holder *holder, const GUID *vm_id) {
        list_for_each_safe(link, &holder->sets) {
                struct set *set = container_of(link, struct set, link);
                if (!memcmp(&set->vm_id, vm_id, sizeof *vm_id))
                        set_free(holder, set);
        }
}

/* Takes the descriptors. */
static void hold_set(struct holder *holder, const struct holder_packet *packet, int *fds, unsigned count) {
        drop_set(holder, &packet->vm_id);
        struct set *set = holder->set_count < holder->limits.sets_max ? calloc(1, sizeof *set) : NULL;
        if (!set) {
                discard_set(holder, &packet->vm_id, fds, count);
                return;
        }
        struct epoll_event event = {.events = EPOLLRDHUP | EPOLLET, .data.ptr = &set->source};
        set->source.kind = SET;
        set->vm_id = packet->vm_id;
        set->generation = packet->generation;
        set->count = count;
        memcpy(set->fds, fds, count * sizeof *fds);
        list_append(&holder->sets, &set->link);
        holder->set_count++;
        (void)epoll_ctl(holder->epoll_fd, EPOLL_CTL_ADD, set->fds[0], &event);
}

/* ---- ends ---- */

static struct held_end *find_end(struct holder *holder, uint64_t number) {
        uint64_t hash = table_hash(&holder->ends, &number, sizeof number);
        for (struct table_link *link = NULL; (link = table_find(&holder->ends, hash, link));) {
                struct held_end *end = container_of(link, struct held_end, link);
                if (end->number == number)
                        return end;
        }
        return NULL;
}

static void end_free(struct holder *holder, struct held_end *end) {
        table_remove(&holder->ends, &end->link);
        holder->end_count--;
        holder->discard(end->fd, NULL);
        free(end);
}

/* Takes the descriptor. */
static void hold_end(struct holder *holder, uint64_t number, int fd) {
        bool may = holder->end_count < holder->limits.ends_max && !find_end(holder, number);
        struct held_end *end = may ? malloc(sizeof *end) : NULL;
        if (!end || table_insert(&holder->ends, &end->link, table_hash(&holder->ends, &number, sizeof number)) < 0) {
                holder->discard(fd, NULL);
                free(end);
                return;
        }
        end->number = number;
        end->fd = fd;
        holder->end_count++;
}

/* Nobody moves data for them any more. All are told before the first one is closed. */
static void abort_ends(struct holder *holder) {
        for (struct table_link *link = NULL; (link = table_next(&holder->ends, link));) {
                int fd = container_of(link, struct held_end, link)->fd, type, is_ring = 0;
                socklen_t length = sizeof type;
                if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0)
                        continue;
                (void)getsockopt(fd, SOL_SOCKET, CARRIER_SENDS_THROUGH_RING, &is_ring, &length);
                mark_send(fd, type, is_ring);
                (void)shutdown(fd, SHUT_RDWR);
        }
        for (struct table_link *link; (link = table_next(&holder->ends, NULL));)
                end_free(holder, container_of(link, struct held_end, link));
}

/* ---- hvsockd ---- */

static void daemon_gone(struct holder *holder) {
        holder->discard(fd_take(holder->daemon_fd), NULL); /* more may be queued in it, if it was mistaken */
        holder->alone_since_ms = now_ms();
        abort_ends(holder);
}

/* It waits for them: to wait for it is to wait for what it reads next. */
static int give_sets(struct holder *holder) {
        int r = 0;
        list_for_each(link, &holder->sets) {
                const struct set *set = container_of(link, struct set, link);
                struct holder_packet packet = {.kind = HOLDER_SET, .vm_id = set->vm_id, .generation = set->generation};
                if ((r = holder_send(holder->daemon_fd, &packet, set->fds, set->count, 0)) < 0)
                        return r;
        }
        struct holder_packet done = {.kind = HOLDER_DONE};
        return holder_send(holder->daemon_fd, &done, NULL, 0, 0);
}

/* 0, or the connection is over. */
static int take_packet(struct holder *holder, const struct holder_packet *packet, int *fds, unsigned fd_count) {
        switch (packet->kind) {
        case HOLDER_HELLO:
                if (packet->generation != HOLDER_VERSION)
                        return -EPROTO;
                (void)give_sets(holder); /* one that is dead already may have said more */
                return 0;
        case HOLDER_SET:
                hold_set(holder, packet, fds, fd_count);
                return 0;
        case HOLDER_DROP_SET:
                drop_set(holder, &packet->vm_id);
                return 0;
        case HOLDER_ENDS:
                for (unsigned i = 0; i < fd_count; i++)
                        hold_end(holder, packet->numbers[i], fds[i]);
                return 0;
        case HOLDER_DROP_ENDS:
                for (unsigned i = 0; i < packet->count; i++) {
                        struct held_end *end = find_end(holder, packet->numbers[i]);
                        if (end)
                                end_free(holder, end);
                }
                return 0;
        }
        return -EPROTO;
}

static void hear_daemon(struct holder *holder) {
        struct holder_packet packet;
        int fds[HOLDER_FDS_MAX], r;
        unsigned fd_count;
        while ((r = holder_receive(holder->daemon_fd, &packet, fds, &fd_count)) == 0)
                if ((r = take_packet(holder, &packet, fds, fd_count)) < 0)
                        break;
        if (r != -EAGAIN)
                daemon_gone(holder);
}

static void meet_daemon(struct holder *holder) {
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &holder->daemon};
        struct ucred peer;
        socklen_t length = sizeof peer;
        cleanup(fd_closep) int fd = accept4(holder->listen_fd, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 || getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0 || peer.uid != geteuid())
                return;
        if (holder->daemon_fd >= 0)
                hear_daemon(holder); /* its last words */
        if (holder->daemon_fd >= 0)
                daemon_gone(holder);
        if (epoll_ctl(holder->epoll_fd, EPOLL_CTL_ADD, fd, &event) == 0)
                holder->daemon_fd = fd_take(fd);
}

/* ---- its life ---- */

/* Milliseconds; -1: as long as hvsockd lives; 0: no more. The first hvsockd is awaited like a later one. */
static int time_left(const struct holder *holder, bool has_met) {
        if (holder->daemon_fd >= 0)
                return -1;
        if (has_met && !holder->set_count)
                return 0;
        int64_t left = holder->alone_since_ms + holder->limits.keep_ms - now_ms();
        return left > 0 ? (int)left : 0;
}

static void serve(struct holder *holder) {
        struct epoll_event events[EVENTS_MAX];
        bool has_met = false;
        for (int left; (left = time_left(holder, has_met));) {
                int count = epoll_wait(holder->epoll_fd, events, EVENTS_MAX, left);
                bool comes = false, speaks = false;
                for (int i = 0; i < count; i++) {
                        struct source *source = events[i].data.ptr;
                        comes |= source->kind == LISTENER;
                        speaks |= source->kind == DAEMON;
                        if (source->kind == SET)
                                set_free(holder, container_of(source, struct set, source));
                }
                if (speaks && holder->daemon_fd >= 0)
                        hear_daemon(holder);
                if (comes)
                        meet_daemon(holder);
                has_met |= holder->daemon_fd >= 0;
        }
}

int holder_run(int listen_fd, const struct holder_limits *limits, holder_discard discard) {
        struct holder holder = {.listener.kind = LISTENER, .daemon.kind = DAEMON, .listen_fd = listen_fd,
                                .daemon_fd = -1, .limits = *limits, .discard = discard, .alone_since_ms = now_ms()};
        struct epoll_event event = {.events = EPOLLIN, .data.ptr = &holder.listener};
        uint8_t key[16];
        list_init(&holder.sets);
        int flags = fcntl(listen_fd, F_GETFL);
        if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0 ||
            getrandom(key, sizeof key, 0) != sizeof key)
                return -errno;
        int r = table_init(&holder.ends, key);
        if (r < 0)
                return r;
        holder.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
        if (holder.epoll_fd < 0 || epoll_ctl(holder.epoll_fd, EPOLL_CTL_ADD, listen_fd, &event) < 0)
                r = -errno;
        if (!r)
                serve(&holder);
        while (!list_is_empty(&holder.sets))
                set_free(&holder, container_of(holder.sets.next, struct set, link));
        table_deinit(&holder.ends);
        fd_close(holder.epoll_fd);
        return r;
}
