/* SPDX-License-Identifier: MIT */

/* Options of AF_VSOCK sockets, and /dev/vsock, of which all that is asked is the own CID. */

#include "preload_test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/time.h>

/* ---- the level AF_VSOCK ---- */

static uint64_t size_of(int fd, int option) {
        uint64_t value = 0;
        socklen_t size = sizeof value;
        must(getsockopt(fd, AF_VSOCK, option, &value, &size));
        check_equal(size, sizeof value);
        return value;
}

static void set_size(int fd, int option, uint64_t value) {
        must(setsockopt(fd, AF_VSOCK, option, &value, sizeof value));
}

TEST(a_buffers_size_is_kept_within_its_bounds) {
        int fd = new_socket(SOCK_STREAM);
        check_equal(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE), 262144);
        check_equal(size_of(fd, SO_VM_SOCKETS_BUFFER_MIN_SIZE), 128);
        check_equal(size_of(fd, SO_VM_SOCKETS_BUFFER_MAX_SIZE), 262144);
        set_size(fd, SO_VM_SOCKETS_BUFFER_SIZE, 1 << 20);
        check_equal(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE), 262144);
        set_size(fd, SO_VM_SOCKETS_BUFFER_MAX_SIZE, 1 << 20);
        set_size(fd, SO_VM_SOCKETS_BUFFER_SIZE, 1 << 20);
        check_equal(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE), 1 << 20);
        set_size(fd, SO_VM_SOCKETS_BUFFER_MAX_SIZE, 4096);
        check_equal(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE), 4096);
        set_size(fd, SO_VM_SOCKETS_BUFFER_SIZE, 1);
        check_equal(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE), 128);
        set_size(fd, SO_VM_SOCKETS_BUFFER_MIN_SIZE, 256);
        check_equal(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE), 256);
        must(close(fd));
}

TEST(an_option_of_the_wrong_size_is_einval) {
        int fd = new_socket(SOCK_STREAM), number = 4096;
        socklen_t size = sizeof number;
        check_errno(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &number, sizeof number), EINVAL);
        check_errno(getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, &number, &size), EINVAL);
        check_errno(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &number, sizeof number), EINVAL);
        check_errno(getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &number, &size), EINVAL);
        check_errno(setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_BUFFER_SIZE, NULL, sizeof(uint64_t)), EFAULT);
        must(close(fd));
}

static struct timeval timeout_of(int fd) {
        struct timeval timeout;
        socklen_t size = sizeof timeout;
        must(getsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout, &size));
        return timeout;
}

static int set_timeout(int fd, long seconds, long microseconds) {
        struct timeval timeout = {seconds, microseconds};
        return setsockopt(fd, AF_VSOCK, SO_VM_SOCKETS_CONNECT_TIMEOUT, &timeout, sizeof timeout);
}

TEST(a_connects_time_out_is_two_seconds_unless_told_otherwise) {
        int fd = new_socket(SOCK_STREAM);
        check_equal(timeout_of(fd).tv_sec, 2);
        must(set_timeout(fd, 7, 500000));
        check_equal(timeout_of(fd).tv_sec, 7);
        check_equal(timeout_of(fd).tv_usec, 500000);
        check_errno(set_timeout(fd, -1, 0), ERANGE);
        check_errno(set_timeout(fd, 0, 1000000), ERANGE);
        check_errno(set_timeout(fd, INT64_MAX, 0), ERANGE);
        check_equal(timeout_of(fd).tv_sec, 7);
        must(set_timeout(fd, 1000000, 0));
        check_equal(timeout_of(fd).tv_sec, 1000000);
        must(set_timeout(fd, 0, 0));
        check_equal(timeout_of(fd).tv_sec, 2);
        must(close(fd));
}

TEST(an_accepted_socket_has_its_listeners_options) {
        int listener = listening(VMADDR_CID_LOCAL, PORT, SOCK_STREAM);
        set_size(listener, SO_VM_SOCKETS_BUFFER_SIZE, 4096);
        must(set_timeout(listener, 7, 0));
        int fd = connected(VMADDR_CID_LOCAL, PORT, SOCK_STREAM), acceptor = accepted(listener);
        check_equal(size_of(acceptor, SO_VM_SOCKETS_BUFFER_SIZE), 4096);
        check_equal(timeout_of(acceptor).tv_sec, 7);
        check_equal(size_of(fd, SO_VM_SOCKETS_BUFFER_SIZE), 262144);
        must(close(fd));
        must(close(acceptor));
        must(close(listener));
}

/* ---- SOL_SOCKET ---- */

