/* SPDX-License-Identifier: MIT */

/* What callers get told: each case, with its errno and what hv_last_refusal() says. */

#include "program.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static bool mentions(const char *text, const GUID *guid) {
        char id[HV_GUID_TEXT_SIZE];
        return strstr(text, hv_guid_format(guid, id));
}

/* The last call of this program was refused by that rule; the text names both addresses. */
static void check_refusal(struct world *world, const char *path, int error, const char *rule, const GUID *service_id) {
        struct hv_refusal refusal = last_refusal(program_in(world, path));
        check_equal(refusal.error, error);
        check_string(refusal.rule_name, rule);
        const char *label = strrchr(path, '/') ? strrchr(path, '/') + 1 : path;
        if (!mentions(refusal.text, world_id(world, path)) && !strstr(refusal.text, label))
                test_fail(__FILE__, __LINE__, "the refusal does not say who asked: %s", refusal.text);
        if (!mentions(refusal.text, service_id) && !strstr(refusal.text, ECHO_NAME))
                test_fail(__FILE__, __LINE__, "the refusal does not name the service: %s", refusal.text);
}

#define check_refused(call, expected_error, rule, path, service_id)              \
        do {                                                                     \
                check_errno(call, expected_error);                               \
                check_refusal(world, path, expected_error, rule, service_id);    \
        } while (0)

TEST(an_unregistered_service_cannot_cross_a_boundary) {
        struct world *world = world_family();
        GUID service_id = service_numbered(1);
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        const GUID *crossing[] = {&HV_GUID_WILDCARD, &HV_GUID_CHILDREN, world_id(world, "web01")};
        for (unsigned i = 0; i < 3; i++) {
                int fd = (int)must(open_socket(host, SOCK_STREAM));
                must(bind_to(host, fd, crossing[i], &service_id));
                check_refused(listen_with(host, fd, 4), EACCES, "not-registered", "host", &service_id);
                must(close_in(host, fd));
        }
        check_refused(serve(web01, &HV_GUID_PARENT, &service_id), EACCES, "not-registered", "web01", &service_id);
        check_refused(dial(web01, &HV_GUID_PARENT, &service_id), EACCES, "not-registered", "web01", &service_id);
        check_refused(dial(host, world_id(world, "web01"), &service_id), EACCES, "not-registered", "host", &service_id);
        world_end(world);
}

TEST(inside_one_partition_no_registration_is_needed) {
        struct world *world = world_family();
        GUID service_id = service_numbered(1);
        check_equal(reach(world, "web01", &HV_GUID_LOOPBACK, "web01", &HV_GUID_LOOPBACK, &service_id), 0);
        check_equal(reach(world, "web01", world_id(world, "web01"), "web01", world_id(world, "web01"), &service_id), 0);
        world_end(world);
}

TEST(a_disabled_service_can_neither_listen_nor_be_dialled) {
        struct world *world = world_family();
        GUID service_id = service_numbered(2);
        world_write_service(world, &service_id, "Switched Off", "Enabled=no\n");
        world_await_service(world, &service_id, "/enabled", "false");
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");

        int fd = (int)must(open_socket(host, SOCK_STREAM));
        must(bind_to(host, fd, &HV_GUID_WILDCARD, &service_id));
        check_errno(listen_with(host, fd, 4), EINVAL);
        struct hv_refusal refusal = last_refusal(host);
        check_string(refusal.rule_name, "disabled");
        check(strstr(refusal.text, "Switched Off"));
        must(close_in(host, fd));

        check_errno(dial(web01, &HV_GUID_PARENT, &service_id), EINVAL);
        check_errno(dial(host, world_id(world, "web01"), &service_id), EINVAL);
        check_errno(dial(host, &HV_GUID_LOOPBACK, &service_id), EINVAL);
        check_errno(serve(host, &HV_GUID_LOOPBACK, &service_id), EINVAL);
        world_end(world);
}

TEST(who_may_not_bind_cannot) {
        struct world *world = world_family();
        GUID service_id = service_numbered(3);
        world_write_service(world, &service_id, "Guarded", "Bind=host\n");
        world_await_service(world, &service_id, "/bind", "host");
        check_errno(serve(program_in(world, "web01"), &HV_GUID_WILDCARD, &service_id), EACCES);
        check_string(last_refusal(program_in(world, "web01")).rule_name, "bind-denied");
        check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &service_id), 0);
        world_end(world);
}

