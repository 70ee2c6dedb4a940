/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Sleeping and waking at a ring: when the sender must send a token.
 *
 * Theory of operation. Bytes go through a ring in shared memory; whoever polls
 * the channel's socket must see it readable exactly while bytes are in the ring.
 * So the sender sends a token, a byte in the socket, for which it asks the kernel
 * and which the receiver has to take out again. To send one for every message
 * would cost what the ring saves. What the receiver wishes for stands in one
 * word, a position and a state:
 *
 *   WISH_ARMED     a token as soon as bytes beyond the position are published
 *   WISH_PROMISED  the same; but those before the position need none, since the
 *                  receiver is in the middle of a receive with room for them, and
 *                  will not leave them behind
 *   WISH_ASLEEP    the receiver sleeps in the receive of one token, with room for
 *                  those before the position: a token at once, and then the wish is
 *                  the promise; or, when bytes go beyond it, two: one to wake the
 *                  sleeper, who takes it, and one for what it will leave behind
 *   WISH_NONE      the sender granted the wish: a token is in the socket, or on
 *                  its way
 *
 * Only the sender grants, only the receiver wishes, both by compare-and-swap. The
 * sender publishes, then looks at the wish; the receiver wishes, then looks at
 * what is published; with a full fence between the two on both sides at least one
 * of them sees the other. Two messages that go back and forth between ends which
 * wait inside their receives thus need no token at all.
 *
 * A receiver that leaves nothing behind takes the stale tokens out, but none that
 * was sent after it wished. Tokens are alike, so it counts: the sender counts
 * each that is in the socket, never one that the socket refused; the receiver
 * reads the count before it wishes. It takes all but the last one first. From
 * then on no token is refused, and a grant whose token was shows in the wish: then
 * the last one stays for it. It takes that only if its wish still stands.
 *
 * A sender that finds no room sends tokens until the socket is not writable,
 * leaves its own wish for room, looks again, and sleeps until the socket is
 * writable. The receiver grants it by taking out all tokens but one. A grant that
 * is missed, for which there is no fence, comes when the receiver has emptied the
 * ring and takes the stale tokens out.
 *
 * A receiver whose program asks the library whether there is something, and never
 * the kernel, wishes for nothing while it runs: the word stays WISH_NONE. Before it
 * sleeps it takes out the tokens that were counted, wishes, and looks once more;
 * when it wakes, it forgets the wish. A token too many costs it one turn more.
 *
 * Bytes stand for whatever is counted in a ring: on SOCK_SEQPACKET for messages.
 *
 * wish.pml is this protocol for an exhaustive checker, with store buffers; to
 * leave out any one of these precautions is found there.
 *
 * The words are in memory that a hostile peer writes at any time. They decide
 * nothing but how many tokens are sent and taken, in a bounded number of steps.
 */

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define WISH_TRIES_MAX 16u   /* a peer that changes its wish so often while one looks gets a token for it */
#define TOKENS_TAKEN_MAX 64u /* at once */

enum wish_state { WISH_NONE, WISH_ARMED, WISH_PROMISED, WISH_ASLEEP };

/* What both ends of one direction write; each line has one usual writer. */
struct ring_words {
        _Alignas(128) _Atomic uint64_t head; /* the sender's: published so far */
        _Atomic uint64_t base;               /* the index that lies at the data's beginning; changes in an empty ring alone */
        _Atomic uint64_t payload;            /* bytes that the application sent, for who counts them */
        _Atomic uint32_t tokens_sent;
        _Atomic uint32_t sender_cpu;         /* where it last ran, plus one; 0: not known */
        _Atomic uint32_t is_begun;           /* the mark from which on everything goes through the ring is in the socket */
        _Atomic uint32_t is_ended;           /* nothing more goes into the ring; a mark in the socket says from where on */
        _Alignas(128) _Atomic uint64_t tail; /* the receiver's: taken so far */
        _Atomic uint32_t receiver_cpu;
        _Alignas(128) _Atomic uint64_t data_wish; /* the receiver's: position << 2 | state */
        _Alignas(128) _Atomic uint64_t room_wish; /* the sender's: the tail at which there is room enough, with WISH_ARMED */
        /* The sender's: a send is under way, which may not have seen that the receiver left. Changes twice in each. */
        _Alignas(128) _Atomic uint32_t is_sending;
};

static inline uint64_t wish(uint64_t position, enum wish_state state) {
        return position << 2 | state;
}

/* Whether a wish is for units before `index`. Positions wrap as indices do, two bits sooner. */
static inline bool wish_is_due(uint64_t word, uint64_t index) {
        return (word & 3) == WISH_ASLEEP || ((word & 3) != WISH_NONE && (int64_t)((index << 2) - (word & ~UINT64_C(3))) > 0);
}

/* Grants the wish that was seen to be due. Returns the tokens that have to be sent. */
static inline unsigned wish_grant(struct ring_words *words, uint64_t head, uint64_t seen) {
        for (unsigned tries = 0; wish_is_due(seen, head); tries++) {
                bool is_sleeper = (seen & 3) == WISH_ASLEEP, is_beyond = (int64_t)((head << 2) - (seen & ~UINT64_C(3))) > 0;
                uint64_t granted = is_beyond ? wish(0, WISH_NONE) : (seen & ~UINT64_C(3)) | WISH_PROMISED;
                if (tries >= WISH_TRIES_MAX || atomic_compare_exchange_strong(&words->data_wish, &seen, granted))
                        return is_sleeper && is_beyond ? 2 : 1;
        }
        return 0;
}

