/* SPDX-License-Identifier: MIT */

/* What comes out of the socket while a direction is in a ring, and what is left in it. */

#include "base/fd.h"
#include "lib/carrier.h"
#include "lib/ring_call.h"
#include "lib/state.h"
#include "ring/wait.h"
#include <poll.h>

#define TOKENS_AT_ONCE 64u

#define LINGER_STREAK 8u      /* receives without a send between them, before this looks like a stream */
#define LINGER_PAUSES 24u     /* between two looks, each of which takes the line from the sender: about a microsecond */
#define LINGER_LOOKS_MAX 8u
#define LINGER_IDLE_LOOKS 2u  /* that show nothing new */
#define LINGER_FOR_MAX 16384u /* units */

static void end(struct receive *receive, enum ending ending) {
        receive->holder->receiving.ending = ending;
        if (ending == ENDED_BY_RESET)
                (void)state_set(receive->fd, STATE_RESET);
}

/*
 * Whether the peer left bytes unread that this end sent through a ring. *ret_is_ring:
 * all that it may have left went through one. *ret_is_shut: this end sends no more.
 */
static bool peer_left_bytes(struct receive *receive, bool *ret_is_ring, bool *ret_is_shut) {
        struct holder *holder = receive->holder;
        holder_take(&holder->sending.lock); /* always the second of the two */
        struct ring_sender *ring = &holder->sending.ring;
        *ret_is_ring = holder->sending.state == SENDING_RING;
        *ret_is_shut = holder->sending.is_shut;
        bool are_left = *ret_is_ring && (sender_look(ring) < 0 || sender_waiting(ring));
        holder_release(&holder->sending.lock);
        return are_left;
}

/*
 * The kernel calls a close a reset if tokens were left unread, but only bytes count; and
 * an orderly one if there was no token for them. Once both ends shut down writing,
 * a hang-up says nothing.
 */
int receive_take_end(struct receive *receive, int error) {
        bool is_ring, is_shut, are_left = error && error != ECONNRESET ? false : peer_left_bytes(receive, &is_ring, &is_shut);
        if (error && error != ECONNRESET)
                return -error;
        if (error && is_ring && !are_left)
                error = 0;
        else if (!error && are_left && !is_shut && socket_is_hung_up(receive->fd))
                error = ECONNRESET;
        end(receive, error ? ENDED_BY_RESET : ENDED);
        return 0;
}

/* The end of the ring is where the sender says so; all else ends the channel. */
void receive_take_other(struct receive *receive, char byte, bool is_last) {
        if (byte == CARRIER_END && is_last && atomic_load_explicit(&receive->words->is_ended, memory_order_acquire)) {
                end(receive, ENDED_IN_SOCKET);
                return;
        }
        end(receive, ENDED_BY_RESET);
        (void)shutdown(receive->fd, SHUT_RDWR);
}

/* Takes up to `count` tokens out of the socket, one packet each on SOCK_SEQPACKET. 0 or -errno; how many, or an ending. */
static int take_tokens(struct receive *receive, unsigned count, int flags) {
        char tokens[TOKENS_AT_ONCE];
        while (count) {
                bool is_stream = receive->channel->type == SOCK_STREAM;
                size_t size = !is_stream ? 2 : count < TOKENS_AT_ONCE ? count : TOKENS_AT_ONCE;
                ssize_t length = recv(receive->fd, tokens, size, flags);
                if (length <= 0)
                        return receive_take_end(receive, length < 0 ? errno : 0);
                for (ssize_t i = 0; i < length; i++)
                        if (tokens[i] != CARRIER_TOKEN || (!is_stream && length > 1)) {
                                receive_take_other(receive, tokens[i], i + 1 == length && (is_stream || length == 1));
                                return 0;
                        }
                receive->ring->tokens_taken += (uint32_t)length;
                count -= (unsigned)length;
                if (flags & MSG_DONTWAIT ? length < (ssize_t)size && is_stream : true)
                        break;
        }
        return 0;
}

int receive_drain(struct receive *receive, uint32_t stale, uint32_t left) {
        if (receive->holder->receiving.ending || stale <= left)
                return 0;
        if (!channel_is_at(receive->channel, receive->fd))
                return -ESTALE;
        int r = take_tokens(receive, stale - left, MSG_DONTWAIT);
        return r == -EAGAIN ? 0 : r;
}

