/* SPDX-License-Identifier: MIT */
#include "cli/run_namespace.h"

#include "base/fd.h"
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static int write_file(const char *path, const char *text) {
        cleanup(fd_closep) int fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd < 0 || write(fd, text, strlen(text)) < 0)
                return -errno;
        return 0;
}

/* The caller stays who it is, and nobody else exists. */
static int map_caller(uid_t uid, gid_t gid) {
        char map[64];
        int r = write_file("/proc/self/setgroups", "deny");
        if (r < 0)
                return r;
        snprintf(map, sizeof map, "%u %u 1", uid, uid);
        r = write_file("/proc/self/uid_map", map);
        if (r < 0)
                return r;
        snprintf(map, sizeof map, "%u %u 1", gid, gid);
        return write_file("/proc/self/gid_map", map);
}

static int make_directories(const char *path) {
        char part[PATH_MAX];
        for (const char *slash = strchr(path + 1, '/');; slash = strchr(slash + 1, '/')) {
                size_t length = slash ? (size_t)(slash - path) : strlen(path);
                if (length >= sizeof part)
                        return -ENAMETOOLONG;
                memcpy(part, path, length);
                part[length] = 0;
                if (mkdir(part, 0755) < 0 && errno != EEXIST)
                        return -errno;
                if (!slash)
                        return 0;
        }
}

static int compare_lengths(const void *a, const void *b) {
        size_t first = strlen(a), second = strlen(b);
        return first < second ? -1 : first > second;
}

static int enter_namespaces(void) {
        uid_t uid = geteuid();
        gid_t gid = getegid();
        if (uid != 0 || unshare(CLONE_NEWNS) < 0) {
                if (unshare(CLONE_NEWNS | CLONE_NEWUSER) < 0)
                        return -errno;
                int r = map_caller(uid, gid);
                if (r < 0)
                        return r;
        }
        /* What the system mounts later still appears here; what is mounted here appears nowhere else. */
        return mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL) < 0 ? -errno : 0;
}

#define COVER_FLAGS (MS_NOSUID | MS_NODEV | MS_NOEXEC)

int namespace_enter(const char *directory, struct covers *covers) {
        char here[PATH_MAX];
        bool has_place = getcwd(here, sizeof here);
        int r = enter_namespaces();
        if (r < 0)
                return r;
        /* Opened in the new namespace: only its own mounts can be bound. */
        cleanup(fd_closep) int directory_fd = open(directory, O_PATH | O_DIRECTORY | O_CLOEXEC);
        if (directory_fd < 0)
                return -errno;

        /* Outer ones first: one inside another is gone, and needs no cover, once the other has its own. */
        qsort(covers->paths, covers->count, sizeof covers->paths[0], compare_lengths);
        bool is_mounted[COVERS_MAX] = {};
        for (size_t i = 0; i < covers->count; i++) {
                struct stat status;
                if (stat(covers->paths[i], &status) < 0 || !S_ISDIR(status.st_mode))
                        continue;
                if (mount("tmpfs", covers->paths[i], "tmpfs", COVER_FLAGS, "mode=0755,size=64k") < 0)
                        return -errno;
                is_mounted[i] = true;
        }

        char source[64];
        snprintf(source, sizeof source, "/proc/self/fd/%d", directory_fd);
        r = make_directories(directory);
        if (r < 0)
                return r;
        if (mount(source, directory, NULL, MS_BIND, NULL) < 0 ||
            mount(NULL, directory, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY | COVER_FLAGS, NULL) < 0)
                return -errno;
        for (size_t i = 0; i < covers->count; i++)
                if (is_mounted[i] &&
                    mount(NULL, covers->paths[i], NULL, MS_REMOUNT | MS_RDONLY | COVER_FLAGS, NULL) < 0)
                        return -errno;

        /* The working directory is reached anew, so that it is not one that a cover hides. */
        if (!has_place || chdir(here) < 0)
                return chdir("/") < 0 ? -errno : 0;
        return 0;
}

int namespace_probe(const char *directory, struct covers *covers) {
        pid_t child = fork();
        if (child < 0)
                return -errno;
        if (child == 0)
                _exit(-namespace_enter(directory, covers) & 0xff);
        int status;
        while (waitpid(child, &status, 0) < 0)
                if (errno != EINTR)
                        return -errno;
        return WIFEXITED(status) ? -WEXITSTATUS(status) : -ECHILD;
}
