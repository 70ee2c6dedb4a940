/* SPDX-License-Identifier: MIT */

/* What Windows has here is in <winsock2.h>. */

#include <winsock2.h>
