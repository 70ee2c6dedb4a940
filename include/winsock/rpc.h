/* SPDX-License-Identifier: MIT */
#ifndef HVSOCK_WINSOCK_RPC_H
#define HVSOCK_WINSOCK_RPC_H

/* GUIDs from text, as <rpc.h> has it. Pure, and good in any thread. */

#include <guiddef.h>

HVSOCK_WINSOCK_BEGIN

typedef LONG RPC_STATUS;
typedef unsigned char *RPC_CSTR;
typedef WCHAR *RPC_WSTR;

#define RPC_S_OK 0
#define RPC_S_INVALID_STRING_UUID 1705

/*
 * "a42e7cda-d03f-480c-9cc2-a4de20abb878", in any case and without braces, to a GUID;
 * NULL to the GUID of zeros [Windows]. *ret_uuid is untouched on failure.
 *
 *   RPC_S_INVALID_STRING_UUID  anything else
 */
RPC_STATUS WINAPI UuidFromStringA(RPC_CSTR text, UUID *ret_uuid) HVSOCK_WINSOCK_NAME(UuidFromStringA);
RPC_STATUS WINAPI UuidFromStringW(RPC_WSTR text, UUID *ret_uuid) HVSOCK_WINSOCK_NAME(UuidFromStringW);
#ifdef UNICODE
#define UuidFromString UuidFromStringW
#else
#define UuidFromString UuidFromStringA
#endif

HVSOCK_WINSOCK_END

#endif
