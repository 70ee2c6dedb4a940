/* SPDX-License-Identifier: MIT */
#include "cli/management.h"

#include "cli/advice.h"
#include "cli/broker_place.h"
#include "cli/varlink_client.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALL_TIMEOUT_S 30
#define ASK_TIMEOUT_S 2

static int tell_connect_failure(const struct broker_place *place, int error) {
        const char *why = "no hvsockd is running", *next = advice_start_broker(0);
        char unset[64];
        enum exit_code code = EXIT_NO_BROKER;
        switch (error) {
        case -EACCES:
        case -EPERM:
                code = EXIT_DENIED;
                why = "only root and group hvsock may manage this world";
                next = advice_again("sudo", "");
                break;
        case -ENOENT:
        case -ENOTDIR:
                if (place->variable)
                        why = "there is no such socket";
                else if (getenv("HVSOCK_SOCKET")) {
                        why = "a partition has no management interface; its host has";
                        next = advice_on_host(advice_again("", ""));
                }
                break;
        case -ENOTSOCK:
        case -EPROTOTYPE:
                why = "this is no management socket";
                break;
        case -ECONNREFUSED:
                why = "the hvsockd that made this socket is gone";
                break;
        case -ECONNRESET:
                why = "hvsockd ended the connection";
                next = "hvsock doctor";
                break;
        case -ETIMEDOUT:
                code = EXIT_TIMED_OUT;
                why = "hvsockd does not answer";
                next = "hvsock doctor";
                break;
        default:
                why = strerror(-error);
                next = "hvsock doctor";
        }
        if (place->variable && code == EXIT_NO_BROKER && error != -ECONNRESET) {
                snprintf(unset, sizeof unset, "unset %s", place->variable);
                next = unset;
        }
        return fail(code, place->path, why, next);
}

/* `file`: what the text in the call was read from, or NULL. */
static int tell_refusal(const char *method, const char *file, const char *error, struct json_object *parameters) {
        const char *name = strrchr(error, '.');
        name = name ? name + 1 : error;
        const char *what = field_text(parameters, "what"), *thing = field_text(parameters, "name");
        char why[512], show[ADVICE_SIZE + 32], place[PRINTABLE_SIZE];
        bool is_service = strcmp(what, "service") == 0;
        const char *next = is_service ? "hvsock service list" : "hvsock tree";
        enum exit_code code = EXIT_FAILED;

        if (strcmp(name, "NotFound") == 0) {
                code = EXIT_NOT_FOUND;
                snprintf(why, sizeof why, "no such %s", what);
        } else if (strcmp(name, "Ambiguous") == 0) {
                snprintf(why, sizeof why, "more than one %s bears this name; use its GUID", what);
        } else if (strcmp(name, "Exists") == 0) {
                snprintf(why, sizeof why, "there is such a %s already", what);
                snprintf(show, sizeof show, "hvsock service show %s", quoted(thing));
                next = is_service ? show : next; /* a label alone finds no partition in another */
                if (strcmp(what, "CID") == 0)
                        next = "hvsock vm list";
        } else if (strcmp(name, "InUse") == 0) {
                snprintf(why, sizeof why, "it is in use: %s", field_text(parameters, "why"));
        } else if (strcmp(name, "Invalid") == 0) {
                code = file ? EXIT_FAILED : EXIT_USAGE;
                thing = file ? place : field_text(parameters, "parameter");
                snprintf(place, sizeof place, "%s:%lld", file ? file : "", (long long)field_int(parameters, "line"));
                snprintf(why, sizeof why, "expected %s", field_text(parameters, "expected"));
                next = advice_help();
        } else if (strcmp(name, "LimitReached") == 0) {
                thing = field_text(parameters, "limit");
                snprintf(why, sizeof why, "the limit is reached: %lld", (long long)field_int(parameters, "value"));
                next = "hvsock stat";
        } else if (strcmp(name, "PermissionDenied") == 0) {
                code = EXIT_DENIED;
                thing = method;
                snprintf(why, sizeof why, "only root and the owner of this world may change it");
                next = advice_again("sudo", "");
        } else {
                bool is_failed = strcmp(name, "Failed") == 0;
                thing = is_failed ? what : method;
                snprintf(why, sizeof why, "%s", is_failed ? field_text(parameters, "why") : error);
                next = "hvsock doctor";
        }
        return fail(code, thing, why, advice_in_this_world(next));
}

