/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A vsock device for a real VMM and a real guest, without hvsockd: src/vm's core in a process of its own, and a host
 * on which every port sends back what comes. So the protocol is proven apart from all that the daemon adds.
 *
 * A port from ECHO_DEVICE_RELAY on is joined with the guest's own port of that number less ECHO_DEVICE_RELAY, which the
 * device dials: a guest that serves there hears itself through both directions. ECHO_DEVICE_MIRROR is joined with the
 * guest's port of the same number. ECHO_DEVICE_CLOSED refuses.
 */

#include <stdint.h>

#define ECHO_DEVICE_RELAY 50000u
#define ECHO_DEVICE_MIRROR 1234u /* the one port of the kernel's own tests */
#define ECHO_DEVICE_CLOSED 1u
#define ECHO_DEVICE_ECHO 7u      /* or any other */

/*
 * Serves one front-end after the other that connects to this listening socket, for ever; each start of the driver
 * is one byte to `starts_fd`. What no front-end should do ends the process with a message and 1.
 */
__attribute__((noreturn)) void echo_device_serve(int listener, uint64_t guest_cid, int starts_fd);
