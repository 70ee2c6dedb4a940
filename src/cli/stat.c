/* SPDX-License-Identifier: MIT */

/* hvsock stat: the counters, by friendly name. */

#include "cli/listing.h"
#include "cli/management.h"
#include "cli/verb.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WATCH_SECONDS_DEFAULT 2
#define WATCH_SECONDS_MAX 86400

/* "3 no-listener, 1 disabled" */
static void put_refused(struct libscols_line *line, unsigned column, struct json_object *counters) {
        char causes[512] = "";
        size_t length = 0;
        long long total = 0;
        struct json_object *refused = field(counters, "refused");
        if (json_object_is_type(refused, json_type_object)) {
                json_object_object_foreach(refused, rule, value) {
                        long long count = json_object_get_int64(value);
                        total += count;
                        if (length < sizeof causes)
                                length += (size_t)snprintf(causes + length, sizeof causes - length, "%s%lld %s",
                                                           length ? ", " : "", count, rule);
                }
        }
        listing_cell(line, column, "%lld", total);
        listing_cell(line, column + 1, "%s", causes);
}

static int print_counters(struct json_object *reply, const char *key, const char *heading, const char *name_key) {
        bool has_bytes = !strcmp(key, "services"); /* the broker counts them by service and channel */
        struct libscols_table *listing = listing_new(
                has_bytes ? (const char *const[]){heading, ">LISTENERS", ">OPEN", ">OPENED", ">REFUSED", "WHY", ">BYTES-TO",
                                                  ">BYTES-FROM", NULL}
                          : (const char *const[]){heading, ">LISTENERS", ">OPEN", ">OPENED", ">REFUSED", "WHY", NULL});
        for (size_t i = 0; i < field_count(reply, key); i++) {
                struct json_object *object = field_at(reply, key, i), *counters = field(object, "counters");
                struct libscols_line *line = listing_line(listing, NULL);
                listing_cell(line, 0, "%s", field_text(object, name_key));
                listing_cell(line, 1, "%lld", (long long)field_int(counters, "listenersNow"));
                listing_cell(line, 2, "%lld", (long long)field_int(counters, "channelsNow"));
                listing_cell(line, 3, "%lld", (long long)field_int(counters, "channelsTotal"));
                put_refused(line, 4, counters);
                if (!has_bytes)
                        continue;
                listing_cell(line, 6, "%lld", (long long)field_int(counters, "bytesFromConnectors"));
                listing_cell(line, 7, "%lld", (long long)field_int(counters, "bytesFromAcceptors"));
        }
        return listing_print(listing, key, "hvsock service add '<NAME>'");
}

/* Those that have anything to show: of the others the kernel counts nothing. */
static int put_channels(struct json_object *part, void *listing) {
        for (size_t i = 0; i < field_count(part, "channels"); i++) {
                struct json_object *channel = field_at(part, "channels", i);
                long long to = field_int(channel, "bytesFromConnector"), from = field_int(channel, "bytesFromAcceptor");
                if (!to && !from)
                        continue;
                struct libscols_line *line = listing_line(listing, NULL);
                const char *name = field_text(channel, "serviceName");
                listing_cell(line, 0, "%s", field_text(channel, "fromPath"));
                listing_cell(line, 1, "%s", field_text(channel, "toPath"));
                listing_cell(line, 2, "%s", *name ? name : field_text(channel, "serviceId"));
                listing_cell(line, 3, "%s", field_text(channel, "carrier"));
                listing_cell(line, 4, "%lld", to);
                listing_cell(line, 5, "%lld", from);
        }
        return EXIT_OK;
}

static int print_channels(void) {
        struct libscols_table *listing = listing_new(
                (const char *const[]){"CHANNEL FROM", "TO", "SERVICE", "CARRIER", ">BYTES-TO", ">BYTES-FROM", NULL});
        int r = management_list("ListChannels", put_channels, listing);
        if (r == EXIT_OK && scols_table_get_nlines(listing)) {
                putchar('\n');
                return listing_print(listing, "channels", "hvsock ls");
        }
        scols_unref_table(listing);
        return r;
}

static int print_once(bool as_json, bool watches) {
        struct json_object *reply, *partitions;
        int r = management_call("ListServices", NULL, &reply);
        if (r != EXIT_OK)
                return r;
        r = management_call("ListPartitions", NULL, &partitions);
        if (r == EXIT_OK) {
                json_object_object_add(reply, "partitions", json_object_get(field(partitions, "partitions")));
                json_object_put(partitions);
                if (as_json) {
                        r = watches ? print_json_line(reply) : print_json(reply);
                } else {
                        if (watches && isatty(STDOUT_FILENO))
                                fputs("\033[H\033[2J", stdout);
                        r = print_counters(reply, "services", "SERVICE", "name");
                        putchar('\n');
                        if (r == EXIT_OK)
                                r = print_counters(reply, "partitions", "PARTITION", "path");
                        if (r == EXIT_OK)
                                r = print_channels();
                }
        }
        json_object_put(reply);
        return r;
}

static int run_stat(const struct invocation *invocation) {
        bool as_json = is_given(invocation, "json"), watches = is_given(invocation, "watch");
        const char *given = value_of(invocation, "watch", invocation->arguments[0]);
        double seconds = WATCH_SECONDS_DEFAULT;
        if (given) {
                char *end;
                seconds = strtod(given, &end);
                if (!watches || end == given || *end || !(seconds >= 0.1 && seconds <= WATCH_SECONDS_MAX))
                        return fail(EXIT_USAGE, given, "expected seconds, from 0.1 to 86400, after --watch",
                                    "hvsock stat --watch 2");
        }
        struct timespec pause = {.tv_sec = (time_t)seconds,
                                 .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
        int r = print_once(as_json, watches);
        while (watches && r == EXIT_OK) {
                clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
                r = print_once(as_json, watches);
        }
        return r;
}

static const struct verb_option options[] = {
        {"watch", 'w', "[SECONDS]", "again and again; with --json, one object a line"},
        OPTION_JSON,
        OPTIONS_END,
};

const struct verb verb_stat = {.name = "stat",
                               .synopsis = "",
                               .summary = "show counters by friendly name: listeners, channels, refusals by cause, bytes",
                               .details = "BYTES are those that went through shared memory to and from who listens, as the\n"
                                          "channels' ends say; of other channels nobody counts them.",
                               .options = options,
                               .arguments_max = 1,
                               .run = run_stat};
