/* SPDX-License-Identifier: MIT */

/* The broker dies and comes back: what is established goes on, listeners get connections without doing anything. */

#include "pair.h"
#include "program.h"
#include "test.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

static void restart(struct world *world) {
        world_kill(world);
        world_start(world);
}

TEST(an_established_channel_goes_on_while_there_is_no_broker) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        char text[32];
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = check_meets(web01, connected, host, listener);
        world_kill(world);
        for (unsigned i = 0; i < 3; i++) {
                must(send_text(web01, connected, "still there?"));
                check_equal(must(receive_text(host, accepted, text, sizeof text)), 12);
                must(send_text(host, accepted, "yes"));
                check_equal(must(receive_text(web01, connected, text, sizeof text)), 3);
        }
        world_start(world);
        must(send_text(web01, connected, "and now?"));
        check_equal(must(receive_text(host, accepted, text, sizeof text)), 8);
        must(close_in(web01, connected));
        check_equal(must(receive_text(host, accepted, text, sizeof text)), 0);
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

TEST(a_listener_blocked_in_accept_gets_connections_after_a_restart) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        static struct call call;
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        begin_accept(host, listener);
        check(await(program_is_asleep(host)));
        restart(world);
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = (int)must(program_finish(host, &call));
        check(hv_guid_equal(&call.address.VmId, world_id(world, "web01")));
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

/* Runs no code of the library between its registration and the event. */
static long call_wait_for_edge(struct call *call) {
        struct epoll_event event;
        int count = epoll_wait(call->value, &event, 1, WORLD_WAIT_MS);
        return count == 1 && event.events & EPOLLIN ? 0 : -1;
}

static long call_watch_edges(struct call *call) {
        int epoll = (int)must(epoll_create1(EPOLL_CLOEXEC));
        must(epoll_ctl(epoll, EPOLL_CTL_ADD, call->fd, &(struct epoll_event){.events = EPOLLIN | EPOLLET}));
        return epoll;
}

static long call_plain_close(struct call *call) {
        return close(call->fd);
}

TEST(a_listener_in_edge_triggered_epoll_gets_connections_after_a_restart) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        static struct call call;
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        call = (struct call){.function = call_watch_edges, .fd = listener};
        int epoll = (int)must(program_do(host, &call));
        call = (struct call){.function = call_wait_for_edge, .value = epoll};
        program_begin(host, &call);
        check(await(program_is_asleep(host)));
        restart(world);
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        check_equal(program_finish(host, &call), 0);
        must(close_in(host, check_meets(web01, connected, host, listener)));
        call = (struct call){.function = call_plain_close, .fd = epoll};
        must(program_do(host, &call));
        must(close_in(web01, connected));
        must(close_in(host, listener));
        world_end(world);
}

static void begin_connect(struct program *program, int fd, const GUID *vm_id, long (*function)(struct call *)) {
        static struct call call;
        call = (struct call){.function = function,
                             .fd = fd,
                             .address = {.Family = AF_HYPERV, .VmId = *vm_id, .ServiceId = ECHO}};
        program_begin(program, &call);
}

static long call_connect(struct call *call) {
        return hv_connect(call->fd, (struct sockaddr *)&call->address, sizeof call->address);
}

static long call_bind_and_listen(struct call *call) {
        int result = hv_bind(call->fd, (struct sockaddr *)&call->address, sizeof call->address);
        return result < 0 ? result : hv_listen(call->fd, 4);
}

TEST(a_connect_during_an_outage_waits_for_the_broker_and_succeeds) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01"),
                       *db = program_in(world, "web01/db");
        static struct call call;
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        /* This program has an idle connection to the broker that will be dead. */
        int warm = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        must(close_in(host, check_meets(web01, warm, host, listener)));
        must(close_in(web01, warm));
        int connecting = (int)must(open_socket(web01, SOCK_STREAM)), binding = (int)must(open_socket(db, SOCK_STREAM));
        must(set_option(web01, connecting, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 20000));
        must(set_option(db, binding, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 20000));

        world_kill(world);
        begin_connect(web01, connecting, &HV_GUID_PARENT, call_connect);
        begin_connect(db, binding, &HV_GUID_WILDCARD, call_bind_and_listen);
        check(await(program_is_asleep(web01)));
        check(await(program_is_asleep(db)));
        world_start(world);
        must(program_finish(web01, &call));
        must(program_finish(db, &call));

        must(close_in(host, check_meets(web01, connecting, host, listener)));
        int down = (int)must(dial(web01, world_id(world, "web01/db"), &ECHO));
        must(close_in(db, check_meets(web01, down, db, binding)));
        must(close_in(web01, down));
        must(close_in(web01, connecting));
        must(close_in(db, binding));
        must(close_in(host, listener));
        world_end(world);
}

