/* SPDX-License-Identifier: MIT */

/* hvsock ls: who listens, and what is connected. */

#include "cli/listing.h"
#include "cli/management.h"
#include "cli/verb.h"
#include <stdio.h>
#include <string.h>

static const char *service_of(struct json_object *object) {
        const char *name = field_text(object, "serviceName");
        return *name ? name : field_text(object, "serviceId");
}

/* "nc[123]", or "" when nobody knows. */
static void put_process(struct libscols_line *line, unsigned column, struct json_object *object,
                        const char *command_key, const char *pid_key) {
        long long pid = field_int(object, pid_key);
        if (pid > 0)
                listing_cell(line, column, "%s[%lld]", field_text(object, command_key), pid);
}

static void put_state(struct libscols_line *line, struct json_object *object) {
        char age[AGE_SIZE] = "";
        if (field_int(object, "sinceMs"))
                format_age(field_int(object, "sinceMs"), age);
        listing_cell(line, 0, "%s/%s", field_text(object, "state"), field_text(object, "type"));
        listing_cell(line, 3, "%s", service_of(object));
        listing_cell(line, 5, "%s", age);
}

static int print_listing(struct json_object *reply) {
        struct libscols_table *listing = listing_new(
                (const char *const[]){"STATE/TYPE", "FROM", "TO", "SERVICE", "PROCESS", ">AGE", "CARRIER", NULL});
        for (size_t i = 0; i < field_count(reply, "listeners"); i++) {
                struct json_object *listener = field_at(reply, "listeners", i);
                struct libscols_line *line = listing_line(listing, NULL);
                const char *accepts_from = field_text(listener, "vmIdName");
                put_state(line, listener);
                listing_cell(line, 1, "%s", *accepts_from ? accepts_from : field_text(listener, "vmId"));
                listing_cell(line, 2, "%s", field_text(listener, "partitionPath"));
                put_process(line, 4, listener, "command", "pid");
        }
        for (size_t i = 0; i < field_count(reply, "channels"); i++) {
                struct json_object *channel = field_at(reply, "channels", i);
                struct libscols_line *line = listing_line(listing, NULL);
                put_state(line, channel);
                listing_cell(line, 1, "%s", field_text(channel, "fromPath"));
                listing_cell(line, 2, "%s", field_text(channel, "toPath"));
                put_process(line, 4, channel, "fromCommand", "fromPid");
                listing_cell(line, 6, "%s", field_text(channel, "carrier"));
        }
        return listing_print(listing);
}

static int run_ls(const struct invocation *invocation) {
        struct json_object *reply, *channels;
        int r = management_call("ListListeners", NULL, &reply);
        if (r != EXIT_OK)
                return r;
        r = management_call("ListChannels", NULL, &channels);
        if (r == EXIT_OK) {
                json_object_object_add(reply, "channels", json_object_get(field(channels, "channels")));
                json_object_put(channels);
                r = is_given(invocation, "json") ? print_json(reply) : print_listing(reply);
        }
        json_object_put(reply);
        return r;
}

static const struct verb_option options[] = {OPTION_JSON, OPTIONS_END};

const struct verb verb_ls = {
        .name = "ls",
        .synopsis = "",
        .summary = "list listeners and open channels: both ends, service, process, age",
        .details = "FROM is, of a listener, whom it accepts from; of a channel, who connected. PROCESS is\n"
                   "who listens, or who connected. \"remaining\" channels belong to a disabled service; \"ended\"\n"
                   "ones are shut down and not closed yet. A channel without AGE is older than this hvsockd.",
        .options = options,
        .run = run_ls};
