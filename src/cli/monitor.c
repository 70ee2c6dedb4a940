/* SPDX-License-Identifier: MIT */

/* hvsock monitor: each open, refusal and close as it happens. */

#include "base/guid.h"
#include "cli/management.h"
#include "cli/verb.h"
#include <stdio.h>
#include <string.h>
#include <time.h>

static enum colour colour_of(const char *kind) {
        return strcmp(kind, "refuse") == 0 ? COLOUR_BAD : strcmp(kind, "open") == 0 ? COLOUR_GOOD : COLOUR_NOTE;
}

/* "parent" for its GUID; a GUID that is no word stays itself. */
static const char *vm_id_name(const char *text) {
        GUID vm_id;
        const char *word = guid_parse(text, &vm_id) == 0 ? guid_word(&vm_id) : NULL;
        return word ? word : text;
}

static int print_event(struct json_object *reply, void *userdata) {
        struct json_object *event = field(reply, "event");
        if (*(const bool *)userdata)
                return print_json_line(event);

        const char *kind = field_text(event, "kind"), *service = field_text(event, "serviceName");
        const char *from = field_text(event, "fromPath"), *to = field_text(event, "toPath");
        long long time_ms = field_int(event, "timeMs");
        time_t seconds = (time_t)(time_ms / 1000);
        struct tm local;
        char clock[16] = "";
        if (localtime_r(&seconds, &local))
                strftime(clock, sizeof clock, "%H:%M:%S", &local);

        char route[PRINTABLE_SIZE * 2];
        snprintf(route, sizeof route, "%s -> %s", *from ? printable(from) : "*",
                 printable(*to ? to : vm_id_name(field_text(event, "vmId"))));
        printf("%s.%03lld %s%-8s%s %-24s %-20s", clock, time_ms % 1000, colour(colour_of(kind)), printable(kind),
               colour(COLOUR_NONE), route, printable(*service ? service : field_text(event, "serviceId")));
        if (field_int(event, "pid") > 0)
                printf("  pid %lld uid %lld", (long long)field_int(event, "pid"), (long long)field_int(event, "uid"));
        if (*field_text(event, "error"))
                printf("  %s %s", printable(field_text(event, "error")), printable(field_text(event, "rule")));
        putchar('\n');
        return finish_output();
}

static int run_monitor(const struct invocation *invocation) {
        bool as_json = is_given(invocation, "json");
        return management_watch("Monitor", print_event, &as_json);
}

static const struct verb_option options[] = {
        {"json", 0, NULL, "print one Event of io.hvsock a line"},
        OPTIONS_END,
};

const struct verb verb_monitor = {.name = "monitor",
                                  .synopsis = "",
                                  .summary = "show each listen, open, refusal and close as it happens",
                                  .details = "A line: the local time, what happened, FROM -> TO, the service, the process,\n"
                                             "and of a refusal the error and the rule. In FROM -> TO \"*\" is whoever a\n"
                                             "listener accepts.",
                                  .options = options,
                                  .run = run_monitor};
