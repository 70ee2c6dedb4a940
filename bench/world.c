/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <hvsock.h>
#include <json-c/json.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define START_SECONDS 10
#define REPLY_MAX 65536

static const GUID host_id = {0x6265636e, 0x6800, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 1}};
static const GUID vm_id = {0x6265636e, 0x6800, 0x4000, {0x80, 0, 0, 0, 0, 0, 0, 2}};

__attribute__((format(printf, 2, 3))) static char *path(char ret[PATH_MAX], const char *format, ...) {
        va_list values;

        va_start(values, format);
        int length = vsnprintf(ret, PATH_MAX, format, values);
        va_end(values);
        if (length < 0 || length >= PATH_MAX)
                die("a path is too long");
        return ret;
}

static void make_directory(const char *name) {
        if (mkdir(name, 0755) < 0)
                die("cannot make %s: %s", name, strerror(errno));
}

__attribute__((format(printf, 3, 4))) static void write_definition(const char *directory, const GUID *guid,
                                                                   const char *format, ...) {
        char name[PATH_MAX], text[HV_GUID_TEXT_SIZE];
        va_list values;

        FILE *file = fopen(path(name, "%s/%s.conf", directory, hv_guid_format(guid, text)), "we");
        if (!file)
                die("cannot write %s: %s", name, strerror(errno));
        fputs("Format=1\n", file);
        va_start(values, format);
        vfprintf(file, format, values);
        va_end(values);
        if (fclose(file) != 0)
                die("cannot write %s: %s", name, strerror(errno));
}

static void define(const char *directory, unsigned services) {
        char name[PATH_MAX], host_text[HV_GUID_TEXT_SIZE];

        make_directory(path(name, "%s/state", directory));
        make_directory(path(name, "%s/state/partitions", directory));
        write_definition(name, &host_id, "Label=bench\nKind=host\nReach=local\n");
        write_definition(name, &vm_id, "Label=vm\nKind=vm\nReach=local\nParent=%s\n",
                         hv_guid_format(&host_id, host_text));

        FILE *file = fopen(path(name, "%s/hvsockd.conf", directory), "we");
        if (!file || fputs("Format=1\n", file) < 0 || fclose(file) != 0)
                die("cannot write %s: %s", name, strerror(errno));

        make_directory(path(name, "%s/services", directory));
        for (unsigned i = 0; i < services; i++) {
                GUID service = bench_service(i);
                write_definition(name, &service, "ElementName=Benchmark %u\n", i);
        }
}

static pid_t run_broker(const char *hvsockd, const char *directory) {
        char runtime[PATH_MAX], state[PATH_MAX], services[PATH_MAX], config[PATH_MAX];
        pid_t parent = getpid();

        path(runtime, "%s/run", directory);
        path(state, "%s/state", directory);
        path(services, "%s/services", directory);
        path(config, "%s/hvsockd.conf", directory);
        fflush(NULL);
        pid_t child = fork();
        if (child < 0)
                die("cannot fork: %s", strerror(errno));
        if (child > 0)
                return child;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        signal(SIGINT, SIG_DFL);
        signal(SIGTERM, SIG_DFL);
        if (getppid() == parent)
                execl(hvsockd, hvsockd, "--runtime", runtime, "--state", state, "--services", services, "--config",
                      config, "--log-level", "error", (char *)NULL);
        fprintf(stderr, "hvsock-bench: cannot run %s: %s\n", hvsockd, strerror(errno));
        _exit(127);
}

static int dial_management(const char *runtime) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};

        if (snprintf(address.sun_path, sizeof address.sun_path, "%s/manage", runtime) >= (int)sizeof address.sun_path)
                die("%s is too long a path for a socket", runtime);
        int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd < 0)
                die("cannot make a socket: %s", strerror(errno));
        if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
                return fd;
        close(fd);
        return -1;
}

static void wait_until_ready(const struct world *world) {
        const struct timespec pause = {.tv_nsec = 5000000};

        for (unsigned waited_ms = 0; waited_ms < START_SECONDS * 1000; waited_ms += 5) {
                int fd = dial_management(world->runtime);
                if (fd >= 0) {
                        close(fd);
                        return;
                }
                if (waitpid(world->broker, NULL, WNOHANG) == world->broker)
                        die("hvsockd ended at once");
                nanosleep(&pause, NULL);
        }
        die("hvsockd did not start within %d seconds", START_SECONDS);
}

void world_start(struct world *world, const char *hvsockd, const char *directory, unsigned services) {
        char text[HV_GUID_TEXT_SIZE];

        define(directory, services);
        *world = (struct world){.vm_id = vm_id};
        path(world->runtime, "%s/run", directory);
        path(world->host, "%s/run/%s", directory, hv_guid_format(&host_id, text));
        path(world->vm, "%s/run/%s", directory, hv_guid_format(&vm_id, text));
        world->broker = run_broker(hvsockd, directory);
        wait_until_ready(world);
}

void world_end(struct world *world) {
        kill(world->broker, SIGTERM);
        waitpid(world->broker, NULL, 0);
}

void world_place(const struct world *world, int cpu) {
        cpu_set_t set;

        if (cpu < 0) {
                if (sched_getaffinity(0, sizeof set, &set) < 0)
                        die("cannot read the cores: %s", strerror(errno));
        } else {
                CPU_ZERO(&set);
                CPU_SET(cpu, &set);
        }
        if (sched_setaffinity(world->broker, sizeof set, &set) < 0)
                die("cannot pin hvsockd to a core: %s", strerror(errno));
}

unsigned long world_memory_kib(const struct world *world) {
        char name[64], line[256];
        unsigned long kib = 0;

        snprintf(name, sizeof name, "/proc/%d/status", world->broker);
        FILE *file = fopen(name, "re");
        if (!file)
                die("cannot read %s: %s", name, strerror(errno));
        while (fgets(line, sizeof line, file))
                if (sscanf(line, "VmRSS: %lu kB", &kib) == 1)
                        break;
        fclose(file);
        return kib;
}

static long number_of(struct json_object *parameters, const char *key) {
        struct json_object *value;

        if (!json_object_object_get_ex(parameters, key, &value))
                die("hvsockd did not say how many %s there are", key);
        return json_object_get_int64(value);
}

void world_books(const struct world *world, long *ret_channels, long *ret_listeners) {
        static const char call[] = "{\"method\":\"io.hvsock.GetWorld\"}";
        struct json_object *parameters;
        char reply[REPLY_MAX];
        size_t length = 0;

        int fd = dial_management(world->runtime);
        if (fd < 0 || send(fd, call, sizeof call, MSG_NOSIGNAL) != sizeof call)
                die("cannot ask hvsockd: %s", strerror(errno));
        while (length == 0 || reply[length - 1] != '\0') {
                ssize_t received = recv(fd, reply + length, sizeof reply - length, 0);
                if (received <= 0)
                        die("hvsockd gave no answer");
                length += (size_t)received;
        }
        close(fd);

        struct json_object *message = json_tokener_parse(reply);
        if (!message || !json_object_object_get_ex(message, "parameters", &parameters))
                die("hvsockd gave no answer that can be read: %s", reply);
        *ret_channels = number_of(parameters, "channels");
        *ret_listeners = number_of(parameters, "listeners");
        json_object_put(message);
}
