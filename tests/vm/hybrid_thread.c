/* SPDX-License-Identifier: MIT */

/* The thread of a hybrid VM between a fake VMM, the loop, which is the test, and applications that use the library. */

#include "vm/hybrid_thread.h"

#include "base/fd.h"
#include "join.h"
#include "test.h"
#include "vm/vsock.h"
#include <fcntl.h>
#include <hvsock.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define PATIENCE_MS 10000

static char directory[] = "/tmp/hvsock-hybrid-XXXXXX", path[64];
static struct vm_worker *thread;
static struct list letters = LIST_INIT(letters);
static int vmm = -1; /* listens at the path */
static uint32_t vmm_uid = HYBRID_ANY_UID;
static int application, stream; /* of the one channel that most tests have */
static struct vm_traffic traffic;

/* ---- the VMM ---- */

static int listen_at(const char *at, int backlog) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        strcpy(address.sun_path, at);
        must(bind(fd, (struct sockaddr *)&address, sizeof address));
        must(listen(fd, backlog));
        return fd;
}

static int connect_to(const char *at) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        strcpy(address.sun_path, at);
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
                return fd;
        close(fd);
        return -1;
}

static void wait_for(int fd, short events) {
        struct pollfd poll_fd = {.fd = fd, .events = events};
        check_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
}

static void send_text(int fd, const char *text) {
        check_equal(must(send(fd, text, strlen(text), MSG_NOSIGNAL)), strlen(text));
}

static void expect_text(int fd, const char *text) {
        char bytes[128];
        size_t length = strlen(text);
        check_equal(must(recv(fd, bytes, length, MSG_WAITALL)), length);
        check(!memcmp(bytes, text, length));
}

static void expect_end(int fd) {
        wait_for(fd, POLLIN);
        check_equal(must(recv(fd, &(char){0}, 1, 0)), 0);
}

/* The next connection that is no probe. */
static int accept_line(const char *line) {
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

static struct vm_message hear_anything(void) {
        struct vm_message message;
        while (!mailbox_next(&letters, &message)) {
                wait_for(vm_worker_fd(thread), POLLIN);
                vm_worker_hear(thread, &letters);
        }
        return message;
}

static struct vm_message expect(enum vm_message_kind kind) {
        struct vm_message message;
        do
                message = hear_anything();
        while (message.kind == VM_STATE);
        check_equal(message.kind, kind);
        return message;
}

static void tell(struct vm_message message) {
        check_ok(vm_worker_tell(thread, &message));
}

static void await_running(bool is_running) {
        struct vm_state state;
        for (vm_worker_state(thread, &state); state.is_running != is_running; vm_worker_state(thread, &state))
                check_equal(hear_anything().kind, VM_STATE);
}

static void begin_without_vmm(void) {
        check(mkdtemp(directory));
        must(chmod(directory, 0755));
        snprintf(path, sizeof path, "%s/v.sock", directory);
        check_ok(hybrid_thread_new(path, vmm_uid, &thread));
        check_ok(vm_worker_start(thread));
}

static void begin(void) {
        check(mkdtemp(directory));
        must(chmod(directory, 0755));
        snprintf(path, sizeof path, "%s/v.sock", directory);
        vmm = listen_at(path, SOMAXCONN);
        check_ok(hybrid_thread_new(path, vmm_uid, &thread));
        check_ok(vm_worker_start(thread));
        await_running(true);
}

static void stop(void) {
        tell((struct vm_message){.kind = VM_STOP, .fd = -1});
        while (hear_anything().kind != VM_ENDED)
                ;
        join(thread);
}

static void end(void) {
        stop();
        if (vmm >= 0)
                close(vmm);
        (void)unlink(path);
        must(rmdir(directory)); /* so all files of the thread's are gone */
}

static void dial(uint64_t ticket, uint32_t port) {
        tell((struct vm_message){
                .kind = VM_CONNECT, .ticket = ticket, .cid = 2, .port = port, .type = VSOCK_STREAM, .fd = -1});
}

/* A channel's end for the thread, whose other end is `application`. */
static int make_end(void) {
        const int on = 1;
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        for (unsigned i = 0; i < 2; i++) /* as the broker does: what has a name is told from an end */
                must(bind(ends[i], &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)));
        must(setsockopt(ends[0], SOL_SOCKET, SO_OOBINLINE, &on, sizeof on)); /* as hv_socket() does, for aborts */
        application = ends[0];
        return ends[1];
}

