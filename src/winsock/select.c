/* SPDX-License-Identifier: MIT */

/*
 * select() and WSAPoll(), by hv_poll(), which takes any descriptor.
 *
 * What poll(2) tells without being asked, a hang-up, may be nothing to who selects.
 * Such a socket is then left out, and the others are waited for.
 */

#include "winsock/winsock.h"

#include <stdlib.h>
#include <time.h>

#define ON_STACK_MAX 192 /* three sets of Windows' size */

enum { READABLE, WRITABLE, EXCEPTIONAL, SETS };

static int64_t now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

/* hv_poll() until `deadline_ms`; -1: without end. */
static int poll_until(struct pollfd *descriptors, size_t count, int64_t deadline_ms) {
        int64_t left_ms = deadline_ms < 0 ? -1 : deadline_ms - now_ms();
        return hv_poll(descriptors, count, deadline_ms < 0 ? -1 : left_ms < 0 ? 0 : left_ms > INT_MAX ? INT_MAX : (int)left_ms);
}

static size_t count_of(const hvsock_winsock_fd_set *set) {
        return set ? set->fd_count : 0;
}

/* False: one is no SOCKET. */
static bool ask(hvsock_winsock_fd_set *const sets[SETS], struct pollfd *ret_descriptors) {
        for (int kind = 0; kind < SETS; kind++)
                for (size_t i = 0; i < count_of(sets[kind]); i++) {
                        SOCKET s = sets[kind]->fd_array[i];
                        /* libhvsock aborts channels by something out of band, which is not the program's. */
                        int events = kind == READABLE ? POLLIN : kind == WRITABLE ? POLLOUT : is_hyperv(s) ? 0 : POLLPRI;
                        *ret_descriptors++ = (struct pollfd){.fd = descriptor_of(s), .events = (short)events};
                        if (descriptor_of(s) < 0)
                                return false;
                }
        return true;
}

static bool is_ready(const struct pollfd *descriptor, int kind, const hvsock_winsock_fd_set *exceptional) {
        int events = descriptor->revents;
        if (kind == READABLE)
                return events & (POLLIN | POLLHUP | POLLERR);
        if (kind == EXCEPTIONAL)
                return events & (POLLPRI | POLLERR);
        for (size_t i = 0; events & POLLERR && i < count_of(exceptional); i++)
                if (descriptor_of(exceptional->fd_array[i]) == descriptor->fd)
                        return false;
        return events & (POLLOUT | POLLERR);
}

/* How many are ready. Those with something that nobody asked about are left out from now on. */
static int judge(hvsock_winsock_fd_set *const sets[SETS], struct pollfd *descriptors) {
        int ready = 0;
        for (int kind = 0; kind < SETS; kind++)
                for (size_t i = 0; i < count_of(sets[kind]); i++, descriptors++) {
                        if (descriptors->revents & POLLNVAL)
                                return fail_with(WSAENOTSOCK);
                        if (is_ready(descriptors, kind, sets[EXCEPTIONAL]))
                                ready++;
                        else if (descriptors->revents)
                                *descriptors = (struct pollfd){.fd = -1};
                }
        return ready;
}

static void answer(hvsock_winsock_fd_set *const sets[SETS], const struct pollfd *descriptors) {
        for (int kind = 0; kind < SETS; kind++) {
                u_int kept = 0;
                for (size_t i = 0; i < count_of(sets[kind]); i++, descriptors++)
                        if (is_ready(descriptors, kind, sets[EXCEPTIONAL]))
                                sets[kind]->fd_array[kept++] = sets[kind]->fd_array[i];
                if (sets[kind])
                        sets[kind]->fd_count = kept;
        }
}

static int select_among(hvsock_winsock_fd_set *const sets[SETS], struct pollfd *descriptors, size_t count, int64_t deadline_ms) {
        int ready = 0;
        if (!ask(sets, descriptors))
                return fail_with(WSAENOTSOCK);
        while (!ready) {
                int r = poll_until(descriptors, count, deadline_ms);
                if (r < 0)
                        return fail();
                ready = judge(sets, descriptors);
                if (!r)
                        break;
        }
        if (ready >= 0)
                answer(sets, descriptors);
        return ready;
}

int hvsock_winsock_select(int unused, hvsock_winsock_fd_set *readable, hvsock_winsock_fd_set *writable,
                          hvsock_winsock_fd_set *exceptional, const struct timeval *timeout) {
        hvsock_winsock_fd_set *const sets[SETS] = {readable, writable, exceptional};
        size_t count = count_of(readable) + count_of(writable) + count_of(exceptional);
        struct pollfd on_stack[ON_STACK_MAX], *descriptors = on_stack;
        if (!count || (timeout && (timeout->tv_sec < 0 || timeout->tv_usec < 0)))
                return fail_with(WSAEINVAL);
        if (count > ON_STACK_MAX && !(descriptors = calloc(count, sizeof *descriptors)))
                return fail_with(WSAENOBUFS);
        int64_t deadline_ms = timeout ? now_ms() + timeout->tv_sec * 1000LL + (timeout->tv_usec + 999) / 1000 : -1;
        int r = select_among(sets, descriptors, count, deadline_ms);
        if (descriptors != on_stack)
                free(descriptors);
        return r;
}

int WSAPoll(LPWSAPOLLFD asked, ULONG count, INT timeout_ms) {
        struct pollfd on_stack[ON_STACK_MAX], *descriptors = on_stack;
        if (!asked || !count)
                return fail_with(WSAEINVAL);
        if (count > ON_STACK_MAX && !(descriptors = calloc(count, sizeof *descriptors)))
                return fail_with(WSAENOBUFS);
        for (ULONG i = 0; i < count; i++)
                descriptors[i] = (struct pollfd){.fd = descriptor_of(asked[i].fd), .events = asked[i].events};
        int ready = winsock_is_started() ? hv_poll(descriptors, count, timeout_ms) : -1;
        for (ULONG i = 0; i < count && ready >= 0; i++)
                asked[i].revents = descriptors[i].fd < 0 ? POLLNVAL : descriptors[i].revents;
        if (descriptors != on_stack)
                free(descriptors);
        return result(ready);
}
