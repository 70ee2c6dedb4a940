/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A guest without a machine, as fast as this one: memory in a memfd, a vsock driver
 * on it, and the front-end's end of a vhost-user connection, in the thread that calls.
 *
 * Theory of operation. One thread is the guest's one virtual processor: what its
 * program sends is a packet, or several, put into the TX queue before guest_send()
 * returns, header and payload in two descriptors as Linux has them, and the device is
 * kicked if it asks for that. What the program receives is copied out of the RX
 * buffers, which are as large as Linux's; when half of them are in use, others are
 * given. A program that waits lets its processor idle: the host polls for a while,
 * as long as no one else wants the core, and then sleeps until it is called. Credit
 * is counted both ways and told when Linux tells it. All is in order, and the device
 * is trusted: this guest measures, it does not test.
 *
 * A failure ends the process.
 */

#include <stddef.h>
#include <stdint.h>

#define GUEST_STREAMS_MAX 128u

struct guest;

/* Attaches to the vhost-user socket at `path`, or to a connected one, and starts the driver. */
struct guest *guest_start(const char *path);
struct guest *guest_start_on(int socket);
void guest_end(struct guest *guest);

/* Connects to a port of the host's. Returns the stream's number. */
unsigned guest_dial(struct guest *guest, uint32_t port);
/* The next one that the host dials, whatever port it dials. */
unsigned guest_accept(struct guest *guest);
void guest_send(struct guest *guest, unsigned stream, const void *bytes, size_t size);
/* As much as is there, at least a byte; 0: the host sends no more. */
size_t guest_receive(struct guest *guest, unsigned stream, void *bytes, size_t size);
void guest_close(struct guest *guest, unsigned stream);
