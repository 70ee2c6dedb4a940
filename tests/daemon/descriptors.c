/* SPDX-License-Identifier: MIT */

/* Lent descriptors: what binding and connecting do to good ones, and what the broker says of bad ones. */

#include "bare_world.h"
#include "base/fd.h"
#include "base/guid.h"
#include "broker/verdict.h"
#include "test.h"
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static struct bare_world world;

TEST(a_connect_meets_its_listener_and_both_ends_names_say_who_is_who) {
        bare_new(&world);
        bare_start(&world);
        int client = bare_client(&world), connected = -1;
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, &connected), 0);

        struct sockaddr_un peer;
        socklen_t length = sizeof peer;
        struct connector_name name;
        int accepted = (int)must(accept4(listening, (struct sockaddr *)&peer, &length, SOCK_CLOEXEC));
        check_ok(connector_name_decode(&peer, length, &name));
        check(guid_equal(&name.dial_back_vm_id, &HV_GUID_LOOPBACK) && guid_equal(&name.dialled_vm_id, &HV_GUID_LOOPBACK));
        check_equal(name.pid, getpid());
        check_equal(name.uid, geteuid());

        struct listener_name bound;
        length = sizeof peer;
        must(getpeername(connected, (struct sockaddr *)&peer, &length));
        check_ok(listener_name_decode(&peer, length, &bound));
        check(guid_equal(&bound.partition_id, &HOST) && guid_equal(&bound.service_id, &SERVICE));
        check_equal(bound.pid, getpid());

        char text[4] = "";
        must(write(connected, "ping", 4));
        check_equal(must(read(accepted, text, 4)), 4);
        check(!memcmp(text, "ping", 4));
        fd_close(accepted);
        fd_close(connected);
        fd_close(listening);
        fd_close(client);
        bare_end(&world);
}

TEST(the_flags_of_a_descriptor_are_its_owners) {
        bare_new(&world);
        bare_start(&world);
        int client = bare_client(&world);
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        for (int nonblocking = 0; nonblocking <= 1; nonblocking++) {
                struct wire_request request = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
                int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0));
                check_equal(ask(client, &request, fd), 0);
                check_equal(must(fcntl(fd, F_GETFL)) & O_NONBLOCK, nonblocking ? O_NONBLOCK : 0);
                fd_close(fd);
        }
        fd_close(listening);
        fd_close(client);
        bare_end(&world);
}

static uint32_t lend_what(int client, const struct wire_request *request, int fd) {
        struct wire_reply reply;
        tell(client, request, fd);
        hear(client, &reply);
        check_equal(reply.rule, RULE_DESCRIPTOR);
        fd_close(fd);
        return reply.error;
}

static uint32_t bind_what(int client, int fd, int stated_type) {
        struct wire_request request = bind_request(&HV_GUID_LOOPBACK, &SERVICE, stated_type);
        return lend_what(client, &request, fd);
}

static uint32_t connect_what(int client, int fd, int stated_type) {
        struct wire_request request = connect_request(&HV_GUID_LOOPBACK, &OTHER_SERVICE, stated_type);
        return lend_what(client, &request, fd);
}

static int pipe_end(void) {
        int ends[2];
        must(pipe2(ends, O_CLOEXEC));
        fd_close(ends[1]);
        return ends[0];
}

