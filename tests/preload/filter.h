/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * From now on this process, and all that it starts, is killed when it asks the kernel itself for a socket of AF_VSOCK
 * or AF_HYPERV: no test reaches this machine's vsock, and one that would, fails. Exits where that cannot be had.
 */
void filter_install(void);
