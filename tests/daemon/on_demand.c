/* SPDX-License-Identifier: MIT */

/* Services on demand: programs that the broker starts at their first connection. */

#include "bare_world.h"
#include "base/fd.h"
#include "base/guid.h"
#include "broker/verdict.h"
#include "daemon/activation.h"
#include "test.h"
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct bare_world world;
static int client;

/* A shell script in the world's root, and the drop-in that names it. */
static void program(const char *script, const char *lines) {
        char path[PATH_MAX], text[PATH_MAX + 512], body[2048];
        snprintf(body, sizeof body, "#!/bin/sh\n%s", script);
        bare_write(&world, "program", body);
        bare_path(&world, "program", path);
        must(chmod(path, 0755));
        snprintf(text, sizeof text, "ElementName=Demand\nExec=%s one \"two three\"\n%s", path, lines);
        bare_service(&world, "services", &SERVICE, text);
}

static void begin(const char *script, const char *lines) {
        bare_new(&world);
        program(script, lines);
        bare_start(&world);
        client = bare_client(&world);
}

static void end(void) {
        fd_close(client);
        bare_end(&world);
}

static bool connects(int *ret_fd) {
        return bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, ret_fd) == 0;
}

/* All that comes until the end. */
static void read_all(int fd, char *text, size_t size) {
        size_t length = 0;
        struct pollfd readable = {.fd = fd, .events = POLLIN};
        for (ssize_t got = 1; got > 0; length += (size_t)got) {
                check(length + 1 < size);
                check_equal(must(poll(&readable, 1, 20000)), 1);
                got = must(read(fd, text + length, size - 1 - length));
        }
        text[length] = 0;
}

TEST(with_accept_each_connection_is_a_programs_standard_input_and_output) {
        char text[4096];
        int fd = -1;
        begin("read line; echo \"$line $1 $2\"; env", "Accept=yes\n");
        until(connects(&fd));
        must(write(fd, "hello\n", 6));
        read_all(fd, text, sizeof text);
        check(!strncmp(text, "hello one two three\n", 20));
        check(strstr(text, "HVSOCK_PEER_VMID=e0e16197-dd56-4a10-9195-5ee7a155a838\n"));
        check(strstr(text, "HVSOCK_SOCKET=") && strstr(text, "/runtime/aaaaaaaa-0000-4000-8000-000000000001\n"));
        check(!strstr(text, "NOTIFY_SOCKET") && !strstr(text, "HVSOCK_BUILD") && !strstr(text, "LISTEN_"));
        fd_close(fd);
        end();
}

TEST(a_program_inherits_no_descriptor_but_its_own) {
        char text[64];
        int fd = -1;
        begin("cd /proc/$$/fd; echo *", "Accept=yes\n");
        until(connects(&fd));
        read_all(fd, text, sizeof text);
        /* The shell has its script open as 10 and the directory that it lists as 3. */
        check_string(text, "0 1 10 2 3\n");
        fd_close(fd);
        end();
}

TEST(without_accept_the_program_gets_the_listening_socket_and_is_started_again_after_it_ended) {
        char path[PATH_MAX], text[512];
        int fd = -1;
        bare_new(&world);
        snprintf(text, sizeof text,
                 "echo \"$LISTEN_FDS $LISTEN_FDNAMES $(($LISTEN_PID == $$)) $(readlink /proc/$$/fd/3 | cut -c1-6)\" "
                 ">> %.300s/started\n", world.root);
        program(text, "");
        bare_start(&world);
        client = bare_client(&world);
        bare_path(&world, "started", path);
        until(connects(&fd) && (fd_close(fd), access(path, F_OK) == 0));
        until(({
                char line[256] = "";
                int file = (int)must(open(path, O_RDONLY | O_CLOEXEC));
                (void)must(read(file, line, sizeof line - 1));
                fd_close(file);
                /* Nobody accepted: the second start is for the same connection. */
                strstr(line, "1 5e00001c-0000-4000-8000-000000000001 1 socket\n1 5e00001c");
        }));
        end();
}