static int refusal_code(const char *error) {
        if (strcmp(error, "io.hvsock.NotFound") == 0)
                return EXIT_NOT_FOUND;
        return strcmp(error, "org.varlink.service.PermissionDenied") == 0 ? EXIT_DENIED : EXIT_FAILED;
}

/* Opens a connection and sends the call; `parameters` is consumed. 0 or -errno. */
static int begin(struct varlink_client *client, const struct broker_place *place, unsigned timeout_s,
                 const char *method, struct json_object *parameters, bool more) {
        char full[64];
        snprintf(full, sizeof full, "io.hvsock.%s", method);
        int r = place->error == -ENOTSOCK ? -ENOTSOCK : varlink_client_open(client, place->path, timeout_s);
        if (r < 0)
                json_object_put(parameters);
        else
                r = varlink_client_send(client, full, parameters, more);
        return r;
}

static int call(const char *method, struct json_object *parameters, bool tells, const char *file,
                struct json_object **ret_reply) {
        struct broker_place place;
        struct varlink_client client = {.fd = -1};
        struct json_object *reply = NULL;
        broker_place_of_management(&place);
        int r = begin(&client, &place, tells ? CALL_TIMEOUT_S : ASK_TIMEOUT_S, method, parameters, false);
        if (r == 0)
                r = varlink_client_receive(&client, &reply);
        varlink_client_close(&client);
        if (r < 0)
                return tells ? tell_connect_failure(&place, r) : r == -ETIMEDOUT ? EXIT_TIMED_OUT : EXIT_NO_BROKER;

        const char *error = field_text(reply, "error");
        if (*error)
                r = tells ? tell_refusal(method, file, error, field(reply, "parameters")) : refusal_code(error);
        else if (ret_reply)
                *ret_reply = json_object_get(field(reply, "parameters"));
        json_object_put(reply);
        return r;
}

int management_call(const char *method, struct json_object *parameters, struct json_object **ret_reply) {
        return call(method, parameters, true, NULL, ret_reply);
}

int management_call_with_text(const char *method, const char *text, const char *file, struct json_object **ret_reply) {
        return call(method, parameter("text", text), true, file, ret_reply);
}

int management_ask(const char *method, struct json_object *parameters, struct json_object **ret_reply) {
        return call(method, parameters, false, NULL, ret_reply);
}

static int stream(const char *method, bool for_ever, int (*each)(struct json_object *reply, void *userdata),
                  void *userdata) {
        struct broker_place place;
        struct varlink_client client = {.fd = -1};
        broker_place_of_management(&place);
        int r = begin(&client, &place, CALL_TIMEOUT_S, method, NULL, true);
        if (r == 0 && for_ever)
                r = varlink_client_wait_for_ever(&client);
        for (bool continues = true; r == 0 && continues;) {
                struct json_object *reply = NULL;
                r = varlink_client_receive(&client, &reply);
                if (r < 0)
                        break;
                const char *error = field_text(reply, "error");
                r = *error ? tell_refusal(method, NULL, error, field(reply, "parameters"))
                           : each(field(reply, "parameters"), userdata);
                continues = json_object_get_boolean(field(reply, "continues"));
                json_object_put(reply);
        }
        varlink_client_close(&client);
        return r < 0 ? tell_connect_failure(&place, r) : r;
}

int management_watch(const char *method, int (*each)(struct json_object *reply, void *userdata), void *userdata) {
        return stream(method, true, each, userdata);
}

int management_list(const char *method, int (*each)(struct json_object *part, void *userdata), void *userdata) {
        return stream(method, false, each, userdata);
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
