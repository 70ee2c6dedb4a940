/* SPDX-License-Identifier: MIT */

/* The world as a whole, and what is told of it in many places. */

#include "daemon/manage_request.h"

#include "base/fd.h"
#include "base/guid.h"
#include "daemon/activation.h"
#include "daemon/services.h"
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

struct json_object *json_of_counters(const struct counters *counters) {
        struct json_object *object = json_object_new_object(), *refused = json_object_new_object();
        put_int(object, "listenersNow", (int64_t)counters->listeners_now);
        put_int(object, "listenersTotal", (int64_t)counters->listeners_total);
        put_int(object, "channelsNow", (int64_t)counters->channels_now);
        put_int(object, "channelsTotal", (int64_t)counters->channels_total);
        put_int(object, "bytesFromConnectors", (int64_t)counters->bytes[FROM_CONNECTOR]);
        put_int(object, "bytesFromAcceptors", (int64_t)counters->bytes[FROM_ACCEPTOR]);
        for (enum rule rule = 0; rule < RULE_COUNT; rule++)
                if (counters->refused[rule] > 0)
                        put_int(refused, rule_name(rule), (int64_t)counters->refused[rule]);
        json_object_object_add(object, "refused", refused);
        return object;
}

void put_service_name(const struct world *world, struct json_object *object, const GUID *service_id) {
        const struct service *service = registry_by_id(world->broker, service_id);
        put_string(object, "serviceName", service ? service->definition.name : "");
}

/* The process may be gone, or another one by now: the name is for people. */
void put_command(struct json_object *object, const char *key, uint32_t pid) {
        char path[32], command[32] = "";
        snprintf(path, sizeof path, "/proc/%u/comm", pid);
        cleanup(fd_closep) int fd = pid ? open(path, O_RDONLY | O_CLOEXEC) : -1;
        ssize_t length = fd < 0 ? 0 : read(fd, command, sizeof command - 1);
        command[length > 0 ? length : 0] = 0;
        command[strcspn(command, "\n")] = 0;
        put_string(object, key, command);
}

static void add_problem(struct json_object *problems, bool is_error, const char *what, const char *why, const char *fix) {
        struct json_object *problem = json_object_new_object();
        put_string(problem, "severity", is_error ? "error" : "warning");
        put_string(problem, "what", what);
        put_string(problem, "why", why);
        put_string(problem, "fix", fix);
        json_object_array_add(problems, problem);
}

static void add_file_problem(const struct problem *problem, const char *then, struct json_object *problems) {
        char what[PATH_MAX + 32], fix[PATH_MAX + 32];
        snprintf(what, sizeof what, problem->line ? "%s:%u" : "%s", problem->path, problem->line);
        snprintf(fix, sizeof fix, "\"${EDITOR:-vi}\" '%s'%s", problem->path, then);
        add_problem(problems, problem->is_error, what, problem->text, fix);
}

static void add_service_problem(const struct problem *problem, void *userdata) {
        add_file_problem(problem, "", userdata);
}

struct json_object *json_of_problems(const struct world *world, const struct service *service) {
        struct json_object *problems = json_object_new_array();
        services_problems(world, service ? &service->definition.service_id : NULL, add_service_problem, problems);
        activation_problems(world, service, add_service_problem, problems);
        return problems;
}

static void add_vm_problems(struct json_object *problems, struct world *world) {
        for (const struct partition *at = broker_root(world->broker); at; at = partition_after(at)) {
                const char *problem = at->reach == REACH_VM ? problem_of_vm(world, at) : "";
                if (!*problem)
                        continue;
                char id[HV_GUID_TEXT_SIZE], fix[128];
                guid_format(&at->vm_id, id);
                snprintf(fix, sizeof fix, "hvsock vm show %s", id);
                add_problem(problems, false, at->label, problem, fix);
        }
}

static struct json_object *problems_of(struct world *world) {
        struct json_object *problems = json_of_problems(world, NULL);
        /* One whose file is gone is over; one whose file was mended is, at the next start. */
        for (const struct problem *problem = world->problems; problem; problem = problem->next)
                if (access(problem->path, F_OK) == 0)
                        add_file_problem(problem, ", then restart hvsockd", problems);

        /* The registry is in order of name: those that share one are neighbours. */
        const struct service *before = NULL;
        for (const struct service *service = NULL; (service = registry_next(world->broker, service));
             before = service) {
                if (!before || strcmp(before->definition.name, service->definition.name) != 0)
                        continue;
                char id[HV_GUID_TEXT_SIZE], fix[128];
                guid_format(&service->definition.service_id, id);
                snprintf(fix, sizeof fix, "hvsock service remove %s", id);
                add_problem(problems, false, service->definition.name,
                            "more than one service bears this name, so it finds none", fix);
        }
        add_vm_problems(problems, world);
        return problems;
}

void manage_get_world(struct request *request) {
        if (!request_parameters(request, NULL, 0))
                return;
        struct world *world = request->world;
        int64_t partitions = 0, services = 0, listeners = 0, channels = 0;
        world_probe_all(request->world);
        for (const struct partition *at = broker_root(world->broker); at; at = partition_after(at)) {
                partitions++;
                listeners += (int64_t)at->counters.listeners_now;
        }
        for (const struct service *at = NULL; (at = registry_next(world->broker, at));)
                services++;
        for (const struct channel *at = NULL; (at = broker_channel_next(world->broker, at));)
                channels++;

        struct json_object *reply = json_object_new_object(), *directories = json_object_new_array();
        for (unsigned i = 0; i < world->options.service_directory_count; i++)
                json_object_array_add(directories, json_object_new_string(world->options.services[i]));
        put_string(reply, "version", HVSOCK_VERSION);
        put_int(reply, "pid", getpid());
        put_int(reply, "uid", geteuid());
        put_guid(reply, "hostId", &broker_root(world->broker)->vm_id);
        put_int(reply, "startedMs", world->started_ms);
        put_string(reply, "runtimeDirectory", world->options.runtime);
        put_string(reply, "stateDirectory", world->options.state);
        json_object_object_add(reply, "serviceDirectories", directories);
        put_int(reply, "partitions", partitions);
        put_int(reply, "services", services);
        put_int(reply, "listeners", listeners);
        put_int(reply, "channels", channels);
        json_object_object_add(reply, "problems", problems_of(world));
        request_reply(request, reply);
}