TEST(a_registered_services_bind_rule_applies_to_every_bind) {
        struct world *world = world_family();
        GUID service_id = service_numbered(3);
        struct program *web01 = program_in(world, "web01");
        world_write_service(world, &service_id, "Guarded", "Bind=host\n");
        world_await_service(world, &service_id, "/bind", "host");
        int fd = (int)must(open_socket(web01, SOCK_STREAM));
        check_errno(bind_to(web01, fd, &HV_GUID_LOOPBACK, &service_id), EACCES);
        must(close_in(web01, fd));
        world_end(world);
}

TEST(who_may_not_connect_cannot) {
        struct world *world = world_family();
        GUID service_id = service_numbered(3);
        world_write_service(world, &service_id, "Guarded", "Connect=containers\n");
        world_await_service(world, &service_id, "/connect", "containers");
        struct program *host = program_in(world, "host");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &service_id));
        check_errno(dial(program_in(world, "web01"), &HV_GUID_PARENT, &service_id), EACCES);
        check_string(last_refusal(program_in(world, "web01")).rule_name, "connect-denied");
        int connected = (int)must(dial(program_in(world, "box"), &HV_GUID_PARENT, &service_id));
        must(close_in(program_in(world, "box"), connected));
        must(close_in(host, listener));
        world_end(world);
}

TEST(an_address_that_cannot_be_dialled_is_not_available) {
        struct world *world = world_family();
        GUID nobody = service_numbered(4711);
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        check_refused(dial(host, &HV_GUID_WILDCARD, &ECHO), EADDRNOTAVAIL, "listeners-only", "host", &ECHO);
        check_refused(dial(host, &HV_GUID_CHILDREN, &ECHO), EADDRNOTAVAIL, "listeners-only", "host", &ECHO);
        check_refused(dial(host, &HV_GUID_BROADCAST, &ECHO), EADDRNOTAVAIL, "listeners-only", "host", &ECHO);
        check_refused(dial(host, &HV_GUID_PARENT, &ECHO), EADDRNOTAVAIL, "no-parent", "host", &ECHO);
        check_refused(dial(host, &nobody, &ECHO), EADDRNOTAVAIL, "unknown-partition", "host", &ECHO);
        check_refused(dial(web01, world_id(world, "web02"), &ECHO), EADDRNOTAVAIL, "unknown-partition", "web01", &ECHO);
        check_refused(dial(web01, &HV_GUID_SILOHOST, &ECHO), EADDRNOTAVAIL, "no-silo-host", "web01", &ECHO);
        world_end(world);
}

TEST(a_vm_that_is_known_but_not_running_is_unreachable) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        GUID port = HV_GUID_VSOCK_TEMPLATE;
        port.Data1 = 5000;
        world_write_service(world, &port, "Port", "");
        world_await_service(world, &port, "/name", "Port");
        check_refused(dial(host, world_id(world, "off"), &port), EHOSTUNREACH, "not-running", "host", &port);
        world_end(world);
}

TEST(without_a_listener_a_connect_is_refused) {
        struct world *world = world_family();
        struct program *web01 = program_in(world, "web01");
        check_refused(dial(web01, &HV_GUID_PARENT, &ECHO), ECONNREFUSED, "no-listener", "web01", &ECHO);
        world_end(world);
}

TEST(a_socket_that_is_bound_but_does_not_listen_refuses) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        int fd = (int)must(open_socket(host, SOCK_STREAM));
        must(bind_to(host, fd, &HV_GUID_WILDCARD, &ECHO));
        check_errno(dial(program_in(world, "web01"), &HV_GUID_PARENT, &ECHO), ECONNREFUSED);
        must(listen_with(host, fd, 4));
        int connected = (int)must(dial(program_in(world, "web01"), &HV_GUID_PARENT, &ECHO));
        must(close_in(program_in(world, "web01"), connected));
        must(close_in(host, fd));
        world_end(world);
}

