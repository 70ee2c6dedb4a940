/* SPDX-License-Identifier: MIT */

/* What stands for /dev/vsock. */

#include "preload/device.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define DIRECTORY "/dev"
#define NAME "vsock"

#define NULL_DEVICE makedev(1, 3)

bool device_is_named(int directory_fd, const char *path) {
        const char *slash = path ? strrchr(path, '/') : NULL;
        if (!path || strcmp(slash ? slash + 1 : path, NAME))
                return false;
        int error = errno;
        char directory[PATH_MAX];
        struct stat asked, dev;
        snprintf(directory, sizeof directory, "%.*s", slash ? (int)(slash + 1 - path) : 1, slash ? path : ".");
        bool is_dev = fstatat(directory_fd, directory, &asked, 0) == 0 && stat(DIRECTORY, &dev) == 0 &&
                      asked.st_dev == dev.st_dev && asked.st_ino == dev.st_ino;
        errno = error;
        return is_dev;
}

bool device_is_open_at(int fd) {
        int error = errno;
        struct stat status, device;
        bool is_open = fstat(fd, &status) == 0 && S_ISCHR(status.st_mode) &&
                       (status.st_rdev == NULL_DEVICE ||
                        (stat(DIRECTORY "/" NAME, &device) == 0 && status.st_rdev == device.st_rdev));
        errno = error;
        return is_open;
}
