/* SPDX-License-Identifier: MIT */

/* The management interface itself: bytes on its socket, as a program of any kind might send them. */

#include "shell.h"

#include "test.h"
#include <fcntl.h>
#include <grp.h>
#include <hvsock.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define MESSAGE_MAX (1u << 20)  /* MANAGE_MESSAGE_MAX */
#define BACKLOG_MAX (16u << 20) /* MANAGE_BACKLOG_MAX */
#define CONNECTIONS_MAX 256     /* MANAGE_CONNECTIONS_MAX */

static int dial(const struct sandbox *sandbox) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        check(strlen(sandbox->manage) < sizeof address.sun_path);
        strcpy(address.sun_path, sandbox->manage);
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(fd, (struct sockaddr *)&address, sizeof address));
        return fd;
}

/* Each message is sent with its NUL. */
static void say(int fd, const char *message) {
        size_t length = strlen(message) + 1;
        check_equal(send(fd, message, length, MSG_NOSIGNAL), length);
}

/* One reply, byte by byte so that nothing of the next is taken; NULL at the end of the connection. */
static struct json_object *hear(int fd) {
        static char text[1 << 20];
        for (size_t length = 0; length < sizeof text; length++) {
                ssize_t got = recv(fd, text + length, 1, 0);
                if (got <= 0)
                        return NULL;
                if (!text[length]) {
                        struct json_object *reply = json_tokener_parse(text);
                        check(json_object_is_type(reply, json_type_object));
                        return reply;
                }
        }
        test_fail(__FILE__, __LINE__, "a reply without an end");
}

static struct json_object *ask(int fd, const char *message) {
        say(fd, message);
        struct json_object *reply = hear(fd);
        check(reply != NULL);
        return reply;
}

static void check_error(int fd, const char *message, const char *error, const char *pointer, const char *value) {
        struct json_object *reply = ask(fd, message);
        check_string(text_at(reply, "/error"), error);
        if (pointer)
                check_string(text_at(reply, pointer), value);
        json_object_put(reply);
}

static bool is_ended(int fd) {
        char byte;
        return recv(fd, &byte, 1, 0) <= 0;
}

static void check_answers(const struct sandbox *sandbox) {
        int fd = dial(sandbox);
        json_object_put(ask(fd, "{\"method\":\"org.varlink.service.GetInfo\"}"));
        close(fd);
}

TEST(a_service_introduces_itself_and_its_interface) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        int fd = dial(&sandbox);
        struct json_object *reply = ask(fd, "{\"method\":\"org.varlink.service.GetInfo\",\"parameters\":{}}");
        check_string(text_at(reply, "/parameters/product"), "hvsockd");
        check_string(text_at(reply, "/parameters/interfaces/1"), "io.hvsock");
        json_object_put(reply);
        reply = ask(fd, "{\"method\":\"org.varlink.service.GetInterfaceDescription\","
                        "\"parameters\":{\"interface\":\"io.hvsock\"}}");
        const char *description = text_at(reply, "/parameters/description");

        char path[PATH_MAX], source[65536] = "";
        snprintf(path, sizeof path, "%s/src/daemon/io.hvsock.varlink", getenv("HVSOCK_SOURCE"));
        int file = (int)must(open(path, O_RDONLY | O_CLOEXEC));
        must(read(file, source, sizeof source - 1));
        close(file);
        check_string(description, source);
        json_object_put(reply);
        check_error(fd,
                    "{\"method\":\"org.varlink.service.GetInterfaceDescription\",\"parameters\":{\"interface\":\"no."
                    "such\"}}",
                    "org.varlink.service.InterfaceNotFound", "/parameters/interface", "no.such");
        close(fd);
        sandbox_close(&sandbox);
}

TEST(every_method_of_the_interface_is_answered) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        FILE *methods =
                popen("sed -n 's/^method \\([A-Za-z]*\\).*/\\1/p' $HVSOCK_SOURCE/src/daemon/io.hvsock.varlink", "r");
        char name[64], call[256];
        unsigned count = 0;
        for (int fd; fgets(name, sizeof name, methods); count++) {
                name[strcspn(name, "\n")] = 0;
                snprintf(call, sizeof call, "{\"method\":\"io.hvsock.%s\",\"parameters\":{\"no such\":1}}", name);
                fd = dial(&sandbox);
                check_error(fd, call, "org.varlink.service.InvalidParameter", NULL, NULL);
                close(fd);
        }
        pclose(methods);
        check(count >= 16);
        sandbox_close(&sandbox);
}

