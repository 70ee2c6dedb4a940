/* SPDX-License-Identifier: MIT */
#pragma once

/* The cases of the kernel's vsock_test that no program can have whose sockets are AF_UNIX's, as those of preloaded ones. */

#include "test.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Data is the kernel's, and not looked at: docs/porting.md has the same list. */
static const struct {
        const char *name, *why;
} left_out[] = {
        {"SOCK_SEQPACKET msg bounds", "it wants MSG_EOR back, which AF_UNIX does not carry"},
        {"SOCK_SEQPACKET invalid receive buffer", "it wants ENOMEM of a buffer that is no memory, and AF_UNIX says EFAULT"},
        {"SOCK_STREAM poll() + SO_RCVLOWAT", "poll of AF_UNIX does not heed SO_RCVLOWAT"},
};
#define LEFT_OUT (sizeof left_out / sizeof *left_out)

#define LEFT_OUT_TEXT 128

/* Options for vsock_test, which has numbers of its own for them in each version. Says what is left out, and why. */
static inline void leave_out(const char *suite, char ret_skips[LEFT_OUT_TEXT]) {
        char command[4200], line[256];
        size_t length = 0, found = 0;
        snprintf(command, sizeof command, "'%s' --list", suite);
        FILE *list = popen(command, "r");
        check(list);
        while (fgets(line, sizeof line, list))
                for (size_t i = 0; i < LEFT_OUT; i++)
                        if (strstr(line, left_out[i].name)) {
                                length += (size_t)snprintf(ret_skips + length, LEFT_OUT_TEXT - length, " --skip=%d", atoi(line));
                                printf("left out: %s: %s\n", left_out[i].name, left_out[i].why);
                                found++;
                        }
        pclose(list); /* its code is a failure's, though it listed them */
        check_equal(found, LEFT_OUT);
}
