/* SPDX-License-Identifier: MIT */
#include "fake_vmm.h"

#include "base/fd.h"
#include "join.h"
#include "test.h"
#include "text_stream.h"
#include "vm/vsock.h"
#include <hvsock.h>
#include <poll.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

char path[64];
struct vm_worker *thread;
int vmm = -1;
uint32_t vmm_uid = HYBRID_ANY_UID;
int application, stream;
struct vm_traffic traffic;

char directory[] = "/tmp/hvsock-hybrid-XXXXXX";
static struct list letters = LIST_INIT(letters);

/* ---- the VMM ---- */

int listen_at(const char *at, int backlog) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        strcpy(address.sun_path, at);
        must(bind(fd, (struct sockaddr *)&address, sizeof address));
        must(listen(fd, backlog));
        return fd;
}

int connect_to(const char *at) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        strcpy(address.sun_path, at);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
                return fd;
        close(fd);
        return -1;
}

void wait_for(int fd, short events) {
        struct pollfd poll_fd = {.fd = fd, .events = events};
        check_equal(poll(&poll_fd, 1, FAKE_VMM_PATIENCE_MS), 1);
}

/* The next connection that is no probe. */
int accept_line(const char *line) {
        char first;
        for (;;) {
                wait_for(vmm, POLLIN);
                int fd = (int)must(accept4(vmm, NULL, NULL, SOCK_CLOEXEC));
                if (must(recv(fd, &first, 1, MSG_PEEK)) == 1) {
                        expect_text(fd, line);
                        return fd;
                }
                close(fd);
        }
}

/* ---- the loop ---- */

struct vm_message hear_anything(void) {
        struct vm_message message;
        while (!mailbox_next(&letters, &message)) {
                wait_for(vm_worker_fd(thread), POLLIN);
                vm_worker_hear(thread, &letters);
        }
        return message;
}

struct vm_message expect(enum vm_message_kind kind) {
        struct vm_message message;
        do
                message = hear_anything();
        while (message.kind == VM_STATE);
        check_equal(message.kind, kind);
        return message;
}

void tell(struct vm_message message) {
        check_ok(vm_worker_tell(thread, &message));
}

void await_running(bool is_running) {
        struct vm_state state;
        for (vm_worker_state(thread, &state); state.is_running != is_running; vm_worker_state(thread, &state))
                check_equal(hear_anything().kind, VM_STATE);
}

static void make_directory(void) {
        check(mkdtemp(directory));
        must(chmod(directory, 0755));
        snprintf(path, sizeof path, "%s/v.sock", directory);
}

static void start(void) {
        check_ok(hybrid_thread_new(path, vmm_uid, &thread));
        check_ok(vm_worker_start(thread));
}

void begin_without_vmm(void) {
        make_directory();
        start();
}

void begin_with_backlog(int backlog) {
        make_directory();
        vmm = listen_at(path, backlog);
        start();
        await_running(true);
}

void begin(void) {
        begin_with_backlog(SOMAXCONN);
}

void stop(void) {
        tell((struct vm_message){.kind = VM_STOP, .fd = -1});
        while (hear_anything().kind != VM_ENDED)
                ;
        join(thread);
}

void end(void) {
        stop();
        if (vmm >= 0)
                close(vmm);
        (void)unlink(path);
        must(rmdir(directory)); /* so all files of the thread's are gone */
}

void dial(uint64_t ticket, uint32_t port) {
        tell((struct vm_message){
                .kind = VM_CONNECT, .ticket = ticket, .cid = 2, .port = port, .type = VSOCK_STREAM, .fd = -1});
}

/* A channel's end for the thread, whose other end is `application`. */
int make_end(void) {
        const int on = 1;
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        for (unsigned i = 0; i < 2; i++) /* as the broker does: what has a name is told from an end */
                must(bind(ends[i], &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)));
        must(setsockopt(ends[0], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on)); /* as hv_socket() does, for aborts */
        application = ends[0];
        return ends[1];
}

void join_channel(uint64_t ticket, enum vm_message_kind kind) {
        tell((struct vm_message){.kind = kind, .ticket = ticket, .fd = make_end(), .traffic = &traffic});
}

void connect_channel(void) {
        dial(2, 22);
        stream = accept_line("CONNECT 22\n");
        send_text(stream, "OK 1073741824\n");
        check_equal(expect(VM_ANSWERED).ticket, 2);
        join_channel(2, VM_END);
}

void finish_channel(void) {
        must(hv_close(application));
        close(stream);
        check_equal(expect(VM_CLOSED).ticket, 2);
        end();
}

ssize_t receive(void *bytes, size_t size) {
        wait_for(application, POLLIN);
        return hv_recv(application, bytes, size, 0);
}

void expect_from_guest(const char *text) {
        char bytes[128];
        size_t length = strlen(text);
        check_equal(must(hv_recv(application, bytes, length, MSG_WAITALL)), length);
        check(!memcmp(bytes, text, length));
}
