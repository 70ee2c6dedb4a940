/* SPDX-License-Identifier: MIT */
#include "exchange.h"

#include <errno.h>
#include <hvsock.h>
#include <poll.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

static char message[MESSAGE_MAX];
static volatile uint64_t sum; /* of all that was read, so that reading it is not left out */

uint64_t now_ns(void) {
        struct timespec now;

        clock_gettime(CLOCK_MONOTONIC, &now);
        return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static uint64_t cpu_ns(void) {
        struct rusage used;

        getrusage(RUSAGE_SELF, &used);
        return (uint64_t)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) * 1000000000u +
               (uint64_t)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1000u;
}

void receive_all(const struct transport *transport, int fd, void *buffer, size_t size) {
        char *bytes = buffer;

        while (size > 0) {
                size_t received = transport->receive(fd, bytes, size);
                if (received == 0)
                        die("%s: the stream ended too early", transport->name);
                bytes += received;
                size -= received;
        }
}

/* Waiting: the same calls of the kernel and of libhvsock. */

struct wait_set {
        int fd; /* -1: poll */
        int (*wait)(int set, struct epoll_event *ret_events, int max, int timeout_ms);
        struct pollfd polled[CHANNELS_MAX];
        unsigned count;
};

static void make_set(struct wait_set *set, enum task task, const int *fds, unsigned count) {
        bool is_librarys = task == TASK_ECHO_SET;

        *set = (struct wait_set){.fd = -1, .count = count};
        for (unsigned i = 0; i < count; i++)
                set->polled[i] = (struct pollfd){.fd = fds[i], .events = POLLIN};
        if (task != TASK_ECHO_EPOLL && task != TASK_ECHO_SET)
                return;
        set->fd = is_librarys ? hv_epoll_create1(EPOLL_CLOEXEC) : epoll_create1(EPOLL_CLOEXEC);
        set->wait = is_librarys ? hv_epoll_wait : epoll_wait;
        if (set->fd < 0)
                die("cannot make a wait set: %s", strerror(errno));
        for (unsigned i = 0; i < count; i++) {
                struct epoll_event event = {.events = EPOLLIN, .data.fd = fds[i]};
                if ((is_librarys ? hv_epoll_ctl : epoll_ctl)(set->fd, EPOLL_CTL_ADD, fds[i], &event) < 0)
                        die("cannot wait for a channel: %s", strerror(errno));
        }
}

/* Which channel has something to read. */
static int wait_for_one(struct wait_set *set) {
        struct epoll_event event;
        unsigned i = 0;

        while ((set->wait ? set->wait(set->fd, &event, 1, -1) : hv_poll(set->polled, set->count, -1)) < 1)
                if (errno != EINTR)
                        die("cannot wait: %s", strerror(errno));
        while (!set->wait && !set->polled[i].revents)
                i++;
        return set->wait ? event.data.fd : set->polled[i].fd;
}

static void echo_client(const struct transport *transport, const struct order *order, const int *fds, uint32_t *samples) {
        bool has_set = order->task != TASK_ECHO;
        struct wait_set set;

        if (has_set)
                make_set(&set, order->task, fds, order->channels);
        for (unsigned i = 0; i < order->count; i++) {
                int fd = fds[i % order->channels];
                uint64_t before = now_ns();
                transport->send(fd, message, order->size);
                if (has_set)
                        fd = wait_for_one(&set);
                receive_all(transport, fd, message, order->size);
                samples[i] = (uint32_t)(now_ns() - before);
        }
        if (has_set && set.fd >= 0)
                hv_close(set.fd);
}

static void echo_server(const struct transport *transport, const struct order *order, const int *fds) {
        bool has_set = order->task != TASK_ECHO;
        struct wait_set set;

        if (has_set)
                make_set(&set, order->task, fds, order->channels);
        for (unsigned i = 0; i < order->count; i++) {
                int fd = has_set ? wait_for_one(&set) : fds[i % order->channels];
                receive_all(transport, fd, message, order->size);
                transport->send(fd, message, order->size);
        }
        if (has_set && set.fd >= 0)
                hv_close(set.fd);
}

/* A pattern that neither a lost, nor a doubled, nor a swapped part leaves as it was. */
static char pattern_at(uint64_t position) {
        return (char)((position * 0x9e3779b97f4a7c15u) >> 56);
}

