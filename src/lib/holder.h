/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The holder page: what the holders of one end of a channel share once a ring is
 * in play, and the peer never sees.
 *
 * A process and the children that it forks may all hold an end. The page is mapped
 * shared, so a fork inherits it with the rings' own mappings, at the same
 * addresses. Each direction has a lock, held while its ring is touched, and never
 * while its holder sleeps; who needs both takes the receiving one first. A holder
 * that was killed is found out and replaced; each index changes by one store, last,
 * so that what it left is whole.
 *
 * A page that is given back is replaced, at the same address, by an empty one: a
 * thread that comes late finds a lock that works, and that the page is no longer
 * the channel's.
 */

#include "lib/process.h"
#include "ring/receiver.h"
#include "ring/sender.h"

struct holder_lock {
        _Atomic uint32_t thread; /* 0: free */
        _Atomic uint32_t waiting;
        uint32_t allowance; /* bytes that quick calls may move: the last thing that was done with the lock held, or none */
};

enum sending_state {
        SENDING_PLAIN,
        SENDING_OFFERED, /* a ring went out with data, and waits for the peer to take it */
        SENDING_RING,
};

enum receiving_state {
        RECEIVING_PLAIN,
        RECEIVING_OFFERED,  /* the peer's ring is mapped; other threads are in the middle of a plain receive */
        RECEIVING_ACCEPTED, /* the peer was told; what comes is plain until its mark */
        RECEIVING_RING,
};

enum ending {
        NOT_ENDED,
        ENDED,
        ENDED_BY_RESET,
        ENDED_IN_SOCKET, /* the stream goes on in the socket */
};

struct holder {
        struct {
                struct holder_lock lock;
                _Atomic uint32_t state;
                uint32_t buffer_size; /* SO_SNDBUF as the program knows it */
                uint32_t sleepers; /* threads that sleep for room: the token that each sends then is a send under way */
                bool is_cramped;      /* the kernel's was made so small that tokens fill it */
                bool is_shut;         /* by hv_shutdown() */
                bool is_checked;      /* the number that this send was given stands for this channel's socket */
                size_t reserved;      /* by hv_reserve(): nobody else may send until it is committed */
                uint32_t sends, check_after; /* since the peer was last seen to live, and when to look */
                uint64_t tail_at_check;
                struct ring_sender ring;
        } sending;
        _Alignas(128) struct {
                struct holder_lock lock;
                _Atomic uint32_t state;
                _Atomic uint32_t sleeper; /* the one thread that takes bytes out of the socket outside the lock; 0: none */
                _Atomic uint32_t ending;  /* enum ending: nothing more will come into the ring */
                bool sleeps;              /* the socket was blocking when last asked */
                _Atomic uint32_t streak;  /* receives without a send that found bytes at once */
                struct ring_receiver ring;
        } receiving;
};

/* An empty page. NULL: no memory. */
struct holder *holder_new(void);
void holder_give_back(struct holder *holder);

void holder_lock_slowly(struct holder_lock *lock, uint32_t self);
void holder_wake(struct holder_lock *lock);

static inline void holder_take(struct holder_lock *lock) {
        uint32_t none = 0, self = process_thread_id();
        if (!__builtin_expect(atomic_compare_exchange_strong_explicit(&lock->thread, &none, self, memory_order_acquire,
                                                                      memory_order_relaxed), 1))
                holder_lock_slowly(lock, self);
        lock->allowance = 0;
}

/* Who waits looks by itself every millisecond: a wake-up that is missed for want of a fence costs no more. */
static inline void holder_release(struct holder_lock *lock) {
        atomic_store_explicit(&lock->thread, 0, memory_order_release);
        if (__builtin_expect(atomic_load_explicit(&lock->waiting, memory_order_relaxed), 0))
                holder_wake(lock);
}

/* For a quick call that moves `size` bytes. False: it may not, and the lock is not held. */
static inline bool holder_take_allowed(struct holder_lock *lock, size_t size) {
        uint32_t none = 0;
        if (!atomic_compare_exchange_strong_explicit(&lock->thread, &none, process_thread_id(), memory_order_acquire,
                                                     memory_order_relaxed))
                return false;
        if (__builtin_expect(size - 1 < lock->allowance, 1)) /* nothing is not quick */
                return true;
        holder_release(lock);
        return false;
}

/* Whether a thread that is named in the page is gone. Of another process namespace it may be said to be. */
bool holder_thread_is_gone(uint32_t thread);
