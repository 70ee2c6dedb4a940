/* SPDX-License-Identifier: MIT */
#include "cli/broker_place.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int look(const char *path) {
        struct stat status;
        if (stat(path, &status) < 0)
                return -errno;
        return S_ISSOCK(status.st_mode) ? 0 : -ENOTSOCK;
}

static void find(const char *variable, const char *file, struct broker_place *ret) {
        const char *named = getenv(variable), *runtime = getenv("XDG_RUNTIME_DIR");
        struct stat status;
        *ret = (struct broker_place){};
        if (named && *named) {
                bool is_directory = stat(named, &status) == 0 && S_ISDIR(status.st_mode);
                snprintf(ret->path, sizeof ret->path, "%s%s%s", named, is_directory ? "/" : "",
                         is_directory ? file : "");
                ret->variable = variable;
                ret->found_by = variable;
                ret->error = look(ret->path);
                return;
        }
        ret->found_by = "the user's";
        if (runtime && *runtime) {
                snprintf(ret->path, sizeof ret->path, "%s/hvsock/%s", runtime, file);
                ret->error = look(ret->path);
                if (ret->error == 0 || ret->error == -ENOTSOCK)
                        return;
        }
        snprintf(ret->path, sizeof ret->path, "/run/hvsock/%s", file);
        ret->found_by = "the system's";
        ret->error = look(ret->path);
}

void broker_place_of_partition(struct broker_place *ret) {
        find("HVSOCK_SOCKET", "control", ret);
}

void broker_place_of_management(struct broker_place *ret) {
        find("HVSOCK_MANAGE", "manage", ret);
}

const char *broker_program(char path[PATH_MAX]) {
        static const char *const beside[] = {"/hvsockd", "/../sbin/hvsockd"};
        const char *named = getenv("HVSOCKD");
        char self[PATH_MAX], candidate[PATH_MAX + 32];
        if (named && *named)
                return named;
        ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
        self[length > 0 ? length : 0] = 0;
        char *slash = strrchr(self, '/');
        for (size_t i = 0; slash && i < sizeof beside / sizeof *beside; i++) {
                snprintf(candidate, sizeof candidate, "%.*s%s", (int)(slash - self), self, beside[i]);
                if (access(candidate, X_OK) == 0 && realpath(candidate, path))
                        return path;
        }
        return "hvsockd";
}