static int internet_socket(void) {
        return (int)must(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int unix_socket(int type) {
        return (int)must(socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
}

static int named_socket(void) {
        int fd = unix_socket(SOCK_STREAM);
        must(bind(fd, &(struct sockaddr){.sa_family = AF_UNIX}, sizeof(sa_family_t)));
        return fd;
}

static int listening_socket(void) {
        int fd = named_socket();
        must(listen(fd, 1));
        return fd;
}

static int connected_socket(void) {
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        fd_close(ends[1]);
        return ends[0];
}

TEST(what_is_no_unnamed_unix_socket_of_its_stated_type_is_refused) {
        bare_new(&world);
        bare_start(&world);
        int client = bare_client(&world);
        int listening = bare_listener(client, &HV_GUID_LOOPBACK, &OTHER_SERVICE, SOCK_STREAM);
        unsigned before = bare_descriptors(&world, client);

        check_equal(bind_what(client, pipe_end(), SOCK_STREAM), ENOTSOCK);
        check_equal(bind_what(client, internet_socket(), SOCK_STREAM), EAFNOSUPPORT);
        check_equal(bind_what(client, unix_socket(SOCK_DGRAM), SOCK_STREAM), EPROTOTYPE);
        check_equal(bind_what(client, unix_socket(SOCK_SEQPACKET), SOCK_STREAM), EPROTOTYPE);
        check_equal(bind_what(client, named_socket(), SOCK_STREAM), EINVAL);
        check_equal(bind_what(client, listening_socket(), SOCK_STREAM), EINVAL);

        check_equal(connect_what(client, pipe_end(), SOCK_STREAM), ENOTSOCK);
        check_equal(connect_what(client, internet_socket(), SOCK_STREAM), EAFNOSUPPORT);
        check_equal(connect_what(client, unix_socket(SOCK_DGRAM), SOCK_STREAM), EPROTOTYPE);
        check_equal(connect_what(client, unix_socket(SOCK_SEQPACKET), SOCK_STREAM), EPROTOTYPE);
        check_equal(connect_what(client, named_socket(), SOCK_STREAM), EINVAL);
        check_equal(connect_what(client, listening_socket(), SOCK_STREAM), EINVAL);
        check_equal(connect_what(client, connected_socket(), SOCK_STREAM), EISCONN);

        until(bare_descriptors(&world, client) == before);
        check_errno(accept4(listening, NULL, NULL, SOCK_CLOEXEC | (fcntl(listening, F_SETFL, O_NONBLOCK) & 0)), EAGAIN);
        fd_close(listening);
        fd_close(client);
        bare_end(&world);
}

TEST(a_socket_that_was_refused_may_dial_the_same_vmid_again_and_no_other) {
        static const GUID vm = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        bare_new(&world);
        bare_partition(&world, &vm, "Label=vm\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_service(&world, "services", &SERVICE, "ElementName=Echo\nConnect=everyone\nBind=everyone\n");
        bare_start(&world);
        int client = bare_client(&world), in_vm = bare_client_of(&world, &vm);
        int fd = unix_socket(SOCK_STREAM), deaf = unix_socket(SOCK_STREAM);
        struct wire_reply reply;

        /* Bound, but not listening yet: the name is given, the connect refused. */
        struct wire_request to_self = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request to_vm = connect_request(&vm, &SERVICE, SOCK_STREAM);
        struct wire_request binding = bind_request(&HV_GUID_WILDCARD, &SERVICE, SOCK_STREAM);
        check_equal(ask(client, &binding, deaf), 0);
        int listening = bare_listener(in_vm, &HV_GUID_PARENT, &SERVICE, SOCK_STREAM);
        check_equal(ask(client, &to_self, fd), ECONNREFUSED);
        tell(client, &to_vm, fd);
        hear(client, &reply);
        check_equal(reply.error, EINVAL);
        check_equal(reply.rule, RULE_ALREADY_NAMED);
        must(listen(deaf, 1));
        check_equal(ask(client, &to_self, fd), 0);
        check_equal(ask(client, &to_self, fd), EISCONN);
        fd_close(fd);
        fd_close(deaf);
        fd_close(listening);
        fd_close(in_vm);
        fd_close(client);
        bare_end(&world);
}

TEST(a_full_backlog_refuses_and_does_not_hold_the_broker_up) {
        bare_new(&world);
        bare_start(&world);
        int client = bare_client(&world), connected[8];
        unsigned count = 0;
        struct wire_request binding = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request connecting = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_reply reply;
        int listening = unix_socket(SOCK_STREAM), refused = unix_socket(SOCK_STREAM);
        check_equal(ask(client, &binding, listening), 0);
        must(listen(listening, 1));
        uint32_t error;
        while (!(error = bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, &connected[count])))
                check(++count < 8);
        check_equal(error, ECONNREFUSED);
        check_equal(count, 2);
        for (unsigned again = 0; again < 2; again++) { /* nor is anybody held to have done so */
                tell(client, &connecting, refused);
                hear(client, &reply);
                check_equal(reply.rule, RULE_BACKLOG_FULL);
                check(!(must(fcntl(refused, F_GETFL)) & O_NONBLOCK));
        }
        while (count--)
                fd_close(connected[count]);
        fd_close(refused);
        fd_close(listening);
        fd_close(client);
        bare_end(&world);
}

/* A process that makes the open file blocking again as fast as it can. */
static pid_t start_undoing(int fd) {
        pid_t process = (pid_t)must(fork());
        if (process)
                return process;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;)
                (void)ioctl(fd, FIONBIO, &(int){0});
}

TEST(whoever_makes_the_broker_wait_is_refused_for_a_while_and_nobody_else_is) {
        static const GUID vm = {0xbbbbbbbb, 0, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};
        bare_new(&world);
        bare_partition(&world, &vm, "Label=vm\nKind=vm\nParent=aaaaaaaa-0000-4000-8000-000000000001\n");
        bare_start(&world);
        int client = bare_client(&world), in_vm = bare_client_of(&world, &vm), first = -1;
        int full = unix_socket(SOCK_STREAM), blocking = unix_socket(SOCK_STREAM), other = unix_socket(SOCK_STREAM);
        struct wire_request binding = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request connecting = connect_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request again = bind_request(&HV_GUID_LOOPBACK, &OTHER_SERVICE, SOCK_STREAM);
        struct wire_reply reply;
        check_equal(ask(client, &binding, full), 0);
        must(listen(full, 0));
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, &first), 0);

        pid_t undoing = start_undoing(blocking);
        do {
                tell(client, &connecting, blocking);
                hear(client, &reply); /* or this test would wait for ever */
        } while (reply.rule == RULE_BACKLOG_FULL);
        must(kill(undoing, SIGKILL));
        must(waitpid(undoing, NULL, 0));
        check_equal(reply.error, ENOBUFS);
        check_equal(reply.rule, RULE_HELD_UP);
        check_equal(ask(client, &again, other), ENOBUFS);
        check_equal(ask(in_vm, &again, other), 0);
        until(ask(client, &connecting, blocking) == ECONNREFUSED);
        fd_close(other);
        fd_close(blocking);
        fd_close(first);
        fd_close(full);
        fd_close(in_vm);
        fd_close(client);
        bare_end(&world);
}