TEST(a_listener_whose_vm_id_excludes_the_caller_refuses) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        int listener = (int)must(serve(host, world_id(world, "web02"), &ECHO));
        check_refused(dial(web01, &HV_GUID_PARENT, &ECHO), ECONNREFUSED, "listener-excludes", "web01", &ECHO);
        must(close_in(host, listener));
        world_end(world);
}

TEST(where_wildcard_binds_are_not_allowed_they_get_no_connections) {
        struct world *world = world_family();
        GUID service_id = service_numbered(4);
        world_write_service(world, &service_id, "Exact", "WildcardBinds=no\n");
        world_await_service(world, &service_id, "/wildcardBinds", "false");
        struct program *host = program_in(world, "host");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &service_id));
        check_errno(dial(program_in(world, "web01"), &HV_GUID_PARENT, &service_id), ECONNREFUSED);
        check_string(last_refusal(program_in(world, "web01")).rule_name, "wildcard-forbidden");
        int exact = (int)must(serve(host, world_id(world, "web01"), &service_id));
        int connected = (int)must(dial(program_in(world, "web01"), &HV_GUID_PARENT, &service_id));
        must(close_in(host, check_meets(program_in(world, "web01"), connected, host, exact)));
        must(close_in(program_in(world, "web01"), connected));
        must(close_in(host, exact));
        must(close_in(host, listener));
        world_end(world);
}

TEST(a_full_backlog_refuses_and_takes_again_once_there_is_room) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        int listener = (int)must(open_socket(host, SOCK_STREAM)), connected[16], count = 0;
        must(bind_to(host, listener, &HV_GUID_WILDCARD, &ECHO));
        must(listen_with(host, listener, 2));
        while ((connected[count] = dial(web01, &HV_GUID_PARENT, &ECHO)) >= 0)
                check(++count < 16);
        check_equal(errno, ECONNREFUSED);
        check_string(last_refusal(web01).rule_name, "backlog-full");
        check(count >= 2);

        must(close_in(host, check_meets(web01, connected[0], host, listener)));
        int again = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        must(close_in(web01, again));
        for (int i = 0; i < count; i++)
                must(close_in(web01, connected[i]));
        must(close_in(host, listener));
        world_end(world);
}

TEST(a_broker_that_does_not_answer_in_time_is_a_timeout) {
        struct world *world = world_family();
        struct program *web01 = program_in(world, "web01");
        int fresh = (int)must(open_socket(web01, SOCK_STREAM));
        must(set_option(web01, fresh, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 150));
        must(kill(world->broker, SIGSTOP));
        check_errno(connect_to(web01, fresh, &HV_GUID_PARENT, &ECHO), ETIMEDOUT);
        must(kill(world->broker, SIGCONT));
        must(close_in(web01, fresh));
        check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &ECHO), 0);
        world_end(world);
}

TEST(without_the_option_the_timeout_is_two_seconds) {
        struct world *world = world_family();
        struct program *web01 = program_in(world, "web01");
        int fd = (int)must(open_socket(web01, SOCK_STREAM)), value;
        must(get_option(web01, fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &value));
        check_equal(value, 2000);
        must(kill(world->broker, SIGSTOP));
        check_errno(connect_to(web01, fd, &HV_GUID_PARENT, &ECHO), ETIMEDOUT);
        must(kill(world->broker, SIGCONT));
        must(close_in(web01, fd));
        world_end(world);
}

TEST(a_connect_timeout_is_at_most_five_minutes) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        int fd = (int)must(open_socket(host, SOCK_STREAM)), value;
        must(set_option(host, fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 300000));
        check_errno(set_option(host, fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 300001), EINVAL);
        must(get_option(host, fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &value));
        check_equal(value, 300000);
        must(close_in(host, fd));
        world_end(world);
}

TEST(the_same_address_cannot_be_bound_twice_in_a_partition) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *other = program_new(world, "host"),
                       *web01 = program_in(world, "web01");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        check_refused(serve(host, &HV_GUID_WILDCARD, &ECHO), EADDRINUSE, "address-in-use", "host", &ECHO);
        check_errno(serve(other, &HV_GUID_ZERO, &ECHO), EADDRINUSE);
        int elsewhere = (int)must(serve(web01, &HV_GUID_WILDCARD, &ECHO));
        must(close_in(host, listener));
        listener = (int)must(serve(other, &HV_GUID_WILDCARD, &ECHO));
        must(close_in(other, listener));
        must(close_in(web01, elsewhere));
        program_end(other);
        world_end(world);
}

