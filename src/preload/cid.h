/* SPDX-License-Identifier: MIT */
#pragma once

/* CIDs of partitions, as this process's broker has them. */

#include <hvsocket.h>
#include <stdint.h>

/* All: 0 or -errno. -ENOENT: there is none, or none that this partition can address. */
int cid_own(uint32_t *ret_cid);
int cid_of_vm(const GUID *vm_id, uint32_t *ret_cid);
int cid_to_vm(uint32_t cid, GUID *ret_vm_id);
