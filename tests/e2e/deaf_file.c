/* SPDX-License-Identifier: MIT */

/* A FUSE server of one file, which is the root of its file system. */

#include "deaf_file.h"

#include "base/fd.h"
#include "test.h"
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>

#define NAME "deaf"
#define VALID_SECONDS 3600 /* what it said of the file is not asked again */

static void answer(int fuse_fd, const struct fuse_in_header *request, int error, const void *payload, size_t size) {
        struct fuse_out_header header = {.len = (uint32_t)(sizeof header + size), .error = -error, .unique = request->unique};
        struct iovec pieces[2] = {{&header, sizeof header}, {(void *)payload, size}};
        (void)!writev(fuse_fd, pieces, 2);
}

__attribute__((noreturn)) static void serve(int fuse_fd, uint64_t size) {
        static _Alignas(8) char bytes[FUSE_MIN_READ_BUFFER + 65536];
        const struct fuse_init_out init = {.major = FUSE_KERNEL_VERSION, .minor = FUSE_KERNEL_MINOR_VERSION, .max_write = 4096};
        const struct fuse_open_out opened = {};
        const struct fuse_attr_out attributes = {
                .attr_valid = VALID_SECONDS, .attr = {.ino = FUSE_ROOT_ID, .size = size, .mode = S_IFREG | 0600, .nlink = 1}};
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        while (read(fuse_fd, bytes, sizeof bytes) > 0) {
                const struct fuse_in_header *request = (const struct fuse_in_header *)bytes;
                if (request->opcode == FUSE_INIT)
                        answer(fuse_fd, request, 0, &init, sizeof init);
                else if (request->opcode == FUSE_GETATTR)
                        answer(fuse_fd, request, 0, &attributes, sizeof attributes);
                else if (request->opcode == FUSE_OPEN)
                        answer(fuse_fd, request, 0, &opened, sizeof opened);
                else if (request->opcode != FUSE_RELEASE && request->opcode != FUSE_FORGET)
                        answer(fuse_fd, request, request->opcode == FUSE_FLUSH ? 0 : ENOSYS, NULL, 0);
        }
        _exit(0);
}

bool deaf_file_open(struct deaf_file *ret, uint64_t size) {
        char options[64];
        struct stat status;
        cleanup(fd_closep) int fuse_fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
        if (fuse_fd < 0 || unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
                return false;
        fd_close((int)must(open(NAME, O_CREAT | O_WRONLY | O_CLOEXEC, 0600)));
        snprintf(options, sizeof options, "fd=%d,rootmode=100600,user_id=%u,group_id=%u", fuse_fd, geteuid(), getegid());
        if (mount("deaf", NAME, "fuse", MS_NODEV | MS_NOSUID, options) < 0) {
                must(unlink(NAME));
                return false;
        }
        ret->server = (pid_t)must(fork());
        if (!ret->server)
                serve(fuse_fd, size);
        ret->fd = (int)must(open(NAME, O_RDWR | O_CLOEXEC));
        must(fstat(ret->fd, &status));
        check_equal(status.st_size, size);
        return true;
}

void deaf_file_stop(struct deaf_file *file) {
        file->fd = fd_close(file->fd);
        must(kill(file->server, SIGSTOP));
}

void deaf_file_close(struct deaf_file *file) {
        must(kill(file->server, SIGKILL));
        must(waitpid(file->server, NULL, 0));
        fd_close(file->fd);
        must(umount2(NAME, MNT_DETACH));
        must(unlink(NAME));
}
