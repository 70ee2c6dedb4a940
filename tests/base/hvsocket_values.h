/* SPDX-License-Identifier: MIT */

/*
 * What the Windows SDK's header says of each name, asserted at compile time: a
 * source that includes <hvsocket.h>, and then this, compiles only if all hold.
 * C and C++.
 */

#include <stddef.h>

#ifdef __cplusplus
#define ASSERT(condition) static_assert(condition, #condition)
#else
#define ASSERT(condition) _Static_assert(condition, #condition)
#endif

ASSERT(AF_HYPERV == 34);
ASSERT(HV_PROTOCOL_RAW == 1);

ASSERT(HVSOCKET_CONNECT_TIMEOUT == 0x01);
ASSERT(HVSOCKET_CONTAINER_PASSTHRU == 0x02);
ASSERT(HVSOCKET_CONNECTED_SUSPEND == 0x04);
ASSERT(HVSOCKET_HIGH_VTL == 0x08);
ASSERT(HVSOCKET_CONNECT_TIMEOUT_MAX == 300000);
ASSERT(HVSOCKET_ADDRESS_FLAG_PASSTHRU == 0x00000001);

ASSERT(sizeof(GUID) == 16);
ASSERT(offsetof(GUID, Data1) == 0 && sizeof(((GUID *)0)->Data1) == 4);
ASSERT(offsetof(GUID, Data2) == 4 && sizeof(((GUID *)0)->Data2) == 2);
ASSERT(offsetof(GUID, Data3) == 6 && sizeof(((GUID *)0)->Data3) == 2);
ASSERT(offsetof(GUID, Data4) == 8 && sizeof(((GUID *)0)->Data4) == 8);

ASSERT(sizeof(HV_ADDRESS_FAMILY) == 2);
ASSERT(sizeof(SOCKADDR_HV) == 36);
ASSERT(offsetof(SOCKADDR_HV, Family) == 0 && sizeof(((SOCKADDR_HV *)0)->Family) == 2);
ASSERT(offsetof(SOCKADDR_HV, Reserved) == 2 && sizeof(((SOCKADDR_HV *)0)->Reserved) == 2);
ASSERT(offsetof(SOCKADDR_HV, VmId) == 4);
ASSERT(offsetof(SOCKADDR_HV, ServiceId) == 20);
ASSERT(sizeof(*(PSOCKADDR_HV)0) == 36);

ASSERT(sizeof(HVSOCKET_ADDRESS_INFO) == 52);
ASSERT(offsetof(HVSOCKET_ADDRESS_INFO, SystemId) == 0);
ASSERT(offsetof(HVSOCKET_ADDRESS_INFO, VirtualMachineId) == 16);
ASSERT(offsetof(HVSOCKET_ADDRESS_INFO, SiloId) == 32);
ASSERT(offsetof(HVSOCKET_ADDRESS_INFO, Flags) == 48 && sizeof(((HVSOCKET_ADDRESS_INFO *)0)->Flags) == 4);
ASSERT(sizeof(*(PHVSOCKET_ADDRESS_INFO)0) == 52);