TEST(an_address_is_free_again_when_its_program_was_killed) {
        struct world *world = world_family();
        struct program *victim = program_new(world, "host");
        must(serve(victim, &HV_GUID_WILDCARD, &ECHO));
        program_kill(victim);
        check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &ECHO), 0);
        world_end(world);
}

TEST(stream_and_seqpacket_do_not_mix) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        int types[] = {SOCK_STREAM, SOCK_SEQPACKET};
        for (unsigned i = 0; i < 2; i++) {
                int listener = (int)must(serve_typed(host, &HV_GUID_WILDCARD, &ECHO, types[i], false));
                check_refused(dial_typed(web01, &HV_GUID_PARENT, &ECHO, types[!i], false), EPROTOTYPE, "socket-type",
                              "web01", &ECHO);
                int connected = (int)must(dial_typed(web01, &HV_GUID_PARENT, &ECHO, types[i], false));
                must(close_in(host, check_meets(web01, connected, host, listener)));
                must(close_in(web01, connected));
                must(close_in(host, listener));
        }
        world_end(world);
}

TEST(wrong_arguments_are_told_apart) {
        struct world *world = world_family();
        world_enter(world, "host");
        check_errno(hv_socket(AF_INET, SOCK_STREAM, HV_PROTOCOL_RAW), EAFNOSUPPORT);
        check_errno(hv_socket(AF_HYPERV, SOCK_DGRAM, HV_PROTOCOL_RAW), ESOCKTNOSUPPORT);
        check_errno(hv_socket(AF_HYPERV, SOCK_RAW, HV_PROTOCOL_RAW), ESOCKTNOSUPPORT);
        check_errno(hv_socket(AF_HYPERV, SOCK_STREAM, 2), EPROTOTYPE);
        check_errno(hv_socket(AF_HYPERV, SOCK_STREAM, 0), EPROTOTYPE);

        int fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_LOOPBACK, .ServiceId = ECHO};
        for (socklen_t length = 0; length < sizeof address; length++) {
                check_errno(hv_connect(fd, (struct sockaddr *)&address, length), EINVAL);
                check_errno(hv_bind(fd, (struct sockaddr *)&address, length), EINVAL);
        }
        address.Family = AF_UNIX;
        check_errno(hv_connect(fd, (struct sockaddr *)&address, sizeof address), EAFNOSUPPORT);
        check_errno(hv_bind(fd, (struct sockaddr *)&address, sizeof address), EAFNOSUPPORT);
        must(hv_close(fd));
        world_end(world);
}

TEST(a_write_after_shutting_down_writes_is_a_broken_pipe) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        int listener = (int)must(serve(host, &HV_GUID_LOOPBACK, &ECHO));
        int connected = (int)must(dial(host, &HV_GUID_LOOPBACK, &ECHO));
        int accepted = check_meets(host, connected, host, listener);
        must(shut(host, connected, SHUT_WR));
        check_errno(send_text(host, connected, "more"), EPIPE);
        must(close_in(host, accepted));
        check_errno(send_text(host, connected, "more"), EPIPE);
        must(close_in(host, connected));
        must(close_in(host, listener));
        world_end(world);
}

TEST(where_no_broker_ever_was_the_network_is_down) {
        if (!access("/run/hvsock/control", F_OK))
                test_skip("this machine has a world of its own");
        must(setenv("XDG_RUNTIME_DIR", "/nonexistent", 1));
        const char *const places[] = {NULL, "/nonexistent", "/nonexistent/control"};
        for (unsigned i = 0; i < 3; i++) {
                if (places[i])
                        must(setenv("HVSOCK_SOCKET", places[i], 1));
                else
                        unsetenv("HVSOCK_SOCKET");
                int fd = hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW);
                if (fd >= 0) {
                        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_LOOPBACK, .ServiceId = ECHO};
                        check_errno(hv_connect(fd, (struct sockaddr *)&address, sizeof address), ENETDOWN);
                        check_errno(hv_bind(fd, (struct sockaddr *)&address, sizeof address), ENETDOWN);
                        must(hv_close(fd));
                }
                check(fd >= 0 || errno == ENETDOWN);
        }
}
