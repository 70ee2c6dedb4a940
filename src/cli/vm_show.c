/* SPDX-License-Identifier: MIT */

/* hvsock vm show. */

#include "cli/advice.h"
#include "cli/management.h"
#include "cli/partition.h"
#include <stdio.h>
#include <string.h>

/* The largest unit that leaves nothing over. */
static void print_memory(long long bytes, long long regions) {
        static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
        unsigned unit = 0;
        for (; bytes && bytes % 1024 == 0 && unit + 1 < sizeof units / sizeof *units; unit++)
                bytes /= 1024;
        printf("Memory     %lld %s in %lld region%s\n", bytes, units[unit], regions, regions == 1 ? "" : "s");
}

static void print_features(struct json_object *vm) {
        printf("Features  ");
        for (size_t i = 0; i < field_count(vm, "features"); i++)
                printf(" %s", printable(json_object_get_string(field_at(vm, "features", i))));
        putchar('\n');
}

static void print_vm(struct json_object *partition, struct json_object *vm) {
        bool is_hybrid = *field_text(partition, "hybrid"), has_vmm = field_bool(vm, "hasVmm");
        const char *problem = field_text(vm, "problem");
        printf("Socket     %s%s\n", printable(field_text(partition, "socket")), is_hybrid ? " (the VMM's own)" : "");
        printf("CONNECT    %s\n", printable(field_text(vm, "connectSocket")));
        printf("VMM        %s\n", has_vmm ? "connected" : "not there");
        if (has_vmm && !is_hybrid) {
                print_features(vm);
                print_memory((long long)field_int(vm, "memory"), (long long)field_int(vm, "regions"));
                printf("Packets    %lld to the guest, %lld from it\n", (long long)field_int(vm, "packetsToGuest"),
                       (long long)field_int(vm, "packetsFromGuest"));
        }
        if (*problem)
                printf("%sProblem%s    %s\n", colour(COLOUR_BAD), colour(COLOUR_NONE), printable(problem));
        else if (!has_vmm)
                printf("\nStart its VMM with what this prints, too:\n  hvsock vm args %s\n"
                       "A VMM that lost its hvsockd comes back when its device is plugged in anew: man hvsock\n",
                       printable(quoted(field_text(partition, "path"))));
}

static void print_all(struct json_object *reply) {
        struct json_object *partition = field(reply, "partition"), *vm = field(reply, "vm");
        const char *simulated = field_bool(partition, "running") ? "running" : "stopped";
        partition_print(partition, vm ? field_text(vm, "state") : simulated);
        if (vm)
                print_vm(partition, vm);
}

static int run_vm_show(const struct invocation *invocation) {
        struct json_object *reply;
        int r = partition_get(invocation->arguments[0], "vm", &reply);
        if (r == EXIT_OK && partition_is_reached_as_vm(field(reply, "partition"))) {
                struct json_object *asked = parameter("partition", field_text(field(reply, "partition"), "id"));
                json_object_put(reply);
                r = management_call("GetVm", asked, &reply);
        }
        if (r != EXIT_OK)
                return r;
        if (is_given(invocation, "json")) {
                r = print_json(reply);
        } else {
                print_all(reply);
                r = finish_output();
        }
        json_object_put(reply);
        return r;
}

static const struct verb_option options[] = {OPTION_JSON, OPTIONS_END};

const struct verb verb_vm_show = {
        .name = "vm show",
        .synopsis = "VM",
        .summary = "show a virtual machine: whether it runs, its guest's features, its memory, what is wrong",
        .options = options,
        .arguments_min = 1,
        .arguments_max = 1,
        .offers = {OFFERS_VMS},
        .run = run_vm_show};
