/* SPDX-License-Identifier: MIT */

/* From /proc where there is one; else by trying every number that the process may use. */

#include "lib/descriptors.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>

#define DESCRIPTORS_TRIED_MAX 1048576

static void visit_numbers(void (*visit)(int fd, void *argument), void *argument) {
        struct rlimit limit = {.rlim_cur = DESCRIPTORS_TRIED_MAX};
        (void)getrlimit(RLIMIT_NOFILE, &limit);
        if (limit.rlim_cur > DESCRIPTORS_TRIED_MAX)
                limit.rlim_cur = DESCRIPTORS_TRIED_MAX;
        for (int fd = 0; fd < (int)limit.rlim_cur; fd++)
                if (fcntl(fd, F_GETFD) >= 0)
                        visit(fd, argument);
}

void descriptors_visit(void (*visit)(int fd, void *argument), void *argument) {
        DIR *directory = opendir("/proc/self/fd");
        if (!directory) {
                visit_numbers(visit, argument);
                return;
        }
        for (struct dirent *entry; (entry = readdir(directory));) {
                char *end;
                long fd = strtol(entry->d_name, &end, 10);
                if (end != entry->d_name && !*end && fd != dirfd(directory))
                        visit((int)fd, argument);
        }
        closedir(directory);
}
