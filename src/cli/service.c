/* SPDX-License-Identifier: MIT */

/* hvsock service: the registry. */

#include "base/guid.h"
#include "cli/listing.h"
#include "cli/management.h"
#include "cli/service_text.h"
#include "cli/verb.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run_add(const struct invocation *invocation) {
        struct json_object *parameters = parameter("name", invocation->arguments[0]);
        static const char *const texts[] = {"id", "bind", "connect", "exec", "user", "partition"};
        for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
                add_text(parameters, texts[i], value_of(invocation, texts[i], NULL));
        add_flag(parameters, "enabled", !is_given(invocation, "disabled"));
        add_flag(parameters, "wildcardBinds", !is_given(invocation, "no-wildcard"));
        add_flag(parameters, "accept", is_given(invocation, "accept"));

        struct json_object *reply;
        int r = management_call("AddService", parameters, &reply);
        if (r != EXIT_OK)
                return r;
        if (is_given(invocation, "json")) {
                r = print_json(reply);
        } else {
                struct json_object *service = field(reply, "service");
                printf("%s\n", printable(field_text(service, "id")));
                for (size_t i = 0; i < field_count(service, "problems"); i++) {
                        struct json_object *problem = field_at(service, "problems", i);
                        fail(EXIT_OK, field_text(service, "name"), field_text(problem, "why"), field_text(problem, "fix"));
                }
                r = finish_output();
        }
        json_object_put(reply);
        return r;
}

static const struct verb_option add_options[] = {
        {"id", 0, "GUID", "this ServiceId, not a new one; vsock:PORT is a port's"},
        {"bind", 0, "RULE", "who may bind"},
        {"connect", 0, "RULE", "who may connect"},
        {"no-wildcard", 0, NULL, "listeners bound to wildcard accept nobody"},
        {"disabled", 0, NULL, "registered, but not yet to be used"},
        {"exec", 0, "COMMAND", "start this (an absolute path and arguments) at the first connection", OFFERS_FILES},
        {"user", 0, "NAME", "who runs COMMAND"},
        {"accept", 0, NULL, "one COMMAND a connection, on its standard input and output"},
        {"partition", 0, "PARTITION", "where COMMAND listens, if not on the host", OFFERS_PARTITIONS},
        OPTION_JSON,
        OPTIONS_END,
};

const struct verb verb_service_add = {
        .name = "service add",
        .synopsis = "NAME",
        .summary = "register a service under a friendly name; prints its ServiceId",
        .details = "RULE is one or more of everyone, nobody, host, children, vms, containers,\n"
                   "user:NAME, group:NAME and partition:GUID; without it, root and group hvsock\n"
                   "on the host and whoever can address the service elsewhere.",
        .options = add_options,
        .arguments_min = 1,
        .arguments_max = 1,
        .run = run_add};

static int remove_one(const char *name) {
        return management_call("RemoveService", parameter("service", name), NULL);
}

static int run_remove(const struct invocation *invocation) {
        return each_argument(invocation, remove_one);
}

const struct verb verb_service_remove = {.name = "service remove",
                                         .synopsis = "SERVICE...",
                                         .summary = "remove services from the registry",
                                         .details = "Each on its own: one that cannot be removed is told, and the others are.\n"
                                                    "A file with a mistake goes by its ServiceId.",
                                         .arguments_min = 1,
                                         .arguments_max = ARGUMENTS_ANY,
                                         .offers = {OFFERS_SERVICES},
                                         .run = run_remove};

static int set_enabled(const char *name, bool enabled) {
        struct json_object *parameters = parameter("service", name), *reply;
        add_flag(parameters, "enabled", enabled);
        int r = management_call("SetServiceEnabled", parameters, &reply);
        if (r != EXIT_OK)
                return r;
        long long remaining = field_int(reply, "channelsRemaining");
        json_object_put(reply);
        if (remaining > 0) {
                char why[160];
                snprintf(why, sizeof why,
                         "%lld open channels end at their program's next call; the kernel lets nobody end those of "
                         "programs without libhvsock",
                         remaining);
                fail(EXIT_OK, name, why, "hvsock ls");
        }
        return EXIT_OK;
}

static int enable_one(const char *name) {
        return set_enabled(name, true);
}

static int disable_one(const char *name) {
        return set_enabled(name, false);
}

static int run_enable(const struct invocation *invocation) {
        return each_argument(invocation, enable_one);
}

static int run_disable(const struct invocation *invocation) {
        return each_argument(invocation, disable_one);
}

