/* SPDX-License-Identifier: MIT */
#include "cli/management.h"

#include "cli/varlink_client.h"
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool management_path(char *ret_path, size_t size) {
        const char *named = getenv("HVSOCK_MANAGE"), *runtime = getenv("XDG_RUNTIME_DIR");
        if (named && *named) {
                snprintf(ret_path, size, "%s", named);
                return access(ret_path, F_OK) == 0;
        }
        if (runtime && *runtime) {
                snprintf(ret_path, size, "%s/hvsock/manage", runtime);
                if (access(ret_path, F_OK) == 0)
                        return true;
        }
        snprintf(ret_path, size, "/run/hvsock/manage");
        return access(ret_path, F_OK) == 0;
}

static int tell_connect_failure(const char *path, int error) {
        const char *named = getenv("HVSOCK_MANAGE");
        switch (error) {
        case -EACCES:
        case -EPERM:
                return fail(EXIT_DENIED, path, "only root and group hvsock may manage this world", "sudo hvsock ...");
        case -ENOENT:
        case -ENOTDIR:
                if (named && *named)
                        return fail(EXIT_NO_BROKER, path, "there is no such socket, but HVSOCK_MANAGE names it",
                                    "unset HVSOCK_MANAGE");
                if (getenv("HVSOCK_SOCKET"))
                        return fail(EXIT_NO_BROKER, path, "a partition has no management interface; ask on its host",
                                    "hvsock id");
                return fail(EXIT_NO_BROKER, path, "no hvsockd is running",
                            geteuid() == 0 ? "systemctl start hvsockd" : "hvsockd &");
        case -ECONNREFUSED:
                return fail(EXIT_NO_BROKER, path, "the hvsockd that made this socket is gone",
                            geteuid() == 0 ? "systemctl restart hvsockd" : "hvsockd &");
        case -ETIMEDOUT:
                return fail(EXIT_TIMED_OUT, path, "hvsockd does not answer", "hvsock doctor");
        default:
                return fail(EXIT_NO_BROKER, path, strerror(-error), "hvsock doctor");
        }
}

static int tell_refusal(const char *method, const char *error, struct json_object *parameters) {
        const char *name = strrchr(error, '.');
        name = name ? name + 1 : error;
        const char *what = field_text(parameters, "what"), *thing = field_text(parameters, "name");
        char why[512], next[512];
        bool is_service = strcmp(what, "service") == 0;

        if (strcmp(name, "NotFound") == 0) {
                snprintf(why, sizeof why, "no such %s", what);
                return fail(EXIT_NOT_FOUND, thing, why, is_service ? "hvsock service list" : "hvsock tree");
        }
        if (strcmp(name, "Ambiguous") == 0) {
                snprintf(why, sizeof why, "more than one %s bears this name; use its GUID", what);
                return fail(EXIT_FAILED, thing, why, "hvsock service list");
        }
        if (strcmp(name, "Exists") == 0) {
                snprintf(why, sizeof why, "there is such a %s already", what);
                snprintf(next, sizeof next, "hvsock %s '%s'", is_service ? "service show" : "id", thing);
                return fail(EXIT_FAILED, thing, why, next);
        }
        if (strcmp(name, "InUse") == 0) {
                snprintf(why, sizeof why, "it is in use: %s", field_text(parameters, "why"));
                return fail(EXIT_FAILED, thing, why, "hvsock tree");
        }
        if (strcmp(name, "Invalid") == 0) {
                snprintf(why, sizeof why, "expected %s", field_text(parameters, "expected"));
                return fail(EXIT_USAGE, field_text(parameters, "parameter"), why,
                            strcmp(method, "AddService") == 0      ? "hvsock service add --help"
                            : strcmp(method, "ImportServices") == 0 ? "hvsock service import --help"
                            : strcmp(method, "AddPartition") == 0   ? "hvsock container add --help"
                                                                    : "hvsock --help");
        }
        if (strcmp(name, "LimitReached") == 0) {
                snprintf(why, sizeof why, "the limit is reached: %lld", (long long)field_int(parameters, "value"));
                return fail(EXIT_FAILED, field_text(parameters, "limit"), why, "hvsock stat");
        }
        if (strcmp(name, "PermissionDenied") == 0)
                return fail(EXIT_DENIED, method, "only root and the owner of this world may change it",
                            "sudo hvsock ...");
        if (strcmp(name, "Failed") == 0)
                return fail(EXIT_FAILED, what, field_text(parameters, "why"), "hvsock doctor");
        return fail(EXIT_FAILED, method, error, "hvsock doctor");
}

static int refusal_code(const char *error) {
        if (strcmp(error, "io.hvsock.NotFound") == 0)
                return EXIT_NOT_FOUND;
        return strcmp(error, "org.varlink.service.PermissionDenied") == 0 ? EXIT_DENIED : EXIT_FAILED;
}

static int call(const char *method, struct json_object *parameters, bool tells, struct json_object **ret_reply) {
        char path[PATH_MAX], full[64];
        management_path(path, sizeof path);
        snprintf(full, sizeof full, "io.hvsock.%s", method);

        struct varlink_client client = {.fd = -1};
        struct json_object *reply = NULL;
        int r = varlink_client_open(&client, path);
        if (r < 0)
                json_object_put(parameters);
        else
                r = varlink_client_send(&client, full, parameters, false);
        if (r == 0)
                r = varlink_client_receive(&client, &reply);
        varlink_client_close(&client);
        if (r < 0)
                return tells ? tell_connect_failure(path, r) : EXIT_NO_BROKER;

        const char *error = field_text(reply, "error");
        if (*error)
                r = tells ? tell_refusal(method, error, field(reply, "parameters")) : refusal_code(error);
        else if (ret_reply)
                *ret_reply = json_object_get(field(reply, "parameters"));
        json_object_put(reply);
        return r;
}

int management_call(const char *method, struct json_object *parameters, struct json_object **ret_reply) {
        return call(method, parameters, true, ret_reply);
}

int management_ask(const char *method, struct json_object *parameters, struct json_object **ret_reply) {
        return call(method, parameters, false, ret_reply);
}

int management_watch(const char *method, int (*each)(struct json_object *reply, void *userdata), void *userdata) {
        char path[PATH_MAX], full[64];
        management_path(path, sizeof path);
        snprintf(full, sizeof full, "io.hvsock.%s", method);

        struct varlink_client client = {.fd = -1};
        int r = varlink_client_open(&client, path);
        if (r == 0)
                r = varlink_client_send(&client, full, NULL, true);
        while (r == 0) {
                struct json_object *reply = NULL;
                r = varlink_client_receive(&client, &reply);
                if (r < 0)
                        break;
                const char *error = field_text(reply, "error");
                r = *error ? tell_refusal(method, error, field(reply, "parameters"))
                           : each(field(reply, "parameters"), userdata);
                json_object_put(reply);
        }
        varlink_client_close(&client);
        if (r == -ECONNRESET)
                return fail(EXIT_NO_BROKER, path, "hvsockd ended the connection", "hvsock doctor");
        return r < 0 ? tell_connect_failure(path, r) : r;
}

struct json_object *parameter(const char *key, const char *value) {
        struct json_object *parameters = json_object_new_object();
        add_text(parameters, key, value);
        return parameters;
}

void add_text(struct json_object *parameters, const char *key, const char *value) {
        if (value)
                json_object_object_add(parameters, key, json_object_new_string(value));
}

void add_flag(struct json_object *parameters, const char *key, bool value) {
        json_object_object_add(parameters, key, json_object_new_boolean(value));
}
