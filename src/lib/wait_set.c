/* SPDX-License-Identifier: MIT */

/*
 * hv_epoll_create1(), hv_epoll_ctl() and hv_epoll_wait(): a kernel epoll set, and
 * beside it the list of its members.
 *
 * Theory of operation. The kernel knows everything about the members but whether
 * something lies in their rings: of channels in a set the peers are not asked to
 * tell it. So a wait looks at the rings first, and for a while; then it asks for
 * tokens, looks once more, and sleeps in the kernel. What the kernel then says of
 * "readable" is believed only of members whose rings are not empty, or which have
 * none. While the rings alone keep a program busy, the kernel is asked every
 * WATCH_KERNEL_EVERY waits, so that no other member starves.
 */

#include "base/fd.h"
#include "lib/connection.h"
#include "lib/posix.h"
#include "lib/revocation.h"
#include "lib/wait_set.h"
#include "lib/watch.h"
#include "ring/wait.h"
#include <hvsock.h>
#include <stdlib.h>
#include <string.h>

#define READABLE (EPOLLIN | EPOLLRDNORM)
#define KERNEL_EVENTS_MAX 64

struct member {
        int fd; /* -1: none */
        uint32_t generation;
        struct epoll_event event; /* as the program gave it */
        uint64_t cookie;          /* of the channel, once it is known */
        uint64_t reported;        /* edge-triggered: what had been published by then */
        bool is_disarmed;         /* EPOLLONESHOT, and it was reported */
        unsigned turn, place;     /* of set.turn: where among the events it stands already */
};

struct wait_set {
        struct wait_set *next;
        _Atomic int epoll_fd; /* -1: free */
        struct lock lock;
        struct member *members;
        unsigned count, next_to_look, waits, turn;
        uint32_t sender_cpu; /* of who sent last */
        bool needs_kernel;   /* some member may be ready for something that no ring shows */
};

static struct lock sets_lock;
static struct wait_set *_Atomic sets;

static struct wait_set *find_set(int epoll_fd) {
        struct wait_set *set = atomic_load_explicit(&sets, memory_order_acquire);
        while (set && set->epoll_fd != epoll_fd)
                set = set->next;
        return set;
}

int hv_epoll_create1(int flags) {
        cleanup(fd_closep) int epoll_fd = epoll_create1(flags);
        if (epoll_fd < 0)
                return -1;
        lock_take(&sets_lock);
        struct wait_set *set = find_set(epoll_fd); /* closed behind the library's back */
        if (!set && (set = find_set(-1)))
                set->epoll_fd = epoll_fd;
        if (!set && (set = calloc(1, sizeof *set))) {
                set->epoll_fd = epoll_fd;
                set->next = sets;
                atomic_store_explicit(&sets, set, memory_order_release);
        } else if (set) {
                set->count = 0;
        }
        lock_release(&sets_lock);
        return set ? fd_take(epoll_fd) : posix_result(-ENOMEM);
}

static struct member *find_member(const struct wait_set *set, int fd) {
        for (unsigned i = 0; i < set->count; i++)
                if (set->members[i].fd == fd)
                        return &set->members[i];
        return NULL;
}

/* A place for another one; what was there is over. */
static struct member *new_member(struct wait_set *set) {
        struct member *free_one = find_member(set, -1);
        if (free_one)
                return free_one;
        if (!(set->count & (set->count - 1))) {
                struct member *grown = realloc(set->members, (set->count ? set->count * 2 : 1) * sizeof *grown);
                if (!grown)
                        return NULL;
                set->members = grown;
        }
        set->members[set->count] = (struct member){.fd = -1};
        return &set->members[set->count++];
}

/* From here on its peer tells the kernel only of what somebody sleeps for. */
static struct channel *channel_of(struct member *member) {
        struct channel *channel = channel_known(member->fd);
        if (channel && !member->cookie) {
                member->cookie = channel->cookie;
                channel->asks_library = true;
        }
        return channel && channel->cookie == member->cookie ? channel : NULL;
}

static void count_needs(struct wait_set *set) {
        set->needs_kernel = false;
        for (unsigned i = 0; i < set->count; i++)
                if (set->members[i].fd >= 0 && (set->members[i].event.events & EPOLLOUT || !channel_known(set->members[i].fd)))
                        set->needs_kernel = true;
}

