/* SPDX-License-Identifier: MIT */

/* Finding the broker's socket, and whom to trust there. */

#include "lib/find.h"

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define SYSTEM_SOCKET "/run/hvsock/control"

/* $HVSOCK_SOCKET names the socket, or the directory that holds it. */
static int named_path(const char *named, char ret_path[PATH_MAX]) {
        struct stat status;
        bool directory = stat(named, &status) == 0 && S_ISDIR(status.st_mode);
        int length = snprintf(ret_path, PATH_MAX, "%s%s", named, directory ? "/control" : "");
        return length < PATH_MAX ? 0 : -ENAMETOOLONG;
}

static int find_path(char ret_path[PATH_MAX], bool *ret_named) {
        const char *named = secure_getenv("HVSOCK_SOCKET"), *runtime = secure_getenv("XDG_RUNTIME_DIR");
        *ret_named = named && *named;
        if (*ret_named)
                return named_path(named, ret_path);
        if (runtime && *runtime == '/' && snprintf(ret_path, PATH_MAX, "%s/hvsock/control", runtime) < PATH_MAX &&
            faccessat(AT_FDCWD, ret_path, F_OK, AT_EACCESS) == 0)
                return 0;
        strcpy(ret_path, SYSTEM_SOCKET);
        return 0;
}

/* In a user namespace that does not map everyone, the machine's root may show as the overflow user. */
static bool is_in_part_of_users(void) {
        unsigned inside, outside, count;
        FILE *map = fopen("/proc/self/uid_map", "re");
        if (!map)
                return false;
        int fields = fscanf(map, "%u %u %u", &inside, &outside, &count);
        fclose(map);
        return fields == 3 && !(inside == 0 && outside == 0 && count == UINT32_MAX);
}

#define OVERFLOW_USER 65534u

static bool is_trusted(int fd) {
        struct ucred peer;
        socklen_t length = sizeof peer;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
                return false;
        return peer.uid == 0 || peer.uid == geteuid() || (peer.uid == OVERFLOW_USER && is_in_part_of_users());
}

int broker_open(int *ret_fd) {
        char path[PATH_MAX];
        bool named;
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int fd = -1, directory = -1;
        int r = find_path(path, &named);
        if (r)
                return r;
        r = address_of_path(path, &address, &length, &directory);
        if (r == -ENOENT)
                return -ENETDOWN;
        if (r)
                return r;
        fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
        if (fd < 0)
                return -errno;
        /* A full backlog must not make a connect with a time-out wait for ever. */
        struct timeval patience = {.tv_sec = 1};
        (void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        if (connect(fd, (struct sockaddr *)&address, length) < 0) {
                switch (errno) {
                case ENOENT:
                case ENOTDIR:
                        return -ENETDOWN;
                case EACCES:
                case EPERM:
                        return -EACCES;
                default:
                        return -ECONNREFUSED;
                }
        }
        if (!named && !is_trusted(fd))
                return -EACCES;
        if (fd <= STDERR_FILENO) {
                int moved = fcntl(fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
                if (moved < 0)
                        return -errno;
                fd_close(fd);
                fd = moved;
        }
        *ret_fd = fd_take(fd);
        return 0;
}
