/* SPDX-License-Identifier: MIT */

/* The checks of doctor: the sockets and how they were found, the world's directories, the system's limits. */

#include "cli/doctor.h"

#include "base/fd.h"
#include "cli/management.h"
#include <errno.h>
#include <grp.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define DESCRIPTORS_WANTED 1024u
#define RESTART (geteuid() == 0 ? "systemctl restart hvsockd" : "hvsockd &")

struct place {
        char path[PATH_MAX];
        const char *found_by; /* for people */
        bool is_named;        /* by an environment variable */
        bool exists;
};

/* `variable` when set, else the user's runtime directory, else the system's: the first that exists. */
static void find(const char *variable, const char *file, struct place *ret) {
        const char *named = getenv(variable), *runtime = getenv("XDG_RUNTIME_DIR");
        *ret = (struct place){.found_by = "the system's", .is_named = named && *named};
        if (ret->is_named) {
                snprintf(ret->path, sizeof ret->path, "%s", named);
                ret->found_by = variable;
                struct stat status;
                ret->exists = stat(ret->path, &status) == 0;
                if (ret->exists && S_ISDIR(status.st_mode))
                        snprintf(ret->path, sizeof ret->path, "%s/%s", named, file);
                return;
        }
        if (runtime && *runtime) {
                snprintf(ret->path, sizeof ret->path, "%s/hvsock/%s", runtime, file);
                if (access(ret->path, F_OK) == 0) {
                        ret->found_by = "the user's";
                        ret->exists = true;
                        return;
                }
        }
        snprintf(ret->path, sizeof ret->path, "/run/hvsock/%s", file);
        ret->exists = access(ret->path, F_OK) == 0;
}

/* 0 or a negative errno: does anybody answer there? */
static int try_connect(const char *path, int type) {
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1;
        int r = address_of_path(path, &address, &length, &directory_fd);
        if (r < 0)
                return r;
        cleanup(fd_closep) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        return fd < 0 || connect(fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
}

static void judge(const struct place *place, const char *variable, int type, struct json_object *problems) {
        char fix[64];
        snprintf(fix, sizeof fix, "unset %s", variable);
        if (!place->exists && place->is_named) {
                add_problem(problems, "error", variable, fix, "it names %s, which is not there", place->path);
                return;
        }
        int r = place->exists ? try_connect(place->path, type) : -ENOENT;
        if (r == -ENOENT)
                add_problem(problems, "error", place->path, geteuid() == 0 ? "systemctl start hvsockd" : "hvsockd &",
                            "no hvsockd is running, neither this user's nor the system's");
        else if (r == -ECONNREFUSED)
                add_problem(problems, "error", place->path, RESTART,
                            "a stale socket: the hvsockd that made it is gone");
        else if (r == -EACCES || r == -EPERM)
                add_problem(problems, "warning", place->path, "sudo usermod -aG hvsock \"$USER\" and log in again",
                            "this user may not open it");
        else if (r < 0 && r != -EAGAIN)
                add_problem(problems, "error", place->path, RESTART, "%s", strerror(-r));
}

void diagnose_socket(struct json_object *diagnosis, struct json_object *problems) {
        struct place place;
        find("HVSOCK_SOCKET", "control", &place);
        add_text(diagnosis, "socket", place.path);
        add_text(diagnosis, "socketFrom", place.exists ? place.found_by : "not there");
        judge(&place, "HVSOCK_SOCKET", SOCK_SEQPACKET, problems);
}

void diagnose_management(struct json_object *diagnosis, struct json_object *problems, struct json_object **ret_world) {
        struct place place;
        find("HVSOCK_MANAGE", "manage", &place);
        add_text(diagnosis, "management", place.path);
        add_text(diagnosis, "managementFrom", place.exists ? place.found_by : "not there");

        /* A partition other than the host has a socket and no management: nothing is wrong with that. */
        const char *kind = field_text(field(diagnosis, "partition"), "kind");
        bool is_child = *kind && strcmp(kind, "host") != 0;
        bool has_broker = field(diagnosis, "partition");
        if (place.exists || place.is_named || (has_broker && !is_child))
                judge(&place, "HVSOCK_MANAGE", SOCK_STREAM, problems);
        struct json_object *world = NULL;
        management_ask("GetWorld", NULL, &world);
        *ret_world = world;
}

static void judge_directory(struct json_object *problems, const char *path, const char *holds) {
        struct stat status;
        char fix[PATH_MAX + 32];
        if (!*path || stat(path, &status) < 0 || !(status.st_mode & 022))
                return;
        snprintf(fix, sizeof fix, "chmod go-w %s", path);
        add_problem(problems, "error", path, fix, "others than its owner may write here, and it holds %s", holds);
}

void diagnose_world(struct json_object *problems, struct json_object *world) {
        const char *runtime = field_text(world, "runtimeDirectory");
        judge_directory(problems, runtime, "the sockets that say who is who");
        judge_directory(problems, field_text(world, "stateDirectory"), "the definitions of partitions");
        for (size_t i = 0; i < field_count(world, "serviceDirectories"); i++)
                judge_directory(problems, json_object_get_string(field_at(world, "serviceDirectories", i)),
                                "the definitions of services");
        if (strcmp(field_text(world, "version"), HVSOCK_VERSION) != 0)
                add_problem(problems, "warning", "hvsockd", RESTART,
                            "it is version %s, this command is " HVSOCK_VERSION, field_text(world, "version"));
        if (strcmp(runtime, "/run/hvsock") == 0 && !getgrnam("hvsock"))
                add_problem(problems, "warning", "group hvsock", "sudo groupadd --system hvsock",
                            "there is none, so only root may use services on this host");
}

/* Without privilege, `hvsock run` needs a user namespace. */
static bool user_namespaces_work(void) {
        pid_t child = fork();
        if (child == 0)
                _exit(unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0);
        int status = 0;
        return child < 0 || waitpid(child, &status, 0) < 0 || (WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

void diagnose_system(struct json_object *problems) {
        struct rlimit limit;
        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < DESCRIPTORS_WANTED) {
                char fix[64];
                snprintf(fix, sizeof fix, "ulimit -n %u", DESCRIPTORS_WANTED);
                add_problem(problems, "warning", "open files", fix, "this shell's programs may have only %llu",
                            (unsigned long long)limit.rlim_cur);
        }
        if (geteuid() != 0 && !user_namespaces_work())
                add_problem(problems, "warning", "user namespaces", "sudo sysctl -w kernel.unprivileged_userns_clone=1 "
                                                                    "user.max_user_namespaces=10000",
                            "this system forbids them, so `hvsock run` cannot hide other partitions");
}