static int control(struct wait_set *set, int operation, int fd, const struct epoll_event *event) {
        struct member *member = find_member(set, fd);
        if (operation == EPOLL_CTL_ADD && !member && !(member = new_member(set)))
                return -ENOMEM;
        /* Without EPOLLRDHUP a token that is left over would look like the end of the stream. */
        struct epoll_event asked = {.events = event ? event->events | (event->events & READABLE ? EPOLLRDHUP : 0) : 0};
        if (member) {
                uint32_t generation = member->generation + 1;
                asked.data.u64 = (uint64_t)generation << 32 | (uint64_t)(member - set->members);
        }
        if (epoll_ctl(set->epoll_fd, operation, fd, &asked) < 0)
                return -errno;
        if (!member)
                return 0;
        member->generation++;
        if (operation == EPOLL_CTL_DEL) {
                struct channel *channel = channel_of(member);
                if (channel)
                        channel->asks_library = channel->was_told;
                member->fd = -1;
        } else {
                if (operation == EPOLL_CTL_ADD)
                        member->cookie = 0;
                member->fd = fd;
                member->event = *event;
                member->is_disarmed = false;
                member->reported = UINT64_MAX;
                (void)channel_find(fd);
                (void)channel_of(member);
        }
        count_needs(set);
        return 0;
}

int hv_epoll_ctl(int epoll_fd, int operation, int fd, struct epoll_event *event) {
        struct wait_set *set = find_set(epoll_fd);
        if (!set)
                return epoll_ctl(epoll_fd, operation, fd, event);
        if (operation != EPOLL_CTL_DEL && !event)
                return posix_result(-EFAULT);
        lock_take(&set->lock);
        int r = control(set, operation, fd, event);
        lock_release(&set->lock);
        return posix_result(r);
}

/* Whether to tell of it, and then that it was told. */
static bool is_news(struct wait_set *set, struct member *member, uint64_t published) {
        if (member->event.events & EPOLLET && member->reported == published)
                return false;
        member->reported = published;
        if (member->event.events & EPOLLONESHOT) {
                struct epoll_event none = {.events = EPOLLONESHOT, .data.u64 = UINT64_MAX};
                member->is_disarmed = true;
                (void)epoll_ctl(set->epoll_fd, EPOLL_CTL_MOD, member->fd, &none);
        }
        return true;
}

/* What the rings have. Begins each time with another member. */
static int look(struct wait_set *set, struct epoll_event *ret_events, int max) {
        int found = 0;
        unsigned begun = watch_begins();
        for (unsigned i = 0; i < set->count && found < max; i++) {
                unsigned at = set->next_to_look + i < set->count ? set->next_to_look + i : set->next_to_look + i - set->count;
                struct member *member = &set->members[at];
                struct watched seen;
                struct channel *channel = member->fd < 0 || member->is_disarmed ? NULL : channel_of(member);
                if (!channel || !(member->event.events & READABLE) || !watch_look(channel, &seen) || !seen.is_ready ||
                    !is_news(set, member, seen.published))
                        continue;
                set->sender_cpu = seen.sender_cpu;
                member->turn = set->turn;
                member->place = (unsigned)found;
                ret_events[found++] = (struct epoll_event){
                        .events = member->event.events & READABLE, .data = member->event.data};
        }
        if (found)
                set->next_to_look = set->next_to_look + 1 < set->count ? set->next_to_look + 1 : 0;
        watch_ended(begun);
        return found;
}

/* What the kernel says of a member, in the program's words; 0: nothing that holds. */
static uint32_t believe(struct wait_set *set, const struct epoll_event *said, struct member **ret_member) {
        uint32_t index = (uint32_t)said->data.u64, events = said->events;
        if (said->data.u64 == UINT64_MAX || index >= set->count || set->members[index].fd < 0 ||
            set->members[index].generation != said->data.u64 >> 32)
                return 0;
        struct member *member = *ret_member = &set->members[index];
        struct channel *channel = channel_of(member);
        struct watched seen;
        unsigned begun = watch_begins();
        bool is_ring = channel && watch_look(channel, &seen);
        watch_ended(begun);
        uint32_t wanted = member->event.events | EPOLLHUP | EPOLLERR;
        if (!is_ring || !(events & READABLE))
                return events & wanted;
        set->sender_cpu = seen.sender_cpu;
        if (!seen.has_ended && !(events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) &&
            (!seen.is_ready || (member->event.events & EPOLLET && member->reported == seen.published))) {
                events &= ~(uint32_t)READABLE;
                if (!seen.is_ready)
                        watch_take_token(channel, member->fd);
        }
        member->reported = seen.published;
        return events & wanted;
}

