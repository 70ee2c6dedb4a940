/* SPDX-License-Identifier: MIT */

/*
 * guard LIBRARY... -- COMMAND [ARGUMENT]...
 *
 * Runs a command with these libraries preloaded, and kills each of its processes
 * that asks the kernel itself for a socket of these families: see filter.h.
 */

#include "filter.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int main(int argc, char **argv) {
        char preloaded[8192] = "";
        int at = 1;
        for (; at < argc && strcmp(argv[at], "--"); at++) {
                size_t length = strlen(preloaded);
                snprintf(preloaded + length, sizeof preloaded - length, "%s%s", length ? ":" : "", argv[at]);
        }
        if (at + 1 >= argc) {
                fputs("guard LIBRARY... -- COMMAND [ARGUMENT]...\n", stderr);
                return 125;
        }
        filter_install();
        setenv("LD_PRELOAD", preloaded, 1);
        execvp(argv[at + 1], argv + at + 1);
        perror(argv[at + 1]);
        return 126;
}
