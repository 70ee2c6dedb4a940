/* SPDX-License-Identifier: MIT */
#pragma once

/* The one step from the library's inside, where a failure is -errno, to its outside, where it is -1 and errno. */

#include <errno.h>

static inline int posix_result(int r) {
        if (r >= 0)
                return r;
        errno = -r;
        return -1;
}
