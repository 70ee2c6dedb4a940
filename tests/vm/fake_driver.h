/* SPDX-License-Identifier: MIT */
#pragma once

/* A fake guest whose driver waits for what comes, against a device that is served by others. */

#include "fake_guest.h"

#define FAKE_FEATURES                                                                                        \
        (VHOST_USER_FEATURE_SEQPACKET | VHOST_USER_FEATURE_INDIRECT | VHOST_USER_FEATURE_EVENT_INDEX |       \
         VHOST_USER_FEATURE_PROTOCOL | VHOST_USER_FEATURE_VERSION_1)
#define FAKE_RX_BUFFER 3776u /* as Linux has it */
#define FAKE_PATIENCE_MS 10000

extern struct fake_guest guest; /* a test has one */
extern unsigned under_way;      /* packets that the device has not given back */

/* Its VMM and its driver start, from the beginning or at these indices; RX buffers are there. */
void driver_plug(const char *socket_path); /* NULL: the connection is there */
void driver_start(void);
void driver_resume(uint16_t rx_base, uint16_t tx_base);

struct vsock_packet driver_packet(uint32_t port, uint32_t guest_port, uint16_t operation, enum vsock_type type);
/* Waits while too many are under way. */
void driver_send(struct vsock_packet header, const void *payload, uint32_t length);
struct vsock_packet driver_next(void *ret_payload, size_t size);
/* The next packet that is no credit update. */
struct vsock_packet driver_receive(void *ret_payload, size_t size);
/* The same, which must be this operation. */
struct vsock_packet driver_expect(uint16_t operation);
void await_readable(int fd);