static void verify_client(const struct transport *transport, const struct order *order, int fd) {
        uint64_t position = 0;

        for (unsigned i = 0; i < order->count; i++, position += order->size) {
                for (size_t at = 0; at < order->size; at++)
                        message[at] = pattern_at(position + at);
                transport->send(fd, message, order->size);
                memset(message, 0, order->size);
                receive_all(transport, fd, message, order->size);
                for (size_t at = 0; at < order->size; at++)
                        if (message[at] != pattern_at(position + at))
                                die("%s: byte %llu came back wrong", transport->name, (unsigned long long)(position + at));
        }
}

/* Where a message lies: one buffer, or the next part of memory that no cache holds. */
static char *place_of_message(const struct order *order) {
        static char *memory;
        static size_t position;

        if (order->task != TASK_COLD)
                return message;
        if (!memory) {
                memory = mmap(NULL, COLD_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
                if (memory == MAP_FAILED)
                        die("no memory");
                memset(memory, 1, COLD_BYTES); /* not all the same page of zeros */
        }
        if (position + order->size > COLD_BYTES)
                position = 0;
        position += order->size;
        return memory + position - order->size;
}

static void read_each_byte(const void *bytes, size_t size) {
        const uint64_t *words = bytes;
        uint64_t total = 0;

        for (size_t i = 0; i < size / sizeof *words; i++)
                total += words[i];
        sum += total;
}

static void send_in_place(int fd, size_t size, int value) {
        while (size > 0) {
                void *span;
                size_t part = size < HV_RESERVE_MAX ? size : HV_RESERVE_MAX;
                if (hv_reserve(fd, part, &span, 0) < 0)
                        die("cannot reserve: %s", strerror(errno));
                memset(span, value, part);
                if (hv_commit(fd, part) != (ssize_t)part)
                        die("cannot commit: %s", strerror(errno));
                size -= part;
        }
}

static void receive_in_place(int fd, size_t size) {
        while (size > 0) {
                const void *span;
                ssize_t length = hv_peek(fd, &span, 0);
                if (length <= 0)
                        die("cannot peek: %s", length ? strerror(errno) : "the stream ended too early");
                size_t part = (size_t)length < size ? (size_t)length : size;
                read_each_byte(span, part);
                if (hv_consume(fd, part) < 0)
                        die("cannot consume: %s", strerror(errno));
                size -= part;
        }
}

static void transfer_client(const struct transport *transport, const struct order *order, int fd) {
        for (unsigned i = 0; i < order->count; i++) {
                if (order->task == TASK_IN_PLACE) {
                        send_in_place(fd, order->size, (int)i);
                        continue;
                }
                if (order->task == TASK_FILL)
                        memset(message, (int)i, order->size);
                transport->send(fd, place_of_message(order), order->size);
        }
        receive_all(transport, fd, message, 1);
}

/* Receives as much as the buffer holds, as it comes: a message's end means nothing in a stream. */
static void transfer_server(const struct transport *transport, const struct order *order, int fd) {
        uint64_t left = (uint64_t)order->count * order->size;

        while (left > 0 && order->task != TASK_IN_PLACE) {
                char *buffer = place_of_message(order);
                size_t received = transport->receive(fd, buffer, left < order->size ? (size_t)left : order->size);
                if (received == 0)
                        die("%s: the stream ended too early", transport->name);
                if (order->task == TASK_FILL)
                        read_each_byte(buffer, received);
                left -= received;
        }
        if (order->task == TASK_IN_PLACE)
                receive_in_place(fd, left);
}

void exchange_as_client(const struct transport *transport, const struct order *order, const int *fds,
                        struct findings *findings) {
        uint64_t before = cpu_ns();

        if (order->task == TASK_VERIFY)
                for (unsigned i = 0; i < order->channels; i++)
                        verify_client(transport, order, fds[i]);
        else if (task_is_echo(order->task))
                echo_client(transport, order, fds, findings->samples);
        else
                transfer_client(transport, order, fds[0]);
        findings->cpu_ns[0] = cpu_ns() - before;
}

void exchange_as_server(const struct transport *transport, const struct order *order, const int *fds,
                        struct findings *findings) {
        uint64_t before = cpu_ns();

        if (order->task == TASK_VERIFY)
                for (unsigned i = 0; i < order->channels; i++)
                        for (unsigned j = 0; j < order->count; j++) {
                                receive_all(transport, fds[i], message, order->size);
                                transport->send(fds[i], message, order->size);
                        }
        else if (task_is_echo(order->task))
                echo_server(transport, order, fds);
        else {
                transfer_server(transport, order, fds[0]);
                findings->cpu_ns[1] = cpu_ns() - before;
                transport->send(fds[0], "", 1);
        }
}
