/* SPDX-License-Identifier: MIT */

/* hvsock container; what hvsock vm has in common with it: removing, listing. */

#include "cli/advice.h"
#include "cli/listing.h"
#include "cli/management.h"
#include "cli/partition.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int add_cid(struct json_object *parameters, const char *text) {
        if (!text)
                return EXIT_OK;
        size_t digits = strspn(text, "0123456789");
        long long cid = strtoll(text, NULL, 10);
        if (!digits || digits > 10 || text[digits] || !cid) /* 0 would be a free one */
                return fail(EXIT_USAGE, text, "expected a CID: a number from 3 to 4294967294", advice_help());
        json_object_object_add(parameters, "cid", json_object_new_int64(cid));
        return EXIT_OK;
}

int partition_add_as_told(const struct invocation *invocation, struct json_object *parameters) {
        add_text(parameters, "id", value_of(invocation, "uuid", value_of(invocation, "id", NULL)));
        add_flag(parameters, "siblings", is_given(invocation, "siblings"));
        struct json_object *reply;
        int r = add_cid(parameters, value_of(invocation, "cid", NULL));
        if (r != EXIT_OK) {
                json_object_put(parameters);
                return r;
        }
        r = management_call("AddPartition", parameters, &reply);
        if (r != EXIT_OK)
                return r;
        if (is_given(invocation, "json")) {
                r = print_json(reply);
        } else {
                printf("%s\n", printable(field_text(field(reply, "partition"), "id")));
                r = finish_output();
        }
        json_object_put(reply);
        return r;
}

/* "web01/db" is a container "db" in "web01"; "db" is one on the host. */
static int run_container_add(const struct invocation *invocation) {
        char *parent = strdup(invocation->arguments[0]), *slash = parent ? strrchr(parent, '/') : NULL;
        if (slash)
                *slash = 0;
        struct json_object *parameters = parameter("label", slash ? slash + 1 : invocation->arguments[0]);
        add_text(parameters, "parent", slash ? parent : NULL);
        add_text(parameters, "kind", "container");
        add_flag(parameters, "passthru", is_given(invocation, "passthru"));
        free(parent);
        return partition_add_as_told(invocation, parameters);
}

static const struct verb_option container_add_options[] = {
        {"id", 0, "GUID", "this VmId, not a new one"},
        OPTION_CID,
        {"passthru", 0, NULL, "it may stand in its VM's place (HVSOCKET_CONTAINER_PASSTHRU)"},
        OPTION_SIBLINGS,
        OPTION_JSON,
        OPTIONS_END,
};

const struct verb verb_container_add = {.name = "container add",
                                        .synopsis = "[PARENT/]NAME",
                                        .summary = "add a container, on the host or in PARENT; prints its VmId",
                                        .options = container_add_options,
                                        .arguments_min = 1,
                                        .arguments_max = 1,
                                        .offers = {OFFERS_PARTITIONS},
                                        .run = run_container_add};

int partition_get(const char *name, const char *kind, struct json_object **ret_reply) {
        struct json_object *reply;
        int r = management_call("GetPartition", parameter("partition", name), &reply);
        if (r != EXIT_OK)
                return r;
        const char *found = field_text(field(reply, "partition"), "kind");
        if (strcmp(found, kind) != 0) {
                char why[80];
                snprintf(why, sizeof why, "it is a %s, not a %s", printable(found), kind);
                json_object_put(reply);
                return fail(EXIT_NOT_FOUND, name, why, "hvsock tree");
        }
        *ret_reply = reply;
        return EXIT_OK;
}

static int remove_of_kind(const char *name, const char *kind) {
        struct json_object *reply;
        int r = partition_get(name, kind, &reply);
        if (r != EXIT_OK)
                return r;
        r = management_call("RemovePartition", parameter("partition", field_text(field(reply, "partition"), "id")), NULL);
        json_object_put(reply);
        return r;
}

static int remove_vm(const char *name) {
        return remove_of_kind(name, "vm");
}

static int remove_container(const char *name) {
        return remove_of_kind(name, "container");
}

static int run_vm_remove(const struct invocation *invocation) {
        return each_argument(invocation, remove_vm);
}

static int run_container_remove(const struct invocation *invocation) {
        return each_argument(invocation, remove_container);
}

const struct verb verb_vm_remove = {.name = "vm remove",
                                    .synopsis = "VM...",
                                    .summary = "remove virtual machines from this world",
                                    .arguments_min = 1,
                                    .arguments_max = ARGUMENTS_ANY,
                                    .offers = {OFFERS_VMS},
                                    .run = run_vm_remove};

const struct verb verb_container_remove = {.name = "container remove",
                                           .synopsis = "CONTAINER...",
                                           .summary = "remove containers from this world",
                                           .arguments_min = 1,
                                           .arguments_max = ARGUMENTS_ANY,
                                           .offers = {OFFERS_CONTAINERS},
                                           .run = run_container_remove};

