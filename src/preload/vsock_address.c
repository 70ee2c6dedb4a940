/* SPDX-License-Identifier: MIT */

/* Addresses of AF_VSOCK, to and fro. */

#include "preload/vsock_address.h"

#include "base/guid.h"
#include "preload/cid.h"
#include <errno.h>
#include <hvsock.h>
#include <stddef.h>
#include <string.h>

#define EPHEMERAL_PORT 0x80000000u

int vsock_address_take(const struct sockaddr *address, socklen_t length, struct sockaddr_vm *ret) {
        struct sockaddr_vm taken;
        if (length > sizeof(struct sockaddr_storage))
                return -EINVAL;
        if (!address && length)
                return -EFAULT;
        if (length < sizeof taken)
                return -EINVAL;
        memcpy(&taken, address, sizeof taken);
        if (taken.svm_family != AF_VSOCK || taken.svm_flags & ~VMADDR_FLAG_TO_HOST)
                return -EINVAL;
        *ret = taken;
        return 0;
}

int vsock_address_give(uint32_t cid, uint32_t port, struct sockaddr *ret_address, socklen_t *length) {
        struct sockaddr_vm address = {.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
        if (!ret_address || !length)
                return -EFAULT;
        if (*length > INT32_MAX)
                return -EINVAL;
        memcpy(ret_address, &address, *length < sizeof address ? *length : sizeof address);
        *length = sizeof address;
        return 0;
}

uint32_t vsock_port_of(const GUID *service_id) {
        uint32_t port;
        if (hv_service_to_port(service_id, &port) == 0)
                return port;
        port = service_id->Data1 | EPHEMERAL_PORT;
        return port == VMADDR_PORT_ANY ? port - 1 : port;
}

uint32_t vsock_cid_of(const GUID *vm_id) {
        uint32_t cid;
        return cid_of_vm(vm_id, &cid) == 0 ? cid : VMADDR_CID_ANY;
}

uint32_t vsock_own_cid(void) {
        uint32_t cid;
        return cid_own(&cid) == 0 ? cid : VMADDR_CID_ANY;
}

int vsock_dialled(uint32_t cid, GUID *ret_vm_id) {
        switch (cid) {
        case VMADDR_CID_HYPERVISOR:
                return -ENETUNREACH;
        case VMADDR_CID_LOCAL:
                *ret_vm_id = HV_GUID_LOOPBACK;
                return 0;
        case VMADDR_CID_HOST:
                if (vsock_own_cid() == VMADDR_CID_HOST)
                        break;
                *ret_vm_id = HV_GUID_PARENT;
                return 0;
        }
        return cid_to_vm(cid, ret_vm_id) < 0 ? -ENODEV : 0;
}
