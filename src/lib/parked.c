/* SPDX-License-Identifier: MIT */

/* Parked sockets: see parked.h. */

#include "lib/parked.h"

#include "base/fd.h"
#include "lib/address.h"
#include "wire/parked.h"
#include <errno.h>

int parked_result(int fd) {
        int value;
        if (socket_option(fd, PARKED_OPTION, &value) < 0)
                return 0;
        if (value == EINPROGRESS && socket_is_hung_up(fd)) {
                (void)socket_option(fd, PARKED_OPTION, &value); /* which is said before the end is closed */
                if (value == EINPROGRESS)
                        return -ETIMEDOUT; /* the broker is gone, and its end with it */
        }
        return value > 0 ? -value : 0;
}
