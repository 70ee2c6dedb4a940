/* SPDX-License-Identifier: MIT */

/* libhvsock's <hvsocket.h>; and from here on DEFINE_GUID defines, as sources expect of Windows' one. */

#pragma GCC system_header

#include <initguid.h>
#include_next <hvsocket.h>
