/* SPDX-License-Identifier: MIT */

/* The table of methods, the standard interface of every varlink service, and the forms of an answer. */

#include "daemon/manage_request.h"

#include "base/guid.h"
#include "daemon/services.h"
#include <errno.h>
#include <string.h>

static const char description[] =
#include "daemon/io.hvsock.varlink.inc"
        ;

static const char standard_description[] =
        "# What every varlink service offers.\n"
        "interface org.varlink.service\n"
        "\n"
        "method GetInfo() -> (vendor: string, product: string, version: string, url: string, interfaces: []string)\n"
        "method GetInterfaceDescription(interface: string) -> (description: string)\n"
        "\n"
        "error InterfaceNotFound(interface: string)\n"
        "error MethodNotFound(method: string)\n"
        "error MethodNotImplemented(method: string)\n"
        "error InvalidParameter(parameter: string)\n"
        "error PermissionDenied()\n"
        "error ExpectedMore()\n";

static void get_info(struct request *request) {
        if (!request_parameters(request, NULL, 0))
                return;
        struct json_object *reply = json_object_new_object(), *interfaces = json_object_new_array();
        put_string(reply, "vendor", "hvsock");
        put_string(reply, "product", "hvsockd");
        put_string(reply, "version", HVSOCK_VERSION);
        put_string(reply, "url", "");
        json_object_array_add(interfaces, json_object_new_string("org.varlink.service"));
        json_object_array_add(interfaces, json_object_new_string("io.hvsock"));
        json_object_object_add(reply, "interfaces", interfaces);
        request_reply(request, reply);
}

static void get_interface_description(struct request *request) {
        const char *interface = NULL;
        const struct parameter parameters[] = {{"interface", PARAMETER_STRING, &interface, .required = true}};
        if (!request_parameters(request, parameters, 1))
                return;
        struct json_object *reply = json_object_new_object();
        if (strcmp(interface, "io.hvsock") == 0) {
                put_string(reply, "description", description);
        } else if (strcmp(interface, "org.varlink.service") == 0) {
                put_string(reply, "description", standard_description);
        } else {
                put_string(reply, "interface", interface);
                request_error(request, "org.varlink.service.InterfaceNotFound", reply);
                return;
        }
        request_reply(request, reply);
}

static const struct method {
        const char *name;
        bool changes; /* only for root and the world's owner */
        void (*handle)(struct request *request);
} methods[] = {
        {"org.varlink.service.GetInfo", false, get_info},
        {"org.varlink.service.GetInterfaceDescription", false, get_interface_description},
        {"io.hvsock.GetWorld", false, manage_get_world},
        {"io.hvsock.AddService", true, manage_add_service},
        {"io.hvsock.RemoveService", true, manage_remove_service},
        {"io.hvsock.SetServiceEnabled", true, manage_set_service_enabled},
        {"io.hvsock.ListServices", false, manage_list_services},
        {"io.hvsock.GetService", false, manage_get_service},
        {"io.hvsock.ImportServices", true, manage_import_services},
        {"io.hvsock.ExportServices", false, manage_export_services},
        {"io.hvsock.AddPartition", true, manage_add_partition},
        {"io.hvsock.RemovePartition", true, manage_remove_partition},
        {"io.hvsock.ListPartitions", false, manage_list_partitions},
        {"io.hvsock.GetPartition", false, manage_get_partition},
        {"io.hvsock.GetVm", false, manage_get_vm},
        {"io.hvsock.ListListeners", false, manage_list_listeners},
        {"io.hvsock.ListChannels", false, manage_list_channels},
        {"io.hvsock.Why", false, manage_why},
        {"io.hvsock.Monitor", false, manage_monitor},
};

static const struct method *method_by_name(const char *name) {
        for (size_t i = 0; i < sizeof methods / sizeof *methods; i++)
                if (strcmp(methods[i].name, name) == 0)
                        return &methods[i];
        return NULL;
}

static void request_unknown_method(struct request *request) {
        struct json_object *parameters = json_object_new_object();
        const char *name = request->call.method;
        if (strncmp(name, "io.hvsock.", 10) == 0 || strncmp(name, "org.varlink.service.", 20) == 0) {
                put_string(parameters, "method", name);
                request_error(request, "org.varlink.service.MethodNotFound", parameters);
        } else {
                const char *dot = strrchr(name, '.');
                json_object_object_add(parameters, "interface",
                                       json_object_new_string_len(name, (int)(dot ? dot - name : 0)));
                request_error(request, "org.varlink.service.InterfaceNotFound", parameters);
        }
}

static void handle(struct request *request, const struct method *method) {
        if (method->changes)
                services_reload(request->world); /* so that nothing is written over what was edited a moment ago */
        method->handle(request);
}