static void join_channel(uint64_t ticket, enum vm_message_kind kind) {
        tell((struct vm_message){.kind = kind, .ticket = ticket, .fd = make_end(), .traffic = &traffic});
}

static void connect_channel(void) {
        dial(2, 22);
        stream = accept_line("CONNECT 22\n");
        send_text(stream, "OK 1073741824\n");
        check_equal(expect(VM_ANSWERED).ticket, 2);
        join_channel(2, VM_END);
}

static void finish_channel(void) {
        must(hv_close(application));
        close(stream);
        check_equal(expect(VM_CLOSED).ticket, 2);
        end();
}

static ssize_t receive(void *bytes, size_t size) {
        wait_for(application, POLLIN);
        return hv_recv(application, bytes, size, 0);
}

static void expect_from_guest(const char *text) {
        char bytes[128];
        size_t length = strlen(text);
        check_equal(must(hv_recv(application, bytes, length, MSG_WAITALL)), length);
        check(!memcmp(bytes, text, length));
}

/* ---- whether it runs ---- */

TEST(a_vm_runs_from_when_somebody_listens_at_its_path) {
        struct vm_state state;
        begin_without_vmm();
        dial(2, 22);
        check_equal(expect(VM_REFUSED).error, EHOSTUNREACH);
        vm_worker_state(thread, &state);
        check(!state.is_running);
        vmm = listen_at(path, SOMAXCONN);
        await_running(true);
        end();
}

TEST(a_vmm_that_died_is_noticed_by_the_next_connect) {
        begin();
        close(vmm);
        vmm = -1;
        dial(2, 22); /* the file is still there */
        check_equal(expect(VM_REFUSED).error, EHOSTUNREACH);
        await_running(false);
        end();
}

/* A VMM of this user, whose guest accepts. */
static pid_t start_vmm_of(uid_t uid) {
        int ready[2];
        must(pipe(ready));
        pid_t other = (pid_t)must(fork());
        if (!other) {
                must(setuid(uid));
                vmm = listen_at(path, SOMAXCONN);
                must(write(ready[1], "", 1));
                send_text(accept_line("CONNECT 22\n"), "OK 1\n");
                pause();
        }
        must(read(ready[0], &(char){0}, 1));
        close(ready[0]);
        close(ready[1]);
        return other;
}

static void kill_vmm(pid_t other) {
        must(kill(other, SIGKILL));
        must(waitpid(other, NULL, 0));
        must(unlink(path));
}

TEST(another_user_than_the_one_who_is_said_to_run_the_vmm_is_not_the_vm) {
        if (geteuid() != 0)
                test_skip("needs root, for other users");
        vmm_uid = 65534;
        begin_without_vmm();
        must(chmod(directory, 0777));
        pid_t other = start_vmm_of(65533);
        dial(2, 22);
        check_equal(expect(VM_REFUSED).error, EHOSTUNREACH);
        kill_vmm(other);
        other = start_vmm_of(65534);
        dial(4, 22);
        check_equal(expect(VM_ANSWERED).ticket, 4);
        kill_vmm(other);
        end();
}

/* ---- to the guest ---- */

TEST(a_connect_sends_its_line_and_joins_what_is_answered) {
        begin();
        connect_channel();
        send_text(stream, "hello");
        expect_from_guest("hello");
        check_equal(must(hv_send(application, "world!", 6, 0)), 6);
        expect_text(stream, "world!");
        must(hv_close(application));
        expect_end(stream);
        close(stream);
        check_equal(expect(VM_CLOSED).ticket, 2);
        check_equal(traffic.to_guest, 6);
        check_equal(traffic.from_guest, 5);
        end();
}

TEST(what_the_guest_says_behind_the_answer_is_kept) {
        begin();
        dial(2, 22);
        stream = accept_line("CONNECT 22\n");
        send_text(stream, "OK");
        send_text(stream, " 10737");
        send_text(stream, "41824\nSSH-2.0-guest\r\n");
        check_equal(expect(VM_ANSWERED).ticket, 2);
        must(shutdown(stream, SHUT_WR));
        join_channel(2, VM_END);
        expect_from_guest("SSH-2.0-guest\r\n");
        check_equal(receive(&(char){0}, 1), 0);
        finish_channel();
}

