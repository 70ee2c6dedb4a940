/* SPDX-License-Identifier: MIT */

/* Descriptors: closing, passing, and whole-file reads and writes. */

#include "base/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>

int fd_close(int fd) {
        if (fd >= 0) {
                int saved = errno;
                close(fd);
                errno = saved;
        }
        return -1;
}

bool socket_is_hung_up(int fd) {
        struct pollfd end = {.fd = fd};
        return poll(&end, 1, 0) == 1 && end.revents & POLLHUP;
}

int packet_send(int socket, const void *packet, size_t length, int fd, int flags) {
        struct iovec vector = {.iov_base = (void *)packet, .iov_len = length};
        union {
                struct cmsghdr header; /* for its alignment */
                char bytes[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1};
        if (fd >= 0) {
                control.header = (struct cmsghdr){
                        .cmsg_len = CMSG_LEN(sizeof(int)), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
                message.msg_control = &control;
                message.msg_controllen = sizeof control;
        }
        return sendmsg(socket, &message, flags | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

/* Takes the first descriptor of the message and closes all others. Returns whether there were others. */
static bool take_descriptor(const struct cmsghdr *header, int *fd) {
        bool excess = false;
        size_t count = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
                int received;
                memcpy(&received, CMSG_DATA(header) + i * sizeof received, sizeof received);
                if (*fd < 0) {
                        *fd = received;
                } else {
                        fd_close(received);
                        excess = true;
                }
        }
        return excess;
}

int packet_receive(int socket, void *packet, size_t size, int flags, size_t *ret_length, int *ret_fd,
                   struct packet_credentials *ret_credentials) {
        struct iovec vector = {.iov_base = packet, .iov_len = size};
        /* Padding and room meant for credentials may bring more descriptors than one: none is overlooked below. */
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(struct ucred)) + CMSG_SPACE(sizeof(int))];
        } control;
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        ssize_t length = recvmsg(socket, &message, flags | MSG_CMSG_CLOEXEC);
        if (length < 0)
                return -errno;

        cleanup(fd_closep) int fd = -1;
        bool excess = false;
        struct packet_credentials credentials = {UINT32_MAX, UINT32_MAX, UINT32_MAX};
        for (struct cmsghdr *header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
                if (header->cmsg_level != SOL_SOCKET)
                        continue;
                if (header->cmsg_type == SCM_RIGHTS) {
                        excess |= take_descriptor(header, &fd);
                } else if (header->cmsg_type == SCM_CREDENTIALS && header->cmsg_len >= CMSG_LEN(sizeof(struct ucred))) {
                        struct ucred told;
                        memcpy(&told, CMSG_DATA(header), sizeof told);
                        credentials = (struct packet_credentials){(uint32_t)told.pid, told.uid, told.gid};
                }
        }
        if (excess || (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) || (length == 0 && fd >= 0))
                return -EPROTO;

        *ret_length = (size_t)length;
        *ret_fd = fd_take(fd);
        if (ret_credentials)
                *ret_credentials = credentials;
        return 0;
}

void mark_send(int fd, int type, bool is_ring) {
        cleanup(fd_closep) int mark_fd = eventfd(0, EFD_CLOEXEC);
        int all = INT_MAX, flags = type == SOCK_STREAM ? MSG_OOB | MSG_DONTWAIT : MSG_DONTWAIT;
        size_t length = type == SOCK_STREAM || is_ring ? 1 : 0;
        if (mark_fd < 0)
                return;
        int r = packet_send(fd, "", length, mark_fd, flags);
        if (r == -EAGAIN) {
                (void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &all, sizeof all);
                r = packet_send(fd, "", length, mark_fd, flags);
        }
        if (r == -EOPNOTSUPP) /* a kernel without out-of-band bytes on AF_UNIX */
                (void)packet_send(fd, "", length, mark_fd, MSG_DONTWAIT);
}

