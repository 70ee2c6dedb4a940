/* SPDX-License-Identifier: MIT */
#include "hvsocket_unit.c"