static int list_partitions(const struct invocation *invocation, const char *kind) {
        struct json_object *reply;
        int r = management_call("ListPartitions", NULL, &reply);
        if (r != EXIT_OK)
                return r;
        struct json_object *chosen = json_object_new_array();
        for (size_t i = 0; i < field_count(reply, "partitions"); i++) {
                struct json_object *partition = field_at(reply, "partitions", i);
                if (strcmp(field_text(partition, "kind"), kind) == 0)
                        json_object_array_add(chosen, json_object_get(partition));
        }
        json_object_object_add(reply, "partitions", chosen);

        if (is_given(invocation, "json")) {
                r = print_json(reply);
                json_object_put(reply);
                return r;
        }
        bool is_vm = strcmp(kind, "vm") == 0;
        struct libscols_table *listing = listing_new((const char *const[]){
                "NAME", "ID", "STATE", ">LISTENERS", ">CHANNELS", ">CID", NULL});
        for (size_t i = 0; i < json_object_array_length(chosen); i++) {
                struct json_object *partition = json_object_array_get_idx(chosen, i);
                struct json_object *counters = field(partition, "counters");
                struct libscols_line *line = listing_line(listing, NULL);
                listing_cell(line, 0, "%s", field_text(partition, "path"));
                listing_cell(line, 1, "%s", field_text(partition, "id"));
                listing_cell(line, 2, "%s", field_bool(partition, "running") ? "running" : "stopped");
                partition_put_listeners(line, 3, partition);
                listing_cell(line, 4, "%lld", (long long)field_int(counters, "channelsNow"));
                listing_cell(line, 5, "%lld", (long long)field_int(partition, "cid"));
        }
        json_object_put(reply);
        return listing_print(listing, is_vm ? "virtual machines" : "containers",
                             is_vm ? "hvsock vm add '<NAME>'" : "hvsock container add '<NAME>'");
}

static int run_vm_list(const struct invocation *invocation) {
        return list_partitions(invocation, "vm");
}

static int run_container_list(const struct invocation *invocation) {
        return list_partitions(invocation, "container");
}

static const struct verb_option json_options[] = {OPTION_JSON, OPTIONS_END};

const struct verb verb_vm_list = {.name = "vm list",
                                  .synopsis = "",
                                  .summary = "list the virtual machines",
                                  .options = json_options,
                                  .run = run_vm_list};

const struct verb verb_container_list = {.name = "container list",
                                         .synopsis = "",
                                         .summary = "list the containers",
                                         .options = json_options,
                                         .run = run_container_list};

bool partition_is_reached_as_vm(struct json_object *partition) {
        return strcmp(field_text(partition, "reach"), "vm") == 0;
}

void partition_put_listeners(struct libscols_line *line, unsigned column, struct json_object *partition) {
        if (partition_is_reached_as_vm(partition))
                listing_cell(line, column, "-");
        else
                listing_cell(line, column, "%lld", (long long)field_int(field(partition, "counters"), "listenersNow"));
}

void partition_print(struct json_object *partition, const char *state) {
        struct json_object *counters = field(partition, "counters");
        printf("Name       %s\n", printable(field_text(partition, "path")));
        printf("VmId       %s\n", printable(field_text(partition, "id")));
        printf("CID        %lld\n", (long long)field_int(partition, "cid"));
        printf("Parent     %s\n", printable(field_text(partition, "parent")));
        printf("State      %s\n", printable(state));
        if (strcmp(field_text(partition, "kind"), "container") == 0)
                printf("Passthru   %s\n", field_bool(partition, "passthru") ? "yes" : "no");
        printf("Siblings   %s\n", field_bool(partition, "siblings") ? "yes" : "no");
        printf("Directory  %s\n", printable(field_text(partition, "directory")));
        if (!partition_is_reached_as_vm(partition))
                printf("Listeners  %lld now, %lld in all\n", (long long)field_int(counters, "listenersNow"),
                       (long long)field_int(counters, "listenersTotal"));
        printf("Channels   %lld now, %lld in all\n", (long long)field_int(counters, "channelsNow"),
               (long long)field_int(counters, "channelsTotal"));
}

static void print_mount_options(const char *directory) {
        directory = printable(quoted(directory));
        printf("\nGive the container this partition's directory, and nothing else of hvsock:\n");
        printf("  podman run -v %s:/run/hvsock:ro '<IMAGE>'\n", directory);
        printf("  docker run -v %s:/run/hvsock:ro '<IMAGE>'\n", directory);
        printf("  systemd-nspawn --bind-ro=%s:/run/hvsock -D '<TREE>'\n", directory);
}

static int run_container_show(const struct invocation *invocation) {
        struct json_object *reply;
        int r = partition_get(invocation->arguments[0], "container", &reply);
        if (r != EXIT_OK)
                return r;
        if (is_given(invocation, "json")) {
                r = print_json(reply);
        } else {
                struct json_object *partition = field(reply, "partition");
                partition_print(partition, "running");
                print_mount_options(field_text(partition, "directory"));
                r = finish_output();
        }
        json_object_put(reply);
        return r;
}

const struct verb verb_container_show = {
        .name = "container show",
        .synopsis = "CONTAINER",
        .summary = "show a container, and how to give it its socket in podman, docker and systemd-nspawn",
        .options = json_options,
        .arguments_min = 1,
        .arguments_max = 1,
        .offers = {OFFERS_CONTAINERS},
        .run = run_container_show};
