/* SPDX-License-Identifier: MIT */

/* Directories and listening sockets. */

#include "daemon/place.h"
#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PLACE_BACKLOG 4096

static int make_parents(char *path) {
        for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
                *slash = 0;
                int r = mkdir(path, 0755) < 0 && errno != EEXIST ? -errno : 0;
                *slash = '/';
                if (r < 0)
                        return r;
        }
        return 0;
}

int place_directory(const char *path, mode_t mode, int *ret_fd) {
        char copy[PATH_MAX];
        struct stat status;
        if (snprintf(copy, sizeof copy, "%s", path) >= (int)sizeof copy)
                return -ENAMETOOLONG;
        if (mkdir(path, 0700) < 0 && errno == ENOENT) {
                int r = make_parents(copy);
                if (r < 0)
                        return r;
                (void)mkdir(path, 0700);
        }
        cleanup(fd_closep) int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0 || fstat(fd, &status) < 0)
                return -errno;
        if (status.st_uid != geteuid() || status.st_mode & S_ISVTX)
                return -EPERM;
        if ((status.st_mode & 07777) != mode && fchmod(fd, mode) < 0)
                return -errno;
        if (ret_fd) {
                int path_fd = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
                if (path_fd < 0)
                        return -errno;
                *ret_fd = path_fd;
        }
        return 0;
}

/* In the working directory. */
static int listen_here(const char *name, int socket_type, mode_t mode, int *ret_fd) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int length = snprintf(address.sun_path, sizeof address.sun_path, ".%s.new", name);
        if (length >= (int)sizeof address.sun_path)
                return -ENAMETOOLONG;
        cleanup(fd_closep) int fd = socket(AF_UNIX, socket_type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0 || (unlink(address.sun_path) < 0 && errno != ENOENT))
                return -errno;
        mode_t old_mask = umask(0777 & ~mode);
        int r = bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ? -errno : 0;
        umask(old_mask);
        if (!r && (listen(fd, PLACE_BACKLOG) < 0 || rename(address.sun_path, name) < 0))
                r = -errno;
        if (!r)
                *ret_fd = fd_take(fd);
        return r;
}

int place_socket(int directory_fd, const char *name, int socket_type, mode_t mode, int working_fd, int *ret_fd) {
        int fd = -1;
        if (fchdir(directory_fd) < 0)
                return -errno;
        int r = listen_here(name, socket_type, mode, &fd);
        if (fchdir(working_fd) < 0) {
                fd_close(fd);
                return -errno;
        }
        if (!r)
                *ret_fd = fd;
        return r;
}
