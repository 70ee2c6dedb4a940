/* SPDX-License-Identifier: MIT */

/* hvsock doctor: which world this shell is in, and what is wrong with it. */

#include "cli/doctor.h"

#include "base/guid.h"
#include "cli/management.h"
#include "cli/verb.h"
#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void add_problem(struct json_object *problems, const char *severity, const char *what, const char *fix,
                 const char *why_format, ...) {
        char why[1024];
        va_list arguments;
        va_start(arguments, why_format);
        vsnprintf(why, sizeof why, why_format, arguments);
        va_end(arguments);
        struct json_object *problem = json_object_new_object();
        add_text(problem, "severity", severity);
        add_text(problem, "what", what);
        add_text(problem, "why", why);
        add_text(problem, "fix", fix);
        json_object_array_add(problems, problem);
}

static const char *kind_name(int kind) {
        return kind == HV_PARTITION_HOST ? "host" : kind == HV_PARTITION_VM ? "vm" : "container";
}

/* What the broker calls this shell: 0, or a negative errno. */
static int describe_self(struct json_object *diagnosis) {
        struct hv_partition self = {.struct_size = sizeof self};
        char id[HV_GUID_TEXT_SIZE];
        if (hv_self(&self) < 0)
                return -errno;
        guid_format(&self.vm_id, id);
        struct json_object *object = json_object_new_object();
        add_text(object, "id", id);
        add_text(object, "label", self.label);
        add_text(object, "kind", kind_name(self.kind));
        json_object_object_add(diagnosis, "partition", object);
        return 0;
}

static void print_diagnosis(struct json_object *diagnosis) {
        struct json_object *self = field(diagnosis, "partition"), *world = field(diagnosis, "world");
        if (self)
                printf("This shell is in %s %s, VmId %s.\n", printable(field_text(self, "kind")),
                       printable(field_text(self, "label")), printable(field_text(self, "id")));
        else
                printf("This shell is in no partition: no broker answers.\n");
        printf("  socket      %s (%s)\n", printable(field_text(diagnosis, "socket")),
               printable(field_text(diagnosis, "socketFrom")));
        printf("  management  %s (%s)\n", printable(field_text(diagnosis, "management")),
               printable(field_text(diagnosis, "managementFrom")));
        if (world)
                printf("  broker      hvsockd %s, pid %lld, uid %lld; partitions %lld, services %lld, listeners %lld, "
                       "channels %lld\n",
                       printable(field_text(world, "version")), (long long)field_int(world, "pid"),
                       (long long)field_int(world, "uid"), (long long)field_int(world, "partitions"),
                       (long long)field_int(world, "services"), (long long)field_int(world, "listeners"),
                       (long long)field_int(world, "channels"));

        size_t count = field_count(diagnosis, "problems");
        for (size_t i = 0; i < count; i++) {
                struct json_object *problem = field_at(diagnosis, "problems", i);
                bool is_error = strcmp(field_text(problem, "severity"), "error") == 0;
                printf("%s%s%s: %s: %s\n", colour(is_error ? COLOUR_BAD : COLOUR_NOTE),
                       printable(field_text(problem, "severity")), colour(COLOUR_NONE),
                       printable(field_text(problem, "what")), printable(field_text(problem, "why")));
                if (*field_text(problem, "fix"))
                        printf("  fix: %s\n", printable(field_text(problem, "fix")));
        }
        if (count == 0)
                printf("%sNothing is wrong.%s\n", colour(COLOUR_GOOD), colour(COLOUR_NONE));
}

static int run_doctor(const struct invocation *invocation) {
        struct json_object *diagnosis = json_object_new_object(), *problems = json_object_new_array();
        struct json_object *world = NULL;
        diagnose_socket(diagnosis, problems, describe_self(diagnosis));
        diagnose_management(diagnosis, problems, &world);
        if (world) {
                json_object_object_add(diagnosis, "world", world);
                for (size_t i = 0; i < field_count(world, "problems"); i++)
                        json_object_array_add(problems, json_object_get(field_at(world, "problems", i)));
                diagnose_world(problems, world);
        }
        diagnose_system(problems);
        json_object_object_add(diagnosis, "problems", problems);

        bool is_healthy = json_object_array_length(problems) == 0;
        int r;
        if (is_given(invocation, "json")) {
                r = print_json(diagnosis);
        } else {
                print_diagnosis(diagnosis);
                r = finish_output();
        }
        json_object_put(diagnosis);
        return r == EXIT_OK && !is_healthy ? EXIT_FAILED : r;
}

static const struct verb_option options[] = {OPTION_JSON, OPTIONS_END};

const struct verb verb_doctor = {.name = "doctor",
                                 .synopsis = "",
                                 .summary = "say which world this shell is in, what is wrong, and how to mend it",
                                 .options = options,
                                 .run = run_doctor};