/* Events from the kernel, after those that were found already: *ret_count of them in all. */
static int ask_kernel(struct wait_set *set, struct epoll_event *ret_events, int max, int timeout_ms, int *ret_count) {
        struct epoll_event said[KERNEL_EVENTS_MAX];
        int room = max - *ret_count < KERNEL_EVENTS_MAX ? max - *ret_count : KERNEL_EVENTS_MAX;
        unsigned turn = set->turn; /* another thread's comes meanwhile, perhaps */
        if (room <= 0)
                return 0;
        lock_release(&set->lock);
        int count = epoll_wait(set->epoll_fd, said, room, timeout_ms), error = errno;
        lock_take(&set->lock);
        if (count < 0)
                return -error;
        for (int i = 0; i < count; i++) {
                struct member *member;
                uint32_t events = believe(set, &said[i], &member);
                if (events && member->turn == turn)
                        ret_events[member->place].events |= events;
                else if (events)
                        ret_events[(*ret_count)++] = (struct epoll_event){.events = events, .data = member->event.data};
        }
        return count;
}

/* Asks for a token for whatever is news to a member. Whether there already is something. */
static bool arm(struct wait_set *set) {
        bool is_there = false;
        for (unsigned i = 0; i < set->count; i++) {
                struct member *member = &set->members[i];
                struct channel *channel = member->fd < 0 || member->is_disarmed ? NULL : channel_of(member);
                if (channel && member->event.events & READABLE && ring_arm(channel, member->fd, member->event.events & EPOLLET))
                        is_there = true;
        }
        return is_there;
}

static int wait_locked(struct wait_set *set, struct epoll_event *ret_events, int max, int timeout_ms) {
        int64_t deadline_ms = timeout_ms > 0 ? monotonic_ms() + timeout_ms : 0;
        bool is_first = true;
        for (;;) {
                struct wait wait = {};
                int count, r;
                set->turn++;
                do {
                        count = look(set, ret_events, max);
                        if (count || timeout_ms == 0 || (set->needs_kernel && is_first))
                                break;
                } while (wait_again(&wait, set->sender_cpu, WAIT_LOOK_NS));
                if (count && ++set->waits % WATCH_KERNEL_EVERY)
                        return count;
                if (count || timeout_ms == 0 || (set->needs_kernel && is_first)) {
                        r = ask_kernel(set, ret_events, max, 0, &count);
                        if (count || r < 0 || timeout_ms == 0)
                                return count ? count : r < 0 ? r : 0;
                        is_first = false;
                        continue;
                }
                int64_t left_ms = timeout_ms < 0 ? -1 : deadline_ms - monotonic_ms();
                bool is_over = timeout_ms > 0 && left_ms <= 0; /* whatever a peer does meanwhile */
                if (arm(set) && !is_over)
                        continue;
                r = ask_kernel(set, ret_events, max, is_over ? 0 : (int)left_ms, &count);
                if (count || r <= 0 || is_over)
                        return count ? count : r < 0 ? r : 0;
        }
}

int hv_epoll_wait(int epoll_fd, struct epoll_event *ret_events, int max, int timeout_ms) {
        struct wait_set *set = find_set(epoll_fd);
        revocation_check();
        if (!set || max <= 0)
                return epoll_wait(epoll_fd, ret_events, max, timeout_ms);
        lock_take(&set->lock);
        int r = wait_locked(set, ret_events, max, timeout_ms);
        lock_release(&set->lock);
        return posix_result(r);
}

void wait_set_forget(int epoll_fd) {
        struct wait_set *set = find_set(epoll_fd);
        if (!set)
                return;
        lock_take(&sets_lock);
        lock_take(&set->lock); /* the list is never cut: others look through it, and the number may come back as a set */
        set->count = 0;
        set->epoll_fd = -1;
        lock_release(&set->lock);
        lock_release(&sets_lock);
}
