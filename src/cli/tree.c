/* SPDX-License-Identifier: MIT */

/* hvsock tree: the partitions as they stand. */

#include "cli/listing.h"
#include "cli/management.h"
#include "cli/partition.h"
#include <stdlib.h>
#include <string.h>

/* Parents come before their children in the reply. */
static struct libscols_line *line_of_parent(struct json_object *reply, struct libscols_line **lines, size_t before,
                                            const char *parent) {
        for (size_t i = before; i-- > 0;)
                if (strcmp(field_text(field_at(reply, "partitions", i), "id"), parent) == 0)
                        return lines[i];
        return NULL;
}

static int print_tree(struct json_object *reply) {
        size_t count = field_count(reply, "partitions");
        struct libscols_line **lines = calloc(count + 1, sizeof *lines);
        struct libscols_table *listing =
                lines ? listing_new((const char *const[]){"^PARTITION", "KIND", "VMID", "STATE", ">LISTENERS",
                                                          ">CHANNELS", NULL})
                      : NULL;
        for (size_t i = 0; listing && i < count; i++) {
                struct json_object *partition = field_at(reply, "partitions", i),
                                   *counters = field(partition, "counters");
                lines[i] = listing_line(listing, line_of_parent(reply, lines, i, field_text(partition, "parent")));
                listing_cell(lines[i], 0, "%s", field_text(partition, "label"));
                listing_cell(lines[i], 1, "%s", field_text(partition, "kind"));
                listing_cell(lines[i], 2, "%s", field_text(partition, "id"));
                listing_cell(lines[i], 3, "%s", field_bool(partition, "running") ? "running" : "stopped");
                partition_put_listeners(lines[i], 4, partition);
                listing_cell(lines[i], 5, "%lld", (long long)field_int(counters, "channelsNow"));
        }
        free(lines);
        return listing_print(listing, "partitions", "hvsock doctor");
}

static int run_tree(const struct invocation *invocation) {
        struct json_object *reply;
        int r = management_call("ListPartitions", NULL, &reply);
        if (r != EXIT_OK)
                return r;
        r = is_given(invocation, "json") ? print_json(reply) : print_tree(reply);
        json_object_put(reply);
        return r;
}

static const struct verb_option options[] = {OPTION_JSON, OPTIONS_END};

const struct verb verb_tree = {.name = "tree",
                               .synopsis = "",
                               .summary = "show the partitions: the host, its VMs, their containers",
                               .options = options,
                               .run = run_tree};
