/* SPDX-License-Identifier: MIT */
#ifndef HVSOCK_WINSOCK_WINDEF_H
#define HVSOCK_WINSOCK_WINDEF_H

/*
 * The Windows types, annotations and small macros that sources which use sockets are written in.
 *
 * Widths are Windows': DWORD, ULONG and LONG have 32 bits, though `long` has 64
 * here; so "%lu" is not their format, but "%u" is. WCHAR is wchar_t, so that L""
 * and wcslen() go with it: 32 bits here, 16 on Windows.
 */

#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __cplusplus
#define HVSOCK_WINSOCK_BEGIN extern "C" {
#define HVSOCK_WINSOCK_END }
#define EXTERN_C extern "C"
#else
#define HVSOCK_WINSOCK_BEGIN
#define HVSOCK_WINSOCK_END
#define EXTERN_C extern
#endif

/* Libraries export a call under a name that neither libc nor any other port of Windows has. */
#define HVSOCK_WINSOCK_NAME(name) __asm__("hvsock_winsock_" #name) __attribute__((__visibility__("default")))

/* What calling conventions, exports and annotations say to Windows' compilers and nothing to this one. */
#define WINAPI
#define APIENTRY
#define CALLBACK
#define PASCAL
#define FAR
#define CONST const
#define VOID void
#define __cdecl
#define __stdcall
#define __int8 char
#define __int16 short
#define __int32 int
#define __int64 long long
#define _In_
#define _In_opt_
#define _Out_
#define _Out_opt_
#define _Inout_
#define _Inout_opt_

#ifndef TRUE
#define TRUE 1
#endif
#ifndef FALSE
#define FALSE 0
#endif

typedef int BOOL, *PBOOL, *LPBOOL;
typedef char CHAR, *PCHAR, *PSTR, *LPSTR;
typedef const char *PCSTR, *LPCSTR;
typedef unsigned char UCHAR, *PUCHAR, BYTE, *PBYTE, *LPBYTE, BOOLEAN;
typedef wchar_t WCHAR, *PWSTR, *LPWSTR;
typedef const wchar_t *PCWSTR, *LPCWSTR;
typedef int16_t SHORT, INT16;
typedef uint16_t USHORT, UINT16, WORD, *PUSHORT, *PWORD, *LPWORD;
typedef int INT, *PINT, *LPINT;
typedef unsigned int UINT, *PUINT;
typedef int32_t LONG, INT32, *PLONG, *LPLONG, HRESULT;
typedef uint32_t ULONG, UINT32, DWORD, *PULONG, *PDWORD, *LPDWORD;
typedef int64_t LONGLONG, LONG64, INT64;
typedef uint64_t ULONGLONG, ULONG64, UINT64, DWORD64;
typedef int8_t INT8;
typedef uint8_t UINT8;
typedef intptr_t INT_PTR, LONG_PTR, SSIZE_T;
typedef uintptr_t UINT_PTR, ULONG_PTR, DWORD_PTR;
typedef size_t SIZE_T;
typedef void *PVOID, *LPVOID, *HANDLE;
typedef const void *LPCVOID;

#ifdef UNICODE
typedef WCHAR TCHAR, *LPTSTR;
typedef const WCHAR *LPCTSTR;
#define __TEXT(text) L##text
#else
typedef char TCHAR, *LPTSTR;
typedef const char *LPCTSTR;
#define __TEXT(text) text
#endif
#define TEXT(text) __TEXT(text)

#define MAKEWORD(low, high) ((WORD)((BYTE)(low) | (WORD)(BYTE)(high) << 8))
#define LOBYTE(word) ((BYTE)(word))
#define HIBYTE(word) ((BYTE)((WORD)(word) >> 8))
#define INVALID_HANDLE_VALUE ((HANDLE)(LONG_PTR)-1)
#define UNREFERENCED_PARAMETER(parameter) ((void)(parameter))
#define ARRAYSIZE(array) (sizeof(array) / sizeof *(array))
#define ZeroMemory(destination, length) memset((destination), 0, (length))

#define S_OK ((HRESULT)0)
#define NOERROR 0
#define E_INVALIDARG ((HRESULT)0x80070057)
#define CO_E_CLASSSTRING ((HRESULT)0x800401F3)
#define SUCCEEDED(result) ((HRESULT)(result) >= 0)
#define FAILED(result) ((HRESULT)(result) < 0)

#endif
