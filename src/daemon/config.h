/* SPDX-License-Identifier: MIT */
#pragma once

/* hvsockd.conf: the quotas. Pure. */

#include "broker/limits.h"
#include "broker/registry.h"
#include <stddef.h>

#define CONFIG_FILE_MAX 65536u  /* bytes */
#define QUOTA_MAX 1000000u      /* the most that any quota can be raised to */

/* Sets the quotas that the file names; *quotas is untouched on -EINVAL. */
int config_parse(const char *text, size_t length, struct quotas *quotas, struct text_error *ret_error,
                 struct text_notes *ret_notes);