static unsigned lines_of(const char *path) {
        char full[PATH_MAX], text[4096];
        unsigned count = 0;
        bare_path(&world, path, full);
        int fd = open(full, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
                return 0;
        ssize_t length = must(read(fd, text, sizeof text));
        for (ssize_t i = 0; i < length; i++)
                count += text[i] == '\n';
        fd_close(fd);
        return count;
}

/* Whether a connect is refused by the program's own rule, with this cause. */
static bool is_refused(const char *cause) {
        struct wire_request request = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_reply reply;
        cleanup(fd_closep) int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        tell(client, &request, fd);
        hear(client, &reply);
        return reply.error == ECONNREFUSED && reply.rule == RULE_EXEC_FAILED && strstr(reply.text, cause);
}

TEST(a_program_that_keeps_failing_is_held_back_until_its_drop_in_changes) {
        char script[PATH_MAX + 64];
        int fd = -1;
        bare_new(&world);
        snprintf(script, sizeof script, "echo x >> %s/starts\nexit 3\n", world.root);
        program(script, "");
        bare_start(&world);
        client = bare_client(&world);
        until(connects(&fd));
        until(is_refused("it exited with 3; the next try is in"));
        /* The connection waited for pauses of 50, 100, 200, 400 and 800 ms; the next is longer, and ended it. */
        check_equal(lines_of("starts"), 6);
        char byte;
        check_errno(read(fd, &byte, 1), ECONNRESET);
        fd_close(fd);
        program(script, "# mended\n");
        until(connects(&fd));
        until(lines_of("starts") == 7);
        fd_close(fd);
        end();
}

TEST(a_program_that_accepts_nothing_and_ends_well_is_held_back_too) {
        int fd = -1;
        begin("exit 0", "");
        until(connects(&fd));
        until(is_refused("is Accept=yes missing?; the next try is in"));
        fd_close(fd);
        end();
}

TEST(while_its_program_does_not_exist_a_service_refuses_and_then_it_starts) {
        char path[PATH_MAX], text[64];
        int fd = -1;
        begin("echo x", "Accept=yes\n");
        until(connects(&fd));
        read_all(fd, text, sizeof text);
        fd_close(fd);
        bare_path(&world, "program", path);
        must(chmod(path, 0644));
        check(is_refused("cannot be started: Permission denied [exec-failed]"));
        must(unlink(path));
        check(is_refused("cannot be started: No such file or directory [exec-failed]"));
        must(mkdir(path, 0755));
        check(is_refused("cannot be started: Is a directory [exec-failed]"));
        must(rmdir(path));
        program("echo x", "Accept=yes\n");
        until(connects(&fd));
        fd_close(fd);
        end();
}

TEST(while_its_user_does_not_exist_a_service_refuses) {
        begin("echo x", "User=nobody-of-this-name\n");
        until(is_refused("its user does not exist"));
        end();
}

TEST(no_more_programs_run_at_once_than_allowed_and_the_rest_wait) {
        int fds[ACTIVATION_PROCESSES_MAX + 1];
        char byte;
        begin("echo x; read line; echo y", "Accept=yes\n");
        until(connects(&fds[0]));
        for (unsigned i = 1; i <= ACTIVATION_PROCESSES_MAX; i++)
                check(connects(&fds[i]));
        for (unsigned i = 0; i < ACTIVATION_PROCESSES_MAX; i++)
                check_equal(must(read(fds[i], &byte, 1)), 1);
        check_errno(recv(fds[ACTIVATION_PROCESSES_MAX], &byte, 1, MSG_DONTWAIT), EAGAIN);
        must(write(fds[0], "\n", 1));
        check_equal(must(read(fds[ACTIVATION_PROCESSES_MAX], &byte, 1)), 1);
        for (unsigned i = 0; i <= ACTIVATION_PROCESSES_MAX; i++)
                fd_close(fds[i]);
        end();
}

static void read_of_broker(const char *file, char *text, size_t size) {
        char path[64];
        snprintf(path, sizeof path, "/proc/%d/%s", (int)world.broker, file);
        cleanup(fd_closep) int fd = (int)must(open(path, O_RDONLY | O_CLOEXEC));
        text[must(read(fd, text, size - 1))] = 0;
}

/* That run, or that the broker has not asked after. */
static unsigned programs(void) {
        char file[32], text[4096];
        unsigned count = 0;
        snprintf(file, sizeof file, "task/%d/children", (int)world.broker);
        read_of_broker(file, text, sizeof text);
        for (const char *at = text; *at; at++)
                count += *at == ' ';
        return count;
}

static bool is_asleep(void) {
        char text[512];
        read_of_broker("stat", text, sizeof text);
        return strstr(text, ") S ");
}

TEST(without_a_descriptor_for_the_next_connection_the_broker_does_not_spin) {
        int fds[ACTIVATION_PROCESSES_MAX + 1];
        char byte;
        struct rlimit none, old;
        begin("printf x; read line", "Accept=yes\n");
        until(connects(&fds[0]));
        for (unsigned i = 1; i <= ACTIVATION_PROCESSES_MAX; i++)
                check(connects(&fds[i]));
        for (unsigned i = 0; i < ACTIVATION_PROCESSES_MAX; i++)
                check_equal(must(read(fds[i], &byte, 1)), 1);
        must(prlimit(world.broker, RLIMIT_NOFILE, NULL, &old));
        none = (struct rlimit){.rlim_cur = 3, .rlim_max = old.rlim_max};
        must(prlimit(world.broker, RLIMIT_NOFILE, &none, NULL));
        must(write(fds[0], "\n", 1));
        check_equal(must(read(fds[0], &byte, 1)), 0);
        until(programs() == ACTIVATION_PROCESSES_MAX - 1);
        until(is_asleep());
        must(prlimit(world.broker, RLIMIT_NOFILE, &old, NULL));
        check_equal(must(read(fds[ACTIVATION_PROCESSES_MAX], &byte, 1)), 1);
        for (unsigned i = 0; i <= ACTIVATION_PROCESSES_MAX; i++)
                fd_close(fds[i]);
        end();
}

TEST(a_program_whose_interpreter_is_missing_resets_its_connection_and_refuses_the_next) {
        char path[PATH_MAX], byte;
        int fd = -1, mark = -1, on = 1;
        size_t length;
        begin("", "Accept=yes\n");
        bare_write(&world, "program", "#!/nonexistent/interpreter\n");
        bare_path(&world, "program", path);
        must(chmod(path, 0755));
        until(connects(&fd));
        must(setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on));
        check_ok(packet_receive(fd, &byte, sizeof byte, 0, &length, &mark, NULL));
        check(mark >= 0); /* what libhvsock takes for a reset */
        fd_close(mark);
        fd_close(fd);
        until(is_refused("it cannot be executed: No such file or directory; the next try is in 1 s"));
        until(connects(&fd)); /* after the pause */
        fd_close(fd);
        bare_check_alive(&world);
        end();
}

