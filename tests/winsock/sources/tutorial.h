/* SPDX-License-Identifier: MIT */

/* What the tutorial's server and client share: its struct, the GUIDs of its table, and the service. */

#include <winsock2.h>
#include <ws2tcpip.h>
#include <initguid.h>
#include <hvsocket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#pragma comment(lib, "Ws2_32.lib")
#pragma comment(lib, "Rpcrt4.lib")

#ifndef __cplusplus /* where <hvsocket.h> has given the name to a type */
struct SOCKADDR_HV
{
     ADDRESS_FAMILY Family;
     USHORT Reserved;
     GUID VmId;
     GUID ServiceId;
};
#define ADDRESS struct SOCKADDR_HV
#else
#define ADDRESS SOCKADDR_HV
#endif

/* Registered as "HV Socket Demo". {3049197C-9A4E-4FBF-9367-97F792F16994} */
DEFINE_GUID(SERVICE, 0x3049197c, 0x9a4e, 0x4fbf, 0x93, 0x67, 0x97, 0xf7, 0x92, 0xf1, 0x69, 0x94);

/* A name of the table, or the text of a GUID. */
static int vm_id_of(const char *text, GUID *vm_id) {
        static const struct {
                const char *name;
                const GUID *id;
        } table[] = {
                {"HV_GUID_ZERO", &HV_GUID_ZERO},         {"HV_GUID_WILDCARD", &HV_GUID_WILDCARD},
                {"HV_GUID_BROADCAST", &HV_GUID_BROADCAST}, {"HV_GUID_CHILDREN", &HV_GUID_CHILDREN},
                {"HV_GUID_LOOPBACK", &HV_GUID_LOOPBACK}, {"HV_GUID_PARENT", &HV_GUID_PARENT},
        };
        for (size_t i = 0; i < ARRAYSIZE(table); i++)
                if (!strcmp(text, table[i].name)) {
                        *vm_id = *table[i].id;
                        return 0;
                }
        return UuidFromStringA((RPC_CSTR)text, vm_id) == RPC_S_OK ? 0 : -1;
}

static int fail(const char *what) {
        fprintf(stderr, "%s: %d\n", what, WSAGetLastError());
        WSACleanup();
        return 1;
}