TEST(unknown_methods_and_interfaces_are_told_apart) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        int fd = dial(&sandbox);
        check_error(fd, "{\"method\":\"io.hvsock.Frobnicate\"}", "org.varlink.service.MethodNotFound",
                    "/parameters/method", "io.hvsock.Frobnicate");
        check_error(fd, "{\"method\":\"org.varlink.service.X\"}", "org.varlink.service.MethodNotFound", NULL, NULL);
        check_error(fd, "{\"method\":\"io.other.Method\"}", "org.varlink.service.InterfaceNotFound",
                    "/parameters/interface", "io.other");
        check_error(fd, "{\"method\":\"\"}", "org.varlink.service.InterfaceNotFound", NULL, NULL);
        close(fd);
        sandbox_close(&sandbox);
}

TEST(parameters_of_a_wrong_type_are_named) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service Echo");
        int fd = dial(&sandbox);
        static const struct {
                const char *method, *parameters, *offender;
        } wrong[] = {
                {"GetService", "{\"service\":1}", "service"},
                {"GetService", "{\"service\":null}", "service"},
                {"GetService", "{\"service\":\"a\\u0000b\"}", "service"},
                {"GetService", "{}", "service"},
                {"GetService", "{\"service\":\"Echo\",\"more\":1}", "more"},
                {"SetServiceEnabled", "{\"service\":\"Echo\",\"enabled\":\"yes\"}", "enabled"},
                {"SetServiceEnabled", "{\"service\":\"Echo\",\"enabled\":0}", "enabled"},
                {"AddService", "{\"name\":[\"x\"]}", "name"},
                {"AddPartition", "{\"label\":\"a\",\"kind\":{}}", "kind"},
                {"Why", "{\"from\":\"host\",\"vmId\":\"loopback\",\"service\":\"Echo\",\"uid\":\"0\"}", "uid"},
                {"Why", "{\"from\":\"host\",\"vmId\":\"loopback\",\"service\":\"Echo\",\"uid\":1.5}", "uid"},
                {"Why", "{\"from\":\"host\",\"vmId\":\"loopback\",\"service\":\"Echo\",\"uid\":99999999999999999999}",
                 "uid"},
                {"Why", "{\"from\":\"host\",\"vmId\":\"loopback\",\"service\":\"Echo\",\"groups\":[-1]}", "groups"},
                {"Why", "{\"from\":\"host\",\"vmId\":\"loopback\",\"service\":\"Echo\",\"groups\":[\"0\"]}", "groups"},
        };
        for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                char call[512];
                snprintf(call, sizeof call, "{\"method\":\"io.hvsock.%s\",\"parameters\":%s}", wrong[i].method,
                         wrong[i].parameters);
                check_error(fd, call, "org.varlink.service.InvalidParameter", "/parameters/parameter",
                            wrong[i].offender);
        }
        check_error(fd, "{\"method\":\"io.hvsock.Why\",\"parameters\":{\"from\":\"host\",\"vmId\":\"loopback\","
                        "\"service\":\"Echo\",\"uid\":4294967296}}",
                    "io.hvsock.Invalid", "/parameters/parameter", "uid");
        close(fd);
        sandbox_close(&sandbox);
}

TEST(what_is_no_call_ends_the_connection_alone) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        static const char *const bad[] = {
                "",
                "{",
                "nonsense",
                "[]",
                "1",
                "{\"method\":1}",
                "{}",
                "{\"method\":\"a\"} x",
                "{\"method\":\"org.varlink.service.GetInfo\",\"parameters\":[]}",
                "{\"method\":\"org.varlink.service.GetInfo\",\"more\":1}",
                "{\"method\":\"org.varlink.service.GetInfo\",\"oneway\":\"no\"}",
                "{\"method\":\"\xff\"}",
                "{\"method\":\"org.varlink.service.GetInfo\",\"parameters\":{\"a\":[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]"
                "]]]]]}}",
        };
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                int fd = dial(&sandbox);
                say(fd, bad[i]);
                check(is_ended(fd));
                close(fd);
        }
        check_answers(&sandbox);
        sandbox_close(&sandbox);
}