TEST(an_outage_longer_than_the_timeout_is_a_timeout) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int fd = (int)must(open_socket(web01, SOCK_STREAM));
        must(set_option(web01, fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, 100));
        world_kill(world);
        check_errno(connect_to(web01, fd, &HV_GUID_PARENT, &ECHO), ETIMEDOUT);
        world_start(world);
        must(connect_to(web01, fd, &HV_GUID_PARENT, &ECHO));
        must(close_in(host, check_meets(web01, fd, host, listener)));
        must(close_in(web01, fd));
        must(close_in(host, listener));
        world_end(world);
}

TEST(partitions_services_and_listeners_are_back_after_a_restart) {
        struct world *world = world_family();
        struct program *db = program_in(world, "web01/db");
        char id[HV_GUID_TEXT_SIZE];
        struct json_object *reply =
                manage(world, "AddPartition", "{\"label\":\"late\",\"kind\":\"container\",\"parent\":\"%s\"}",
                       hv_guid_format(world_id(world, "web02"), id));
        char late[HV_GUID_TEXT_SIZE];
        snprintf(late, sizeof late, "%s", text_at(reply, "/partition/id"));
        json_object_put(reply);
        world->extra_descriptors = 8;
        json_object_put(manage(world, "AddService", "{\"name\":\"Late Service\",\"id\":\"%s\"}",
                               hv_guid_format(&(GUID){.Data1 = 7, .Data2 = 7}, id)));
        int listener = (int)must(serve(db, &HV_GUID_PARENT, &ECHO));

        restart(world);

        reply = manage(world, "GetPartition", "{\"partition\":\"web02/late\"}");
        check_string(text_at(reply, "/partition/id"), late);
        json_object_put(reply);
        reply = manage(world, "GetService", "{\"service\":\"Late Service\"}");
        check_string(text_at(reply, "/service/id"), id);
        json_object_put(reply);
        reply = manage(world, "ListListeners", "{}");
        check_equal(length_at(reply, "/listeners"), 1);
        check_string(text_at(reply, "/listeners/0/partitionPath"), "web01/db");
        check_string(text_at(reply, "/listeners/0/serviceName"), ECHO_NAME);
        check_equal(number_at(reply, "/listeners/0/pid"), program_pid(db));
        json_object_put(reply);
        check_equal(service_counter(world, &ECHO, "listenersNow"), 1);
        check_errno(serve(db, &HV_GUID_PARENT, &ECHO), EADDRINUSE);
        must(close_in(db, listener));
        world_end(world);
}

TEST(a_listener_that_died_during_the_outage_is_not_brought_back) {
        struct world *world = world_family();
        struct program *victim = program_new(world, "web01");
        must(serve(victim, &HV_GUID_WILDCARD, &ECHO));
        world_kill(world);
        program_kill(victim);
        world_start(world);
        check_equal(service_counter(world, &ECHO, "listenersNow"), 0);
        check_errno(dial(program_in(world, "host"), world_id(world, "web01"), &ECHO), ECONNREFUSED);
        check_equal(reach(world, "host", world_id(world, "web01"), "web01", &HV_GUID_WILDCARD, &ECHO), 0);
        world_end(world);
}

TEST(a_broker_that_was_told_to_end_leaves_listeners_and_channels_as_one_that_was_killed) {
        struct world *world = world_family();
        struct program *host = program_in(world, "host"), *web01 = program_in(world, "web01");
        char text[16];
        int listener = (int)must(serve(host, &HV_GUID_WILDCARD, &ECHO));
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        int accepted = check_meets(web01, connected, host, listener);
        world_stop(world);
        must(send_text(web01, connected, "hello"));
        check_equal(must(receive_text(host, accepted, text, sizeof text)), 5);
        world_start(world);
        int second = (int)must(dial(web01, &HV_GUID_PARENT, &ECHO));
        must(close_in(host, check_meets(web01, second, host, listener)));
        must(close_in(web01, second));
        must(close_in(web01, connected));
        must(close_in(host, accepted));
        must(close_in(host, listener));
        world_end(world);
}

TEST(a_second_broker_on_the_same_directories_is_refused_and_harms_nothing) {
        struct world *world = world_family();
        pid_t first = world->broker;
        char executable[PATH_MAX];
        world_executable("hvsockd", executable);
        pid_t second = (pid_t)must(fork());
        if (!second) {
                unsetenv("NOTIFY_SOCKET");
                execl(executable, executable, "--runtime", world->runtime, "--state", world->state, "--services",
                      world->services, "--config", world->config, NULL);
                _exit(127);
        }
        int status = await_child(second);
        check(status && status != 127 << 8);
        check(!kill(first, 0));
        check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &ECHO), 0);
        world_end(world);
}
