/* SPDX-License-Identifier: MIT */
#include "world.h"
#include "program.h"
#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define DESCRIPTORS_MAX 4096 /* in the test's process */

const GUID ECHO = {0x6bd1e5b0, 0x31a1, 0x4d0a, {0x8a, 0x5e, 0x5f, 0x3c, 0x11, 0x2f, 0x6e, 0x01}};

GUID service_numbered(unsigned number) {
        GUID service_id = ECHO;
        service_id.Data1 = number;
        service_id.Data2 = 0x5e11;
        return service_id;
}

GUID port_service(unsigned port) {
        GUID service_id = HV_GUID_VSOCK_TEMPLATE;
        service_id.Data1 = port;
        return service_id;
}

/* The same in every world: worlds must be told apart by more than their GUIDs. */
static GUID partition_numbered(unsigned number) {
        return (GUID){0xa0000000 + number, 0x0b0b, 0x4c0c, {0x9d, 0x0d, 0, 0, 0, 0, 0, 0x01}};
}

static void print_to(char *text, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static void print_to(char *text, size_t size, const char *format, ...) {
        va_list values;
        va_start(values, format);
        int length = vsnprintf(text, size, format, values);
        va_end(values);
        check(length >= 0 && (size_t)length < size);
}

static void write_file(const char *directory, const char *name, const char *text) {
        char path[PATH_MAX + 64], beside[PATH_MAX + 80];
        print_to(path, sizeof path, "%s/%s", directory, name);
        print_to(beside, sizeof beside, "%s/.%s.new", directory, name);
        FILE *file = fopen(beside, "we");
        check(file);
        check(fputs(text, file) >= 0);
        check(!fclose(file));
        must(rename(beside, path));
}

void world_pause_ms(unsigned milliseconds) {
        nanosleep(&(struct timespec){.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L}, NULL);
}

#define SOMEBODY 65534 /* who owns nothing */

void world_require_root(void) {
        if (geteuid())
                test_skip("only root may run programs as other users");
}

void world_require_reach(void) {
        char program[PATH_MAX];
        world_require_root();
        world_executable("hvsockd", program);
        must(seteuid(SOMEBODY));
        int r = faccessat(AT_FDCWD, program, X_OK, AT_EACCESS);
        must(seteuid(0));
        if (r < 0)
                test_skip("other users cannot reach %s", program);
}

void world_executable(const char *name, char ret_path[PATH_MAX]) {
        const char *build = getenv("HVSOCK_BUILD");
        if (!build)
                test_skip("HVSOCK_BUILD does not say where the programs are");
        char relative[PATH_MAX];
        print_to(relative, sizeof relative, "%s/%s", build, name);
        if (!realpath(relative, ret_path))
                test_fail(__FILE__, __LINE__, "%s: %s", relative, strerror(errno));
}

struct world *world_new(void) {
        const char *temporary = getenv("TMPDIR");
        struct world *world = calloc(1, sizeof *world);
        check(world);
        print_to(world->root, sizeof world->root, "%s/hvsock-test-XXXXXX", temporary ? temporary : "/tmp");
        check(mkdtemp(world->root));
        must(chmod(world->root, 0755));
        print_to(world->runtime, sizeof world->runtime, "%s/run", world->root);
        print_to(world->state, sizeof world->state, "%s/state", world->root);
        print_to(world->services, sizeof world->services, "%s/services", world->root);
        print_to(world->config, sizeof world->config, "%s/hvsockd.conf", world->root);
        must(mkdir(world->services, 0755));
        must(mkdir(world->state, 0755));
        char partitions[PATH_MAX + 16];
        print_to(partitions, sizeof partitions, "%s/partitions", world->state);
        must(mkdir(partitions, 0755));
        world->uid = geteuid();
        world->notify_fd = -1;
        printf("world: %s\n", world->root);
        world_define(world, "host", "host", "");
        return world;
}

static struct world_partition *find_partition(struct world *world, const char *path) {
        for (unsigned i = 0; i < world->partition_count; i++)
                if (!strcmp(world->partitions[i].path, path))
                        return &world->partitions[i];
        return NULL;
}

void world_define(struct world *world, const char *path, const char *kind, const char *extra) {
        check(world->partition_count < WORLD_PARTITIONS_MAX && !world->broker);
        struct world_partition *partition = &world->partitions[world->partition_count];
        print_to(partition->path, sizeof partition->path, "%s", path);
        partition->id = partition_numbered(world->partition_count++);

        const char *slash = strrchr(path, '/');
        char parent_path[256] = "host", parent_line[64] = "", text[1024], id[HV_GUID_TEXT_SIZE], name[64],
             directory[PATH_MAX + 16];
        if (slash)
                print_to(parent_path, sizeof parent_path, "%.*s", (int)(slash - path), path);
        if (strcmp(path, "host")) {
                hv_guid_format(world_id(world, parent_path), id);
                print_to(parent_line, sizeof parent_line, "Parent=%s\n", id);
        }
        print_to(text, sizeof text, "Format=1\nLabel=%s\nKind=%s\n%s%s%s", slash ? slash + 1 : path, kind, parent_line,
                 strstr(extra, "Reach=") ? "" : "Reach=local\n", extra);
        print_to(name, sizeof name, "%s.conf", hv_guid_format(&partition->id, id));
        print_to(directory, sizeof directory, "%s/partitions", world->state);
        write_file(directory, name, text);
}

void world_write_service(struct world *world, const GUID *service_id, const char *name, const char *extra) {
        char id[HV_GUID_TEXT_SIZE], file_name[64], text[1024];
        print_to(file_name, sizeof file_name, "%s.conf", hv_guid_format(service_id, id));
        print_to(text, sizeof text, "Format=1\nElementName=%s\n%s", name, extra);
        write_file(world->services, file_name, text);
}

void world_configure(struct world *world, const char *lines) {
        char text[1024];
        print_to(text, sizeof text, "Format=1\n%s", lines);
        write_file(world->root, "hvsockd.conf", text);
}

struct world *world_family(void) {
        struct world *world = world_new();
        world_define(world, "web01", "vm", "");
        world_define(world, "web01/db", "container", "");
        world_define(world, "web01/cache", "container", "");
        world_define(world, "web01/proxy", "container", "Passthru=yes\n");
        world_define(world, "web02", "vm", "");
        world_define(world, "off", "vm", "Reach=vm\nCid=9\n");
        world_define(world, "box", "container", "");
        world_define(world, "box/inner", "container", "");
        world_write_service(world, &ECHO, ECHO_NAME, "");
        world_start(world);
        return world;
}

const GUID *world_id(struct world *world, const char *path) {
        struct world_partition *partition = find_partition(world, path);
        if (!partition)
                test_fail(__FILE__, __LINE__, "the test knows no partition %s", path);
        return &partition->id;
}

void world_directory(struct world *world, const char *path, char ret_directory[PATH_MAX]) {
        char id[HV_GUID_TEXT_SIZE];
        print_to(ret_directory, PATH_MAX, "%s/%s", world->runtime, hv_guid_format(world_id(world, path), id));
}

void world_enter(struct world *world, const char *path) {
        char directory[PATH_MAX];
        world_directory(world, path, directory);
        must(setenv("HVSOCK_SOCKET", directory, 1));
}

/* ---- the broker ---- */

static int bind_notify_socket(struct world *world) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        print_to(address.sun_path, sizeof address.sun_path, "%s/ready", world->root);
        unlink(address.sun_path);
        int fd = (int)must(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
        must(bind(fd, (struct sockaddr *)&address, sizeof address));
        must(chmod(address.sun_path, 0666));
        must(setenv("NOTIFY_SOCKET", address.sun_path, 1));
        return fd;
}

static void await_readiness(struct world *world) {
        int pidfd = (int)must(syscall(SYS_pidfd_open, world->broker, 0));
        for (char text[512] = "";;) {
                struct pollfd descriptors[] = {{.fd = world->notify_fd, .events = POLLIN},
                                               {.fd = pidfd, .events = POLLIN}};
                if (must(poll(descriptors, 2, WORLD_WAIT_MS)) == 0)
                        test_fail(__FILE__, __LINE__, "hvsockd did not say READY=1");
                if (descriptors[0].revents) {
                        ssize_t length = must(read(world->notify_fd, text, sizeof text - 1));
                        text[length] = 0;
                        if (strstr(text, "READY=1"))
                                break;
                } else {
                        int status;
                        must(waitpid(world->broker, &status, 0));
                        test_fail(__FILE__, __LINE__, "hvsockd ended before it was ready: wait status %#x", status);
                }
        }
        close(pidfd);
}

static void give_to(const char *path, uid_t uid) {
        must(chown(path, uid, uid));
}

void world_start(struct world *world) {
        char executable[PATH_MAX], partitions[PATH_MAX + 16];
        world_executable("hvsockd", executable);
        check(!world->broker);
        if (world->notify_fd < 0)
                world->notify_fd = bind_notify_socket(world);
        if (world->uid != geteuid()) {
                print_to(partitions, sizeof partitions, "%s/partitions", world->state);
                give_to(world->root, world->uid);
                give_to(world->state, world->uid);
                give_to(world->services, world->uid);
                give_to(partitions, world->uid);
        }
        world->broker = (pid_t)must(fork());
        if (!world->broker) {
                int null = (int)must(open("/dev/null", O_RDONLY));
                must(dup2(null, STDIN_FILENO));
                closefrom(3);
                if (world->uid != geteuid()) {
                        must(setresgid(world->uid, world->uid, world->uid));
                        must(setresuid(world->uid, world->uid, world->uid));
                }
                prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of user would have cleared it */
                /* Nothing of the user who runs the test may leak into the world. */
                unsetenv("XDG_RUNTIME_DIR");
                unsetenv("JOURNAL_STREAM");
                execl(executable, executable, "--runtime", world->runtime, "--state", world->state, "--services",
                      world->services, "--config", world->config, "--host-label", "host", NULL);
                test_fail(__FILE__, __LINE__, "%s: %s", executable, strerror(errno));
        }
        await_readiness(world);
        world->broker_descriptors = world_count_descriptors(world->broker);
}

static int end_broker(struct world *world, int signal_number) {
        check(world->broker > 0);
        must(kill(world->broker, signal_number));
        int status = await_child(world->broker);
        world->broker = 0;
        return status;
}

void world_stop(struct world *world) {
        int status = end_broker(world, SIGTERM);
        if (!WIFEXITED(status) || WEXITSTATUS(status))
                test_fail(__FILE__, __LINE__, "hvsockd told to end gave wait status %#x, not 0", status);
}

void world_kill(struct world *world) {
        int status = end_broker(world, SIGKILL);
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

unsigned world_count_descriptors(pid_t pid) {
        char path[64];
        print_to(path, sizeof path, "/proc/%d/fd", pid);
        struct dirent **entries;
        int count = scandir(path, &entries, NULL, NULL);
        check(count >= 2);
        for (int i = 0; i < count; i++)
                free(entries[i]);
        free(entries);
        return (unsigned)count - 2;
}

void world_check_quiet(struct world *world) {
        struct json_object *listeners = manage(world, "ListListeners", "{}");
        struct json_object *channels = manage(world, "ListChannels", "{}");
        if (length_at(listeners, "/listeners") || length_at(channels, "/channels"))
                test_fail(__FILE__, __LINE__, "the broker still has %s and %s", json_object_to_json_string(listeners),
                          json_object_to_json_string(channels));
        json_object_put(listeners);
        json_object_put(channels);
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *where) {
        return remove(path);
}

void world_end(struct world *world) {
        for (unsigned i = 0; i < world->partition_count; i++)
                if (world->partitions[i].program)
                        program_end(world->partitions[i].program);
        if (world->broker) {
                /* This process's own connections stay: it has not ended. */
                unsigned allowed =
                        world->broker_descriptors + world->extra_descriptors + world_count_library_descriptors();
                world_check_quiet(world);
                if (!await(world_count_descriptors(world->broker) <= allowed))
                        test_fail(__FILE__, __LINE__, "the broker had %u descriptors at first, %u when all had gone",
                                  world->broker_descriptors, world_count_descriptors(world->broker));
                world_stop(world);
        }
        if (world->notify_fd >= 0)
                close(world->notify_fd);
        must(nftw(world->root, remove_entry, 16, FTW_DEPTH | FTW_PHYS));
        free(world);
}

/* ---- children ---- */

int await_child(pid_t pid) {
        int status, pidfd = (int)must(syscall(SYS_pidfd_open, pid, 0));
        struct pollfd descriptor = {.fd = pidfd, .events = POLLIN};
        if (must(poll(&descriptor, 1, WORLD_WAIT_MS)) == 0)
                test_fail(__FILE__, __LINE__, "process %d does not end", pid);
        close(pidfd);
        must(waitpid(pid, &status, 0));
        return status;
}

void await_checker(pid_t pid) {
        int status = await_child(pid);
        if (WIFEXITED(status) && WEXITSTATUS(status) == 1)
                _exit(1); /* a check of its own failed: the report says which */
        if (status)
                test_fail(__FILE__, __LINE__, "process %d gave wait status %#x", pid, status);
}

/* A channel's peer is a listener's file or an abstract name; only a partition's socket is called control. */
bool world_is_library_descriptor(int fd) {
        struct sockaddr_un peer = {};
        socklen_t length = sizeof peer - 1;
        return !getpeername(fd, (struct sockaddr *)&peer, &length) && peer.sun_family == AF_UNIX &&
               strstr(peer.sun_path, "control");
}

unsigned world_count_library_descriptors(void) {
        unsigned count = 0;
        for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
                count += world_is_library_descriptor(fd);
        return count;
}

bool test_keeps_descriptor(int fd) {
        return world_is_library_descriptor(fd);
}
