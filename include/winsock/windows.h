/* SPDX-License-Identifier: MIT */
#ifndef HVSOCK_WINSOCK_WINDOWS_H
#define HVSOCK_WINSOCK_WINDOWS_H

/* What <windows.h> gives that sources which use sockets need: the types, GUIDs and their texts, and the last error. */

#include <guiddef.h>
#include <stdlib.h> /* as Windows compilers' headers do */
#include <windef.h>
#ifndef WIN32_LEAN_AND_MEAN
#include <objbase.h>
#include <rpc.h>
#endif

HVSOCK_WINSOCK_BEGIN

#define NO_ERROR 0
#define ERROR_SUCCESS 0

/* This thread's last error: the one that WSAGetLastError() gives. [Windows] */
DWORD WINAPI GetLastError(void) HVSOCK_WINSOCK_NAME(GetLastError);
VOID WINAPI SetLastError(DWORD error) HVSOCK_WINSOCK_NAME(SetLastError);

HVSOCK_WINSOCK_END

#endif
