/* SPDX-License-Identifier: MIT */

/* The thread of a hybrid VM between a fake VMM, the loop, which is the test, and applications that use the library. */

#include "fake_vmm.h"

#include "test.h"
#include "text_stream.h"
#include "vm/vsock.h"
#include <fcntl.h>
#include <hvsock.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

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
        begin_with_backlog(1);
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