TEST(a_stream_that_is_closed_or_says_something_else_is_a_refusal) {
        static const char *const answers[] = {
                "", "OK", "NO 22\n", "OK\n", "OK 22 and much more than would ever fit into one line of an answer"};
        begin();
        for (unsigned i = 0; i < sizeof answers / sizeof answers[0]; i++) {
                dial(2 + 2 * i, 22);
                stream = accept_line("CONNECT 22\n");
                send_text(stream, answers[i]);
                if (strlen(answers[i]) < 3) /* the others cannot become an answer */
                        close(stream);
                struct vm_message refused = expect(VM_REFUSED);
                check_equal(refused.ticket, 2 + 2 * i);
                check_equal(refused.error, ECONNREFUSED);
                if (strlen(answers[i]) >= 3)
                        close(stream);
        }
        end();
}

TEST(messages_do_not_exist_there) {
        begin();
        tell((struct vm_message){.kind = VM_CONNECT, .ticket = 2, .port = 22, .type = VSOCK_SEQPACKET, .fd = -1});
        check_equal(expect(VM_REFUSED).error, EPROTOTYPE);
        end();
}

TEST(a_connect_that_is_given_up_is_closed) {
        begin();
        dial(2, 22);
        stream = accept_line("CONNECT 22\n");
        tell((struct vm_message){.kind = VM_GIVE_UP, .ticket = 2, .fd = -1});
        expect_end(stream);
        close(stream);
        tell((struct vm_message){.kind = VM_END, .ticket = 2, .fd = make_end(), .traffic = &traffic}); /* too late */
        check_equal(must(recv(application, &(char){0}, 1, 0)), 0);
        close(application);
        end();
}

TEST(a_vmm_whose_backlog_is_full_is_asked_again) {
        enum { COUNT = 20 };
        int streams[COUNT];
        check(mkdtemp(directory));
        snprintf(path, sizeof path, "%s/v.sock", directory);
        vmm = listen_at(path, 1);
        check_ok(hybrid_thread_new(path, vmm_uid, &thread));
        check_ok(vm_worker_start(thread));
        await_running(true);
        for (unsigned i = 0; i < COUNT; i++)
                dial(2 + 2 * i, 22);
        for (unsigned i = 0; i < COUNT; i++) {
                streams[i] = accept_line("CONNECT 22\n");
                send_text(streams[i], "OK 1024\n");
        }
        for (unsigned i = 0; i < COUNT; i++)
                expect(VM_ANSWERED);
        end();
        for (unsigned i = 0; i < COUNT; i++)
                close(streams[i]);
}

/* ---- what is moved ---- */

#define MEBIBYTE (1u << 20)

static uint8_t byte_of(uint64_t position) {
        return (uint8_t)((position * 0x9e3779b97f4a7c15u) >> 56);
}

struct way {
        uint64_t sent, received;
};

static void push(struct way *way, uint64_t total, ssize_t (*send_bytes)(int, const void *, size_t, int), int fd) {
        uint8_t bytes[5000];
        size_t size = total - way->sent < sizeof bytes ? total - way->sent : sizeof bytes;
        for (size_t i = 0; i < size; i++)
                bytes[i] = byte_of(way->sent + i);
        ssize_t sent = size ? send_bytes(fd, bytes, size, MSG_DONTWAIT | MSG_NOSIGNAL) : 0;
        check(sent >= 0 || errno == EAGAIN);
        way->sent += sent > 0 ? (uint64_t)sent : 0;
}

static bool pull(struct way *way, ssize_t (*receive_bytes)(int, void *, size_t, int), int fd) {
        uint8_t bytes[7000];
        ssize_t size = receive_bytes(fd, bytes, sizeof bytes, MSG_DONTWAIT);
        check(size >= 0 || errno == EAGAIN);
        for (ssize_t i = 0; i < size; i++)
                check_equal(bytes[i], byte_of(way->received + (uint64_t)i));
        way->received += size > 0 ? (uint64_t)size : 0;
        return size > 0;
}

