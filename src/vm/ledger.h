/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * What a successor needs to serve a VM on, after the death of the process that did:
 * the state of the vhost-user device, and the table of open connections, in a memfd
 * that outlives its writer.
 *
 * Theory of operation. It is kept current with plain stores, in an order that a
 * death between any two of them leaves usable. The device's state lies there twice:
 * the copy that is not current is written, then made current. A connection has a
 * slot, which is valid by the store of its type, the last one. It is taken before
 * the guest can have heard of the connection, and given up only when the guest has
 * been shown that it is over: ledger_settle(), after the queues' used indices were
 * written. So a successor may tell the guest of an end that it knows of, which it
 * bears, but never keeps silent.
 *
 * A message of the front-end that was begun and not finished cannot be repeated:
 * who dies in it leaves a VM that cannot be served on, and the front-end is let go.
 *
 * Descriptors are kept apart (holder_client.h), as a set; each set has the generation
 * of the state that it belongs to. What is read back is checked like a stranger's.
 */

#include "vm/vhost_user.h"
#include "vm/vsock_packet.h"

#define LEDGER_NO_SLOT UINT32_MAX

struct ledger;
struct device;

/* -errno of memfd_create(2) and mmap(2), -EFBIG: RLIMIT_FSIZE. */
int ledger_create(struct ledger **ret);
/* A predecessor's, of whatever state; the descriptor is taken in any case. -EPROTO: it is none. */
int ledger_adopt(int fd, struct ledger **ret);
/* NULL. The file is there as long as somebody holds a descriptor of it. */
struct ledger *ledger_free(struct ledger *ledger);
/* Borrowed, for whoever keeps it. */
int ledger_fd(const struct ledger *ledger);

/* Around the receipt of each message of the front-end, its reply included. */
void ledger_begin_message(struct ledger *ledger);
/* None had come. */
void ledger_no_message(struct ledger *ledger);
/* `request` is its kind. What the device has by now is there. */
void ledger_end_message(struct ledger *ledger, const struct vhost_user *device, uint32_t request);
/* Counts the changes of the device's descriptors: when it is another one, the set of them is to be held anew. */
uint64_t ledger_generation(const struct ledger *ledger);

/* For vsock.c and device.c. `ledger` may be NULL. */
uint32_t ledger_add(struct ledger *ledger, uint64_t cid, uint32_t port, uint32_t guest_port, enum vsock_type type);
/* From the next ledger_settle() on. */
void ledger_remove(struct ledger *ledger, uint32_t slot);
/* The guest is another one: it has no connections. */
void ledger_forget_all(struct ledger *ledger);
/* The guest can see all that was done until now. */
void ledger_settle(struct ledger *ledger);

/*
 * Serves on: a device as device_init() made it gets the state, the descriptors, which are taken in any case, and a RST
 * to be sent for each connection that was open. -EPROTO: it died in a message, the descriptors are those of another
 * generation, or it cannot have been so; the device is as before.
 */
int ledger_restore(struct ledger *ledger, struct device *device, uint64_t generation, const int *fds,
                   unsigned fd_count, struct vhost_user_changes *ret_changes);
