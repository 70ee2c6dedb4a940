/* SPDX-License-Identifier: MIT */

/* Where libhvsock-preload is, and how the dynamic loader is told. */

#include "cli/preload.h"

#include "cli/exit_code.h"
#include "cli/report.h"
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LIBRARY "libhvsock-preload.so"
#define VARIABLE "LD_PRELOAD"

/* Beside this program, as in a build, or where it was installed with it. */
static bool find_library(char ret_path[PATH_MAX]) {
        static const char *const places[] = {"", HVSOCK_LIBDIR_FROM_BINDIR "/hvsock/"};
        char own[PATH_MAX];
        ssize_t length = readlink("/proc/self/exe", own, sizeof own - 1);
        if (length <= 0)
                return false;
        own[length] = 0;
        strrchr(own, '/')[1] = 0;
        for (size_t i = 0; i < sizeof places / sizeof *places; i++) {
                int size = snprintf(ret_path, PATH_MAX, "%s%s" LIBRARY, *places[i] == '/' ? "" : own, places[i]);
                if (size < PATH_MAX && access(ret_path, R_OK) == 0)
                        return true;
        }
        return false;
}

static int preload_library(const char *verb) {
        char path[PATH_MAX], *value;
        int undone = preload_undo(); /* once is enough */
        if (undone < 0)
                return fail(EXIT_OWN, verb, strerror(-undone), NULL);
        const char *others = getenv(VARIABLE);
        if (!find_library(path))
                return fail(EXIT_OWN, verb, LIBRARY " is neither beside hvsock nor where it was installed", "make install");
        if (strpbrk(path, " :"))
                return fail(EXIT_OWN, path, "has a blank or a colon in its path, which the loader does not take", NULL);
        if (asprintf(&value, "%s%s%s", path, others && *others ? ":" : "", others ? others : "") < 0)
                return fail(EXIT_OWN, verb, "no memory", NULL);
        int r = setenv(VARIABLE, value, 1);
        free(value);
        return r < 0 ? fail(EXIT_OWN, verb, strerror(errno), NULL) : EXIT_OK;
}

int preload_undo(void) {
        char path[PATH_MAX], kept[4 * PATH_MAX] = "";
        const char *others = getenv(VARIABLE);
        size_t length = 0;
        if (!others || !find_library(path))
                return 0;
        for (size_t size; *(others += strspn(others, " :")); others += size) {
                size = strcspn(others, " :");
                if (size == strlen(path) && memcmp(others, path, size) == 0)
                        continue;
                if (length + size + 2 > sizeof kept)
                        return -E2BIG;
                length += (size_t)sprintf(kept + length, "%s%.*s", length ? ":" : "", (int)size, others);
        }
        return (*kept ? setenv(VARIABLE, kept, 1) : unsetenv(VARIABLE)) < 0 ? -errno : 0;
}

int preload_prepare_all(const char *verb) {
        int r = preload_library(verb);
        if (r != EXIT_OK)
                return r;
        int error = preload_filter();
        return error ? fail(EXIT_OWN, verb, strerror(-error), "hvsock doctor") : EXIT_OK;
}

int preload_prepare(const char *verb, char *const *command) {
        int r = preload_check_program(*command);
        return r == EXIT_OK ? preload_prepare_all(verb) : r;
}