const struct verb verb_service_enable = {.name = "service enable",
                                         .synopsis = "SERVICE...",
                                         .summary = "let services be used again",
                                         .arguments_min = 1,
                                         .arguments_max = ARGUMENTS_ANY,
                                         .offers = {OFFERS_SERVICES},
                                         .run = run_enable};

const struct verb verb_service_disable = {.name = "service disable",
                                          .synopsis = "SERVICE...",
                                          .summary = "end services' listeners and channels, and refuse new ones",
                                          .arguments_min = 1,
                                          .arguments_max = ARGUMENTS_ANY,
                                          .offers = {OFFERS_SERVICES},
                                          .run = run_disable};

/* Whether a problem is of a drop-in; its ServiceId, as the name of the file tells it. */
static bool is_of_drop_in(struct json_object *world, struct json_object *problem, char ret_id[HV_GUID_TEXT_SIZE]) {
        const char *path = field_text(problem, "what"), *name = strrchr(path, '/');
        for (size_t i = 0; name && i < field_count(world, "serviceDirectories"); i++) {
                const char *directory = json_object_get_string(field_at(world, "serviceDirectories", i));
                if (strlen(directory) == (size_t)(name - path) && strncmp(path, directory, strlen(directory)) == 0) {
                        snprintf(ret_id, HV_GUID_TEXT_SIZE, "%s", name + 1);
                        return true;
                }
        }
        return false;
}

/* Adds to ListServices' reply the problems of drop-ins that registered nothing: they are nobody's in it. */
static int add_problems(struct json_object *reply) {
        struct json_object *world, *problems = json_object_new_array();
        json_object_object_add(reply, "problems", problems);
        int r = management_call("GetWorld", NULL, &world);
        if (r != EXIT_OK)
                return r;
        for (size_t i = 0; i < field_count(world, "problems"); i++) {
                struct json_object *problem = field_at(world, "problems", i);
                char id[HV_GUID_TEXT_SIZE];
                bool is_nobodys = is_of_drop_in(world, problem, id);
                for (size_t j = 0; is_nobodys && j < field_count(reply, "services"); j++)
                        is_nobodys = strcmp(field_text(field_at(reply, "services", j), "id"), id) != 0;
                if (is_nobodys) {
                        add_text(problem, "id", id);
                        json_object_array_add(problems, json_object_get(problem));
                }
        }
        json_object_put(world);
        return EXIT_OK;
}

static void put_problem(struct libscols_line *line, struct json_object *problem) {
        if (problem)
                listing_cell(line, 6, "%s: %s", field_text(problem, "what"), field_text(problem, "why"));
}

static int print_services(struct json_object *reply) {
        struct libscols_table *listing =
                listing_new((const char *const[]){"NAME", "ID", "STATE", "BIND", "CONNECT", ">OPEN", "PROBLEM", NULL});
        for (size_t i = 0; i < field_count(reply, "services"); i++) {
                struct json_object *service = field_at(reply, "services", i);
                struct libscols_line *line = listing_line(listing, NULL);
                listing_cell(line, 0, "%s", field_text(service, "name"));
                listing_cell(line, 1, "%s", field_text(service, "id"));
                listing_cell(line, 2, "%s", field_bool(service, "enabled") ? "enabled" : "disabled");
                listing_cell(line, 3, "%s", field_text(service, "bind"));
                listing_cell(line, 4, "%s", field_text(service, "connect"));
                listing_cell(line, 5, "%lld", (long long)field_int(field(service, "counters"), "channelsNow"));
                put_problem(line, field_at(service, "problems", 0));
        }
        for (size_t i = 0; i < field_count(reply, "problems"); i++) {
                struct json_object *problem = field_at(reply, "problems", i);
                struct libscols_line *line = listing_line(listing, NULL);
                listing_cell(line, 1, "%s", field_text(problem, "id"));
                listing_cell(line, 2, "mistake");
                put_problem(line, problem);
        }
        return listing_print(listing, "services", "hvsock service add '<NAME>'");
}

static int run_list(const struct invocation *invocation) {
        struct json_object *reply;
        int r = management_call("ListServices", NULL, &reply);
        if (r != EXIT_OK)
                return r;
        r = add_problems(reply);
        if (r == EXIT_OK)
                r = is_given(invocation, "json") ? print_json(reply) : print_services(reply);
        json_object_put(reply);
        return r;
}

static const struct verb_option json_options[] = {OPTION_JSON, OPTIONS_END};

const struct verb verb_service_list = {.name = "service list",
                                       .synopsis = "",
                                       .summary = "list the registered services",
                                       .options = json_options,
                                       .run = run_list};

