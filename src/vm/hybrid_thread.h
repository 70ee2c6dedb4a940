/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The thread of a VM whose VMM speaks the hybrid protocol (Firecracker, Cloud
 * Hypervisor, OpenVMM): it listens at PATH for CONNECT lines, and connects to
 * PATH_<port> when the guest dials the host. For the loop it is what vm/thread.h is:
 * the same messages through the same mailboxes; functions that return at once.
 *
 * Theory of operation. Each ticket is a stream to the VMM joined with the channel's
 * end: what comes from one goes to the other, and what that does not take lies in a
 * backlog, in front of which nothing more is read. What the protocol cannot say is
 * passed on as what comes nearest: a half-close as one, which older VMMs take for a
 * close; the application's reset as a close. Messages (SOCK_SEQPACKET) do not exist.
 *
 * Whether the VM runs is seen by connecting to PATH: every HYBRID_PROBE_MS while it
 * does not, and while it does when there is doubt: a CONNECT failed, or a stream was
 * closed. So a VMM that was killed, and that no channel was open to, is noticed by the
 * next connect. A VMM never says why it closed a stream: before the application is told
 * of an end, HYBRID_DOUBT_MS pass, and the VMM is looked for. If it is gone, the
 * channel is reset.
 *
 * Who listens at PATH is the VM, and who connects to PATH_<port> speaks for its guest:
 * the user who is said to run the VMM, the user of this daemon, or root. Where none is
 * said, anybody can be the first, if the directory lets them, and then whoever owns PATH
 * the second. A file that is there already, and that somebody listens at, is left alone.
 */

#include "vm/thread.h"

#define HYBRID_PROBE_MS 1000
#define HYBRID_DOUBT_MS 20
#define HYBRID_RETRY_MS 10        /* a VMM whose backlog is full, or no descriptor is free */
#define HYBRID_BUFFER 65536u      /* bytes that a channel moves at once, and the most that its backlogs hold */
#define HYBRID_TURN_BYTES 524288u /* each way, before the others have their turn */
#define HYBRID_LISTENERS_MAX 1024u /* files PATH_<port> */

struct hybrid_thread;

#define HYBRID_ANY_UID UINT32_MAX

/* `vmm_uid`: who runs the VMM. -ENAMETOOLONG; -ENOMEM; and what the kernel says. */
int hybrid_thread_start(const char *path, uint32_t vmm_uid, struct hybrid_thread **ret_thread);
int hybrid_thread_fd(const struct hybrid_thread *thread);
void hybrid_thread_hear(struct hybrid_thread *thread, struct list *ret_letters);
/* CONNECT of VSOCK_SEQPACKET is refused: EPROTOTYPE. SUSPEND means nothing. */
int hybrid_thread_tell(struct hybrid_thread *thread, const struct vm_message *message);
void hybrid_thread_state(struct hybrid_thread *thread, struct vm_state *ret);
/* After VM_STOP, which ends it; it does not end by itself. Its files are removed. */
int hybrid_thread_join(struct hybrid_thread *thread);
