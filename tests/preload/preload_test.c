/* SPDX-License-Identifier: MIT */

#include "preload_test.h"

#include "filter.h"

#include <libgen.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/un.h>

static int ready_fd = -1;

/* However it was started: without the library these tests would speak to the kernel's vsock. */
__attribute__((constructor)) static void install_filter(void) {
        filter_install();
}

/* What the library keeps for itself: unlike all that it makes for programs, a socket that shows as AF_UNIX. */
bool test_keeps_descriptor(int fd) {
        int domain = 0, type = 0;
        socklen_t size = sizeof domain;
        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
               getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET;
}

struct sockaddr_vm at(unsigned cid, unsigned port) {
        return (struct sockaddr_vm){.svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = port};
}

int new_socket(int type) {
        return (int)must(socket(AF_VSOCK, type, 0));
}

int listening(unsigned cid, unsigned port, int type) {
        int fd = new_socket(type);
        must(bind(fd, ADDRESS(cid, port), ADDRESS_SIZE));
        must(listen(fd, 128));
        return fd;
}

int connected(unsigned cid, unsigned port, int type) {
        int fd = new_socket(type);
        must(connect(fd, ADDRESS(cid, port), ADDRESS_SIZE));
        return fd;
}

int accepted(int listener) {
        return (int)must(accept(listener, NULL, NULL));
}

struct ends connect_here(unsigned port, int type) {
        int listener = listening(VMADDR_CID_LOCAL, port, type);
        struct ends ends = {.connector = connected(VMADDR_CID_LOCAL, port, type), .acceptor = accepted(listener)};
        must(close(listener));
        return ends;
}

void ends_close(const struct ends *ends) {
        must(close(ends->connector));
        must(close(ends->acceptor));
}

static struct sockaddr_vm name_of(int fd, int (*call)(int, struct sockaddr *, socklen_t *)) {
        struct sockaddr_vm name[2] = {};
        socklen_t length = sizeof name;
        must(call(fd, (struct sockaddr *)name, &length));
        check_equal(length, sizeof *name);
        check_equal(name->svm_family, AF_VSOCK);
        return *name;
}

static int get_own(int fd, struct sockaddr *name, socklen_t *length) {
        return getsockname(fd, name, length);
}

static int get_peer(int fd, struct sockaddr *name, socklen_t *length) {
        return getpeername(fd, name, length);
}

struct sockaddr_vm own_name(int fd) {
        return name_of(fd, get_own);
}

struct sockaddr_vm peer_name(int fd) {
        return name_of(fd, get_peer);
}

void check_name(struct sockaddr_vm name, unsigned cid, unsigned port) {
        check_equal(name.svm_family, AF_VSOCK);
        check_equal(name.svm_cid, cid);
        check_equal(name.svm_port, port);
}

int option_of(int fd, int level, int option) {
        int value = -1;
        socklen_t size = sizeof value;
        must(getsockopt(fd, level, option, &value, &size));
        check_equal(size, sizeof value);
        return value;
}

void give(int fd, const char *words) {
        check_equal(write(fd, words, strlen(words)), strlen(words));
}

void check_given(int fd, const char *words) {
        char got[256] = "";
        for (size_t length = 0; length < strlen(words);)
                length += (size_t)must(read(fd, got + length, strlen(words) - length));
        check_string(got, words);
}

void check_end(int fd) {
        char byte;
        check_equal(read(fd, &byte, 1), 0);
}

void check_talk(int one, int other) {
        give(one, "to you");
        check_given(other, "to you");
        give(other, "and back");
        check_given(one, "and back");
}

int pass(int through, int fd) {
        union {
                struct cmsghdr header;
                char space[CMSG_SPACE(sizeof(int))];
        } control = {};
        struct iovec vector = {(char[]){0}, 1};
        struct msghdr message = {
                .msg_iov = &vector, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
        if (fd >= 0) {
                control.header = (struct cmsghdr){CMSG_LEN(sizeof fd), SOL_SOCKET, SCM_RIGHTS};
                memcpy(CMSG_DATA(&control.header), &fd, sizeof fd);
                check_equal(sendmsg(through, &message, 0), 1);
        } else {
                check_equal(recvmsg(through, &message, 0), 1);
                memcpy(&fd, CMSG_DATA(&control.header), sizeof fd);
        }
        return fd;
}

pid_t begin_in(const char *vm_id, void (*body)(void)) {
        char place[PATH_MAX], socket[2 * PATH_MAX], byte;
        int fds[2];
        snprintf(place, sizeof place, "%s", getenv("HVSOCK_SOCKET"));
        snprintf(socket, sizeof socket, "%s/%s", dirname(place), vm_id);
        must(pipe(fds));
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                close(fds[0]);
                ready_fd = fds[1];
                setenv("HVSOCK_SOCKET", socket, 1);
                body();
                _exit(0);
        }
        close(fds[1]);
        check_equal(read(fds[0], &byte, 1), 1);
        close(fds[0]);
        return pid;
}

void ready(void) {
        check_equal(write(ready_fd, "r", 1), 1);
        must(close(ready_fd));
}

void finish(pid_t pid) {
        int status;
        check_equal(must(waitpid(pid, &status, 0)), pid);
        check_equal(status, 0);
}

int listen_in_silence(char *directory) {
        struct sockaddr_un silent = {.sun_family = AF_UNIX};
        int fd = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        check(mkdtemp(directory) != NULL);
        snprintf(silent.sun_path, sizeof silent.sun_path, "%s/control", directory);
        must(bind(fd, (struct sockaddr *)&silent, sizeof silent));
        must(listen(fd, 8));
        setenv("HVSOCK_SOCKET", silent.sun_path, 1);
        return fd;
}

int run(const char *format, ...) {
        char command[4096];
        va_list values;
        va_start(values, format);
        int length = snprintf(command, sizeof command, "unset LD_PRELOAD; PATH=$HVSOCK_BUILD:$PATH; ");
        vsnprintf(command + length, sizeof command - (size_t)length, format, values);
        va_end(values);
        return WEXITSTATUS(must(system(command)));
}
