/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A file whose server answers no more: each close of a descriptor of it waits, and no signal but a deadly one ends that.
 * It takes a FUSE server that is stopped, and so root.
 */

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct deaf_file {
        int fd;
        pid_t server;
};

/* Of `size` bytes, and served until then. False: it cannot be had here. The test's own mount namespace has it. */
bool deaf_file_open(struct deaf_file *ret, uint64_t size);
/* From now on nobody serves it. The descriptor here is closed: it is to be passed on by then. */
void deaf_file_stop(struct deaf_file *file);
/* The server is gone: whoever waits goes on. */
void deaf_file_close(struct deaf_file *file);
