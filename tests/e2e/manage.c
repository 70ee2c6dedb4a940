/* SPDX-License-Identifier: MIT */

/* The management interface as any program may use it: NUL-terminated JSON over a Unix socket. And the command. */

#include "test.h"
#include "world.h"

#include <fcntl.h>
#include <json-c/json_pointer.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#define INTERFACE "io.hvsock."

static int connect_to_management(struct world *world) {
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        int directory = (int)must(open(world->runtime, O_PATH | O_DIRECTORY | O_CLOEXEC));
        snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/manage", directory);
        int fd = (int)must(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
        must(connect(fd, (struct sockaddr *)&address, sizeof address));
        close(directory);
        return fd;
}

static struct json_object *read_reply(int fd) {
        size_t size = 65536, length = 0;
        char *text = malloc(size);
        check(text);
        do {
                if (length == size) {
                        text = realloc(text, size *= 2);
                        check(text);
                }
                ssize_t got = must(read(fd, text + length, size - length));
                if (!got)
                        test_fail(__FILE__, __LINE__, "the broker closed a management connection unanswered");
                length += (size_t)got;
        } while (text[length - 1]);
        struct json_object *reply = json_tokener_parse(text);
        if (!reply)
                test_fail(__FILE__, __LINE__, "not JSON: %s", text);
        free(text);
        return reply;
}

static struct json_object *call(struct world *world, const char *method, const char *format, va_list values) {
        char parameters[4096], request[8192];
        int size = vsnprintf(parameters, sizeof parameters, format, values);
        check(size >= 0 && (size_t)size < sizeof parameters);
        int length = snprintf(request, sizeof request, "{\"method\":\"" INTERFACE "%s\",\"parameters\":%s}", method,
                              parameters);
        int fd = connect_to_management(world);
        check_equal(must(write(fd, request, (size_t)length + 1)), length + 1);
        struct json_object *reply = read_reply(fd);
        close(fd);
        return reply;
}

struct json_object *manage(struct world *world, const char *method, const char *format, ...) {
        va_list values;
        va_start(values, format);
        struct json_object *reply = call(world, method, format, values), *parameters;
        va_end(values);
        if (json_object_object_get(reply, "error"))
                test_fail(__FILE__, __LINE__, "%s: %s", method, json_object_to_json_string(reply));
        if (!json_object_object_get_ex(reply, "parameters", &parameters))
                parameters = NULL;
        json_object_get(parameters);
        json_object_put(reply);
        return parameters;
}

int manage_begin(struct world *world, const char *method) {
        char request[256];
        int length = snprintf(request, sizeof request, "{\"method\":\"" INTERFACE "%s\",\"more\":true}", method);
        int fd = connect_to_management(world);
        check_equal(must(write(fd, request, (size_t)length + 1)), length + 1);
        return fd;
}

struct json_object *manage_next(int fd) {
        static char text[1 << 20];
        size_t length = 0;
        do {
                check(length < sizeof text);
                check_equal(must(read(fd, text + length, 1)), 1);
        } while (text[length++]);
        struct json_object *reply = json_tokener_parse(text);
        check(reply);
        return reply;
}

void manage_refused(struct world *world, const char *error, const char *method, const char *format, ...) {
        va_list values;
        va_start(values, format);
        struct json_object *reply = call(world, method, format, values);
        va_end(values);
        const char *got = json_object_get_string(json_object_object_get(reply, "error"));
        if (!got || strncmp(got, INTERFACE, strlen(INTERFACE)) || strcmp(got + strlen(INTERFACE), error))
                test_fail(__FILE__, __LINE__, "%s: expected the error %s, got %s", method, error,
                          json_object_to_json_string(reply));
        json_object_put(reply);
}

static struct json_object *at(struct json_object *object, const char *pointer) {
        struct json_object *value = NULL;
        if (json_pointer_get(object, pointer, &value) < 0)
                test_fail(__FILE__, __LINE__, "no %s in %s", pointer, json_object_to_json_string(object));
        return value;
}

long long number_at(struct json_object *object, const char *pointer) {
        struct json_object *value = at(object, pointer);
        check(json_object_is_type(value, json_type_int));
        return json_object_get_int64(value);
}

bool flag_at(struct json_object *object, const char *pointer) {
        struct json_object *value;
        check_ok(json_pointer_get(object, pointer, &value));
        check(json_object_is_type(value, json_type_boolean));
        return json_object_get_boolean(value);
}

const char *text_at(struct json_object *object, const char *pointer) {
        return json_object_get_string(at(object, pointer));
}

size_t length_at(struct json_object *object, const char *pointer) {
        struct json_object *value = at(object, pointer);
        check(json_object_is_type(value, json_type_array));
        return json_object_array_length(value);
}

static long long counter(struct json_object *object, const char *where, const char *name) {
        char pointer[128];
        struct json_object *value;
        snprintf(pointer, sizeof pointer, "%s/counters/%s", where, name);
        long long result = json_pointer_get(object, pointer, &value) < 0 ? 0 : json_object_get_int64(value);
        json_object_put(object);
        return result;
}

long long service_counter(struct world *world, const GUID *service_id, const char *name) {
        char id[HV_GUID_TEXT_SIZE];
        hv_guid_format(service_id, id);
        return counter(manage(world, "GetService", "{\"service\":\"%s\"}", id), "/service", name);
}

long long partition_counter(struct world *world, const char *path, const char *name) {
        char id[HV_GUID_TEXT_SIZE];
        hv_guid_format(world_id(world, path), id);
        return counter(manage(world, "GetPartition", "{\"partition\":\"%s\"}", id), "/partition", name);
}

static bool service_shows(struct world *world, const GUID *service_id, const char *pointer, const char *expected) {
        char id[HV_GUID_TEXT_SIZE];
        hv_guid_format(service_id, id);
        struct json_object *list = manage(world, "ListServices", "{}");
        struct json_object *services = at(list, "/services");
        bool shows = false;
        for (size_t i = 0; i < json_object_array_length(services); i++) {
                struct json_object *service = json_object_array_get_idx(services, i);
                struct json_object *value;
                if (!strcmp(text_at(service, "/id"), id))
                        shows = json_pointer_get(service, pointer, &value) == 0 &&
                                !strcmp(json_object_get_string(value), expected);
        }
        json_object_put(list);
        return shows;
}

void world_await_service(struct world *world, const GUID *service_id, const char *pointer, const char *expected) {
        if (!await(service_shows(world, service_id, pointer, expected)))
                test_fail(__FILE__, __LINE__, "the broker does not show %s as %s", pointer, expected);
}

#define ARGUMENTS_MAX 32

int cli(struct world *world, char *ret_output, size_t size, ...) {
        char executable[PATH_MAX], *arguments[ARGUMENTS_MAX + 2] = {executable};
        va_list values;
        world_executable("hvsock", executable);
        va_start(values, size);
        for (unsigned i = 1; (arguments[i] = va_arg(values, char *)); i++)
                check(i < ARGUMENTS_MAX);
        va_end(values);

        int ends[2], output = -1;
        must(pipe2(ends, O_CLOEXEC));
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                char path[PATH_MAX + 16];
                snprintf(path, sizeof path, "%s/manage", world->runtime);
                must(setenv("HVSOCK_MANAGE", path, 1));
                world_enter(world, "host");
                must(dup2(ends[1], STDOUT_FILENO));
                execv(executable, arguments);
                test_fail(__FILE__, __LINE__, "%s: %s", executable, strerror(errno));
        }
        close(ends[1]);
        output = ends[0];
        size_t length = 0;
        for (ssize_t got; (got = must(read(output, ret_output + length, size - 1 - length)));)
                length += (size_t)got;
        ret_output[length] = 0;
        close(output);
        int status = await_child(pid);
        check(WIFEXITED(status));
        return WEXITSTATUS(status);
}

bool partition_is_running(struct world *world, const char *path) {
        struct json_object *reply = manage(world, "GetPartition", "{\"partition\": \"%s\"}", path);
        bool is_running = flag_at(reply, "/partition/running");
        json_object_put(reply);
        return is_running;
}
