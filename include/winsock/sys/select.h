/* SPDX-License-Identifier: MIT */

/*
 * libc's <sys/select.h>, which <stdlib.h> includes, and which redefines FD_SETSIZE
 * without a word: what the source had defined it as is kept for <winsock2.h>.
 */

#pragma GCC system_header

#if defined FD_SETSIZE && !defined _SYS_SELECT_H && !defined HVSOCK_WINSOCK_FD_SETSIZE_IS_KEPT
#define HVSOCK_WINSOCK_FD_SETSIZE_IS_KEPT
#pragma push_macro("FD_SETSIZE")
#endif
#include_next <sys/select.h>
