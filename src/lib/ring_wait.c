/* SPDX-License-Identifier: MIT */

/* Waiting for what comes through a ring. */

#include "lib/carrier.h"
#include "lib/ring_call.h"
#include "lib/watch.h"
#include "ring/wait.h"
#include <fcntl.h>
#include <poll.h>
#include <sys/time.h>
#include <time.h>

static bool blocks(const struct receive *receive) {
        int status = receive->flags & MSG_DONTWAIT ? O_NONBLOCK : fcntl(receive->fd, F_GETFL);
        return status >= 0 && !(status & O_NONBLOCK);
}

/* Looks at the ring until `limit_ns` after the first look. 1: there is something. */
static int look_for_a_while(struct receive *receive, struct wait *wait, uint32_t limit_ns) {
        do {
                int r = receiver_look(receive->ring);
                if (r < 0 || receiver_waiting(receive->ring))
                        return r < 0 ? r : 1;
        } while (wait_again(wait, receive->words->sender_cpu, limit_ns));
        return 0;
}

static void publish_cpu(struct receive *receive) {
        uint32_t cpu = wait_cpu();
        if (cpu != receive->ring->cpu)
                atomic_store_explicit(&receive->words->receiver_cpu, receive->ring->cpu = cpu, memory_order_relaxed);
}

/* Another thread sleeps for the next bytes: waits beside it, until something is readable. The lock is released meanwhile. */
static int wait_beside(struct receive *receive) {
        struct pollfd readable = {.fd = receive->fd, .events = POLLIN};
        struct timeval limit = {};
        socklen_t size = sizeof limit;
        (void)getsockopt(receive->fd, SOL_SOCKET, SO_RCVTIMEO, &limit, &size);
        int64_t limit_ms = limit.tv_sec * 1000 + limit.tv_usec / 1000;
        holder_release(&receive->holder->receiving.lock);
        int r = poll(&readable, 1, limit_ms > 0 && limit_ms < INT32_MAX ? (int)limit_ms : -1);
        r = r < 0 ? -errno : r ? 0 : -EAGAIN;
        if (!r) /* it is the other thread's to take: it is woken now, too */
                nanosleep(&(struct timespec){.tv_nsec = WAIT_LOOK_NS}, NULL);
        holder_take(&receive->holder->receiving.lock);
        return r < 0 ? r : receive->channel->holder == receive->holder ? 0 : -EBADF;
}

/* Sleeps in the receive of one token. The lock is released meanwhile. */
static int sleep_for_token(struct receive *receive) {
        struct holder *holder = receive->holder;
        uint32_t self = process_thread_id();
        char token[2];
        if (!channel_is_at(receive->channel, receive->fd))
                return -ESTALE;
        if (!wish_sleep(receive->words, receive->ring->taken, receive->promise))
                return 0;
        holder->receiving.sleeper = self;
        holder_release(&holder->receiving.lock);
        ssize_t length = recv(receive->fd, token, receive->channel->type == SOCK_STREAM ? 1 : 2, 0);
        int error = length < 0 ? errno : 0;
        holder_take(&holder->receiving.lock);
        if (receive->channel->holder != holder)
                return -EBADF;
        holder->receiving.sleeper = 0;
        if (error == EAGAIN) /* that was time enough, or it did not sleep */
                holder->receiving.sleeps = false;
        if (length <= 0)
                return receive_take_end(receive, error);
        if (length > 1 || token[0] != CARRIER_TOKEN)
                receive_take_other(receive, token[0], length == 1);
        else
                receive->ring->tokens_taken++;
        return 0;
}

int receive_wait_for_turn(struct receive *receive) {
        for (uint32_t sleeper; (sleeper = receive->holder->receiving.sleeper) && !holder_thread_is_gone(sleeper);) {
                int r = blocks(receive) ? wait_beside(receive) : -EAGAIN;
                if (r < 0)
                        return r;
        }
        return 0;
}

/* A receive that must not sleep: only the kernel knows whether there is more to come. */
static int look_once_more(struct receive *receive) {
        int end = receive_look_for_end(receive), r = receiver_look(receive->ring); /* in this order: it may have sent, then ended */
        return r < 0 || receiver_waiting(receive->ring) ? r : end < 0 || receive->holder->receiving.ending ? end : -EAGAIN;
}

int receive_wait(struct receive *receive) {
        struct ring_receiver *ring = receive->ring;
        bool *sleeps = &receive->holder->receiving.sleeps;
        struct wait wait = {};
        int r;
        if (receive->flags & MSG_DONTWAIT || (!*sleeps && !(*sleeps = blocks(receive))))
                return look_once_more(receive);
        receive->promise = ring->taken + receive->room;
        if (receive->is_exact) {
                ring->is_granted = false;
                wish_promise(receive->words, receive->promise);
        }
        publish_cpu(receive);
        if ((r = look_for_a_while(receive, &wait, WAIT_GLANCE_NS)))
                return r < 0 ? r : 0;
        if (wait.looks && !(*sleeps = blocks(receive)))
                return look_once_more(receive);
        if (wait.looks && (r = look_for_a_while(receive, &wait, WAIT_LOOK_NS)))
                return r < 0 ? r : 0;
        if (!receive->is_exact && (r = receive_drain(receive, wish_stale(receive->words, ring->tokens_taken), 0)) < 0)
                return r;
        r = sleep_for_token(receive);
        if (!receive->is_exact)
                wish_forget(receive->words);
        return r;
}

bool ring_arm(struct channel *channel, int fd, bool is_edge) {
        struct receive receive;
        if (receive_begin(&receive, channel, fd, MSG_DONTWAIT) < 0)
                return false;
        struct ring_receiver *ring = receive.ring;
        bool is_there = false;
        if (!receiver_look(ring) && !receive.holder->receiving.ending) {
                is_there = !is_edge && receiver_waiting(ring);
                if (!is_there && !receive.is_exact) {
                        if (!receiver_waiting(ring))
                                (void)receive_drain(&receive, wish_stale(receive.words, ring->tokens_taken), 0);
                        is_there = !receive.holder->receiving.ending && !wish_arm(receive.words, ring->published);
                }
        }
        holder_release(&receive.holder->receiving.lock);
        return is_there;
}
