/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <dirent.h>
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
#define FIRST_CID 100u

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

static GUID guest_id(unsigned guest) {
        GUID id = vm_id;

        id.Data2 = (uint16_t)(id.Data2 + 1);
        id.Data4[6] = (uint8_t)(guest >> 8);
        id.Data4[7] = (uint8_t)guest;
        return id;
}

static void define(const char *directory, unsigned services, unsigned guests) {
        char name[PATH_MAX], host_text[HV_GUID_TEXT_SIZE];

        make_directory(path(name, "%s/state", directory));
        make_directory(path(name, "%s/state/partitions", directory));
        write_definition(name, &host_id, "Label=bench\nKind=host\nReach=local\n");
        write_definition(name, &vm_id, "Label=vm\nKind=vm\nReach=local\nCid=%u\nParent=%s\n",
                         BENCH_VM_CID, hv_guid_format(&host_id, host_text));
        for (unsigned i = 0; i < guests; i++) {
                GUID id = guest_id(i);
                write_definition(name, &id, "Label=guest%u\nKind=vm\nReach=vm\nCid=%u\nParent=%s\n", i, FIRST_CID + i,
                                 host_text);
        }

        FILE *file = fopen(path(name, "%s/hvsockd.conf", directory), "we");
        if (!file || fputs("Format=1\n", file) < 0 || fclose(file) != 0)
                die("cannot write %s: %s", name, strerror(errno));

        make_directory(path(name, "%s/services", directory));
        for (unsigned i = 0; i < services; i++) {
                GUID service = bench_service(i);
                write_definition(name, &service, "ElementName=Benchmark %u\n", i);
                service = bench_port_service(i);
                write_definition(name, &service, "ElementName=Port %u\n", i);
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
        world_start_with_guests(world, hvsockd, directory, services, 0);
}

void world_start_with_guests(struct world *world, const char *hvsockd, const char *directory, unsigned services,
                             unsigned guests) {
        char text[HV_GUID_TEXT_SIZE];

        define(directory, services, guests);
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
        char name[64];
        cpu_set_t set;

        if (cpu < 0) {
                if (sched_getaffinity(0, sizeof set, &set) < 0)
                        die("cannot read the cores: %s", strerror(errno));
        } else {
                CPU_ZERO(&set);
                CPU_SET(cpu, &set);
        }
        snprintf(name, sizeof name, "/proc/%d/task", world->broker);
        DIR *threads = opendir(name);
        if (!threads)
                die("cannot read %s: %s", name, strerror(errno));
        for (struct dirent *thread; (thread = readdir(threads));)
                if (*thread->d_name != '.' && sched_setaffinity(atoi(thread->d_name), sizeof set, &set) < 0 &&
                    errno != ESRCH)
                        die("cannot pin hvsockd to a core: %s", strerror(errno));
        closedir(threads);
}

/* The sum of what a file of the broker's in /proc says after any of these keys. */
static unsigned long sum_kib(const struct world *world, const char *file_name, const char *const keys[2]) {
        char name[64], line[256];
        unsigned long sum = 0;

        snprintf(name, sizeof name, "/proc/%d/%s", world->broker, file_name);
        FILE *file = fopen(name, "re");
        if (!file)
                die("cannot read %s: %s", name, strerror(errno));
        while (fgets(line, sizeof line, file))
                for (unsigned i = 0; i < 2 && keys[i]; i++)
                        if (strncmp(line, keys[i], strlen(keys[i])) == 0)
                                sum += strtoul(line + strlen(keys[i]), NULL, 10);
        fclose(file);
        return sum;
}

unsigned long world_memory_kib(const struct world *world) {
        return sum_kib(world, "status", (const char *const[]){"VmRSS:", NULL});
}

unsigned long world_private_kib(const struct world *world) {
        return sum_kib(world, "smaps_rollup", (const char *const[]){"Private_Clean:", "Private_Dirty:"});
}

static long number_of(struct json_object *parameters, const char *key) {
        struct json_object *value;

        if (!json_object_object_get_ex(parameters, key, &value))
                die("hvsockd did not say how many %s there are", key);
        return json_object_get_int64(value);
}

/* What hvsockd answers to a call; the caller's to put away, with *ret_parameters in it. */
static struct json_object *ask(const struct world *world, const char *call, struct json_object **ret_parameters) {
        char reply[REPLY_MAX];
        size_t length = 0, size = strlen(call) + 1;

        int fd = dial_management(world->runtime);
        if (fd < 0 || send(fd, call, size, MSG_NOSIGNAL) != (ssize_t)size)
                die("cannot ask hvsockd: %s", strerror(errno));
        while (length == 0 || reply[length - 1] != '\0') {
                ssize_t received = recv(fd, reply + length, sizeof reply - length, 0);
                if (received <= 0)
                        die("hvsockd gave no answer");
                length += (size_t)received;
        }
        close(fd);

        struct json_object *message = json_tokener_parse(reply);
        if (!message || !json_object_object_get_ex(message, "parameters", ret_parameters))
                die("hvsockd gave no answer that can be read: %s", reply);
        return message;
}

void world_books(const struct world *world, long *ret_channels, long *ret_listeners) {
        struct json_object *parameters, *message = ask(world, "{\"method\":\"io.hvsock.GetWorld\"}", &parameters);

        *ret_channels = number_of(parameters, "channels");
        *ret_listeners = number_of(parameters, "listeners");
        json_object_put(message);
}

GUID world_guest(const struct world *world, unsigned guest, char ret_vhost_user[PATH_MAX]) {
        GUID id = guest_id(guest);
        char text[HV_GUID_TEXT_SIZE];

        path(ret_vhost_user, "%s/%s/vhost-user", world->runtime, hv_guid_format(&id, text));
        return id;
}

bool world_guest_runs(const struct world *world, unsigned guest) {
        struct json_object *parameters, *partition, *running;
        static const char format[] =
                "{\"method\":\"io.hvsock.GetPartition\",\"parameters\":{\"partition\":\"guest%u\"}}";
        char call[sizeof format + 10];

        snprintf(call, sizeof call, format, guest);
        struct json_object *message = ask(world, call, &parameters);
        if (!json_object_object_get_ex(parameters, "partition", &partition) ||
            !json_object_object_get_ex(partition, "running", &running))
                die("hvsockd did not say whether guest %u runs", guest);
        bool is_running = json_object_get_boolean(running);
        json_object_put(message);
        return is_running;
}
