/* SPDX-License-Identifier: MIT */
#ifndef HVSOCK_WINSOCK_OBJBASE_H
#define HVSOCK_WINSOCK_OBJBASE_H

/* GUIDs to text and back, as <objbase.h> has it. Pure, and good in any thread. */

#include <guiddef.h>

HVSOCK_WINSOCK_BEGIN

typedef WCHAR OLECHAR, *LPOLESTR;
typedef const WCHAR *LPCOLESTR;

/*
 * Writes "{A42E7CDA-D03F-480C-9CC2-A4DE20ABB878}", in upper case. Returns how many
 * characters that took, 39 with the NUL; 0 where `size` characters are too few. [Windows]
 */
int WINAPI StringFromGUID2(REFGUID guid, LPOLESTR ret_text, int size) HVSOCK_WINSOCK_NAME(StringFromGUID2);

/*
 * The other way, in any case; the braces are needed; NULL is the GUID of zeros [Windows].
 * Names of programs are not looked up. On failure *ret_guid is all zeros [Windows].
 *
 *   CO_E_CLASSSTRING  anything else
 *   E_INVALIDARG      no place for the result
 */
HRESULT WINAPI CLSIDFromString(LPCOLESTR text, LPCLSID ret_guid) HVSOCK_WINSOCK_NAME(CLSIDFromString);

HVSOCK_WINSOCK_END

#endif
