/* SPDX-License-Identifier: MIT */

/*
 * hv_poll() and hv_select(): the kernel's, after a look at what was revoked, and
 * at the rings of those that are asked about. While those look empty they are
 * looked at for a while, as a receive does. What is found there is the answer where
 * nothing else was asked, but now and then, for ends and errors; else what counts is
 * the kernel's answer, and for rings whose program asks the library what is in them.
 */

#include "lib/connection.h"
#include "lib/posix.h"
#include "lib/revocation.h"
#include "lib/watch.h"
#include "ring/wait.h"
#include <hvsock.h>

#define READABLE (POLLIN | POLLRDNORM)

struct looked {
        unsigned ready, rings; /* of them, how many have something, and how many are rings at all */
        bool are_all;          /* rings, of which nothing else was asked than whether there is something */
        uint32_t sender_cpu;
};

static struct looked look(struct pollfd *descriptors, nfds_t count) {
        struct looked looked = {.are_all = true};
        unsigned begun = watch_begins();
        for (nfds_t i = 0; i < count; i++) {
                struct watched seen;
                struct channel *channel = descriptors[i].events & READABLE ? channel_known(descriptors[i].fd) : NULL;
                bool is_ring = channel && watch_look(channel, &seen);
                descriptors[i].revents = is_ring && seen.is_ready ? descriptors[i].events & READABLE : 0;
                looked.are_all = looked.are_all && is_ring && !(descriptors[i].events & ~READABLE);
                if (!is_ring)
                        continue;
                looked.rings++;
                looked.sender_cpu = seen.sender_cpu;
                looked.ready += seen.is_ready;
        }
        watch_ended(begun);
        return looked;
}

static bool has_ended(int fd) {
        struct pollfd end = {.fd = fd, .events = POLLRDHUP};
        return poll(&end, 1, 0) == 1 && end.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

/* Of a ring whose program asks the library the kernel does not know, and may take a token that is left over for something. */
static void correct(struct pollfd *descriptor) {
        struct watched seen;
        struct channel *channel = descriptor->events & READABLE ? channel_known(descriptor->fd) : NULL;
        unsigned begun = watch_begins();
        bool is_ours = channel && channel->asks_library && watch_look(channel, &seen);
        watch_ended(begun);
        if (is_ours && seen.is_ready) {
                descriptor->revents |= descriptor->events & READABLE;
        } else if (is_ours && descriptor->revents & READABLE && !seen.has_ended && !has_ended(descriptor->fd)) {
                descriptor->revents &= ~READABLE;
                watch_take_token(channel, descriptor->fd);
        }
}

static bool arm(const struct pollfd *descriptors, nfds_t count) {
        bool is_there = false;
        for (nfds_t i = 0; i < count; i++) {
                struct channel *channel = descriptors[i].events & READABLE ? channel_known(descriptors[i].fd) : NULL;
                if (channel && channel->asks_library && ring_arm(channel, descriptors[i].fd, false))
                        is_there = true;
        }
        return is_there;
}

int hv_poll(struct pollfd *descriptors, nfds_t count, int timeout_ms) {
        static _Thread_local unsigned found;
        struct wait wait = {};
        struct looked looked;
        revocation_check();
        while (!(looked = look(descriptors, count)).ready && looked.rings && timeout_ms)
                if (!wait_again(&wait, looked.sender_cpu, WAIT_LOOK_NS))
                        break;
        if (!looked.rings)
                return poll(descriptors, count, timeout_ms);
        if (looked.ready && looked.are_all && ++found % WATCH_KERNEL_EVERY)
                return (int)looked.ready;
        bool is_ready = looked.ready;
        int64_t deadline_ms = timeout_ms > 0 ? monotonic_ms() + timeout_ms : 0;
        for (;;) {
                int64_t left_ms = timeout_ms > 0 ? deadline_ms - monotonic_ms() : timeout_ms;
                bool must_wait = !is_ready && timeout_ms && !arm(descriptors, count);
                int r = poll(descriptors, count, !must_wait ? 0 : timeout_ms < 0 ? -1 : left_ms > 0 ? (int)left_ms : 0);
                if (r < 0)
                        return r;
                r = 0;
                for (nfds_t i = 0; i < count; i++) {
                        correct(&descriptors[i]);
                        r += descriptors[i].revents != 0;
                }
                if (r || (timeout_ms >= 0 && (!timeout_ms || monotonic_ms() >= deadline_ms)))
                        return r;
                is_ready = false;
        }
}

int hv_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional, struct timeval *timeout) {
        revocation_check();
        return select(count, readable, writable, exceptional, timeout);
}