/* Opens the directory that `path` lies in; *ret_name points at the last part of `path`. */
static int open_parent(int directory_fd, const char *path, int flags, int *ret_fd, const char **ret_name) {
        const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
        if (!*name)
                return -EINVAL;
        cleanup(freep) char *parent = slash ? strndup(path, slash == path ? 1 : (size_t)(slash - path)) : strdup(".");
        if (!parent)
                return -ENOMEM;
        int fd = openat(directory_fd, parent, flags | O_DIRECTORY | O_CLOEXEC);
        if (fd < 0)
                return -errno;
        *ret_fd = fd;
        *ret_name = name;
        return 0;
}

int address_of_path(const char *path, struct sockaddr_un *ret_address, socklen_t *ret_length, int *ret_directory_fd) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        cleanup(fd_closep) int directory_fd = -1;
        size_t length = strlen(path);
        if (!length)
                return -EINVAL;
        if (length < sizeof address.sun_path) {
                memcpy(address.sun_path, path, length);
        } else {
                const char *name;
                int r = open_parent(AT_FDCWD, path, O_PATH, &directory_fd, &name);
                if (r < 0)
                        return r;
                length = (size_t)snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/%s", directory_fd,
                                          name);
                if (length >= sizeof address.sun_path)
                        return -ENAMETOOLONG;
        }
        *ret_address = address;
        *ret_length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length + 1);
        *ret_directory_fd = fd_take(directory_fd);
        return 0;
}

int file_read(int directory_fd, const char *name, size_t limit, char **ret_text, size_t *ret_length) {
        /* O_NONBLOCK: opening a FIFO must not wait for its writer. */
        cleanup(fd_closep) int fd = openat(directory_fd, name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
        struct stat status;
        if (fd < 0 || fstat(fd, &status) < 0)
                return -errno;
        if (!S_ISREG(status.st_mode))
                return -EINVAL;

        /* Reads one byte beyond the limit, in place of the NUL: st_size is not to be trusted while others write. */
        cleanup(freep) char *text = malloc(limit + 1);
        if (!text)
                return -ENOMEM;
        size_t length = 0;
        while (length <= limit) {
                ssize_t got = read(fd, text + length, limit + 1 - length);
                if (got < 0 && errno == EINTR)
                        continue;
                if (got < 0)
                        return -errno;
                if (!got)
                        break;
                length += (size_t)got;
        }
        if (length > limit)
                return -EFBIG;
        text[length] = 0;

        char *shrunk = realloc(text, length + 1);
        *ret_text = shrunk ? shrunk : text;
        *ret_length = length;
        text = NULL;
        return 0;
}

static int write_all(int fd, const char *bytes, size_t length) {
        while (length) {
                ssize_t written = write(fd, bytes, length);
                if (written < 0 && errno == EINTR)
                        continue;
                if (written < 0)
                        return -errno;
                bytes += written;
                length -= (size_t)written;
        }
        return 0;
}

static int write_new_file(int directory_fd, const char *name, const void *bytes, size_t length, mode_t mode) {
        cleanup(fd_closep) int fd = openat(directory_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        if (fd < 0)
                return -errno;
        int r = write_all(fd, bytes, length);
        if (!r && (fchmod(fd, mode) < 0 || fsync(fd) < 0)) /* fchmod: open's mode is subject to the umask */
                r = -errno;
        if (r < 0)
                unlinkat(directory_fd, name, 0);
        return r;
}

int file_replace(int directory_fd, const char *name, const void *bytes, size_t length, mode_t mode) {
        cleanup(fd_closep) int parent_fd = -1;
        int r = open_parent(directory_fd, name, O_RDONLY, &parent_fd, &name);
        if (r < 0)
                return r;

        uint64_t random;
        if (getrandom(&random, sizeof random, 0) != sizeof random)
                return -errno;
        char beside[32];
        snprintf(beside, sizeof beside, ".%016" PRIx64 ".new", random);

        r = write_new_file(parent_fd, beside, bytes, length, mode);
        if (r < 0)
                return r;
        if (renameat(parent_fd, beside, parent_fd, name) < 0) {
                r = -errno;
                unlinkat(parent_fd, beside, 0);
                return r;
        }
        return fsync(parent_fd) < 0 ? -errno : 0;
}
