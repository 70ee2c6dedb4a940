/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * sockaddr_vm and SOCKADDR_HV.
 *
 * A port that can be bound is a template ServiceId, 0 to HV_PORT_MAX. What
 * libhvsock makes for a connector, an ephemeral ServiceId, shows as a port beyond
 * them, so it is never taken for one that could be bound; both ends see the same.
 */

#include <hvsocket.h>
#include <linux/vm_sockets.h>
#include <sys/socket.h>

/* A copy of a caller's address: 0, -EFAULT or -EINVAL. */
int vsock_address_take(const struct sockaddr *address, socklen_t length, struct sockaddr_vm *ret);
/* As the kernel gives addresses: cut to *length, which is then the whole one's. 0, -EFAULT or -EINVAL. */
int vsock_address_give(uint32_t cid, uint32_t port, struct sockaddr *ret_address, socklen_t *length);

uint32_t vsock_port_of(const GUID *service_id);
/* Both: VMADDR_CID_ANY where the broker does not say. */
uint32_t vsock_cid_of(const GUID *vm_id);
uint32_t vsock_own_cid(void);

/* Whom a connect to this CID dials. -ENODEV, or -ENETUNREACH for the hypervisor, which has no sockets. */
int vsock_dialled(uint32_t cid, GUID *ret_vm_id);