TEST(a_listeners_file_is_its_users_alone_whatever_its_mode_was_made) {
        bare_new(&world);
        bare_start(&world);
        int client = bare_client(&world), fd = unix_socket(SOCK_STREAM);
        struct wire_request request = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        must(fchmod(fd, 0));
        check_equal(ask(client, &request, fd), 0);
        struct sockaddr_un address;
        socklen_t length = sizeof address;
        struct stat status;
        char path[PATH_MAX], name[128];
        must(getsockname(fd, (struct sockaddr *)&address, &length));
        snprintf(name, sizeof name, "runtime/listeners/%s", address.sun_path);
        bare_path(&world, name, path);
        must(stat(path, &status));
        check_equal(status.st_mode & 07777, 0600);
        check_equal(status.st_uid, geteuid());
        fd_close(fd);
        fd_close(client);
        bare_end(&world);
}

TEST(a_dead_listener_gives_its_address_up_to_the_next) {
        bare_new(&world);
        bare_start(&world);
        int client = bare_client(&world);
        int first = bare_listener(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request again = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        int second = unix_socket(SOCK_STREAM);
        check_equal(ask(client, &again, second), EADDRINUSE);
        fd_close(first);
        check_equal(ask(client, &again, second), 0);
        fd_close(second);
        check_equal(bare_connect(client, &HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM, NULL), ECONNREFUSED);
        fd_close(client);
        bare_end(&world);
}

TEST(binding_the_same_socket_twice_to_the_same_address_is_a_retry_and_succeeds) {
        bare_new(&world);
        bare_start(&world);
        int client = bare_client(&world), fd = unix_socket(SOCK_STREAM);
        struct wire_request request = bind_request(&HV_GUID_LOOPBACK, &SERVICE, SOCK_STREAM);
        struct wire_request other = bind_request(&HV_GUID_LOOPBACK, &OTHER_SERVICE, SOCK_STREAM);
        check_equal(ask(client, &request, fd), 0);
        check_equal(ask(client, &request, fd), 0);
        check_equal(ask(client, &other, fd), EINVAL);
        fd_close(fd);
        fd_close(client);
        bare_end(&world);
}
