/* SPDX-License-Identifier: MIT */

/* Bytes through a ring between two threads that sleep in the kernel alone, and wake each other as src/ring/wish.h says. */

#include "base/fd.h"
#include "ring/wish.h"
#include "test.h"
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>

#define CAPACITY 4096u
#define LOOKS 200

static struct ring_words words;
static uint8_t ring[CAPACITY];
static int ends[2]; /* the sender's, the receiver's */
static uint64_t total, published;
static bool waits_for_answers, asks_library;

/* Both ends know what comes next. */
static uint8_t byte_at(uint64_t position) {
        return (uint8_t)(position * 2654435761u >> 13);
}

static void wait_for(int fd, short events) {
        struct pollfd descriptor = {.fd = fd, .events = events};
        check_equal(poll(&descriptor, 1, -1), 1);
}

static bool is_ready(int fd, short events) {
        struct pollfd descriptor = {.fd = fd, .events = events};
        return poll(&descriptor, 1, 0) == 1;
}

/* From nothing to a time slice. */
static void pause_now_and_then(unsigned *seed) {
        unsigned choice = (unsigned)rand_r(seed) % 4096;
        if (choice == 0)
                sched_yield();
        for (volatile unsigned i = 0; choice < 64 && i < choice * 8; i++)
                ;
}

static void send_token(uint32_t *counted) {
        if (send(ends[0], "", 1, MSG_DONTWAIT | MSG_NOSIGNAL) == 1)
                wish_token_is_sent(&words, counted);
        else
                check_equal(errno, EAGAIN);
}

static void *send_all(void *seed_pointer) {
        unsigned *seed = seed_pointer;
        uint64_t head = 0;
        uint32_t counted = 0;
        while (head < total) {
                uint64_t room = CAPACITY - (head - atomic_load_explicit(&words.tail, memory_order_acquire));
                if (room == 0) {
                        while (is_ready(ends[0], POLLOUT))
                                send_token(&counted);
                        wish_for_room(&words, head - CAPACITY / 2);
                        if (head - atomic_load(&words.tail) == CAPACITY)
                                wait_for(ends[0], POLLOUT);
                        continue;
                }
                uint64_t length = 1 + (uint64_t)rand_r(seed) % (rand_r(seed) % 512 ? 16 : CAPACITY);
                length = length < room ? length : room;
                length = length < total - head ? length : total - head;
                for (uint64_t i = 0; i < length; i++)
                        ring[(head + i) % CAPACITY] = byte_at(head + i);
                head += length;
                published++;
                for (unsigned tokens = wish_publish(&words, head); tokens; tokens--)
                        send_token(&counted);
                /* One that goes on would make up for a token that it owed. */
                while (waits_for_answers && atomic_load(&words.tail) != head)
                        sched_yield();
                pause_now_and_then(seed);
        }
        return NULL;
}

static void take_tokens(uint32_t count, uint32_t *taken) {
        char tokens[TOKENS_TAKEN_MAX];
        ssize_t length = count ? recv(ends[1], tokens, count < sizeof tokens ? count : sizeof tokens, MSG_DONTWAIT) : 0;
        *taken += length > 0 ? (uint32_t)length : 0;
}

static uint32_t tokens_there(void) {
        char tokens[TOKENS_TAKEN_MAX];
        ssize_t length = recv(ends[1], tokens, sizeof tokens, MSG_PEEK | MSG_DONTWAIT);
        return length > 0 ? (uint32_t)length : 0;
}

/* Takes what is there up to `promise`. */
static void take_bytes(uint64_t *tail, uint64_t promise, uint32_t *taken) {
        uint64_t head = atomic_load_explicit(&words.head, memory_order_acquire);
        check(head - *tail <= CAPACITY);
        for (; *tail != head && *tail != promise; ++*tail)
                check_equal(ring[*tail % CAPACITY], byte_at(*tail));
        if (wish_release(&words, *tail)) {
                uint32_t there = tokens_there();
                take_tokens(there ? there - 1 : 0, taken);
        }
}

/* Sleeps in the receive of a token, as long as there is nothing. */
static void sleep_for_bytes(uint64_t tail, uint64_t promise, uint32_t *taken) {
        char token;
        while (tail < total && wish_sleep(&words, tail, promise)) {
                check_equal(recv(ends[1], &token, 1, 0), 1);
                ++*taken;
        }
}

enum patience { IMPATIENT, LOOKS_A_WHILE, SLEEPS };

/* One receive, which waits as long as it likes. */
static void receive(uint64_t *tail, uint64_t room, enum patience patience, uint32_t *taken) {
        uint64_t promise = *tail + room;
        uint32_t stale;
        if (patience >= LOOKS_A_WHILE && atomic_load(&words.head) == *tail) {
                wish_promise(&words, promise);
                for (int i = 0; i < LOOKS && atomic_load_explicit(&words.head, memory_order_acquire) == *tail; i++)
                        ;
                if (patience == SLEEPS)
                        sleep_for_bytes(*tail, promise, taken);
        }
        for (;;) {
                take_bytes(tail, promise, taken);
                enum wish_leaving leaving = wish_leave(&words, *tail, promise, *taken, &stale);
                if (leaving == WISH_LEAVE_BYTES)
                        return;
                if (leaving == WISH_TAKE_MORE)
                        continue;
                if (stale > 1)
                        take_tokens(stale - 1, taken);
                if (!wish_still_stands(&words, *tail))
                        continue;
                take_tokens(stale ? 1 : 0, taken);
                return;
        }
}