int receive_release(struct receive *receive, size_t size, size_t units) {
        receive->room -= units < receive->room ? units : receive->room;
        receive->has_taken = true;
        if (__builtin_expect(receiver_release(receive->ring, size, units), 0)) /* the sender waits for room */
                return receive_drain(receive, wish_stale(receive->words, receive->ring->tokens_taken), 1);
        return 0;
}

/*
 * The ring is about to be left empty, by a receive of one of many messages in a
 * row: to tell the sender so, and it to send a token, costs more than to wait for
 * the next message, which is on its way as we speak. Once there, several are waited
 * for, so that the two ends do not pass each cache line to and fro.
 */
static int linger(struct receive *receive) {
        struct ring_receiver *ring = receive->ring;
        _Atomic uint32_t *streak = &receive->holder->receiving.streak; /* a send sets it back: 0 a little late is as good */
        uint32_t length = atomic_load_explicit(streak, memory_order_relaxed);
        if (length < LINGER_STREAK) {
                atomic_store_explicit(streak, length + 1, memory_order_relaxed);
                return 0;
        }
        if (receive->words->sender_cpu == ring->cpu)
                return 0;
        size_t seen = 0;
        for (unsigned looks = 0, idle = 0; looks < LINGER_LOOKS_MAX && idle < LINGER_IDLE_LOOKS && seen < LINGER_FOR_MAX; looks++) {
                int r = receiver_look(ring);
                if (r < 0)
                        return r;
                idle = receiver_waiting(ring) == seen ? idle + 1 : 0;
                seen = receiver_waiting(ring);
                for (unsigned i = 0; i < LINGER_PAUSES; i++)
                        wait_a_little();
        }
        if (!seen)
                atomic_store_explicit(streak, 0, memory_order_relaxed);
        return 0;
}

int receive_leave(struct receive *receive) {
        struct ring_receiver *ring = receive->ring;
        uint32_t stale;
        if ((ring->is_granted && receiver_waiting(ring)) || receive->holder->receiving.ending)
                return 0;
        if (!receiver_waiting(ring) && !receive->room) {
                int r = linger(receive);
                if (r < 0 || (ring->is_granted && receiver_waiting(ring)))
                        return r;
        }
        if (!receive->is_exact)
                return 0;
        for (;;) {
                switch (wish_leave(receive->words, ring->taken, ring->taken + receive->room, ring->tokens_taken, &stale)) {
                case WISH_TAKE_MORE:
                        return 1;
                case WISH_LEAVE_BYTES:
                        ring->is_granted = true;
                        return 0;
                case WISH_LEAVE_EMPTY:
                        ring->is_granted = false;
                        int r = receive_drain(receive, stale, 1);
                        if (r < 0 || receive->holder->receiving.ending)
                                return r;
                        if (wish_still_stands(receive->words, ring->taken))
                                return stale ? receive_drain(receive, 1, 0) : 0;
                }
        }
}

int receive_look_for_end(struct receive *receive) {
        char token[2];
        struct pollfd sender = {.fd = receive->fd, .events = POLLRDHUP};
        if (!channel_is_at(receive->channel, receive->fd))
                return -ESTALE;
        ssize_t length = recv(receive->fd, token, receive->channel->type == SOCK_STREAM ? 1 : 2, MSG_PEEK | MSG_DONTWAIT);
        if (length == 1 && token[0] == CARRIER_TOKEN) {
                int r = 0;
                if (poll(&sender, 1, 0) == 1 && sender.revents & (POLLRDHUP | POLLHUP))
                        while (!r && !receive->holder->receiving.ending)
                                r = take_tokens(receive, TOKENS_AT_ONCE, MSG_DONTWAIT);
                return r;
        }
        if (length <= 0)
                return errno == EAGAIN && length < 0 ? 0 : receive_take_end(receive, length < 0 ? errno : 0);
        return receiver_look(receive->ring) < 0 || receiver_waiting(receive->ring) ? 0 : take_tokens(receive, 1, MSG_DONTWAIT);
}