TEST(after_its_drop_in_changed_a_service_does_not_wait_for_programs_of_before) {
        char script[PATH_MAX + 64];
        int before = -1, after = -1;
        char byte = 'x';
        begin("exec cat", "Accept=yes\n");
        until(connects(&before));
        must(write(before, &byte, 1));
        check_equal(must(read(before, &byte, 1)), 1);
        snprintf(script, sizeof script, "test $LISTEN_FDS && echo x >> %s/starts\n", world.root);
        program(script, "");
        until(connects(&after) && (fd_close(after), lines_of("starts") > 0));
        must(write(before, &byte, 1));
        check_equal(must(read(before, &byte, 1)), 1); /* it goes on */
        fd_close(before);
        end();
}

TEST(removing_the_drop_in_ends_the_waiting) {
        char path[PATH_MAX];
        begin("cat", "Accept=yes\n");
        until(connects(NULL));
        bare_path(&world, "services/5e00001c-0000-4000-8000-000000000001.conf", path);
        must(unlink(path));
        until(!connects(NULL));
        end();
}

TEST(a_program_that_holds_the_listener_when_the_broker_dies_is_neither_lost_nor_started_twice) {
        char script[2 * PATH_MAX];
        int fd = -1;
        bare_new(&world);
        snprintf(script, sizeof script, "echo $$ >> %s/starts\nexec sleep 1000\n", world.root);
        program(script, "");
        bare_start(&world);
        client = bare_client(&world);
        until(connects(&fd));
        until(lines_of("starts") == 1);
        bare_kill(&world);
        bare_start(&world);
        fd_close(client);
        client = bare_client(&world);
        check(connects(NULL));
        check_equal(lines_of("starts"), 1);

        /* When it ends, the broker takes its place before the next connect is refused. */
        char path[PATH_MAX], text[32] = "";
        bare_path(&world, "starts", path);
        int file = (int)must(open(path, O_RDONLY | O_CLOEXEC));
        (void)must(read(file, text, sizeof text - 1));
        fd_close(file);
        pid_t pid = atoi(text);
        must(kill(pid, SIGKILL));
        check_equal(must(waitpid(pid, NULL, 0)), pid); /* its broker is gone: this process inherited it */
        check(connects(NULL));
        until(lines_of("starts") == 2);
        bare_path(&world, "starts", path);
        file = (int)must(open(path, O_RDONLY | O_CLOEXEC));
        char both[64] = "";
        (void)must(read(file, both, sizeof both - 1));
        fd_close(file);
        must(kill(atoi(strchr(both, '\n') + 1), SIGKILL));
        fd_close(fd);
        end();
}
