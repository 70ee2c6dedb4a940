/* SPDX-License-Identifier: MIT */

/* Services on demand: Exec= starts a service at its first connection. */

#include "program.h"
#include "test.h"

#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

static void write_on_demand(struct world *world, const GUID *service_id, const char *command, const char *extra) {
        char helper[PATH_MAX], lines[PATH_MAX + 256];
        world_executable("tests/e2e/helper", helper);
        snprintf(lines, sizeof lines, "Exec=%s %s\n%s", helper, command, extra);
        world_write_service(world, service_id, "On Demand", lines);
        world_await_service(world, service_id, "/name", "On Demand");
}

/* The broker listens for the service as long as it is registered. */
static void end_world_without(struct world *world, const GUID *service_id) {
        char id[HV_GUID_TEXT_SIZE];
        json_object_put(manage(world, "RemoveService", "{\"service\":\"%s\"}", hv_guid_format(service_id, id)));
        world_end(world);
}

static long ask(struct program *program, int fd, const char *question) {
        char answer[32];
        must(send_text(program, fd, question));
        check(must(receive_text(program, fd, answer, sizeof answer)) > 0);
        return atol(answer);
}

static void check_echoes(struct program *program, int fd) {
        char text[32];
        must(send_text(program, fd, "anybody there?"));
        check_equal(must(receive_text(program, fd, text, sizeof text)), 14);
        check_string(text, "anybody there?");
}

static bool is_gone(pid_t pid) {
        return kill(pid, 0) < 0 && errno == ESRCH;
}

TEST(the_first_connection_starts_the_service_and_the_next_ones_meet_the_same_process) {
        struct world *world = world_family();
        GUID service_id = service_numbered(20);
        write_on_demand(world, &service_id, "listener", "");
        struct program *web01 = program_in(world, "web01");

        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &service_id));
        check_echoes(web01, connected);
        long pid = ask(web01, connected, "pid");
        check(pid > 0 && pid != world->broker && !kill((pid_t)pid, 0));
        must(close_in(web01, connected));

        connected = (int)must(dial(web01, &HV_GUID_PARENT, &service_id));
        check_equal(ask(web01, connected, "pid"), pid);
        must(send_text(web01, connected, "end"));
        check(await(is_gone((pid_t)pid)));
        must(close_in(web01, connected));
        end_world_without(world, &service_id);
}

TEST(a_service_that_ended_is_started_again) {
        struct world *world = world_family();
        GUID service_id = service_numbered(20);
        write_on_demand(world, &service_id, "listener", "");
        struct program *web01 = program_in(world, "web01");
        long last = 0;
        for (unsigned i = 0; i < 3; i++) {
                int connected = (int)must(dial(web01, &HV_GUID_PARENT, &service_id));
                long pid = ask(web01, connected, "pid");
                check(pid != last);
                last = pid;
                must(send_text(web01, connected, "end"));
                must(close_in(web01, connected));
                check(await(is_gone((pid_t)pid)));
        }
        end_world_without(world, &service_id);
}

TEST(a_service_that_ends_after_each_connection_is_started_for_all_that_wait) {
        struct world *world = world_family();
        GUID service_id = service_numbered(20);
        write_on_demand(world, &service_id, "listener", "");
        struct program *web01 = program_in(world, "web01");
        int waiting[12];
        char text[8];
        for (size_t i = 0; i < sizeof waiting / sizeof *waiting; i++)
                waiting[i] = (int)must(dial(web01, &HV_GUID_PARENT, &service_id));
        for (size_t i = 0; i < sizeof waiting / sizeof *waiting; i++)
                must(send_text(web01, waiting[i], "end"));
        for (size_t i = 0; i < sizeof waiting / sizeof *waiting; i++) {
                check_equal(must(receive_text(web01, waiting[i], text, sizeof text)), 0);
                must(close_in(web01, waiting[i]));
        }
        end_world_without(world, &service_id);
}

TEST(with_accept_each_connection_has_a_process_of_its_own) {
        struct world *world = world_family();
        GUID service_id = service_numbered(21);
        write_on_demand(world, &service_id, "inetd", "Accept=yes\n");
        struct program *web01 = program_in(world, "web01"), *web02 = program_in(world, "web02");
        int first = (int)must(dial(web01, &HV_GUID_PARENT, &service_id));
        int second = (int)must(dial(web02, &HV_GUID_PARENT, &service_id));
        check_echoes(web01, first);
        check_echoes(web02, second);
        long pids[] = {ask(web01, first, "pid"), ask(web02, second, "pid")};
        check(pids[0] != pids[1]);
        must(shut(web01, first, SHUT_WR));
        char text[8];
        check_equal(must(receive_text(web01, first, text, sizeof text)), 0);
        must(close_in(web01, first));
        must(close_in(web02, second));
        check(await(is_gone((pid_t)pids[0])));
        check(await(is_gone((pid_t)pids[1])));
        end_world_without(world, &service_id);
}

TEST(an_idle_service_on_demand_is_listed_and_costs_no_process) {
        struct world *world = world_family();
        GUID service_id = service_numbered(20);
        write_on_demand(world, &service_id, "listener", "");
        struct json_object *reply = manage(world, "ListListeners", "{}");
        check_equal(length_at(reply, "/listeners"), 1);
        check_string(text_at(reply, "/listeners/0/serviceName"), "On Demand");
        json_object_put(reply);
        char path[64], children[64] = "";
        snprintf(path, sizeof path, "/proc/%d/task/%d/children", world->broker, world->broker);
        FILE *file = fopen(path, "re");
        check(file);
        check(!fgets(children, sizeof children, file));
        fclose(file);
        end_world_without(world, &service_id);
}

