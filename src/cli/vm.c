/* SPDX-License-Identifier: MIT */

/* hvsock vm add. */

#include "cli/advice.h"
#include "cli/management.h"
#include "cli/partition.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The broker has another working directory. */
static int add_hybrid(struct json_object *parameters, const char *path) {
        char directory[PATH_MAX] = "", absolute[2 * PATH_MAX];
        if (path && *path != '/' && !getcwd(directory, sizeof directory))
                return fail(EXIT_FAILED, path, strerror(errno), advice_help());
        bool is_below = *directory && strcmp(directory, "/");
        snprintf(absolute, sizeof absolute, "%s%s%s", directory, is_below ? "/" : "", path ? path : "");
        add_text(parameters, "hybrid", path ? absolute : NULL);
        return EXIT_OK;
}

static int run_vm_add(const struct invocation *invocation) {
        struct json_object *parameters = parameter("label", invocation->arguments[0]);
        add_text(parameters, "kind", "vm");
        add_text(parameters, "user", value_of(invocation, "user", NULL));
        add_text(parameters, "reach", is_given(invocation, "simulated") ? "local" : "vm");
        int r = add_hybrid(parameters, value_of(invocation, "hybrid", NULL));
        if (r != EXIT_OK) {
                json_object_put(parameters);
                return r;
        }
        return partition_add_as_told(invocation, parameters);
}

static const struct verb_option add_options[] = {
        {"id", 0, "GUID", "this VmId, not a new one"},
        {"uuid", 0, "GUID", "the same, by the name that hypervisors give it"},
        OPTION_CID,
        {"hybrid", 0, "PATH", "its VMM listens at PATH and speaks CONNECT", OFFERS_FILES},
        {"user", 'u', "USER", "who runs its VMM, and may connect to its socket"},
        {"simulated", 0, NULL, "no VMM comes: processes play it, by `hvsock run`"},
        OPTION_SIBLINGS,
        OPTION_JSON,
        OPTIONS_END,
};

const struct verb verb_vm_add = {
        .name = "vm add",
        .synopsis = "NAME",
        .summary = "add a virtual machine to this world; prints its VmId",
        .details = "`hvsock vm args NAME` then prints what its VMM needs. --hybrid is for Firecracker, Cloud\n"
                   "Hypervisor and OpenVMM, whose vsock device is a Unix socket; QEMU needs no option.",
        .options = add_options,
        .arguments_min = 1,
        .arguments_max = 1,
        .run = run_vm_add};
