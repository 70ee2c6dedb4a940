/* SPDX-License-Identifier: MIT */

/* Removes a tree without following a link out of it. */

#include "cli/sandbox.h"

#include "base/fd.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static void remove_entry(int parent_fd, const char *name);

static void remove_contents(int directory_fd) {
        DIR *directory = fdopendir(directory_fd);
        if (!directory) {
                fd_close(directory_fd);
                return;
        }
        for (const struct dirent *entry; (entry = readdir(directory));)
                if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
                        remove_entry(dirfd(directory), entry->d_name);
        closedir(directory);
}

static void remove_entry(int parent_fd, const char *name) {
        if (unlinkat(parent_fd, name, 0) == 0 || (errno != EISDIR && errno != EPERM))
                return;
        fchmodat(parent_fd, name, 0700, AT_SYMLINK_NOFOLLOW);
        int directory_fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (directory_fd >= 0)
                remove_contents(directory_fd);
        unlinkat(parent_fd, name, AT_REMOVEDIR);
}

void sandbox_remove(const char *directory) {
        remove_entry(AT_FDCWD, directory);
}
