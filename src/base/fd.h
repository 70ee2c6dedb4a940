/* SPDX-License-Identifier: MIT */
#pragma once

/* Descriptors: closing, passing, and whole-file reads and writes. */

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>
#include <sys/un.h>
#include <unistd.h>

#define cleanup(function) __attribute__((cleanup(function)))

/* Closes and returns -1; keeps errno. */
int fd_close(int fd);
static inline void fd_closep(int *fd) { *fd = fd_close(*fd); }
static inline void freep(void *pointer) { free(*(void **)pointer); }
#define fd_take(fd) ({ int taken_ = (fd); (fd) = -1; taken_; })

/* The peer is gone, or both ends shut down writing: what is there is all there will be. */
bool socket_is_hung_up(int fd);

/* One packet with at most one descriptor (-1: none). 0 or -errno. -EINTR, here and below, is for the caller to judge. */
int packet_send(int socket, const void *packet, size_t length, int fd, int flags);
struct packet_credentials {
        uint32_t pid, uid, gid; /* all ones when the kernel told none */
};
/*
 * One packet. *ret_length 0 means the peer is gone. A second descriptor, a
 * truncated packet, or a descriptor with no bytes, is -EPROTO, with every
 * descriptor closed. *ret_fd is -1 when
 * none came. `ret_credentials` may be NULL.
 */
int packet_receive(int socket, void *packet, size_t size, int flags, size_t *ret_length, int *ret_fd,
                   struct packet_credentials *ret_credentials);

/*
 * The mark of an abort, in a connected socket of this type: whoever reads it sees a reset. Among the tokens of a ring
 * an empty packet would look like the end, so there it has a byte. Safe after fork.
 */
void mark_send(int socket, int socket_type, bool is_ring);

/*
 * The address of a socket file that may lie deeper than sun_path is long: then it
 * goes through /proc/self/fd and *ret_directory_fd, which the caller closes after
 * bind or connect (-1: none is needed). -ENAMETOOLONG if the last part alone is too long.
 */
int address_of_path(const char *path, struct sockaddr_un *ret_address, socklen_t *ret_length, int *ret_directory_fd);

/* Reads a regular file (else -EINVAL) of at most `limit` bytes (else -EFBIG); NUL-terminated; caller frees. */
int file_read(int directory_fd, const char *name, size_t limit, char **ret_text, size_t *ret_length);
/* Writes beside, fsyncs, renames, fsyncs the directory. `mode` is exact, whatever the umask. */
int file_replace(int directory_fd, const char *name, const void *bytes, size_t length, mode_t mode);
