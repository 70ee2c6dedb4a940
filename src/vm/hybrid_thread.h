/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The thread of a VM whose VMM speaks the hybrid protocol (Firecracker, Cloud
 * Hypervisor, OpenVMM): it listens at PATH for CONNECT lines, and connects to
 * PATH_<port> when the guest dials the host. For the loop it is a worker like any other.
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

#include "vm/worker.h"

#define HYBRID_PROBE_MS 1000
#define HYBRID_DOUBT_MS 20
#define HYBRID_RETRY_MS 10        /* a VMM whose backlog is full, or no descriptor is free */
#define HYBRID_BUFFER 65536u      /* bytes that a channel moves at once, and the most that its backlogs hold */
#define HYBRID_TURN_BYTES 524288u /* each way, before the others have their turn */
#define HYBRID_LISTENERS_MAX 1024u /* files PATH_<port> */

#define HYBRID_ANY_UID UINT32_MAX

/*
 * Not started yet: vm_worker_start(). `vmm_uid`: who runs the VMM. It ends with VM_STOP, and not by itself; its files are
 * removed. CONNECT of VSOCK_SEQPACKET is refused: EPROTOTYPE. SUSPEND means nothing. -ENAMETOOLONG; -ENOMEM; and what the
 * kernel says.
 */
int hybrid_thread_new(const char *path, uint32_t vmm_uid, struct vm_worker **ret_worker);