TEST(a_service_on_demand_can_live_in_another_partition) {
        struct world *world = world_family();
        GUID service_id = service_numbered(22);
        write_on_demand(world, &service_id, "inetd", "Accept=yes\nPartition=web01\n");
        check_errno(dial(program_in(world, "web02"), &HV_GUID_PARENT, &service_id), ECONNREFUSED);
        struct program *db = program_in(world, "web01/db");
        int connected = (int)must(dial(db, &HV_GUID_PARENT, &service_id));
        check_echoes(db, connected);
        must(close_in(db, connected));
        end_world_without(world, &service_id);
}

TEST(a_service_on_demand_runs_as_its_user) {
        world_require_reach();
        struct world *world = world_family();
        GUID service_id = service_numbered(23);
        write_on_demand(world, &service_id, "inetd", "Accept=yes\nUser=nobody\n");
        struct program *web01 = program_in(world, "web01");
        int connected = (int)must(dial(web01, &HV_GUID_PARENT, &service_id));
        check_equal(ask(web01, connected, "uid"), 65534);
        must(close_in(web01, connected));
        end_world_without(world, &service_id);
}

TEST(a_service_that_cannot_be_started_says_why_and_harms_nobody_else) {
        struct world *world = world_family();
        GUID service_id = service_numbered(24);
        char id[HV_GUID_TEXT_SIZE];
        hv_guid_format(&service_id, id);
        world_write_service(world, &service_id, "Broken", "Exec=/nonexistent/program\nAccept=yes\n");
        world_await_service(world, &service_id, "/name", "Broken");
        struct program *web01 = program_in(world, "web01");
        await(dial(web01, &HV_GUID_PARENT, &service_id) < 0 && !strcmp(last_refusal(web01).rule_name, "exec-failed"));
        check_errno(dial(web01, &HV_GUID_PARENT, &service_id), ECONNREFUSED);
        check(strstr(last_refusal(web01).text, "cannot be started: No such file or directory"));
        struct json_object *reply = manage(world, "Why", "{\"from\":\"web01\",\"vmId\":\"parent\",\"service\":\"%s\"}", id);
        check_string(text_at(reply, "/rule"), "exec-failed");
        check(strstr(text_at(reply, "/text"), "No such file or directory"));
        json_object_put(reply);
        reply = manage(world, "GetWorld", "{}");
        check_equal(length_at(reply, "/problems"), 1);
        check(strstr(text_at(reply, "/problems/0/what"), id));
        check_string(text_at(reply, "/problems/0/why"), "its program cannot be started: No such file or directory");
        json_object_put(reply);
        check_equal(reach(world, "web01", &HV_GUID_PARENT, "host", &HV_GUID_WILDCARD, &ECHO), 0);
        end_world_without(world, &service_id);
}

static bool has_problem(struct world *world, const char *service_id) {
        struct json_object *reply = manage(world, "GetService", "{\"service\":\"%s\"}", service_id);
        bool has = length_at(reply, "/service/problems") > 0;
        json_object_put(reply);
        return has;
}

TEST(how_a_program_failed_last_is_shown_with_its_service) {
        struct world *world = world_family();
        GUID service_id = service_numbered(25);
        char id[HV_GUID_TEXT_SIZE], text[8];
        hv_guid_format(&service_id, id);
        world_write_service(world, &service_id, "Failing", "Exec=/bin/sh -c 'exit 7'\nAccept=yes\n");
        world_await_service(world, &service_id, "/name", "Failing");
        struct program *web01 = program_in(world, "web01");
        int connected = -1;
        check(await((connected = dial(web01, &HV_GUID_PARENT, &service_id)) >= 0));
        check_equal(must(receive_text(web01, connected, text, sizeof text)), 0);
        must(close_in(web01, connected));
        check(await(has_problem(world, id)));
        struct json_object *reply = manage(world, "GetService", "{\"service\":\"%s\"}", id);
        check_string(text_at(reply, "/service/lastFailure/cause"), "it exited with 7");
        check_equal(number_at(reply, "/service/lastFailure/exitStatus"), 7);
        check_string(text_at(reply, "/service/problems/0/why"), "its program failed: it exited with 7");
        json_object_put(reply);
        end_world_without(world, &service_id);
}

TEST(what_can_never_work_is_refused_and_what_may_come_later_is_a_problem) {
        struct world *world = world_family();
        static const char *const refused[] = {
                "\"exec\":\"/bin/cat\",\"wildcardBinds\":false", "\"exec\":\"/bin/cat\",\"user\":\"nobody-of-this-name\"",
                "\"exec\":\"/bin/cat '\"", "\"user\":\"root\"", "\"accept\":true", "\"partition\":\"web01\"",
        };
        for (size_t i = 0; i < sizeof refused / sizeof *refused; i++)
                manage_refused(world, "Invalid", "AddService", "{\"name\":\"Never\",%s}", refused[i]);
        struct json_object *reply = manage(world, "AddService",
                                           "{\"name\":\"Later\",\"exec\":\"/nonexistent/program\",\"partition\":\"web09\"}");
        check_equal(length_at(reply, "/service/problems"), 2);
        check_string(text_at(reply, "/service/problems/0/why"), "there is no partition: web09");
        json_object_put(reply);
        json_object_put(manage(world, "RemoveService", "{\"service\":\"Later\"}"));
        world_end(world);
}
