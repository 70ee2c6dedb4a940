/* SPDX-License-Identifier: MIT */

/*
 * Built several times, as C and C++, in several orders of inclusion: each unit
 * must compile without a warning, and its constants are compared in
 * hvsocket.c. UNIT is the unit's function.
 */

#ifdef SOCKET_FIRST
#include <sys/socket.h>
#endif
#ifdef WITH_CALLS
#include <hvsock.h>
#endif
#include <hvsocket.h>
#include <hvsocket.h>
#ifdef SOCKET_LAST
#include <sys/socket.h>
#endif

#include "hvsocket_values.h"

#ifdef __cplusplus
extern "C" {
#endif

void UNIT(const GUID *ret_guids[8]);

void UNIT(const GUID *ret_guids[8]) {
        ret_guids[0] = &HV_GUID_ZERO;
        ret_guids[1] = &HV_GUID_WILDCARD;
        ret_guids[2] = &HV_GUID_BROADCAST;
        ret_guids[3] = &HV_GUID_CHILDREN;
        ret_guids[4] = &HV_GUID_LOOPBACK;
        ret_guids[5] = &HV_GUID_PARENT;
        ret_guids[6] = &HV_GUID_SILOHOST;
        ret_guids[7] = &HV_GUID_VSOCK_TEMPLATE;
}

#if defined(SOCKET_FIRST) || defined(SOCKET_LAST) || defined(WITH_CALLS)
/* The address goes where a sockaddr goes, and its family is where sockaddr's is. */
ASSERT(sizeof(SOCKADDR_HV) <= sizeof(struct sockaddr_storage));
ASSERT(offsetof(SOCKADDR_HV, Family) == offsetof(struct sockaddr, sa_family));
ASSERT(sizeof(HV_ADDRESS_FAMILY) == sizeof(sa_family_t));
#endif

#ifdef __cplusplus
}
#endif
