/* SPDX-License-Identifier: MIT */

/* The checks of doctor: the sockets and how they were found, the world's directories, the system's limits. */

#include "cli/doctor.h"

#include "base/fd.h"
#include "cli/advice.h"
#include "cli/broker_place.h"
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

/* Whoever listens at a socket, as the kernel knows it. */
struct listener {
        pid_t pid;
        uid_t uid;
};

/* 0 or a negative errno: does anybody listen there, and who? */
static int try_connect(const char *path, int type, struct listener *ret) {
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1;
        int r = address_of_path(path, &address, &length, &directory_fd);
        if (r < 0)
                return r;
        cleanup(fd_closep) int fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct ucred peer;
        socklen_t size = sizeof peer;
        if (fd < 0 || connect(fd, (struct sockaddr *)&address, length) < 0 ||
            getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return -errno;
        *ret = (struct listener){.pid = peer.pid, .uid = peer.uid};
        return 0;
}

static bool is_stopped(pid_t pid) {
        char path[32], state = 0;
        snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
        FILE *file = fopen(path, "re");
        if (file && fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
                state = 0;
        if (file)
                fclose(file);
        return state == 'T';
}

/* Somebody listens, and has not answered. */
static void judge_silence(const char *path, const struct listener *listener, struct json_object *problems) {
        char resume[32];
        snprintf(resume, sizeof resume, "kill -CONT %d", (int)listener->pid);
        bool stopped = is_stopped(listener->pid);
        add_problem(problems, "error", path, stopped ? resume : advice_start_broker(listener->pid),
                    "hvsockd %s", stopped ? "is stopped" : "does not answer");
}

static void judge_stranger(const struct broker_place *place, const struct listener *listener,
                           struct json_object *problems) {
        char fix[PATH_MAX + 32] = "unset XDG_RUNTIME_DIR";
        if (strcmp(place->found_by, "the system's") == 0)
                snprintf(fix, sizeof fix, "export HVSOCK_SOCKET=%s", quoted(place->path));
        add_problem(problems, "error", place->path, fix,
                    "it is of user %u, neither root nor this user, so libhvsock does not trust it",
                    (unsigned)listener->uid);
}

/* `asked`: 0 when it answered a question, or the negative errno of not answering. */
static void judge(const struct broker_place *place, int type, int asked, struct json_object *problems) {
        char fix[PATH_MAX + 64];
        const char *why, *severity = "error";
        struct listener listener = {};
        int r = place->error ? place->error : try_connect(place->path, type, &listener);
        snprintf(fix, sizeof fix, "%s", advice_start_broker(0));
        switch (r) {
        case 0:
        case -EAGAIN:
                if (asked == -ENETDOWN)
                        judge_stranger(place, &listener, problems);
                else if (asked)
                        judge_silence(place->path, &listener, problems);
                return;
        case -ENOENT:
        case -ENOTDIR:
                why = place->variable ? "it is not there" : "no hvsockd is running, neither this user's nor the system's";
                break;
        case -ECONNREFUSED:
                why = "a stale socket: the hvsockd that made it is gone";
                break;
        case -ENOTSOCK:
        case -EPROTOTYPE:
                why = "this is no socket of hvsockd";
                snprintf(fix, sizeof fix, "rm -r %s", quoted(place->path));
                break;
        case -EACCES:
        case -EPERM:
                why = "this user may not open it";
                severity = "warning";
                snprintf(fix, sizeof fix, "sudo usermod -aG hvsock \"$USER\"; newgrp hvsock");
                break;
        default:
                why = strerror(-r);
        }
        if (place->variable)
                snprintf(fix, sizeof fix, "unset %s", place->variable);
        add_problem(problems, severity, place->path, fix, "%s%s%s", why, place->variable ? ", but it is named by " : "",
                    place->variable ? place->variable : "");
}

static void add_place(struct json_object *diagnosis, const char *key, const char *from_key,
                      const struct broker_place *place) {
        add_text(diagnosis, key, place->path);
        bool is_absent = place->error == -ENOENT || place->error == -ENOTDIR;
        add_text(diagnosis, from_key, is_absent ? "not there" : place->found_by);
}

void diagnose_socket(struct json_object *diagnosis, struct json_object *problems, int asked) {
        struct broker_place place;
        broker_place_of_partition(&place);
        add_place(diagnosis, "socket", "socketFrom", &place);
        judge(&place, SOCK_SEQPACKET, asked, problems);
}

void diagnose_management(struct json_object *diagnosis, struct json_object *problems, struct json_object **ret_world) {
        struct broker_place place;
        broker_place_of_management(&place);
        add_place(diagnosis, "management", "managementFrom", &place);

        struct json_object *world = NULL;
        int r = management_ask("GetWorld", NULL, &world);
        /* A partition other than the host has a socket and no management: nothing is wrong with that. */
        const char *kind = field_text(field(diagnosis, "partition"), "kind");
        if (!place.error || place.variable || strcmp(kind, "host") == 0)
                judge(&place, SOCK_STREAM, r == EXIT_TIMED_OUT ? -ETIMEDOUT : 0, problems);
        *ret_world = world;
}

static void judge_directory(struct json_object *problems, const char *path, const char *holds) {
        struct stat status;
        char fix[PATH_MAX + 32];
        if (!*path || stat(path, &status) < 0 || !(status.st_mode & 022))
                return;
        snprintf(fix, sizeof fix, "chmod go-w %s", quoted(path));
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
                add_problem(problems, "warning", "hvsockd", advice_start_broker((int)field_int(world, "pid")),
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