static void receive_exactly(unsigned *seed, uint64_t *tail, uint32_t *taken) {
        receive(tail, 1 + (uint64_t)rand_r(seed) % (rand_r(seed) % 2 ? 16 : CAPACITY), (enum patience)(rand_r(seed) % 3), taken);
        if (*tail < total && rand_r(seed) % 4)
                wait_for(ends[1], POLLIN);
}

/* For a program that asks the library: nothing is wished but before a sleep, in a receive or in a poll. */
static void receive_lazily(unsigned *seed, uint64_t *tail, uint32_t *taken) {
        take_bytes(tail, *tail + 1 + (uint64_t)rand_r(seed) % CAPACITY, taken);
        for (int i = 0; i < LOOKS && atomic_load_explicit(&words.head, memory_order_acquire) == *tail; i++)
                ;
        if (atomic_load(&words.head) != *tail || *tail == total)
                return;
        take_tokens(wish_stale(&words, *taken), taken);
        if (rand_r(seed) % 2)
                sleep_for_bytes(*tail, *tail + 16, taken);
        else if (wish_arm(&words, *tail))
                wait_for(ends[1], POLLIN);
        wish_forget(&words);
}

static void receive_all(unsigned *seed) {
        uint64_t tail = 0;
        uint32_t taken = 0;
        while (tail < total) {
                (asks_library ? receive_lazily : receive_exactly)(seed, &tail, &taken);
                pause_now_and_then(seed);
        }
        for (uint32_t left; (left = tokens_there());)
                take_tokens(left, &taken);
}

static void hand_over(uint64_t bytes, unsigned seed) {
        unsigned seeds[2] = {seed, seed + 1};
        int least = 0;
        pthread_t sender;
        total = bytes;
        memset(&words, 0, sizeof words);
        words.data_wish = wish(0, WISH_ARMED);
        check_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
        check_equal(setsockopt(ends[0], SOL_SOCKET, SO_SNDBUF, &least, sizeof least), 0);
        check_equal(pthread_create(&sender, NULL, send_all, &seeds[0]), 0);
        receive_all(&seeds[1]);
        check_equal(pthread_join(sender, NULL), 0);
        check(atomic_load(&words.head) == total);
        fd_close(ends[0]);
        fd_close(ends[1]);
}

TEST(every_byte_arrives_in_order_whoever_sleeps_where) {
        for (unsigned seed = 1; seed <= 20; seed++)
                hand_over(1 << 20, 2 * seed);
}

TEST(each_message_is_noticed_by_itself) {
        waits_for_answers = true;
        for (unsigned seed = 1; seed <= 20; seed++)
                hand_over(1 << 17, 2 * seed);
}

TEST(a_program_that_asks_the_library_misses_nothing_either) {
        asks_library = true;
        for (unsigned seed = 1; seed <= 20; seed++)
                hand_over(1 << 20, 2 * seed);
        waits_for_answers = true;
        for (unsigned seed = 1; seed <= 10; seed++)
                hand_over(1 << 17, 2 * seed);
}

TEST_LIMITED(for_a_long_time_nothing_is_lost_and_nobody_sleeps_for_ever, 1200) {
        const char *seconds = getenv("HVSOCK_LONG_SECONDS");
        time_t end = time(NULL) + (seconds ? atoi(seconds) : 0);
        uint64_t hand_overs = 0;
        for (unsigned seed = 1; time(NULL) < end || seed == 1; seed++) {
                asks_library = seed % 3 == 0;
                waits_for_answers = seed % 16 == 0;
                hand_over(waits_for_answers ? 1 << 18 : 1 << 24, 2 * seed);
                hand_overs += published;
                published = 0;
        }
        printf("%llu hand-overs\n", (unsigned long long)hand_overs);
}

TEST(a_message_within_a_promise_needs_no_token) {
        memset(&words, 0, sizeof words);
        wish_promise(&words, 100);
        check(!wish_publish(&words, 64));
        check(!wish_publish(&words, 100));
        check(wish_publish(&words, 101));
        check(!wish_publish(&words, 102)); /* granted */
        check(!wish_sleep(&words, 100, 200)); /* for something is there */
        words.head = 100;
        check(wish_sleep(&words, 100, 200));
        check_equal(wish_publish(&words, 150), 1); /* to wake it */
        check_equal(wish_publish(&words, 160), 0);
        words.head = 100;
        check(wish_sleep(&words, 100, 120));
        check_equal(wish_publish(&words, 150), 2); /* and for what it will leave behind */
}

TEST(a_hostile_word_ends_every_call_and_asks_for_tokens_at_most) {
        uint32_t stale = 0;
        memset(&words, 0, sizeof words);
        words.data_wish = UINT64_MAX;
        check(wish_publish(&words, 1));
        words.tokens_sent = UINT32_MAX;
        words.head = 5;
        check_equal(wish_leave(&words, 5, 9, 0, &stale), WISH_LEAVE_EMPTY);
        check_equal(stale, 0);
        words.tokens_sent = 1000000;
        check_equal(wish_leave(&words, 5, 9, 0, &stale), WISH_LEAVE_EMPTY);
        check_equal(stale, TOKENS_TAKEN_MAX);
        words.room_wish = UINT64_MAX - 1;
        check(!wish_release(&words, UINT64_MAX / 8));
}