/* Publishes what was written up to `head`. Returns the tokens that have to be sent now, each with wish_token_is_sent(). */
static inline unsigned wish_publish(struct ring_words *words, uint64_t head) {
        atomic_store_explicit(&words->head, head, memory_order_release);
        atomic_thread_fence(memory_order_seq_cst);
        uint64_t seen = atomic_load_explicit(&words->data_wish, memory_order_relaxed);
        return __builtin_expect(wish_is_due(seen, head), 0) ? wish_grant(words, head, seen) : 0;
}

/* The socket took it. The count is the sender's to keep; `counted` is its own copy. */
static inline void wish_token_is_sent(struct ring_words *words, uint32_t *counted) {
        atomic_store_explicit(&words->tokens_sent, ++*counted, memory_order_release);
}

/* The sender found no room, and made the socket not writable. Then it looks again at the tail. */
static inline void wish_for_room(struct ring_words *words, uint64_t tail) {
        atomic_store(&words->room_wish, wish(tail, WISH_ARMED));
        atomic_thread_fence(memory_order_seq_cst);
}

/* The receiver took what was before `tail`. Whether the sender waits for it: then all tokens but one are taken out. */
static inline bool wish_release(struct ring_words *words, uint64_t tail) {
        atomic_store_explicit(&words->tail, tail, memory_order_release);
        uint64_t seen = atomic_load_explicit(&words->room_wish, memory_order_relaxed);
        return wish_is_due(seen, tail + 1) && atomic_compare_exchange_strong(&words->room_wish, &seen, wish(0, WISH_NONE));
}

/* The receiver has room up to `promise`, and looks at the head for a while. wish_leave() follows in any case. */
static inline void wish_promise(struct ring_words *words, uint64_t promise) {
        atomic_store(&words->data_wish, wish(promise, WISH_PROMISED));
        atomic_thread_fence(memory_order_seq_cst);
}

/*
 * The receiver has nothing, room up to `promise`, and will sleep until it can take
 * one token out of the socket, which it counts as taken; then it goes on as if it
 * had promised. False: bytes came, it must not sleep. No other receiver sleeps so.
 */
static inline bool wish_sleep(struct ring_words *words, uint64_t tail, uint64_t promise) {
        atomic_store(&words->data_wish, wish(promise, WISH_ASLEEP));
        atomic_thread_fence(memory_order_seq_cst);
        return atomic_load_explicit(&words->head, memory_order_acquire) == tail;
}

/*
 * For receivers whose programs ask the library for readiness, who wish for nothing
 * while they run. Before sleeping in a poll: true when nothing is there, and the
 * next bytes come with a token.
 */
static inline bool wish_arm(struct ring_words *words, uint64_t tail) {
        atomic_store(&words->data_wish, wish(tail, WISH_ARMED));
        atomic_thread_fence(memory_order_seq_cst);
        return atomic_load_explicit(&words->head, memory_order_acquire) == tail;
}

/* After any sleep of theirs. */
static inline void wish_forget(struct ring_words *words) {
        atomic_store(&words->data_wish, wish(0, WISH_NONE));
}

/* The tokens that are in the socket for certain, of which TOKENS_TAKEN_MAX may be taken out at once. */
static inline uint32_t wish_stale(struct ring_words *words, uint32_t taken) {
        uint32_t stale = atomic_load_explicit(&words->tokens_sent, memory_order_acquire) - taken;
        return stale > UINT32_MAX / 2 ? 0 : stale > TOKENS_TAKEN_MAX ? TOKENS_TAKEN_MAX : stale;
}

enum wish_leaving {
        WISH_TAKE_MORE,   /* bytes came for which there is room: leave again after taking them */
        WISH_LEAVE_BYTES, /* they stay behind, and a token for them is there or on its way */
        WISH_LEAVE_EMPTY, /* *ret_stale tokens are to be taken out, see wish_still_stands() */
};

/*
 * The end of a receive that has taken what is before `tail` and has room up to
 * `promise`. `taken` counts the tokens that were taken out so far.
 */
static inline enum wish_leaving wish_leave(struct ring_words *words, uint64_t tail, uint64_t promise, uint32_t taken,
                                           uint32_t *ret_stale) {
        for (unsigned tries = 0;; tries++) {
                uint32_t stale = atomic_load_explicit(&words->tokens_sent, memory_order_acquire) - taken;
                uint64_t head = atomic_load_explicit(&words->head, memory_order_acquire);
                uint64_t seen = atomic_load_explicit(&words->data_wish, memory_order_relaxed);
                if (head != tail && tail != promise)
                        return WISH_TAKE_MORE;
                if (head != tail && ((seen & 3) == WISH_NONE || tries >= WISH_TRIES_MAX))
                        return WISH_LEAVE_BYTES;
                if (tries < WISH_TRIES_MAX && seen != wish(tail, WISH_ARMED) &&
                    !atomic_compare_exchange_strong(&words->data_wish, &seen, wish(tail, WISH_ARMED)))
                        continue;
                atomic_thread_fence(memory_order_seq_cst);
                head = atomic_load_explicit(&words->head, memory_order_acquire);
                if (head != tail)
                        return tail != promise ? WISH_TAKE_MORE : WISH_LEAVE_BYTES;
                *ret_stale = stale > UINT32_MAX / 2 ? 0 : stale > TOKENS_TAKEN_MAX ? TOKENS_TAKEN_MAX : stale;
                return WISH_LEAVE_EMPTY;
        }
}

/* After all stale tokens but one were taken out: whether that one may go too. If not, wish_leave() is called again. */
static inline bool wish_still_stands(struct ring_words *words, uint64_t tail) {
        return atomic_load(&words->data_wish) == wish(tail, WISH_ARMED);
}
