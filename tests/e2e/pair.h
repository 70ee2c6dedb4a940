/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A channel inside the host with both ends in the test's own process: for tests
 * of what a descriptor does, where who may talk to whom is no matter.
 */

#include "world.h"

struct pair {
        struct world *world;
        int listener, connector, acceptor;
};

struct pair pair_open(int type);
void pair_close(struct pair *pair); /* each end that is not -1 */

/* The address {LOOPBACK, ECHO}. */
extern const SOCKADDR_HV LOOPBACK_ECHO;
int new_socket(int type);
/* Bound to LOOPBACK_ECHO, listening. */
int new_listener(int type);
int connect_loopback(int fd);
int ends_abruptly(int fd); /* SO_LINGER {1, 0}, then hv_close() */

/* HVSOCKET_CARRIER and HVSOCKET_CARRIER_STATE. */
void ask_for(int fd, enum hv_carrier carrier);
int carrier_state(int fd);
/* One message, there. */
void pass_on(int from, int to, const char *text);
/* Both directions are in rings, and empty. */
struct pair ring_pair(int type);

/* Sends until it would have to wait; how much that was. */
size_t fill_ring(int fd);

/* poll(2) for these events, without waiting. */
short events_now(int fd, short events);
void set_nonblocking(int fd, bool nonblocking);

/* Runs `function(argument)` in a thread; joins it. A test that waits for something to block uses thread_is_asleep(). */
struct thread;
struct thread *thread_start(long (*function)(void *argument), void *argument);
bool thread_is_asleep(const struct thread *thread);
long thread_join(struct thread *thread); /* sets errno as the function left it */

/* `size` bytes of a sequence that no reordering or loss leaves intact. */
void fill_sequence(uint64_t *position, void *bytes, size_t size);
void check_sequence(uint64_t *position, const void *bytes, size_t size);
