/* SPDX-License-Identifier: MIT */

/*
 * hvsock run: a command as a partition.
 *
 * Theory of operation. Who holds a partition's directory is that partition, so
 * the command gets a mount namespace in which every world's directories are
 * covered by empty tmpfs mounts and the one partition's directory, bound in
 * again at its own path, is all that is left. The user namespace around it maps
 * only the caller to itself: it is what lets an ordinary user mount, and after
 * exec the command has no right to unmount. The command replaces this process,
 * so its exit code and signals are its own.
 */

#include "base/fd.h"
#include "cli/execute.h"
#include "cli/management.h"
#include "cli/partition.h"
#include "cli/preload.h"
#include "cli/run_namespace.h"
#include "cli/verb.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void cover(struct covers *covers, const char *first, const char *rest) {
        if (first && *first == '/' && covers->count < COVERS_MAX)
                snprintf(covers->paths[covers->count++], PATH_MAX, "%s%s", first, rest);
}

/* Every place where this world, the user's or the machine's keeps sockets, definitions and drop-ins. */
static void cover_worlds(struct covers *covers, struct json_object *world) {
        cover(covers, field_text(world, "runtimeDirectory"), "");
        cover(covers, field_text(world, "stateDirectory"), "");
        for (size_t i = 0; i < field_count(world, "serviceDirectories"); i++)
                cover(covers, json_object_get_string(field_at(world, "serviceDirectories", i)), "");
        cover(covers, getenv("XDG_RUNTIME_DIR"), "/hvsock");
        cover(covers, getenv("XDG_STATE_HOME"), "/hvsock");
        cover(covers, getenv("XDG_CONFIG_HOME"), "/hvsock");
        cover(covers, getenv("HOME"), "/.local/state/hvsock");
        cover(covers, getenv("HOME"), "/.config/hvsock");
        cover(covers, "/run/hvsock", "");
        cover(covers, "/var/lib/hvsock", "");
        cover(covers, "/etc/hvsock", "");
}

/* What failed before the command could start is hvsock's own, whatever its cause. */
static int own_failure(int code) {
        return code == EXIT_USAGE || code == EXIT_NOT_FOUND || code == EXIT_NO_BROKER || code == EXIT_DENIED ? code : EXIT_OWN;
}

static int run_run(const struct invocation *invocation) {
        char **command = invocation->arguments + 1;
        if (strcmp(*command, "--") == 0)
                command++;
        if (!*command)
                return fail(EXIT_USAGE, "run", "a command is missing", "hvsock run --help");

        struct json_object *reply, *world;
        int r = management_call("GetPartition", parameter("partition", invocation->arguments[0]), &reply);
        if (r != EXIT_OK)
                return own_failure(r);
        if (partition_is_reached_as_vm(field(reply, "partition"))) {
                json_object_put(reply);
                return fail(EXIT_OWN, invocation->arguments[0], "its programs run in its guest, and are started there",
                            "hvsock tree");
        }
        r = management_call("GetWorld", NULL, &world);
        if (r != EXIT_OK) {
                json_object_put(reply);
                return own_failure(r);
        }

        cleanup(freep) struct covers *covers = calloc(1, sizeof *covers);
        char directory[PATH_MAX];
        snprintf(directory, sizeof directory, "%s", field_text(field(reply, "partition"), "directory"));
        if (covers)
                cover_worlds(covers, world);
        json_object_put(reply);
        json_object_put(world);
        if (!covers)
                return fail(EXIT_OWN, "run", "no memory", NULL);

        r = namespace_probe(directory, covers);
        if (r < 0)
                warn("run", "this system forbids the namespaces that hide other partitions (%s); going on without",
                     strerror(-r));
        else if ((r = namespace_enter(directory, covers)) < 0)
                return fail(EXIT_OWN, "run", strerror(-r), "hvsock doctor");

        if (setenv("HVSOCK_SOCKET", directory, 1) < 0 || unsetenv("HVSOCK_MANAGE") < 0)
                return fail(EXIT_OWN, "run", strerror(errno), NULL);
        if (is_given(invocation, "preload") && (r = preload_prepare("run", command)) != EXIT_OK)
                return r;
        return execute(command);
}

static const struct verb_option options[] = {
        {"preload", 0, NULL, "the sockets of AF_VSOCK and AF_HYPERV that it asks the system for are hvsock's"},
        OPTIONS_END,
};

const struct verb verb_run = {
        .name = "run",
        .synopsis = "PARTITION [--] COMMAND [ARGUMENT]...",
        .summary = "run a command as a partition, where it sees only that partition's socket",
        .details = "Where the system forbids the namespaces that this takes, the command runs without them, after a\n"
                   "warning: it then is that partition only as long as it does not look for another.\n\n"
                   "With --preload COMMAND and what it starts need not know of hvsock. COMMAND has to be dynamically\n"
                   "linked, to hvsock's C library, and neither setuid nor setgid nor with file capabilities. What asks\n"
                   "the kernel itself for such a socket gets EAFNOSUPPORT, and io_uring is EPERM.",
        .options = options,
        .arguments_min = 2,
        .arguments_max = ARGUMENTS_ANY,
        .runs_command = true,
        .offers = {OFFERS_PARTITIONS, OFFERS_COMMAND},
        .run = run_run};