static void print_row(const char *name, const char *value) {
        if (*value)
                printf("%-15s %s\n", name, printable(value));
}

static int run_show(const struct invocation *invocation) {
        struct json_object *reply;
        int r = management_call("GetService", parameter("service", invocation->arguments[0]), &reply);
        if (r != EXIT_OK)
                return r;
        if (is_given(invocation, "json")) {
                r = print_json(reply);
                json_object_put(reply);
                return r;
        }
        struct json_object *service = field(reply, "service"), *counters = field(service, "counters");
        print_row("Name", field_text(service, "name"));
        print_row("ServiceId", field_text(service, "id"));
        print_row("State", field_bool(service, "enabled") ? "enabled" : "disabled");
        print_row("Wildcard binds", field_bool(service, "wildcardBinds") ? "accept" : "accept nobody");
        print_row("May bind", field_text(service, "bind"));
        print_row("May connect", field_text(service, "connect"));
        print_row("Starts", field_text(service, "exec"));
        print_row("  as user", field_text(service, "user"));
        print_row("  in", field_text(service, "partition"));
        if (*field_text(service, "exec"))
                print_row("  once for", field_bool(service, "accept") ? "each connection" : "all connections");
        print_row("From file", field_text(service, "source"));
        printf("%-15s %lld now, %lld in all\n", "Listeners", (long long)field_int(counters, "listenersNow"),
               (long long)field_int(counters, "listenersTotal"));
        printf("%-15s %lld now, %lld in all\n", "Channels", (long long)field_int(counters, "channelsNow"),
               (long long)field_int(counters, "channelsTotal"));
        struct json_object *failure = field(service, "lastFailure");
        if (failure) {
                char age[AGE_SIZE];
                format_age(field_int(failure, "timeMs"), age);
                printf("%-15s %s ago: %s\n", "Last failure", age, printable(field_text(failure, "cause")));
        }
        for (size_t i = 0; i < field_count(service, "problems"); i++) {
                struct json_object *problem = field_at(service, "problems", i);
                printf("%-15s %s: %s\n", "Problem", printable(field_text(problem, "what")),
                       printable(field_text(problem, "why")));
        }
        json_object_put(reply);
        return finish_output();
}

const struct verb verb_service_show = {.name = "service show",
                                       .synopsis = "SERVICE",
                                       .summary = "show a service: who may use it, where it is defined, its counters",
                                       .options = json_options,
                                       .arguments_min = 1,
                                       .arguments_max = 1,
                                       .offers = {OFFERS_SERVICES},
                                       .run = run_show};

static int run_import(const struct invocation *invocation) {
        char *text;
        const char *file = invocation->argument_count ? invocation->arguments[0] : "-";
        int r = service_text_read(file, &text);
        if (r != EXIT_OK)
                return r;
        struct json_object *reply;
        r = management_call_with_text("ImportServices", text, strcmp(file, "-") == 0 ? "standard input" : file, &reply);
        free(text);
        if (r != EXIT_OK)
                return r;
        if (is_given(invocation, "json")) {
                r = print_json(reply);
        } else {
                printf("%zu added, %zu replaced\n", field_count(reply, "added"), field_count(reply, "replaced"));
                r = finish_output();
        }
        json_object_put(reply);
        return r;
}

const struct verb verb_service_import = {
        .name = "service import",
        .synopsis = "[FILE]",
        .summary = "register the services of a Windows .reg export",
        .details = "FILE is an export of HKLM\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Virtualization\\\n"
                   "GuestCommunicationServices, in UTF-16 or UTF-8; standard input when left out or \"-\". A service\n"
                   "that is known gets the name in FILE; who may use it stays. A mistake in FILE imports nothing.",
        .options = json_options,
        .arguments_max = 1,
        .offers = {OFFERS_FILES},
        .run = run_import};

static int run_export(const struct invocation *invocation) {
        struct json_object *reply;
        int r = management_call("ExportServices", NULL, &reply);
        if (r != EXIT_OK)
                return r;
        r = service_text_write(invocation->argument_count ? invocation->arguments[0] : "-", field_text(reply, "text"));
        json_object_put(reply);
        return r;
}

const struct verb verb_service_export = {
        .name = "service export",
        .synopsis = "[FILE]",
        .summary = "write the registry as a Windows .reg file",
        .details = "FILE is UTF-16 as Windows writes it, and so is standard output (when FILE is left out or \"-\")\n"
                   "when a name needs more than ASCII. A terminal is shown UTF-8.",
        .arguments_max = 1,
        .offers = {OFFERS_FILES},
        .run = run_export};
