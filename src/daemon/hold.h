/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Has what VMs need held by the holder process (vm/holder.h), so that their next
 * hvsockd serves them on, and applications see a reset when this one dies.
 *
 * Theory of operation. A holder is started when there is something to hold, a
 * front-end or a channel, and is let go after HOLD_IDLE_MS without: a world without
 * VMs has none. Nothing here waits for it but hold_open(), which asks the
 * predecessor's for what it has, for HOLD_ANSWER_MS at most. What is to be held is
 * queued, sent at the loop's next turn, in batches, and not held if the holder does
 * not keep up. A holder that dies is replaced after HOLD_AGAIN_MS; the VMs' threads
 * then say again what they have.
 */

#include "daemon/world.h"
#include "vm/held.h"

#define HOLD_ANSWER_MS 2000
#define HOLD_IDLE_MS 100
#define HOLD_AGAIN_MS 1000
#define HOLD_QUEUE_MAX 4096u     /* packets that wait */
#define HOLD_QUEUE_FDS_MAX 4096u /* descriptors in them */

#define HOLDER_SOCKET "holder" /* in the runtime directory */

int hold_open(struct world *world);
/* The holder sees the end of hvsockd. */
void hold_close(struct world *world);

/* What a predecessor had of this VM, once; the caller's. NULL: nothing is held. */
struct vm_held *hold_take(struct world *world, const GUID *vm_id);
/* All VMs have taken theirs: what is left belongs to none. */
int hold_settle(struct world *world);

/*
 * A VM is about to have something to be held. The holder is started now if there is none, before a VMM's descriptors
 * are in this process: a child that has them, too, may never get rid of them.
 */
void hold_expect_vm(struct world *world, const GUID *vm_id);
/* Takes the set, in place of the one before. */
void hold_vm(struct world *world, const GUID *vm_id, struct vm_held *held);
/* Closes a set that a VMM sent, and that nobody wants, without waiting. NULL is fine. */
void hold_discard(const GUID *vm_id, struct vm_held *held);
void hold_forget_vm(struct world *world, const GUID *vm_id);
/* The host's end of a channel, whose descriptor stays the caller's. Returns its number; 0: it is not held. */
uint64_t hold_end(struct world *world, int fd);
void hold_forget_end(struct world *world, uint64_t number);

/*
 * hold_start.c: a process that listens at HOLDER_SOCKET by the time this returns. *ret_starter is a child, to be reaped
 * when it ends, which nobody may wait for.
 */
int hold_start(struct world *world, pid_t *ret_starter);
/* Says hello to who listens there. -ENOENT, -ECONNREFUSED: nobody does. */
int hold_connect(int *ret_fd);
