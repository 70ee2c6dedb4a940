/* SPDX-License-Identifier: MIT */

/*
 * What a command is, before it is started: a program that the dynamic loader would
 * start without a preloaded library runs past hvsock, and that is said here rather
 * than found out later.
 *
 * A script is what its interpreter is. What a program starts in its turn is not looked
 * at: the filter is there for that.
 */

#include "base/fd.h"
#include "cli/exit_code.h"
#include "cli/preload.h"
#include "cli/report.h"
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <link.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define SCRIPTS_MAX 5u   /* interpreters of interpreters; the kernel follows as many */
#define HEADERS_MAX 128u /* of a program; those of real ones are about a dozen */
#define OWN "/proc/self/exe"
#define TRY_STATIC "link it dynamically, or call libhvsock: man 3 hv_socket"

static int refuse(const char *program, const char *why, const char *next) {
        return fail(EXIT_NOT_EXECUTABLE, program, why, next);
}

/* As execvp(3) finds it. False: it will not. */
static bool find(const char *command, char ret_path[PATH_MAX]) {
        const char *place = getenv("PATH");
        if (strchr(command, '/')) {
                snprintf(ret_path, PATH_MAX, "%s", command);
                return true;
        }
        for (place = place ? place : "/bin:/usr/bin"; place; place = strchr(place, ':') ? strchr(place, ':') + 1 : NULL) {
                int length = (int)strcspn(place, ":");
                snprintf(ret_path, PATH_MAX, "%.*s%s%s", length, place, length ? "/" : "", command);
                if (access(ret_path, X_OK) == 0)
                        return true;
        }
        return false;
}

struct program {
        ElfW(Ehdr) header;
        char loader[PATH_MAX]; /* empty: none */
};

/* Of an ELF file. -ENOEXEC: of another class or machine than this program, or not whole. */
static int read_program(int fd, struct program *ret) {
        static const unsigned char own_class = sizeof(void *) == 8 ? ELFCLASS64 : ELFCLASS32;
        struct program program = {};
        if (pread(fd, &program.header, sizeof program.header, 0) != sizeof program.header ||
            program.header.e_ident[EI_CLASS] != own_class || program.header.e_phentsize != sizeof(ElfW(Phdr)) ||
            program.header.e_phnum > HEADERS_MAX)
                return -ENOEXEC;
        for (unsigned i = 0; i < program.header.e_phnum; i++) {
                ElfW(Phdr) part;
                if (pread(fd, &part, sizeof part, (off_t)(program.header.e_phoff + i * sizeof part)) != sizeof part)
                        return -ENOEXEC;
                if (part.p_type != PT_INTERP)
                        continue;
                if (part.p_filesz >= sizeof program.loader ||
                    pread(fd, program.loader, part.p_filesz, (off_t)part.p_offset) != (ssize_t)part.p_filesz)
                        return -ENOEXEC;
        }
        *ret = program;
        return 0;
}

static bool is_same_file(const char *one, const char *other) {
        struct stat of_one, of_other;
        return stat(one, &of_one) == 0 && stat(other, &of_other) == 0 && of_one.st_dev == of_other.st_dev &&
               of_one.st_ino == of_other.st_ino;
}

static int check_elf(const char *path, int fd) {
        struct program program, own;
        cleanup(fd_closep) int own_fd = open(OWN, O_RDONLY | O_CLOEXEC);
        if (own_fd < 0 || read_program(own_fd, &own) < 0)
                return fail(EXIT_OWN, OWN, "cannot be read", NULL);
        if (read_program(fd, &program) < 0 || program.header.e_machine != own.header.e_machine)
                return refuse(path, "is of another kind of machine than hvsock's, and cannot take its library",
                              "a hvsock that was built for that kind");
        if (!*program.loader)
                return refuse(path, "is statically linked: no library can be preloaded into it", TRY_STATIC);
        if (strcmp(program.loader, own.loader) != 0 && !is_same_file(program.loader, own.loader))
                return refuse(path, "is of another C library than hvsock's, and cannot take its library", TRY_STATIC);
        return EXIT_OK;
}

static int check_privileges(const char *path, int fd) {
        struct stat status;
        if (fstat(fd, &status) < 0)
                return fail(EXIT_NOT_EXECUTABLE, path, strerror(errno), NULL);
        if (status.st_mode & S_ISUID || (status.st_mode & S_ISGID && status.st_mode & S_IXGRP))
                return refuse(path, "is setuid or setgid: the loader preloads nothing into it", "run what it starts, or a copy");
        if (fgetxattr(fd, "security.capability", NULL, 0) > 0)
                return refuse(path, "has file capabilities: the loader preloads nothing into it", "run a copy, which has none");
        return EXIT_OK;
}

/* The interpreter of a script; what is none goes to the shell, by execvp(3). */
static void read_interpreter(const char *text, char ret_path[PATH_MAX]) {
        const char *at = text + 2;
        if (strncmp(text, "#!", 2) != 0) {
                strcpy(ret_path, "/bin/sh");
                return;
        }
        at += strspn(at, " \t");
        snprintf(ret_path, PATH_MAX, "%.*s", (int)strcspn(at, " \t\n"), at);
}

int preload_check_program(const char *command) {
        char path[PATH_MAX];
        if (!find(command, path))
                return EXIT_OK; /* executing it says so */
        for (unsigned scripts = 0; scripts <= SCRIPTS_MAX; scripts++) {
                char text[256] = ""; /* as much of the line as the kernel reads */
                cleanup(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
                if (fd < 0 && errno == EACCES && access(path, X_OK) == 0)
                        return refuse(path, "cannot be read, so whether it can take hvsock's library is not known", NULL);
                if (fd < 0 || access(path, X_OK) < 0)
                        return EXIT_OK;
                ssize_t length = pread(fd, text, sizeof text - 1, 0);
                if (length < 0)
                        return EXIT_OK;
                if (length >= SELFMAG && !memcmp(text, ELFMAG, SELFMAG)) {
                        int r = check_privileges(path, fd);
                        return r == EXIT_OK ? check_elf(path, fd) : r;
                }
                read_interpreter(text, path);
        }
        return EXIT_OK;
}
