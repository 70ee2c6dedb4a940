/* SPDX-License-Identifier: MIT */

/*
 * hv_poll() and hv_select(): the kernel's, after a look at what was revoked, and
 * at the rings of those that are asked about. While those look empty they are
 * looked at for a while, as a receive does; what then counts is the kernel's
 * answer, and for rings whose program asks the library what is in them.
 */

#include "lib/connection.h"
#include "lib/posix.h"
#include "lib/revocation.h"
#include "lib/watch.h"
#include "ring/wait.h"
#include <hvsock.h>

#define READABLE (POLLIN | POLLRDNORM)

/* How many of them have something in their rings. *ret_rings: how many are rings at all. */
static unsigned look(const struct pollfd *descriptors, nfds_t count, unsigned *ret_rings, uint32_t *ret_cpu) {
        unsigned ready = 0, begun = watch_begins();
        *ret_rings = 0;
        for (nfds_t i = 0; i < count; i++) {
                struct watched seen;
                struct channel *channel = descriptors[i].events & READABLE ? channel_known(descriptors[i].fd) : NULL;
                if (!channel || !watch_look(channel, &seen))
                        continue;
                ++*ret_rings;
                *ret_cpu = seen.sender_cpu;
                ready += seen.is_ready;
        }
        watch_ended(begun);
        return ready;
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
        struct wait wait = {};
        unsigned rings, ready;
        uint32_t cpu = 0;
        revocation_check();
        while (!(ready = look(descriptors, count, &rings, &cpu)) && rings && timeout_ms)
                if (!wait_again(&wait, cpu, WAIT_LOOK_NS))
                        break;
        if (!rings)
                return poll(descriptors, count, timeout_ms);
        int64_t deadline_ms = timeout_ms > 0 ? monotonic_ms() + timeout_ms : 0;
        for (;;) {
                int64_t left_ms = timeout_ms > 0 ? deadline_ms - monotonic_ms() : timeout_ms;
                bool must_wait = !ready && timeout_ms && !arm(descriptors, count);
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
                ready = 0;
        }
}

int hv_select(int count, fd_set *readable, fd_set *writable, fd_set *exceptional, struct timeval *timeout) {
        revocation_check();
        return select(count, readable, writable, exceptional, timeout);
}
