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

/* "nc[123]", "(guest)", or "" when nobody knows. */
static void put_process(struct libscols_line *line, unsigned column, struct json_object *object,
                        const char *command_key, const char *pid_key, const char *guest_key) {
        long long pid = field_int(object, pid_key);
        if (pid > 0)
                listing_cell(line, column, "%s[%lld]", field_text(object, command_key), pid);
        else if (field_bool(object, guest_key))
                listing_cell(line, column, "(guest)");
}

static void put_state(struct libscols_line *line, struct json_object *object) {
        char age[AGE_SIZE] = "";
        if (field_int(object, "sinceMs"))
                format_age(field_int(object, "sinceMs"), age);
        listing_cell(line, 0, "%s/%s", field_text(object, "state"), field_text(object, "type"));
        listing_cell(line, 5, "%s", service_of(object));
        listing_cell(line, 6, "%s", age);
}

static int put_listeners(struct json_object *part, void *listing) {
        for (size_t i = 0; i < field_count(part, "listeners"); i++) {
                struct json_object *listener = field_at(part, "listeners", i);
                struct libscols_line *line = listing_line(listing, NULL);
                const char *accepts_from = field_text(listener, "vmIdName");
                put_state(line, listener);
                listing_cell(line, 1, "%s", *accepts_from ? accepts_from : field_text(listener, "vmId"));
                listing_cell(line, 3, "%s", field_text(listener, "partitionPath"));
                put_process(line, 4, listener, "command", "pid", "");
        }
        return EXIT_OK;
}

static int put_channels(struct json_object *part, void *listing) {
        for (size_t i = 0; i < field_count(part, "channels"); i++) {
                struct json_object *channel = field_at(part, "channels", i);
                struct libscols_line *line = listing_line(listing, NULL);
                put_state(line, channel);
                listing_cell(line, 1, "%s", field_text(channel, "fromPath"));
                listing_cell(line, 3, "%s", field_text(channel, "toPath"));
                put_process(line, 2, channel, "fromCommand", "fromPid", "fromGuest");
                put_process(line, 4, channel, "toCommand", "toPid", "toGuest");
                listing_cell(line, 7, "%s", field_text(channel, "carrier"));
        }
        return EXIT_OK;
}

static int print_listing(void) {
        struct libscols_table *listing = listing_new(
                (const char *const[]){"STATE/TYPE", "FROM", "FROM-PROCESS", "TO", "TO-PROCESS", "SERVICE", ">AGE",
                                      "CARRIER", NULL});
        int r = management_list("ListListeners", put_listeners, listing);
        if (r == EXIT_OK)
                r = management_list("ListChannels", put_channels, listing);
        if (r == EXIT_OK)
                return listing_print(listing, "listeners and channels", "hvsock nc -l '<SERVICE>'");
        scols_unref_table(listing);
        return r;
}

/* Adds the elements of a part's one array to that of all. */
static int gather(struct json_object *part, void *all) {
        json_object_object_foreach(part, key, elements) {
                struct json_object *gathered = field(all, key);
                if (!gathered)
                        json_object_object_add(all, key, gathered = json_object_new_array());
                for (size_t i = 0; i < json_object_array_length(elements); i++)
                        json_object_array_add(gathered, json_object_get(json_object_array_get_idx(elements, i)));
        }
        return EXIT_OK;
}

static int print_as_json(void) {
        struct json_object *all = json_object_new_object();
        int r = management_list("ListListeners", gather, all);
        if (r == EXIT_OK)
                r = management_list("ListChannels", gather, all);
        if (r == EXIT_OK)
                r = print_json(all);
        json_object_put(all);
        return r;
}

static int run_ls(const struct invocation *invocation) {
        return is_given(invocation, "json") ? print_as_json() : print_listing();
}

static const struct verb_option options[] = {OPTION_JSON, OPTIONS_END};

const struct verb verb_ls = {
        .name = "ls",
        .synopsis = "",
        .summary = "list listeners and open channels: both ends, service, process, age",
        .details = "FROM is, of a listener, whom it accepts from; of a channel, who connected. TO-PROCESS is\n"
                   "who listens; it may have handed the channel to another. \"remaining\" channels belong to a\n"
                   "disabled service; \"ended\" ones are shut down and not closed yet. A channel without AGE is\n"
                   "older than this hvsockd. (guest) is a program in a virtual machine: which one, its kernel knows.",
        .options = options,
        .run = run_ls};
