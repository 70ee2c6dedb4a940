/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What the two ends of open channels do, task by task. A task runs on channels
 * that stay open from one task to the next, so that a run before those that
 * count warms everything up, the carrier's memory included.
 */

#include "transport.h"
#include <stdbool.h>
#include <stdint.h>

enum task {
        /* On channels that are made and closed: */
        TASK_CONNECT,     /* socket, connect, accept, 1 byte to the client, close: one sample each */
        TASK_HOLD,        /* the same, but both ends stay open until the pair ends */
        /* On open channels: */
        TASK_ECHO,        /* messages go out and come back, in blocking calls: one sample each */
        TASK_ECHO_EPOLL,  /* the same; both ends wait in the kernel's epoll, on all channels */
        TASK_ECHO_SET,    /* the same; in libhvsock's wait set */
        TASK_ECHO_POLL,   /* the same; in hv_poll() */
        TASK_VERIFY,      /* the same as ECHO, and each byte is looked at: for no figures */
        TASK_TRANSFER,    /* messages one way, then one byte back: the time is the result */
        TASK_COLD,        /* the same, from and to COLD_BYTES of memory that no cache holds */
        TASK_FILL,        /* the same as TRANSFER, but each byte is written by the sender and read by the receiver */
        TASK_IN_PLACE,    /* the same as FILL, without copies: reserve, write, commit; peek, read, consume */
        TASK_END,
};

#define SAMPLES_MAX 65536u
#define MESSAGE_MAX 1048576u
#define COLD_BYTES (64u << 20)
#define CHANNELS_MAX 100u

struct order {
        enum task task;
        unsigned count;
        size_t size;
        unsigned channels; /* how many of the open ones take part, in turn */
};

/* Which of them are made of round trips, each a sample. */
static inline bool task_is_echo(enum task task) {
        return task >= TASK_ECHO && task <= TASK_ECHO_POLL;
}

/* Memory that both ends and the benchmark share. */
struct findings {
        uint64_t cpu_ns[2];            /* of the client and of the server, in the last task on open channels */
        uint32_t samples[SAMPLES_MAX]; /* nanoseconds each */
};

uint64_t now_ns(void);
void receive_all(const struct transport *transport, int fd, void *buffer, size_t size);

/* Both return when the other end has done its part. */
void exchange_as_client(const struct transport *transport, const struct order *order, const int *fds,
                        struct findings *findings);
void exchange_as_server(const struct transport *transport, const struct order *order, const int *fds,
                        struct findings *findings);
