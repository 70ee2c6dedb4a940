/* SPDX-License-Identifier: MIT */

/* Takes back the macros of hvsock_names_on.h. */

#undef accept
#undef bind
#undef connect
#undef getpeername
#undef getsockname
#undef getsockopt
#undef inet_ntoa
#undef listen
#undef recv
#undef recvfrom
#undef send
#undef sendto
#undef setsockopt
#undef shutdown
#undef socket