TEST(megabytes_arrive_both_ways_at_once_through_rings) {
        struct way there = {}, back = {1u << 31, 1u << 31};
        const uint64_t total = 16 * MEBIBYTE, end_of_back = back.sent + total;
        int state;
        socklen_t length = sizeof state;
        begin();
        connect_channel();
        while (there.received < total || back.received < end_of_back) {
                push(&there, total, hv_send, application);
                push(&back, end_of_back, send, stream);
                bool has_moved = pull(&there, recv, stream);
                has_moved = pull(&back, hv_recv, application) || has_moved;
                struct pollfd both[] = {{.fd = stream, .events = POLLIN}, {.fd = application, .events = POLLIN}};
                if (!has_moved)
                        check(poll(both, 2, PATIENCE_MS) > 0);
        }
        must(hv_getsockopt(application, SOL_HVSOCKET, HVSOCKET_CARRIER_STATE, &state, &length));
        check_equal(state, HV_SENDS_SHM | HV_RECEIVES_SHM);
        must(shutdown(stream, SHUT_WR));
        check_equal(receive(&(char){0}, 1), 0);
        finish_channel();
        check_equal(traffic.to_guest, total);
        check_equal(traffic.from_guest, total);
}

/* Until nothing was taken for a while. */
static uint64_t send_all_that_goes(ssize_t (*send_bytes)(int, const void *, size_t, int), int fd) {
        static const char bytes[MEBIBYTE];
        uint64_t total = 0;
        for (unsigned quiet = 0; quiet < 50 && total < 64 * MEBIBYTE;) {
                ssize_t sent = send_bytes(fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
                quiet = sent > 0 ? 0 : quiet + 1;
                total += sent > 0 ? (uint64_t)sent : 0;
                if (sent <= 0)
                        poll(NULL, 0, 2);
        }
        return total;
}

TEST(who_does_not_receive_stops_who_sends_and_loses_nothing) {
        begin();
        connect_channel();
        uint64_t to_guest = send_all_that_goes(hv_send, application);
        uint64_t from_guest = send_all_that_goes(send, stream);
        check(to_guest < 8 * MEBIBYTE && from_guest < 8 * MEBIBYTE);
        static uint8_t bytes[MEBIBYTE];
        for (uint64_t left = to_guest; left;)
                left -= (uint64_t)must(recv(stream, bytes, left < sizeof bytes ? left : sizeof bytes, 0));
        for (uint64_t left = from_guest; left;)
                left -= (uint64_t)must(receive(bytes, left < sizeof bytes ? left : sizeof bytes));
        check_equal(must(hv_send(application, "more", 4, 0)), 4);
        expect_text(stream, "more");
        finish_channel();
}

/* ---- ends ---- */

TEST(half_closes_pass_each_way_behind_the_data) {
        begin();
        connect_channel();
        check_equal(must(hv_send(application, "question", 8, 0)), 8);
        must(hv_shutdown(application, SHUT_WR));
        expect_text(stream, "question");
        expect_end(stream);
        send_text(stream, "answer");
        expect_from_guest("answer");
        must(shutdown(stream, SHUT_WR));
        check_equal(receive(&(char){0}, 1), 0);
        finish_channel();
}

TEST(the_guests_half_close_leaves_the_other_way_open) {
        begin();
        connect_channel();
        send_text(stream, "last words");
        must(shutdown(stream, SHUT_WR));
        expect_from_guest("last words");
        check_equal(receive(&(char){0}, 1), 0);
        check_equal(must(hv_send(application, "not mine", 8, 0)), 8);
        expect_text(stream, "not mine");
        finish_channel();
}

TEST(a_stream_that_the_vmm_closes_ends_behind_its_data) {
        begin();
        connect_channel();
        send_text(stream, "bye");
        close(stream);
        expect_from_guest("bye");
        check_equal(receive(&(char){0}, 1), 0);
        check_equal(expect(VM_CLOSED).ticket, 2);
        must(hv_close(application));
        end();
}

TEST(a_vmm_that_is_gone_is_a_reset_and_never_an_end) {
        begin();
        connect_channel();
        send_text(stream, "half a sen");
        close(vmm);
        vmm = -1;
        close(stream);
        expect_from_guest("half a sen");
        wait_for(application, POLLIN);
        check_errno(hv_recv(application, &(char){0}, 1, 0), ECONNRESET);
        check_equal(expect(VM_CLOSED).ticket, 2);
        await_running(false);
        must(hv_close(application));
        end();
}

TEST(what_the_guest_left_unread_makes_it_a_reset) {
        begin();
        connect_channel();
        check_equal(must(hv_send(application, "unheard", 7, 0)), 7);
        wait_for(stream, POLLIN);
        close(stream);
        wait_for(application, POLLIN);
        check_errno(hv_recv(application, &(char){0}, 1, 0), ECONNRESET);
        check_equal(expect(VM_CLOSED).ticket, 2);
        must(hv_close(application));
        end();
}

TEST(the_applications_reset_closes_the_stream) {
        struct linger linger = {.l_onoff = 1};
        begin();
        connect_channel();
        must(hv_setsockopt(application, SOL_SOCKET, SO_LINGER, &linger, sizeof linger));
        must(hv_close(application));
        expect_end(stream);
        close(stream);
        check_equal(expect(VM_CLOSED).ticket, 2);
        end();
}

TEST(the_loops_reset_is_seen_on_both_sides) {
        begin();
        connect_channel();
        tell((struct vm_message){.kind = VM_RESET, .ticket = 2, .fd = -1});
        check_equal(expect(VM_CLOSED).ticket, 2);
        expect_end(stream);
        check_errno(receive(&(char){0}, 1), ECONNRESET);
        must(hv_close(application));
        close(stream);
        end();
}

TEST(a_thread_that_stops_resets_its_channels) {
        begin();
        connect_channel();
        end();
        expect_end(stream);
        check_errno(receive(&(char){0}, 1), ECONNRESET);
        must(hv_close(application));
        close(stream);
}

/* ---- from the guest ---- */

static char *file_of(unsigned port) {
        static char file[96];
        snprintf(file, sizeof file, "%s_%u", path, port);
        return file;
}

/* The file appears when the thread has read the order. */
static void listen_for_guest(uint32_t port) {
        tell((struct vm_message){.kind = VM_LISTEN, .port = port, .fd = -1});
        while (access(file_of(port), F_OK) < 0 || (stream = connect_to(file_of(port))) < 0)
                poll(NULL, 0, 1);
}

static void await_no_file(uint32_t port) {
        while (access(file_of(port), F_OK) == 0)
                poll(NULL, 0, 1);
}

TEST(a_guest_connects_by_the_file_of_the_port) {
        begin();
        listen_for_guest(5000);
        send_text(stream, "at once");
        struct vm_message request = expect(VM_REQUEST);
        check_equal(request.port, 5000);
        check_equal(request.cid, VSOCK_CID_HOST);
        check_equal(request.type, VSOCK_STREAM);
        check_equal(request.ticket % 2, 1);
        join_channel(request.ticket, VM_ACCEPT);
        expect_from_guest("at once");
        check_equal(must(hv_send(application, "welcome", 7, 0)), 7);
        expect_text(stream, "welcome");
        tell((struct vm_message){.kind = VM_UNLISTEN, .port = 5000, .fd = -1});
        await_no_file(5000);
        send_text(stream, "still there");
        expect_from_guest("still there");
        must(hv_close(application));
        close(stream);
        check_equal(expect(VM_CLOSED).ticket, request.ticket);
        end();
}

TEST(a_guest_that_is_refused_is_closed) {
        begin();
        listen_for_guest(5000);
        tell((struct vm_message){.kind = VM_REFUSE, .ticket = expect(VM_REQUEST).ticket, .fd = -1});
        expect_end(stream);
        close(stream);
        end();
}

TEST(a_file_that_nobody_listens_at_is_replaced_and_another_is_left_alone) {
        begin();
        close(listen_at(file_of(5000), 1));
        listen_for_guest(5000);
        expect(VM_REQUEST);
        close(stream);
        int other = listen_at(file_of(5001), 1);
        tell((struct vm_message){.kind = VM_LISTEN, .port = 5001, .fd = -1});
        tell((struct vm_message){.kind = VM_UNLISTEN, .port = 5001, .fd = -1});
        int plain = (int)must(open(file_of(5002), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
        tell((struct vm_message){.kind = VM_LISTEN, .port = 5002, .fd = -1});
        stop();
        must(access(file_of(5001), F_OK));
        must(access(file_of(5002), F_OK));
        close(other);
        close(plain);
        must(unlink(file_of(5001)));
        must(unlink(file_of(5002)));
        close(vmm);
        must(unlink(path));
        must(rmdir(directory));
}

TEST(another_user_cannot_speak_for_the_guest) {
        if (geteuid() != 0)
                test_skip("needs root, for another user");
        begin();
        listen_for_guest(5000);
        close(stream);
        expect(VM_REQUEST);
        pid_t stranger = (pid_t)must(fork());
        if (!stranger) {
                bool is_closed = setuid(65534) == 0 && (stream = connect_to(file_of(5000))) >= 0 &&
                                 recv(stream, &(char){0}, 1, 0) == 0;
                _exit(!is_closed);
        }
        int status;
        must(waitpid(stranger, &status, 0));
        check_equal(status, 0);
        must(chown(path, 65534, 65534)); /* the VMM's user, from now on */
        stranger = (pid_t)must(fork());
        if (!stranger)
                _exit(!(setuid(65534) == 0 && connect_to(file_of(5000)) >= 0));
        expect(VM_REQUEST);
        must(waitpid(stranger, &status, 0));
        check_equal(status, 0);
        end();
}

static void need_descriptors(rlim_t count) {
        struct rlimit limit;
        must(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = limit.rlim_cur > count ? limit.rlim_cur : count;
        limit.rlim_max = limit.rlim_max > limit.rlim_cur ? limit.rlim_max : limit.rlim_cur;
        if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
                test_skip("needs %lu descriptors", (unsigned long)count);
}

TEST(connections_to_the_guest_are_bounded) {
        need_descriptors(2 * VSOCK_CONNECTIONS_MAX);
        begin();
        for (unsigned i = 0; i <= VSOCK_CONNECTIONS_MAX; i++)
                dial(2 + 2 * i, 22);
        struct vm_message refused = expect(VM_REFUSED);
        check_equal(refused.ticket, 2 + 2 * VSOCK_CONNECTIONS_MAX);
        check_equal(refused.error, ENOBUFS);
        end();
}

TEST(files_of_ports_are_bounded) {
        need_descriptors(2 * HYBRID_LISTENERS_MAX);
        begin();
        for (unsigned i = 0; i <= HYBRID_LISTENERS_MAX; i++)
                tell((struct vm_message){.kind = VM_LISTEN, .port = 5000 + i, .fd = -1});
        dial(2, 22); /* what comes behind is done, too */
        close(accept_line("CONNECT 22\n"));
        must(access(file_of(5000 + HYBRID_LISTENERS_MAX - 1), F_OK));
        check_errno(access(file_of(5000 + HYBRID_LISTENERS_MAX), F_OK), ENOENT);
        tell((struct vm_message){.kind = VM_UNLISTEN, .port = 5000, .fd = -1});
        listen_for_guest(5000 + HYBRID_LISTENERS_MAX);
        close(stream);
        end();
}

TEST(guests_requests_that_wait_are_bounded) {
        static int streams[VM_PENDING_MAX + 1];
        need_descriptors(4 * VM_PENDING_MAX);
        begin();
        listen_for_guest(5000);
        streams[0] = stream;
        for (unsigned i = 1; i <= VM_PENDING_MAX; i++)
                while ((streams[i] = connect_to(file_of(5000))) < 0)
                        poll(NULL, 0, 1);
        expect_end(streams[VM_PENDING_MAX]);
        uint64_t first = expect(VM_REQUEST).ticket;
        for (unsigned i = 1; i < VM_PENDING_MAX; i++)
                expect(VM_REQUEST);
        tell((struct vm_message){.kind = VM_REFUSE, .ticket = first, .fd = -1});
        expect_end(streams[0]);
        int next = connect_to(file_of(5000));
        expect(VM_REQUEST);
        close(next);
        end();
        for (unsigned i = 0; i <= VM_PENDING_MAX; i++)
                close(streams[i]);
}