/* A call of exactly `size` bytes, its NUL not counted. Returns whether it was answered. */
static bool answered_with_size(const struct sandbox *sandbox, size_t size) {
        static const char head[] = "{\"method\":\"io.hvsock.GetService\",\"parameters\":{\"service\":\"",
                          tail[] = "\"}}";
        char *call = malloc(size + 1);
        memset(call, 'x', size);
        memcpy(call, head, sizeof head - 1);
        memcpy(call + size - (sizeof tail - 1), tail, sizeof tail);
        int fd = dial(sandbox);
        for (size_t sent = 0; sent < size + 1;) {
                ssize_t length = send(fd, call + sent, size + 1 - sent, MSG_NOSIGNAL);
                if (length <= 0)
                        break;
                sent += (size_t)length;
        }
        free(call);
        char byte;
        bool answered = recv(fd, &byte, 1, 0) == 1;
        close(fd);
        return answered;
}

TEST(a_message_of_the_greatest_size_is_answered_and_one_byte_more_is_not) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        check(answered_with_size(&sandbox, MESSAGE_MAX));
        check(!answered_with_size(&sandbox, MESSAGE_MAX + 1));
        check_answers(&sandbox);
        sandbox_close(&sandbox);
}

TEST(pipelined_calls_are_answered_in_order) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        int fd = dial(&sandbox);
        char call[256];
        for (int i = 0; i < 100; i++) {
                snprintf(call, sizeof call,
                         "{\"method\":\"io.hvsock.GetService\",\"parameters\":{\"service\":\"nr %d\"}}", i);
                say(fd, call);
        }
        for (int i = 0; i < 100; i++) {
                struct json_object *reply = hear(fd);
                snprintf(call, sizeof call, "nr %d", i);
                check_string(text_at(reply, "/parameters/name"), call);
                json_object_put(reply);
        }
        close(fd);
        sandbox_close(&sandbox);
}

TEST(a_call_that_arrives_in_pieces_is_answered_and_so_is_one_before_a_half_close) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        int fd = dial(&sandbox);
        static const char call[] = "{\"method\":\"org.varlink.service.GetInfo\"}";
        for (size_t i = 0; i < sizeof call; i++)
                check_equal(send(fd, call + i, 1, 0), 1);
        must(shutdown(fd, SHUT_WR));
        struct json_object *reply = hear(fd);
        check(reply != NULL);
        json_object_put(reply);
        check(is_ended(fd));
        close(fd);
        sandbox_close(&sandbox);
}

TEST(oneway_calls_are_done_and_not_answered) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        int fd = dial(&sandbox);
        say(fd, "{\"method\":\"io.hvsock.AddService\",\"parameters\":{\"name\":\"Quiet\"},\"oneway\":true}");
        say(fd, "{\"method\":\"io.hvsock.AddService\",\"parameters\":{},\"oneway\":true}");
        say(fd, "{\"method\":\"io.hvsock.ListServices\",\"oneway\":true}");
        struct json_object *reply =
                ask(fd, "{\"method\":\"io.hvsock.GetService\",\"parameters\":{\"service\":\"Quiet\"}}");
        check_string(text_at(reply, "/parameters/service/name"), "Quiet");
        json_object_put(reply);
        close(fd);

        fd = dial(&sandbox);
        say(fd, "{\"method\":\"io.hvsock.AddService\",\"parameters\":{\"name\":\"Gone at once\"},\"oneway\":true}");
        close(fd);
        await_success("hvsock service show 'Gone at once'");
        sandbox_close(&sandbox);
}

TEST(a_flood_that_nobody_reads_the_answers_of_stops_being_read) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        int fd = dial(&sandbox);
        static const char call[] = "{\"method\":\"io.hvsock.ListPartitions\"}";
        size_t sent = 0;
        struct pollfd room = {.fd = fd, .events = POLLOUT};
        while (poll(&room, 1, 200) == 1) {
                ssize_t length = send(fd, call, sizeof call, MSG_DONTWAIT | MSG_NOSIGNAL);
                check(length > 0 || errno == EAGAIN);
                sent += length > 0 ? (size_t)length : 0;
                check(sent < 64u << 20);
        }
        check_answers(&sandbox);
        /* It is not forgotten: each complete call is answered once somebody reads. */
        for (size_t i = 0; i < sent / sizeof call; i++) {
                struct json_object *reply = hear(fd);
                check(reply != NULL);
                json_object_put(reply);
        }
        close(fd);
        sandbox_close(&sandbox);
}

