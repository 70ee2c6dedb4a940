/* SPDX-License-Identifier: MIT */
#pragma once

/* Names as libhvsock sees them from the partition that this shell is in. Exit codes; failures are told. */

#include <hvsock.h>

/* A word (parent, loopback, …), a GUID, or a name that the broker knows. */
int partition_named(const char *text, GUID *ret_vm_id);
/* A GUID, vsock:PORT, or a friendly name that the broker knows. */
int service_named(const char *text, GUID *ret_service_id);
/* The exit code that says the same as an errno of libhvsock. */
int exit_code_of(int error);
