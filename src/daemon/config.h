/* SPDX-License-Identifier: MIT */
#pragma once

/* hvsockd.conf: the quotas. Pure. Unknown keys are ignored, so that an older hvsockd reads a newer file. */

#include "broker/limits.h"
#include "broker/registry.h"
#include <stddef.h>

#define CONFIG_FILE_MAX 65536u  /* bytes */
#define QUOTA_MAX 1000000u      /* the most that any quota can be raised to */

/* Cuts `text` up. Sets the quotas that the file names; *quotas is untouched on -EINVAL. */
int config_parse(char *text, size_t length, struct quotas *quotas, struct text_error *ret_error);
