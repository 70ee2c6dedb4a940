/* SPDX-License-Identifier: MIT */
#pragma once

/* What AF_VSOCK's callers get told where libhvsock says something else. */

enum vsock_call {
        VSOCK_BIND,
        VSOCK_LISTEN,
        VSOCK_CONNECT,
};

/* `error` is libhvsock's, positive, and `rule` the one that refused: 0 if the broker was not what refused. */
int vsock_error(enum vsock_call call, int error, int rule);
