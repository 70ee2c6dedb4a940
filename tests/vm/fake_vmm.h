/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A VMM that speaks the hybrid protocol, the loop, which hears and tells the VM's thread,
 * and an application with the library: what stands around the thread of a hybrid VM.
 */

#include "vm/hybrid_thread.h"
#include <stdbool.h>
#include <sys/types.h>

#define FAKE_VMM_PATIENCE_MS 10000

extern char directory[], path[64]; /* where the VMM is */
extern struct vm_worker *thread;
extern int vmm;                   /* listens at the path, or -1 */
extern uint32_t vmm_uid;          /* who is said to run it */
extern int application, stream;   /* of the one channel that most tests have */
extern struct vm_traffic traffic; /* of it */

/* ---- the VMM ---- */

int listen_at(const char *at, int backlog);
/* -1: nobody listens there. */
int connect_to(const char *at);
void wait_for(int fd, short events);
/* The next connection that is no probe, and says this. */
int accept_line(const char *line);

/* ---- the loop ---- */

struct vm_message hear_anything(void);
/* The next message, states apart. */
struct vm_message expect(enum vm_message_kind kind);
void tell(struct vm_message message);
void await_running(bool is_running);

void begin_without_vmm(void);
void begin_with_backlog(int backlog);
void begin(void);
void stop(void);
/* And all files of the thread's are gone. */
void end(void);

/* ---- channels ---- */

void dial(uint64_t ticket, uint32_t port);
/* A channel's end for the thread, whose other end is `application`. */
int make_end(void);
void join_channel(uint64_t ticket, enum vm_message_kind kind);
/* The one channel: ticket 2, to port 22. */
void connect_channel(void);
/* It is closed by both, and all is over. */
void finish_channel(void);
/* On `application`. */
ssize_t receive(void *bytes, size_t size);
void expect_from_guest(const char *text);
