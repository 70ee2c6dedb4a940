/* SPDX-License-Identifier: MIT */
#pragma once

/* From -errno, inside, to -1 with errno, outside. */

#include <errno.h>

static inline int fail(int negative_errno) {
        errno = -negative_errno;
        return -1;
}