TEST(a_socket_tells_its_family_type_and_protocol_and_whether_it_listens) {
        static const int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        for (size_t i = 0; i < count_of(types); i++) {
                int fd = new_socket(types[i]), listener = listening(VMADDR_CID_LOCAL, PORT, types[i]);
                check_equal(option_of(fd, SOL_SOCKET, SO_DOMAIN), AF_VSOCK);
                check_equal(option_of(fd, SOL_SOCKET, SO_TYPE), types[i]);
                check_equal(option_of(fd, SOL_SOCKET, SO_PROTOCOL), 0);
                check_equal(option_of(fd, SOL_SOCKET, SO_ACCEPTCONN), 0);
                check_equal(option_of(listener, SOL_SOCKET, SO_ACCEPTCONN), 1);
                must(close(fd));
                must(close(listener));
        }
}

TEST(what_an_af_unix_socket_alone_has_or_keeps_is_not_there) {
        static const int hidden[] = {SO_PEERGROUPS, SO_PEERSEC, SO_PEEK_OFF, SO_MAX_PACING_RATE, SO_NOFCS, SO_BROADCAST,
                                     SO_DONTROUTE, SO_OOBINLINE, SO_INCOMING_CPU, SO_PASSCRED};
        int fd = new_socket(SOCK_STREAM);
        for (size_t i = 0; i < count_of(hidden); i++) {
                uint64_t value = 0;
                socklen_t size = sizeof value;
                check_errno(getsockopt(fd, SOL_SOCKET, hidden[i], &value, &size), ENOPROTOOPT);
                check_errno(setsockopt(fd, SOL_SOCKET, hidden[i], &value, sizeof value), ENOPROTOOPT);
        }
        check_equal(option_of(fd, SOL_SOCKET, SO_DOMAIN), AF_VSOCK);
        must(close(fd));
}

/* ---- /dev/vsock ---- */

int __open_2(const char *path, int flags);
int __open64_2(const char *path, int flags);
int __openat_2(int directory_fd, const char *path, int flags);
int __openat64_2(int directory_fd, const char *path, int flags);

static void check_device(int fd, unsigned own_cid) {
        struct stat status;
        unsigned cid = 0;
        must(fd);
        must(fstat(fd, &status));
        check_equal(status.st_rdev, makedev(1, 3));
        must(ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &cid));
        check_equal(cid, own_cid);
        check_errno(ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, NULL), EFAULT);
        must(close(fd));
}

TEST(dev_vsock_is_never_opened_and_tells_the_own_cid) {
        static const char *const paths[] = {"/dev/vsock", "//dev/.//vsock", "/dev/../dev/vsock", "../dev/vsock", "vsock"};
        int directory = (int)must(open("/dev", O_PATH | O_DIRECTORY));
        must(chdir("/dev"));
        for (size_t i = 0; i < count_of(paths); i++) {
                check_device(open(paths[i], O_RDONLY), VMADDR_CID_HOST);
                check_device(open64(paths[i], O_RDWR | O_CLOEXEC), VMADDR_CID_HOST);
                check_device(openat(directory, paths[i], O_RDONLY), VMADDR_CID_HOST);
                check_device(openat64(directory, paths[i], O_RDONLY), VMADDR_CID_HOST);
                check_device(__open_2(paths[i], O_RDONLY), VMADDR_CID_HOST);
                check_device(__open64_2(paths[i], O_RDONLY), VMADDR_CID_HOST);
                check_device(__openat_2(directory, paths[i], O_RDONLY), VMADDR_CID_HOST);
                check_device(__openat64_2(directory, paths[i], O_RDONLY), VMADDR_CID_HOST);
        }
        must(close(directory));
}

static void ask_the_device_in_a_vm(void) {
        ready();
        check_device(open("/dev/vsock", O_RDONLY), WEB01_CID);
}

static void ask_the_device_without_a_broker(void) {
        ready();
        setenv("HVSOCK_SOCKET", "/nonexistent", 1);
        check_device(open("/dev/vsock", O_RDONLY), VMADDR_CID_ANY);
}

TEST(each_partition_has_its_cid_there_and_who_has_no_broker_none) {
        finish(begin_in(WEB01, ask_the_device_in_a_vm));
        finish(begin_in(WEB01, ask_the_device_without_a_broker));
}

TEST(files_of_that_name_elsewhere_are_opened_with_their_mode) {
        char directory[] = "/tmp/hvsock-preload-XXXXXX", path[64];
        struct stat status;
        check(mkdtemp(directory) != NULL);
        snprintf(path, sizeof path, "%s/vsock", directory);
        umask(0);
        check_errno(open(path, O_RDONLY), ENOENT);
        int fd = (int)must(open(path, O_CREAT | O_EXCL | O_WRONLY, 0640));
        must(fstat(fd, &status));
        check_equal(status.st_mode, S_IFREG | 0640);
        check_errno(ioctl(fd, IOCTL_VM_SOCKETS_GET_LOCAL_CID, &(unsigned){0}), ENOTTY);
        must(close(fd));
        fd = open(directory, O_TMPFILE | O_RDWR, 0604);
        if (fd >= 0) {
                must(fstat(fd, &status));
                check_equal(status.st_mode, S_IFREG | 0604);
                must(close(fd));
        }
        must(unlink(path));
        must(rmdir(directory));
}
