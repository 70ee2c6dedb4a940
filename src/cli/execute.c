/* SPDX-License-Identifier: MIT */
#include "cli/execute.h"

#include "cli/report.h"
#include <errno.h>
#include <string.h>
#include <unistd.h>

int execute(char **words) {
        execvp(words[0], words);
        int error = errno;
        return fail(error == ENOENT ? EXIT_NO_COMMAND : EXIT_NOT_EXECUTABLE, words[0],
                    error == ENOENT ? "no such command" : strerror(error), NULL);
}
