/* SPDX-License-Identifier: MIT */
#ifndef HVSOCKET_H
#define HVSOCKET_H

/*
 * The names, values and layouts of the Windows SDK's <hvsocket.h>, for Linux.
 *
 * Owns the address format and the constants; the calls are in <hvsock.h>.
 * Usable from C and C++, before or after <sys/socket.h>. Nothing here needs
 * linking: the well-known GUIDs are constants of each translation unit.
 *
 * On Linux 34 is also AF_ISDN, and the kernel knows no AF_HYPERV: these
 * addresses go to the hv_*() calls, or to Winsock's of <winsock2.h> that comes with
 * hvsock, never to socket(2) and its relatives.
 */

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#ifndef GUID_DEFINED
#define GUID_DEFINED
/* The first three fields are integers in host byte order; Data4 is bytes. */
typedef struct _GUID {
        uint32_t Data1;
        uint16_t Data2;
        uint16_t Data3;
        uint8_t Data4[8];
} GUID;
#endif

typedef uint16_t HV_ADDRESS_FAMILY;

#define AF_HYPERV 34
#define HV_PROTOCOL_RAW 1

/*
 * Socket options. Windows gives them the level HV_PROTOCOL_RAW, which on Linux
 * is SOL_SOCKET; the hv_*() calls take them at SOL_HVSOCKET (see <hvsock.h>), and
 * only Winsock's at HV_PROTOCOL_RAW.
 * Each value is a 32-bit unsigned integer.
 */
#define HVSOCKET_CONNECT_TIMEOUT 0x01    /* milliseconds */
#define HVSOCKET_CONTAINER_PASSTHRU 0x02 /* non-zero: stand in the VM's place */
#define HVSOCKET_CONNECTED_SUSPEND 0x04  /* non-zero: survive a paused VM */
#define HVSOCKET_HIGH_VTL 0x08           /* non-zero: reach the guest's VTL2 */

#define HVSOCKET_CONNECT_TIMEOUT_MAX 300000

#define HVSOCKET_ADDRESS_FLAG_PASSTHRU 0x00000001

/* The 36-byte address: which machine, which service. Reserved must be 0. */
typedef struct _SOCKADDR_HV {
        HV_ADDRESS_FAMILY Family;
        uint16_t Reserved;
        GUID VmId;
        GUID ServiceId;
} SOCKADDR_HV, *PSOCKADDR_HV;

typedef struct _HVSOCKET_ADDRESS_INFO {
        GUID SystemId;
        GUID VirtualMachineId;
        GUID SiloId;
        uint32_t Flags;
} HVSOCKET_ADDRESS_INFO, *PHVSOCKET_ADDRESS_INFO;

#if defined(__GNUC__)
#define HV_DEFINE_GUID(name, d1, d2, d3, b0, b1, b2, b3, b4, b5, b6, b7) \
        __attribute__((__unused__)) static const GUID name = {d1, d2, d3, {b0, b1, b2, b3, b4, b5, b6, b7}}
#else
#define HV_DEFINE_GUID(name, d1, d2, d3, b0, b1, b2, b3, b4, b5, b6, b7) \
        static const GUID name = {d1, d2, d3, {b0, b1, b2, b3, b4, b5, b6, b7}}
#endif

/* Listeners: accept from every partition. 00000000-0000-0000-0000-000000000000 */
HV_DEFINE_GUID(HV_GUID_ZERO, 0x00000000, 0x0000, 0x0000, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00);
HV_DEFINE_GUID(HV_GUID_WILDCARD, 0x00000000, 0x0000, 0x0000, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00);

/* Never usable. FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF */
HV_DEFINE_GUID(HV_GUID_BROADCAST, 0xFFFFFFFF, 0xFFFF, 0xFFFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF);

/* Listeners: accept from the children. 90db8b89-0d35-4f79-8ce9-49ea0ac8b7cd */
HV_DEFINE_GUID(HV_GUID_CHILDREN, 0x90db8b89, 0x0d35, 0x4f79, 0x8c, 0xe9, 0x49, 0xea, 0x0a, 0xc8, 0xb7, 0xcd);

/* The caller's own partition. e0e16197-dd56-4a10-9195-5ee7a155a838 */
HV_DEFINE_GUID(HV_GUID_LOOPBACK, 0xe0e16197, 0xdd56, 0x4a10, 0x91, 0x95, 0x5e, 0xe7, 0xa1, 0x55, 0xa8, 0x38);

/* The caller's parent. a42e7cda-d03f-480c-9cc2-a4de20abb878 */
HV_DEFINE_GUID(HV_GUID_PARENT, 0xa42e7cda, 0xd03f, 0x480c, 0x9c, 0xc2, 0xa4, 0xde, 0x20, 0xab, 0xb8, 0x78);

/* A container's host. 36bd0c5c-7276-4223-88ba-7d03b654c568 */
HV_DEFINE_GUID(HV_GUID_SILOHOST, 0x36bd0c5c, 0x7276, 0x4223, 0x88, 0xba, 0x7d, 0x03, 0xb6, 0x54, 0xc5, 0x68);

/* Data1 carries a vsock port. 00000000-facb-11e6-bd58-64006a7986d3 */
HV_DEFINE_GUID(HV_GUID_VSOCK_TEMPLATE, 0x00000000, 0xfacb, 0x11e6, 0xbd, 0x58, 0x64, 0x00, 0x6a, 0x79, 0x86, 0xd3);

#ifdef __cplusplus
}
#endif

#endif
