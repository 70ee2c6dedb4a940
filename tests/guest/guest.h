/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A real guest under QEMU, and the line to the agent in it (agent.c has the commands).
 *
 * guest_require() makes what it boots, once for each build directory, or skips the test with the reason. Every wait
 * is bounded; what cannot be done fails the test, with the end of the guest's console in the report. A VMM dies with
 * the test that started it.
 */

#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#define GUEST_BOOT_MS 60000    /* TCG on a busy machine */
#define GUEST_COMMAND_MS 90000

struct guest {
        pid_t vmm;
        int control;
        char console[256]; /* a file */
        char line[1024];  /* what came after the last whole line */
        size_t length;
        unsigned cid;     /* as the guest knows it */
};

/* Before anything else in a test, since these may skip it. */
void guest_require(void);
/* The kernel's tests are in the guest, as vsock_test. */
void guest_require_kernel_suite(void);

/* Starts QEMU with these arguments added, of `hvsock vm args` for instance, ended by NULL; returns at once. */
struct guest *guest_start(const char *const arguments[]);
/* The agent and its vsock device are there: after the start, and after a reboot. */
void guest_await_ready(struct guest *guest);

/* A command; the test fails unless the answer begins with `ok`. Returns what follows, good until the next one. */
const char *guest_do(struct guest *guest, const char *format, ...) __attribute__((format(printf, 2, 3)));
/* The two halves of it. */
void guest_tell(struct guest *guest, const char *format, ...) __attribute__((format(printf, 2, 3)));
const char *guest_answer(struct guest *guest);

/* Powered off by itself: QEMU ends with 0. */
void guest_power_off(struct guest *guest);
/* As if the VMM crashed. */
void guest_kill(struct guest *guest);
