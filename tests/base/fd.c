/* SPDX-License-Identifier: MIT */

#include "base/fd.h"
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* ---- packets ---- */

static void make_pair(int type, int ret_pair[2]) {
        must(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret_pair));
}

static void close_pair(int pair[2]) {
        fd_close(pair[0]);
        fd_close(pair[1]);
}

static bool same_file(int a, int b) {
        struct stat first, second;
        must(fstat(a, &first));
        must(fstat(b, &second));
        return first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

static unsigned open_descriptors(void) {
        unsigned count = 0;
        for (int fd = 0; fd < 256; fd++)
                count += fcntl(fd, F_GETFD) >= 0;
        return count;
}

/* What packet_send() does not send: `count` descriptors in one message. */
static void send_descriptors(int socket, size_t length, const int *descriptors, size_t count) {
        char byte = 'x';
        struct iovec vector = {&byte, length};
        union {
                struct cmsghdr header;
                char bytes[CMSG_SPACE(sizeof(int) * 64)];
        } control = {};
        struct msghdr message = {.msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control,
                                 .msg_controllen = CMSG_SPACE(sizeof(int) * count)};
        control.header = (struct cmsghdr){
                .cmsg_len = CMSG_LEN(sizeof(int) * count), .cmsg_level = SOL_SOCKET, .cmsg_type = SCM_RIGHTS};
        memcpy(CMSG_DATA(&control.header), descriptors, sizeof(int) * count);
        must(sendmsg(socket, &message, 0));
}

static void expect_protocol_error(int socket) {
        char buffer[64];
        size_t length = 99;
        int fd = -99;
        struct packet_credentials credentials = {1, 2, 3};
        unsigned before = open_descriptors();
        check_equal(packet_receive(socket, buffer, sizeof buffer, 0, &length, &fd, &credentials), -EPROTO);
        check_equal(open_descriptors(), before);
        check_equal(length, 99);
        check_equal(fd, -99);
        check_equal(credentials.pid, 1);
}

TEST(a_packet_arrives_as_it_was_sent) {
        int pair[2], fd = -99;
        char buffer[64];
        size_t length;
        make_pair(SOCK_SEQPACKET, pair);
        check_ok(packet_send(pair[0], "first", 5, -1, 0));
        check_ok(packet_send(pair[0], "second", 6, -1, 0));
        check_ok(packet_receive(pair[1], buffer, sizeof buffer, 0, &length, &fd, NULL));
        check_equal(length, 5);
        check(!memcmp(buffer, "first", 5));
        check_equal(fd, -1);
        check_ok(packet_receive(pair[1], buffer, sizeof buffer, 0, &length, &fd, NULL));
        check_equal(length, 6);
        check(!memcmp(buffer, "second", 6));
        close_pair(pair);
}

TEST(a_packet_brings_one_descriptor_closed_at_exec) {
        int pair[2], fd = -1;
        char buffer[64];
        size_t length;
        make_pair(SOCK_SEQPACKET, pair);
        check_ok(packet_send(pair[0], "x", 1, pair[0], 0));
        check_ok(packet_receive(pair[1], buffer, sizeof buffer, 0, &length, &fd, NULL));
        check_equal(length, 1);
        check(same_file(fd, pair[0]));
        check(must(fcntl(fd, F_GETFD)) & FD_CLOEXEC);
        fd_close(fd);
        close_pair(pair);
}

/* The room in a control message is padded: two descriptors may fit where one was asked for. */
TEST(two_descriptors_are_refused_and_closed) {
        int pair[2];
        make_pair(SOCK_SEQPACKET, pair);
        for (unsigned i = 0; i < 100; i++) {
                send_descriptors(pair[0], 1, (int[]){0, 1}, 2);
                expect_protocol_error(pair[1]);
        }
        close_pair(pair);
}

TEST(many_descriptors_are_refused_and_closed) {
        int pair[2], many[64];
        make_pair(SOCK_SEQPACKET, pair);
        for (unsigned i = 0; i < 64; i++)
                many[i] = pair[0];
        for (unsigned count = 2; count <= 64; count++) {
                send_descriptors(pair[0], 1, many, count);
                expect_protocol_error(pair[1]);
        }
        close_pair(pair);
}

TEST(many_descriptors_are_refused_and_closed_with_credentials_too) {
        int pair[2];
        make_pair(SOCK_SEQPACKET, pair);
        must(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
        send_descriptors(pair[0], 1, (int[]){0, 1, 2}, 3);
        expect_protocol_error(pair[1]);
        close_pair(pair);
}

TEST(a_descriptor_without_bytes_is_refused_and_closed) {
        int pair[2];
        make_pair(SOCK_SEQPACKET, pair);
        send_descriptors(pair[0], 0, (int[]){0}, 1);
        expect_protocol_error(pair[1]);
        close_pair(pair);
}

TEST(a_packet_that_just_fits_is_received) {
        int pair[2], fd;
        char sent[64] = {1}, buffer[64];
        size_t length;
        make_pair(SOCK_SEQPACKET, pair);
        check_ok(packet_send(pair[0], sent, 64, -1, 0));
        check_ok(packet_receive(pair[1], buffer, sizeof buffer, 0, &length, &fd, NULL));
        check_equal(length, 64);
        check(!memcmp(buffer, sent, 64));
        close_pair(pair);
}

TEST(a_truncated_packet_is_refused_and_its_descriptor_closed) {
        int pair[2];
        char sent[65] = {};
        make_pair(SOCK_SEQPACKET, pair);
        check_ok(packet_send(pair[0], sent, sizeof sent, -1, 0));
        expect_protocol_error(pair[1]);
        check_ok(packet_send(pair[0], sent, sizeof sent, pair[0], 0));
        expect_protocol_error(pair[1]);
        close_pair(pair);
}

TEST(a_peer_that_is_gone_is_length_0_to_the_receiver_and_epipe_to_the_sender) {
        int pair[2], fd = -99;
        char buffer[64];
        size_t length = 99;
        make_pair(SOCK_SEQPACKET, pair);
        check_ok(packet_send(pair[0], "last", 4, -1, 0));
        pair[0] = fd_close(pair[0]);
        check_ok(packet_receive(pair[1], buffer, sizeof buffer, 0, &length, &fd, NULL));
        check_equal(length, 4);
        check_ok(packet_receive(pair[1], buffer, sizeof buffer, 0, &length, &fd, NULL));
        check_equal(length, 0);
        check_equal(fd, -1);
        check_equal(packet_send(pair[1], "x", 1, -1, 0), -EPIPE); /* no SIGPIPE: this test goes on */
        close_pair(pair);
}

TEST(flags_go_to_the_kernel) {
        int pair[2], fd;
        char buffer[64] = {};
        size_t length;
        make_pair(SOCK_SEQPACKET, pair);
        check_equal(packet_receive(pair[1], buffer, sizeof buffer, MSG_DONTWAIT, &length, &fd, NULL), -EAGAIN);
        int r;
        do
                r = packet_send(pair[0], buffer, sizeof buffer, -1, MSG_DONTWAIT);
        while (!r);
        check_equal(r, -EAGAIN);
        close_pair(pair);
}

TEST(credentials_are_those_of_the_sender) {
        int pair[2], fd;
        char buffer[64];
        size_t length;
        struct packet_credentials credentials = {};
        make_pair(SOCK_SEQPACKET, pair);
        must(setsockopt(pair[1], SOL_SOCKET, SO_PASSCRED, &(int){1}, sizeof(int)));
        pid_t pid = (pid_t)must(fork());
        if (!pid)
                _exit(packet_send(pair[0], "x", 1, pair[0], 0) ? 1 : 0);
        check_ok(packet_receive(pair[1], buffer, sizeof buffer, 0, &length, &fd, &credentials));
        check_equal(credentials.pid, pid);
        check_equal(credentials.uid, getuid());
        check_equal(credentials.gid, getgid());
        check(same_file(fd, pair[0]));
        fd_close(fd);
        must(waitpid(pid, NULL, 0));
        close_pair(pair);
}

TEST(credentials_that_nobody_told_are_all_ones) {
        int pair[2], fd;
        char buffer[64];
        size_t length;
        struct packet_credentials credentials = {};
        make_pair(SOCK_SEQPACKET, pair);
        check_ok(packet_send(pair[0], "x", 1, -1, 0));
        check_ok(packet_receive(pair[1], buffer, sizeof buffer, 0, &length, &fd, &credentials));
        check_equal(credentials.pid, UINT32_MAX);
        check_equal(credentials.uid, UINT32_MAX);
        check_equal(credentials.gid, UINT32_MAX);
        close_pair(pair);
}

TEST(closing_keeps_errno_and_gives_minus_1) {
        errno = ENOTUNIQ;
        check_equal(fd_close(-1), -1);
        check_equal(fd_close(9999), -1);
        check_equal(errno, ENOTUNIQ);
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC), copy = fd;
        check_equal(fd_close(fd_take(fd)), -1);
        check_equal(fd, -1);
        check_errno(fcntl(copy, F_GETFD), EBADF);
}

/* ---- files ---- */

/* A new directory that is the working directory of this test. */
static void enter_directory(void) {
        static char path[] = "/tmp/hvsock-test-fd-XXXXXX";
        check(mkdtemp(path) != NULL);
        must(chdir(path));
}

static void leave_directory(void) {
        char path[4096];
        check(getcwd(path, sizeof path) != NULL);
        must(rmdir(path)); /* which is also how files left behind are noticed */
}

static void write_file(const char *name, const char *bytes, size_t length) {
        int fd = (int)must(open(name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
        check_equal(must(write(fd, bytes, length)), length);
        fd_close(fd);
}

static void expect_content(const char *name, const char *content) {
        cleanup(freep) char *text = NULL;
        size_t length;
        check_ok(file_read(AT_FDCWD, name, 4096, &text, &length));
        check_equal(length, strlen(content));
        check_string(text, content);
}

TEST(a_file_of_exactly_the_limit_is_read_and_one_byte_more_is_not) {
        enter_directory();
        char *text = NULL;
        size_t length = 99;
        write_file("file", "0123456789", 10);
        check_ok(file_read(AT_FDCWD, "file", 10, &text, &length));
        check_equal(length, 10);
        check_string(text, "0123456789");
        free(text);
        text = NULL;
        length = 99;
        check_equal(file_read(AT_FDCWD, "file", 9, &text, &length), -EFBIG);
        check(text == NULL);
        check_equal(length, 99);
        must(unlink("file"));
        leave_directory();
}

TEST(a_file_with_nul_is_read_whole) {
        enter_directory();
        cleanup(freep) char *text = NULL;
        size_t length;
        write_file("file", "a\0b", 3);
        check_ok(file_read(AT_FDCWD, "file", 4096, &text, &length));
        check_equal(length, 3);
        check(!memcmp(text, "a\0b", 4));
        must(unlink("file"));
        leave_directory();
}

TEST(an_empty_file_is_read_even_with_limit_0) {
        enter_directory();
        cleanup(freep) char *text = NULL;
        size_t length = 99;
        write_file("file", "", 0);
        check_ok(file_read(AT_FDCWD, "file", 0, &text, &length));
        check_equal(length, 0);
        check_string(text, "");
        must(unlink("file"));
        leave_directory();
}

TEST(a_file_whose_size_says_0_is_read) {
        cleanup(freep) char *text = NULL;
        size_t length;
        check_ok(file_read(AT_FDCWD, "/proc/self/status", 65536, &text, &length));
        check(!strncmp(text, "Name:", 5));
}

TEST(what_is_no_regular_file_is_not_read) {
        enter_directory();
        char *text;
        size_t length;
        must(mkfifo("fifo", 0600));
        check_equal(file_read(AT_FDCWD, "fifo", 10, &text, &length), -EINVAL);
        check_equal(file_read(AT_FDCWD, ".", 10, &text, &length), -EINVAL);
        check_equal(file_read(AT_FDCWD, "/dev/zero", 10, &text, &length), -EINVAL);
        check_equal(file_read(AT_FDCWD, "missing", 10, &text, &length), -ENOENT);
        must(unlink("fifo"));
        leave_directory();
}

TEST(a_file_is_read_relative_to_its_directory) {
        enter_directory();
        must(mkdir("sub", 0700));
        write_file("sub/file", "there", 5);
        int directory_fd = (int)must(open("sub", O_PATH | O_DIRECTORY | O_CLOEXEC));
        cleanup(freep) char *text = NULL;
        size_t length;
        check_ok(file_read(directory_fd, "file", 10, &text, &length));
        check_string(text, "there");
        fd_close(directory_fd);
        must(unlink("sub/file"));
        must(rmdir("sub"));
        leave_directory();
}

TEST(a_replaced_file_is_a_new_one_with_its_mode_and_nothing_beside_it) {
        enter_directory();
        write_file("file", "old", 3);
        int old = (int)must(open("file", O_RDONLY | O_CLOEXEC)), new;
        umask(077);
        check_ok(file_replace(AT_FDCWD, "file", "new text", 8, 0644));
        new = (int)must(open("file", O_RDONLY | O_CLOEXEC));
        char bytes[16];
        check_equal(must(read(old, bytes, sizeof bytes)), 3); /* who had it open still reads the whole old one */
        check(!same_file(old, new));
        struct stat status;
        must(fstat(new, &status));
        check_equal(status.st_mode, S_IFREG | 0644);
        expect_content("file", "new text");
        fd_close(old);
        fd_close(new);
        must(unlink("file"));
        leave_directory();
}

TEST(a_file_is_replaced_in_a_directory_held_only_as_a_path) {
        enter_directory();
        must(mkdir("sub", 0700));
        int directory_fd = (int)must(open("sub", O_PATH | O_DIRECTORY | O_CLOEXEC));
        check_ok(file_replace(directory_fd, "file", "x", 1, 0600));
        check_ok(file_replace(AT_FDCWD, "sub/file", "y", 1, 0600));
        expect_content("sub/file", "y");
        fd_close(directory_fd);
        must(unlink("sub/file"));
        must(rmdir("sub"));
        leave_directory();
}

/* Whoever reads while it is replaced sees one whole text or the other, never part of one. */
TEST(readers_never_see_half_a_file) {
        enter_directory();
        static char texts[2][20000];
        memset(texts[0], 'a', sizeof texts[0]);
        memset(texts[1], 'b', sizeof texts[1]);
        check_ok(file_replace(AT_FDCWD, "file", texts[0], sizeof texts[0], 0600));
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                for (unsigned i = 0; i < 100; i++)
                        if (file_replace(AT_FDCWD, "file", texts[i % 2], sizeof texts[0], 0600))
                                _exit(1);
                _exit(0);
        }
        int status;
        while (!must(waitpid(pid, &status, WNOHANG))) {
                cleanup(freep) char *text = NULL;
                size_t length;
                check_ok(file_read(AT_FDCWD, "file", sizeof texts[0], &text, &length));
                check_equal(length, sizeof texts[0]);
                check(!memcmp(text, texts[*text == 'b'], length));
        }
        check_equal(status, 0);
        must(unlink("file"));
        leave_directory();
}

TEST(a_failed_replacement_leaves_the_old_file_and_nothing_beside_it) {
        enter_directory();
        must(mkdir("taken", 0700));
        check_equal(file_replace(AT_FDCWD, "taken", "x", 1, 0600), -EISDIR);
        check_equal(file_replace(AT_FDCWD, "missing/file", "x", 1, 0600), -ENOENT);
        check_equal(file_replace(AT_FDCWD, "", "x", 1, 0600), -EINVAL);
        check_equal(file_replace(AT_FDCWD, "taken/", "x", 1, 0600), -EINVAL);
        must(rmdir("taken"));
        leave_directory();
}

/* ---- addresses ---- */

/* Binds a socket to the path and connects another to it. */
static void expect_reachable(const char *path, bool through_directory) {
        struct sockaddr_un address;
        socklen_t length;
        int directory_fd = -99;
        int listener = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        int connector = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        check_ok(address_of_path(path, &address, &length, &directory_fd));
        check_equal(directory_fd >= 0, through_directory);
        check(length <= sizeof address);
        check_equal(address.sun_path[length - offsetof(struct sockaddr_un, sun_path) - 1], 0);
        must(bind(listener, (struct sockaddr *)&address, length));
        must(listen(listener, 1));
        must(connect(connector, (struct sockaddr *)&address, length));
        fd_close(directory_fd);
        struct stat status;
        must(stat(path, &status));
        check(S_ISSOCK(status.st_mode));
        must(unlink(path));
        fd_close(listener);
        fd_close(connector);
}

/* Makes directories until the path is `length` long with "/s" at its end; calls `with`, and removes them. */
static void with_path_of_length(size_t length, void (*with)(const char *path, bool flag), bool flag) {
        char path[512], parent[512] = "";
        enter_directory();
        check(getcwd(path, sizeof path) != NULL);
        size_t start = strlen(path);
        check(start + 4 < length);
        while (strlen(path) + 2 < length) {
                size_t step = length - strlen(path) - 2;
                if (step > 102)
                        step = 100;
                strcpy(parent, path);
                path[strlen(parent)] = '/';
                memset(path + strlen(parent) + 1, 'd', step - 1);
                path[strlen(parent) + step] = 0;
                must(mkdir(path, 0700));
        }
        strcat(path, "/s");
        check_equal(strlen(path), length);
        with(path, flag);
        for (char *slash; (slash = strrchr(path, '/')) > path + start;) {
                *slash = 0;
                must(rmdir(path));
        }
        leave_directory();
}

TEST(a_path_of_107_characters_is_an_address_by_itself) {
        with_path_of_length(107, expect_reachable, false);
}

TEST(a_path_of_108_characters_goes_through_its_directory) {
        with_path_of_length(108, expect_reachable, true);
}

TEST(a_path_of_200_characters_goes_through_its_directory) {
        with_path_of_length(200, expect_reachable, true);
}

TEST(a_path_that_is_no_address_says_why) {
        struct sockaddr_un address;
        socklen_t length = 99;
        int directory_fd = -99;
        char path[200] = "/tmp/";
        check_equal(address_of_path("", &address, &length, &directory_fd), -EINVAL);
        memset(path + 5, 'x', 150);
        check_equal(address_of_path(path, &address, &length, &directory_fd), -ENAMETOOLONG);
        path[50] = '/';
        check_equal(address_of_path(path, &address, &length, &directory_fd), -ENOENT);
        check_equal(length, 99);
        check_equal(directory_fd, -99);
}