TEST(connections_are_limited_and_come_back) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        int fds[CONNECTIONS_MAX];
        for (int i = 0; i < CONNECTIONS_MAX; i++) {
                fds[i] = dial(&sandbox);
                json_object_put(ask(fds[i], "{\"method\":\"org.varlink.service.GetInfo\"}"));
        }
        int more = dial(&sandbox);
        check(is_ended(more));
        close(more);
        for (int i = 0; i < CONNECTIONS_MAX; i++)
                close(fds[i]);
        await_success("hvsock tree");
        sandbox_close(&sandbox);
}

TEST(who_may_read_may_not_therefore_change) {
        if (geteuid() != 0)
                test_skip("to be another user takes root");
        struct sandbox sandbox;
        sandbox_open(&sandbox, "--service Echo");
        must(chmod(sandbox.directory, 0711));
        must(chmod(sandbox.manage, 0666));
        pid_t pid = (pid_t)must(fork());
        if (pid == 0) {
                must(setgroups(0, NULL));
                must(setgid(65534));
                must(setuid(65534));
                int fd = dial(&sandbox);
                json_object_put(ask(fd, "{\"method\":\"io.hvsock.ListServices\"}"));
                static const char *const changes[] = {
                        "AddService\",\"parameters\":{\"name\":\"x\"}",
                        "RemoveService\",\"parameters\":{\"service\":\"Echo\"}",
                        "SetServiceEnabled\",\"parameters\":{\"service\":\"Echo\",\"enabled\":false}",
                        "ImportServices\",\"parameters\":{\"text\":\"\"}",
                        "AddPartition\",\"parameters\":{\"label\":\"x\",\"kind\":\"vm\"}",
                        "RemovePartition\",\"parameters\":{\"partition\":\"x\"}",
                };
                for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
                        char call[256];
                        snprintf(call, sizeof call, "{\"method\":\"io.hvsock.%s}", changes[i]);
                        check_error(fd, call, "org.varlink.service.PermissionDenied", NULL, NULL);
                }
                close(fd);
                _exit(0);
        }
        check_equal(sh_end(pid), 0);
        check_string(sh_text("hvsock service list --json | grep -c '\"enabled\": true'"), "1");
        sandbox_close(&sandbox);
}

TEST(the_socket_is_its_owners_and_its_groups_alone) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        struct stat status;
        must(stat(sandbox.manage, &status));
        check_equal(status.st_mode & 07777, 0660);
        sandbox_close(&sandbox);
}

TEST(monitor_wants_more) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        int fd = dial(&sandbox);
        check_error(fd, "{\"method\":\"io.hvsock.Monitor\"}", "org.varlink.service.ExpectedMore", NULL, NULL);
        close(fd);
        sandbox_close(&sandbox);
}

/* Refused connects, until the test ends this process: each is an event. */
static pid_t refuse_all_the_time(void) {
        pid_t pid = (pid_t)must(fork());
        if (pid == 0) {
                SOCKADDR_HV address = {
                        .Family = AF_HYPERV, .VmId = HV_GUID_LOOPBACK, .ServiceId = HV_GUID_VSOCK_TEMPLATE};
                for (;;) {
                        int fd = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
                        hv_connect(fd, (struct sockaddr *)&address, sizeof address);
                        hv_close(fd);
                }
        }
        return pid;
}

TEST_LIMITED(a_monitor_that_does_not_read_is_cut_off_and_one_that_does_is_not, 120) {
        struct sandbox sandbox;
        sandbox_open(&sandbox, "");
        int slow = dial(&sandbox), quick = dial(&sandbox);
        say(slow, "{\"method\":\"io.hvsock.Monitor\",\"more\":true}");
        say(quick, "{\"method\":\"io.hvsock.Monitor\",\"more\":true}");
        pid_t pid = refuse_all_the_time();

        /* Each takes or leaves the same bytes: the quick one has read all that the slow one may owe, and more. */
        struct pollfd end = {.fd = slow};
        static char text[1 << 16];
        size_t received = 0;
        while (poll(&end, 1, 0) == 0) {
                ssize_t length = recv(quick, text, sizeof text, 0);
                check(length > 0);
                received += (size_t)length;
                check(received < 4 * BACKLOG_MAX);
        }
        check(end.revents & POLLHUP);
        check(received > BACKLOG_MAX / 2);
        check(recv(quick, text, sizeof text, 0) > 0);
        must(kill(pid, SIGKILL));
        check_equal(sh_end(pid), 128 + SIGKILL);
        check_answers(&sandbox);
        close(slow);
        close(quick);
        sandbox_close(&sandbox);
}
