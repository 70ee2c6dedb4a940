/* SPDX-License-Identifier: MIT */

/*
 * Real containers: a process in user, mount, pid and network namespaces of its
 * own, whose file system is an empty tmpfs with its partition's directory bound
 * read-only at /run/hvsock, where libhvsock finds it by itself.
 */

#include "program.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define ALICE 61001

struct container {
        struct world *world;
        const char *path; /* whose directory it gets */
        uid_t uid;        /* who makes it */
};

static void write_to(const char *path, const char *text) {
        int fd = (int)must(open(path, O_WRONLY | O_CLOEXEC));
        check_equal(must(write(fd, text, strlen(text))), strlen(text));
        close(fd);
}

/* 0 or the errno of what this system forbids. */
static int make_namespaces(void) {
        char map[64];
        uid_t uid = geteuid();
        gid_t gid = getegid();
        if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWNET) < 0)
                return errno;
        write_to("/proc/self/setgroups", "deny");
        snprintf(map, sizeof map, "0 %u 1", uid);
        write_to("/proc/self/uid_map", map);
        snprintf(map, sizeof map, "0 %u 1", gid);
        write_to("/proc/self/gid_map", map);
        return mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ? errno : 0;
}

/* Nothing of the machine stays to be seen. */
static void make_root(const char *directory) {
        char source[64];
        int fd = (int)must(open(directory, O_PATH | O_CLOEXEC)); /* the tmpfs may hide its path */
        snprintf(source, sizeof source, "/proc/self/fd/%d", fd);
        must(mount("container", "/tmp", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755"));
        must(mkdir("/tmp/run", 0755));
        must(mkdir("/tmp/run/hvsock", 0755));
        must(mkdir("/tmp/proc", 0755));
        must(mkdir("/tmp/tmp", 0755));
        must(mkdir("/tmp/old", 0755));
        must(mount(source, "/tmp/run/hvsock", NULL, MS_BIND, NULL));
        must(mount(NULL, "/tmp/run/hvsock", NULL, MS_BIND | MS_REMOUNT | MS_RDONLY | MS_NOSUID | MS_NODEV, NULL));
        must(mount("proc", "/tmp/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL));
        close(fd);
        must(chdir("/tmp"));
        must(syscall(SYS_pivot_root, ".", "old"));
        must(chdir("/"));
        must(umount2("/old", MNT_DETACH));
        must(rmdir("/old"));
}

/* The process that unshares cannot itself enter the pid namespace: it waits for the one that does. */
static void become_first_process(void) {
        pid_t child = (pid_t)must(fork());
        if (child) {
                int status;
                must(waitpid(child, &status, 0));
                _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
        }
        prctl(PR_SET_PDEATHSIG, SIGKILL);
}

static void enter_container(void *argument) {
        const struct container *container = argument;
        char directory[PATH_MAX];
        world_directory(container->world, container->path, directory);
        unsetenv("HVSOCK_SOCKET");
        unsetenv("XDG_RUNTIME_DIR");
        if (container->uid != geteuid()) {
                must(setgroups(0, NULL));
                must(setresgid(container->uid, container->uid, container->uid));
                must(setresuid(container->uid, container->uid, container->uid));
                must(prctl(PR_SET_DUMPABLE, 1));
        }
        check_ok(make_namespaces());
        become_first_process();
        make_root(directory);
}

/* Tries it out, in a process that is thrown away. */
static void require_namespaces(uid_t uid) {
        pid_t child = (pid_t)must(fork());
        if (!child) {
                if (uid != geteuid() && (setresgid(uid, uid, uid) < 0 || setresuid(uid, uid, uid) < 0))
                        _exit(errno);
                prctl(PR_SET_DUMPABLE, 1);
                int error = make_namespaces();
                if (error)
                        _exit(error);
                pid_t first = fork();
                if (!first) {
                        bool can_mount = !mount("container", "/tmp", "tmpfs", 0, NULL) && !mkdir("/tmp/proc", 0755) &&
                                         !mount("proc", "/tmp/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
                        _exit(can_mount ? 0 : errno);
                }
                int status;
                _exit(first < 0 || waitpid(first, &status, 0) < 0 ? errno : WEXITSTATUS(status));
        }
        int status = await_child(child);
        if (status)
                test_skip("this system forbids making a container as user %u: %s", uid,
                          strerrorname_np(WEXITSTATUS(status)));
}

/* As who runs the tests, and as an ordinary user where that can be tried. */
static unsigned users(uid_t ret_users[2]) {
        ret_users[0] = geteuid();
        ret_users[1] = ALICE;
        for (unsigned i = 0; i < (geteuid() ? 1 : 2); i++)
                require_namespaces(ret_users[i]);
        return geteuid() ? 1 : 2;
}

static struct program *run_container(struct world *world, const char *path, uid_t uid) {
        struct container container = {.world = world, .path = path, .uid = uid};
        return program_with(enter_container, &container);
}

TEST(a_container_reaches_its_host_by_parent) {
        uid_t uids[2];
        unsigned count = users(uids);
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        int listener = (int)must(serve(host, &HV_GUID_CHILDREN, &ECHO));
        for (unsigned i = 0; i < count; i++) {
                struct program *box = run_container(world, "box", uids[i]);
                SOCKADDR_HV peer;
                int connected = (int)must(dial(box, &HV_GUID_PARENT, &ECHO));
                int accepted = (int)must(accept_address(host, listener, &peer));
                check(hv_guid_equal(&peer.VmId, world_id(world, "box")));
                must(send_text(box, connected, "from inside"));
                char text[32];
                check_equal(must(receive_text(host, accepted, text, sizeof text)), 11);
                must(close_in(host, accepted));
                must(close_in(box, connected));
                program_end(box);
        }
        must(close_in(host, listener));
        world_end(world);
}

TEST(a_container_in_a_vm_reaches_that_vm) {
        uid_t uids[2];
        unsigned count = users(uids);
        struct world *world = world_family();
        struct program *web01 = program_in(world, "web01");
        int listener = (int)must(serve(web01, &HV_GUID_WILDCARD, &ECHO));
        for (unsigned i = 0; i < count; i++) {
                struct program *db = run_container(world, "web01/db", uids[i]);
                int connected = (int)must(dial(db, &HV_GUID_PARENT, &ECHO));
                must(close_in(web01, check_meets(db, connected, web01, listener)));
                must(close_in(db, connected));
                program_end(db);
        }
        must(close_in(web01, listener));
        world_end(world);
}

TEST(a_containers_listener_is_reached_by_its_host) {
        uid_t uids[2];
        unsigned count = users(uids);
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        for (unsigned i = 0; i < count; i++) {
                struct program *box = run_container(world, "box", uids[i]);
                int listener = (int)must(serve(box, &HV_GUID_PARENT, &ECHO));
                int connected = (int)must(dial(host, world_id(world, "box"), &ECHO));
                must(close_in(box, check_meets(host, connected, box, listener)));
                must(close_in(host, connected));
                must(close_in(box, listener));
                program_end(box);
        }
        world_end(world);
}

TEST(a_container_cannot_reach_a_sibling) {
        uid_t uids[2];
        unsigned count = users(uids);
        struct world *world = world_family();
        struct program *cache = program_in(world, "web01/cache");
        int listener = (int)must(serve(cache, &HV_GUID_WILDCARD, &ECHO));
        for (unsigned i = 0; i < count; i++) {
                struct program *db = run_container(world, "web01/db", uids[i]);
                check_errno(dial(db, world_id(world, "web01/cache"), &ECHO), EADDRNOTAVAIL);
                check_errno(dial(db, &HV_GUID_PARENT, &ECHO), ECONNREFUSED);
                program_end(db);
        }
        must(close_in(cache, listener));
        world_end(world);
}

/* All that is in /run/hvsock, and what can be made there. */
static long call_look_around(struct call *call) {
        DIR *directory = opendir("/run/hvsock");
        check(directory);
        for (struct dirent *entry; (entry = readdir(directory));)
                if (entry->d_name[0] != '.')
                        check(!strcmp(entry->d_name, "control") || !strcmp(entry->d_name, "revocations"));
        closedir(directory);
        check_errno(access((const char *)call->bytes, F_OK), ENOENT); /* the world's own directory */

        struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "/run/hvsock/mine"};
        int fd = (int)must(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
        check_errno(bind(fd, (struct sockaddr *)&address, sizeof address), EROFS);
        check_errno(unlink("/run/hvsock/control"), EROFS);
        check(open("/run/hvsock/revocations", O_WRONLY | O_CLOEXEC) < 0 && (errno == EROFS || errno == EACCES));
        check_errno(open("/run/hvsock/file", O_CREAT | O_WRONLY | O_CLOEXEC, 0600), EROFS);
        close(fd);
        return 0;
}

TEST(a_container_sees_nothing_but_its_own_socket_and_cannot_change_it) {
        uid_t uids[2];
        unsigned count = users(uids);
        struct world *world = world_family();
        static struct call call;
        for (unsigned i = 0; i < count; i++) {
                struct program *box = run_container(world, "box", uids[i]);
                call = (struct call){.function = call_look_around};
                strcpy((char *)call.bytes, world->runtime);
                check_equal(program_do(box, &call), 0);
                program_end(box);
        }
        world_end(world);
}

static long call_pretend(struct call *call) {
        must(setenv("HVSOCK_SOCKET", (const char *)call->bytes, 1));
        int fd = (int)must(hv_socket(AF_HYPERV, SOCK_STREAM, HV_PROTOCOL_RAW));
        int result = hv_connect(fd, (struct sockaddr *)&call->address, sizeof call->address), error = errno;
        must(hv_close(fd));
        unsetenv("HVSOCK_SOCKET");
        errno = error;
        return result;
}

TEST(a_container_cannot_pass_for_another_partition) {
        uid_t uids[2];
        unsigned count = users(uids);
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        static struct call call;
        int for_web02 = (int)must(serve(host, world_id(world, "web02"), &ECHO));
        for (unsigned i = 0; i < count; i++) {
                struct program *box = run_container(world, "box", uids[i]);
                char directory[PATH_MAX], id[HV_GUID_TEXT_SIZE], guesses[4][CALL_BYTES_MAX];
                world_directory(world, "web02", directory);
                hv_guid_format(world_id(world, "web02"), id);
                snprintf(guesses[0], sizeof *guesses, "%s", directory);
                snprintf(guesses[1], sizeof *guesses, "/run/hvsock/../%s", id);
                snprintf(guesses[2], sizeof *guesses, "/run/hvsock/control/../../%s/control", id);
                snprintf(guesses[3], sizeof *guesses, "/run/%s/control", id);
                for (unsigned j = 0; j < 4; j++) {
                        call = (struct call){.function = call_pretend};
                        call.address = (SOCKADDR_HV){.Family = AF_HYPERV, .VmId = HV_GUID_PARENT, .ServiceId = ECHO};
                        memcpy(call.bytes, guesses[j], sizeof call.bytes);
                        check(program_do(box, &call) < 0);
                        check(errno == ENETDOWN || errno == ECONNREFUSED);
                }
                check_errno(dial(box, &HV_GUID_PARENT, &ECHO), ECONNREFUSED);
                check_string(last_refusal(box).rule_name, "listener-excludes");
                program_end(box);
        }
        must(close_in(host, for_web02));
        world_end(world);
}

TEST(a_containers_root_is_nobody_to_the_host) {
        uid_t uids[2];
        unsigned count = users(uids);
        struct world *world = world_family();
        GUID service_id = service_numbered(9);
        world_write_service(world, &service_id, "For root", "Connect=user:0\nBind=user:0\n");
        world_await_service(world, &service_id, "/name", "For root");
        for (unsigned i = 0; i < count; i++) {
                struct program *box = run_container(world, "box", uids[i]);
                check_errno(dial(box, &HV_GUID_PARENT, &service_id), EACCES);
                check_errno(serve(box, &HV_GUID_WILDCARD, &service_id), EACCES);
                program_end(box);
        }
        world_end(world);
}

TEST(a_container_finds_the_restarted_broker) {
        uid_t uids[2];
        unsigned count = users(uids);
        struct world *world = world_family();
        struct program *host = program_in(world, "host");
        int listener = (int)must(serve(host, &HV_GUID_CHILDREN, &ECHO));
        for (unsigned i = 0; i < count; i++) {
                struct program *box = run_container(world, "box", uids[i]);
                int connected = (int)must(dial(box, &HV_GUID_PARENT, &ECHO));
                int accepted = check_meets(box, connected, host, listener);
                world_kill(world);
                world_start(world);
                int again = (int)must(dial(box, &HV_GUID_PARENT, &ECHO));
                must(close_in(host, check_meets(box, again, host, listener)));
                must(close_in(box, again));
                must(close_in(box, connected));
                must(close_in(host, accepted));
                program_end(box);
        }
        must(close_in(host, listener));
        world_end(world);
}