int manage_dispatch(struct manage_connection *connection, const char *text, size_t length) {
        struct request request = {.connection = connection, .world = connection->manage->world};
        int r = varlink_call_parse(text, length, &request.call);
        if (r < 0)
                return r;

        const struct method *method = method_by_name(request.call.method);
        if (!method)
                request_unknown_method(&request);
        else if (method->changes && !connection->may_change)
                request_error(&request, "org.varlink.service.PermissionDenied", NULL);
        else
                handle(&request, method);
        varlink_call_release(&request.call);
        return request.failure;
}

static void answer(struct request *request, const char *error, struct json_object *parameters) {
        if (request->call.oneway) {
                json_object_put(parameters);
                return;
        }
        request->failure = varlink_reply(&request->connection->unsent, MANAGE_BACKLOG_MAX, error, parameters, false);
}

void request_reply(struct request *request, struct json_object *parameters) {
        answer(request, NULL, parameters);
}

void request_error(struct request *request, const char *error, struct json_object *parameters) {
        answer(request, error, parameters);
}

const char *without_expected(const char *text) {
        return strncmp(text, "expected ", 9) == 0 ? text + 9 : text;
}

void request_invalid(struct request *request, const char *parameter, const char *expected) {
        struct json_object *parameters = json_object_new_object();
        put_string(parameters, "parameter", parameter);
        put_string(parameters, "expected", without_expected(expected));
        answer(request, "io.hvsock.Invalid", parameters);
}

static void answer_named(struct request *request, const char *error, const char *what, const char *name) {
        struct json_object *parameters = json_object_new_object();
        put_string(parameters, "what", what);
        put_string(parameters, "name", name);
        answer(request, error, parameters);
}

void request_not_found(struct request *request, const char *what, const char *name) {
        answer_named(request, "io.hvsock.NotFound", what, name);
}

void request_exists(struct request *request, const char *what, const char *name) {
        answer_named(request, "io.hvsock.Exists", what, name);
}

void request_limit(struct request *request, const char *limit, int64_t value) {
        struct json_object *parameters = json_object_new_object();
        put_string(parameters, "limit", limit);
        put_int(parameters, "value", value);
        answer(request, "io.hvsock.LimitReached", parameters);
}

void request_failed(struct request *request, const char *what, int error) {
        struct json_object *parameters = json_object_new_object();
        put_string(parameters, "what", what);
        put_string(parameters, "why", strerror(-error));
        answer(request, "io.hvsock.Failed", parameters);
}

bool request_parameters(struct request *request, const struct parameter *parameters, size_t count) {
        const char *offender;
        if (varlink_parameters(&request->call, parameters, count, &offender) == 0)
                return true;
        struct json_object *told = json_object_new_object();
        put_string(told, "parameter", offender);
        request_error(request, "org.varlink.service.InvalidParameter", told);
        return false;
}

bool request_guid(struct request *request, const char *parameter, const char *text, GUID *ret) {
        if (guid_parse(text, ret) == 0)
                return true;
        request_invalid(request, parameter, "a GUID, as in 999e53d4-3d5c-4c3e-8779-bed06ec056e1");
        return false;
}

struct partition *request_partition(struct request *request, const char *name) {
        struct broker *broker = request->world->broker;
        const GUID *word = guid_by_word(name);
        if (word) {
                if (guid_equal(word, &HV_GUID_LOOPBACK))
                        return broker_root(broker);
                request_invalid(request, name, guid_equal(word, &HV_GUID_PARENT)     ? "one partition; the host has no parent"
                                               : guid_equal(word, &HV_GUID_SILOHOST) ? "one partition; only a container has a "
                                                                                       "silo host"
                                                                                     : "one partition; this word is for "
                                                                                       "listeners, and means many");
                return NULL;
        }
        struct partition *partition = partition_by_name(broker, broker_root(broker), name);
        if (!partition)
                request_not_found(request, "partition", name);
        return partition;
}

struct service *request_service(struct request *request, const char *name) {
        struct service *service;
        int r = registry_by_name(request->world->broker, name, &service);
        if (r == 0)
                return service;
        if (r == -ENOTUNIQ)
                answer_named(request, "io.hvsock.Ambiguous", "service", name);
        else
                request_not_found(request, "service", name);
        return NULL;
}

void request_list(struct request *request, const char *key, struct json_object *(*next)(struct request *, void *state),
                  void *state) {
        if (request->call.oneway)
                return;
        struct varlink_list list;
        int r = varlink_list_begin(&list, &request->connection->unsent, MANAGE_BACKLOG_MAX, key);
        for (struct json_object *element; r == 0 && (element = next(request, state));)
                r = varlink_list_add(&list, element);
        if (r == 0)
                r = varlink_list_end(&list, false);
        if (r == 0)
                return;
        varlink_list_abandon(&list);
        if (r == -ENOBUFS)
                request_limit(request, "bytes in a reply", MANAGE_BACKLOG_MAX);
        else
                request->failure = r;
}
