/* SPDX-License-Identifier: MIT */

/*
 * hv_detach(): back to the socket, for good.
 *
 * Theory of operation. What this end sent through a ring stays there for the peer;
 * a mark among the tokens tells it where the stream goes on. The mark is for a
 * peer that uses this library: it accepted the ring.
 *
 * What this end receives has to come through the socket from some moment on, with
 * no mark in it, since what reads it then may know nothing of marks. So the
 * receiver leaves an empty ring: it says so in the header, and a sender looks there
 * before it writes. A send that is under way has said so in the header as well, and
 * is waited for. The sender pays no fence for this: the receiver makes all threads
 * pass one (membarrier), after which each of the two has seen the other.
 */

#include "lib/address.h"
#include "lib/carrier.h"
#include "lib/posix.h"
#include "lib/revocation.h"
#include "lib/ring_transfer.h"
#include <linux/membarrier.h>
#include <poll.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define SEND_UNDER_WAY_MS 1000 /* that a send is waited for, which does not wait for anything itself */
#define BARRIER_NS 20000000L   /* where the kernel has no barrier to offer: every core takes an interrupt in that time */

static int leave_sending(struct channel *channel, struct holder *holder, int fd) {
        static const char mark = CARRIER_END;
        int r = 0;
        holder_take(&holder->sending.lock);
        if (channel->holder == holder && holder->sending.state == SENDING_RING) {
                if (holder->sending.is_cramped) {
                        int size = (int)(holder->sending.buffer_size / 2);
                        holder->sending.is_cramped = false;
                        (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
                }
                atomic_store(&holder->sending.ring.memory.header->words.is_ended, true);
                if (!holder->sending.is_shut && send(fd, &mark, 1, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EPIPE &&
                    errno != ECONNRESET)
                        r = -errno;
                if (!r)
                        carrier_leave_sending(holder, fd);
        } else if (channel->holder == holder && holder->sending.state == SENDING_OFFERED) {
                carrier_leave_sending(holder, fd);
        }
        holder_release(&holder->sending.lock);
        return r;
}

static void pass_a_barrier(void) {
        if (syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) < 0)
                nanosleep(&(struct timespec){.tv_nsec = BARRIER_NS}, NULL);
}

/* Whether the sender is between two sends, or will never end this one. */
static bool sender_rests(const struct ring_header *header, int fd) {
        struct pollfd sender = {.fd = fd, .events = POLLRDHUP};
        for (unsigned waited_ms = 0; atomic_load(&header->words.is_sending); waited_ms++) {
                if (poll(&sender, 1, 0) == 1 && sender.revents & (POLLRDHUP | POLLHUP))
                        break;
                if (waited_ms == SEND_UNDER_WAY_MS)
                        return false;
                nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        }
        return true;
}

static void take_tokens(int fd) {
        char token;
        while (recv(fd, &token, 1, MSG_PEEK | MSG_DONTWAIT) == 1 && token == CARRIER_TOKEN)
                (void)recv(fd, &token, 1, MSG_DONTWAIT);
}

/* In the ring, or accepted: then the sender's mark may be in the socket, and the ring's bytes behind it. */
static int leave_receiving_locked(struct holder *holder, int fd) {
        struct ring_receiver *ring = &holder->receiving.ring;
        struct ring_header *header = ring->memory.header;
        bool is_ring = holder->receiving.state == RECEIVING_RING;
        if (holder->receiving.ending)
                return 0; /* nothing comes any more: what the socket says is what there is to be said */
        if (receiver_look(ring) < 0 || receiver_waiting(ring)) /* who waits for room is not waited for */
                return -EAGAIN;
        atomic_store(&header->leaving, RING_MAY_BE_LEFT);
        pass_a_barrier();
        int r = !sender_rests(header, fd) || (!is_ring && atomic_load(&header->words.is_begun)) ? -EAGAIN : receiver_look(ring);
        if (!r && receiver_waiting(ring))
                r = -EAGAIN;
        if (r < 0) {
                atomic_store(&header->leaving, RING_NOT_LEFT);
                return r;
        }
        if (is_ring)
                take_tokens(fd);
        atomic_store(&header->leaving, RING_LEFT);
        carrier_leave_receiving(holder, fd);
        return 0;
}

static int leave_receiving(struct channel *channel, struct holder *holder, int fd) {
        int r = 0;
        holder_take(&holder->receiving.lock);
        if (channel->holder != holder || holder->receiving.state == RECEIVING_PLAIN)
                r = 0;
        else if (holder->receiving.sleeper)
                r = -EBUSY;
        else if (holder->receiving.state == RECEIVING_OFFERED)
                carrier_leave_receiving(holder, fd);
        else
                r = leave_receiving_locked(holder, fd);
        holder_release(&holder->receiving.lock);
        return r;
}

int hv_detach(int fd) {
        int type;
        revocation_check();
        int r = socket_option(fd, SO_TYPE, &type);
        if (r < 0)
                return posix_result(r);
        struct channel *channel = channel_find(fd);
        carrier_pin(channel, fd);
        struct holder *holder = channel ? channel->holder : NULL;
        if (holder) {
                if ((r = leave_receiving(channel, holder, fd)) == 0)
                        r = leave_sending(channel, holder, fd);
        }
        return posix_result(r);
}
