/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Two processes over one transport: a server and a client that do what the
 * benchmark says, in step.
 *
 * Owns the processes, which die with the benchmark, and the memory in which the
 * client leaves its samples. Both ends know how many connections a task has, so
 * that neither waits in anything but the transport's own calls.
 */

#include "exchange.h"
#include <sched.h>
#include <stdint.h>
#include <sys/types.h>

struct pair {
        const struct transport *transport; /* the client's */
        pid_t between;                     /* whoever carries data from one end to the other; 0: nobody */
        pid_t server, client;
        int server_control, client_control;
        struct findings *findings;
};

/* `server_world` and `client_world` become $HVSOCK_SOCKET in the two processes; NULL: not for this transport. */
void pair_start(struct pair *pair, const struct transport *transport, const struct endpoint *endpoint,
                unsigned listeners, const char *server_world, const char *client_world);
/* The same, where the two ends are not of one kind. */
void pair_start_between(struct pair *pair, const struct transport *client, const struct transport *server,
                        const struct endpoint *endpoint, const char *server_world, const char *client_world);
void pair_end(struct pair *pair);

/* Returns the nanoseconds that the client took. TASK_CONNECT and the echoes leave `count` samples. */
uint64_t pair_run(struct pair *pair, enum task task, unsigned count, size_t size);

/* The same over so many channels, in turn; those that there are not yet are opened first. */
uint64_t pair_run_over(struct pair *pair, enum task task, unsigned count, size_t size, unsigned channels);

/* Client and server on one core (client_cpu == server_cpu), or each on its own. */
void pair_place(const struct pair *pair, int client_cpu, int server_cpu);
