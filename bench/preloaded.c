/* SPDX-License-Identifier: MIT */

/* What a preloaded program does: libhvsock-preload's calls for the connection, and the kernel's for data. */

#include "transport.h"

#include <dlfcn.h>
#include <errno.h>
#include <linux/vm_sockets.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct {
        int (*socket)(int domain, int type, int protocol);
        int (*bind)(int fd, const struct sockaddr *address, socklen_t length);
        int (*listen)(int fd, int backlog);
        int (*accept4)(int fd, struct sockaddr *address, socklen_t *length, int flags);
        int (*connect)(int fd, const struct sockaddr *address, socklen_t length);
} calls;

static void find(void *library, const char *name, void *ret_call) {
        void *call = dlsym(library, name);
        if (!call)
                die("libhvsock-preload has no %s", name);
        memcpy(ret_call, &call, sizeof call);
}

static void load(void) {
        void *library = calls.socket ? NULL : dlopen(PRELOAD_LIBRARY, RTLD_NOW | RTLD_LOCAL);
        if (calls.socket)
                return;
        if (!library)
                die("%s", dlerror());
        find(library, "bind", &calls.bind);
        find(library, "listen", &calls.listen);
        find(library, "accept4", &calls.accept4);
        find(library, "connect", &calls.connect);
        find(library, "socket", &calls.socket);
}

static int new_socket(void) {
        load();
        int fd = calls.socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                die("cannot make a preloaded socket: %s", strerror(errno));
        return fd;
}

static struct sockaddr_vm address_of(unsigned cid, const struct endpoint *endpoint, unsigned listener) {
        return (struct sockaddr_vm){
                .svm_family = AF_VSOCK, .svm_cid = cid, .svm_port = BENCH_FIRST_PORT + endpoint->first_listener + listener};
}

static int preloaded_listen(struct endpoint *endpoint, unsigned listener) {
        struct sockaddr_vm address = address_of(VMADDR_CID_ANY, endpoint, listener);
        int fd = new_socket();
        if (calls.bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || calls.listen(fd, LISTEN_BACKLOG) < 0)
                die("cannot listen: %s", strerror(errno));
        return fd;
}

static int preloaded_dial(const struct endpoint *endpoint, unsigned listener) {
        struct sockaddr_vm address = address_of(endpoint->is_loopback ? VMADDR_CID_LOCAL : BENCH_VM_CID, endpoint, listener);
        int fd = new_socket();
        if (calls.connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
                die("cannot connect: %s", strerror(errno));
        return fd;
}

static int preloaded_accept(int listener) {
        int fd = calls.accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0)
                die("cannot accept: %s", strerror(errno));
        return fd;
}

static void preloaded_send(int fd, const void *buffer, size_t size) {
        transport_unix.send(fd, buffer, size);
}

static size_t preloaded_receive(int fd, void *buffer, size_t size) {
        return transport_unix.receive(fd, buffer, size);
}

static void preloaded_close(int fd) {
        close(fd);
}

const struct transport transport_preloaded = {
        "preloaded",    preloaded_listen,  preloaded_dial, preloaded_accept,
        preloaded_send, preloaded_receive, preloaded_close,
};
