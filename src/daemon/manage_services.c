/* SPDX-License-Identifier: MIT */

/* Management of services: add, remove, enable, disable, list, show, import, export. */

#include "daemon/manage_request.h"

#include "base/guid.h"
#include "daemon/activation.h"
#include "daemon/rings.h"
#include "daemon/spawn.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct json_object *json_of_failure(const struct failure *failure) {
        struct json_object *object = json_object_new_object();
        put_int(object, "timeMs", failure->time_ms);
        put_string(object, "cause", failure->cause);
        if (failure->exit_status >= 0)
                put_int(object, "exitStatus", failure->exit_status);
        if (failure->signal) {
                char name[16];
                snprintf(name, sizeof name, "SIG%s", sigabbrev_np(failure->signal));
                put_string(object, "signal", name);
        }
        return object;
}

static struct json_object *json_of_service(const struct world *world, const struct service *service) {
        const struct service_definition *definition = &service->definition;
        char bind[PRINCIPALS_MAX * 65], connect[PRINCIPALS_MAX * 65];
        access_format(&definition->bind, bind, sizeof bind);
        access_format(&definition->connect, connect, sizeof connect);

        struct json_object *object = json_object_new_object();
        put_guid(object, "id", &definition->service_id);
        put_string(object, "name", definition->name);
        put_bool(object, "enabled", definition->enabled);
        put_bool(object, "wildcardBinds", definition->wildcard_binds);
        put_string(object, "bind", bind);
        put_string(object, "connect", connect);
        put_string(object, "exec", definition->exec);
        put_string(object, "user", definition->exec_user);
        put_bool(object, "accept", definition->exec_accept);
        put_string(object, "partition", definition->exec_partition);
        put_string(object, "source", definition->source);
        json_object_object_add(object, "counters", json_of_counters(&service->counters));
        json_object_object_add(object, "problems", json_of_problems(world, service));
        const struct failure *failure = activation_last_failure(service);
        if (failure)
                json_object_object_add(object, "lastFailure", json_of_failure(failure));
        return object;
}

static void reply_service(struct request *request, const struct service *service) {
        struct json_object *reply = json_object_new_object();
        json_object_object_add(reply, "service", json_of_service(request->world, service));
        request_reply(request, reply);
}

/* A value that one line of a drop-in can hold as it is. */
static bool take_text(struct request *request, const char *parameter, const char *text, char *ret, size_t size) {
        size_t length = strlen(text);
        bool is_plain = length < size && text[0] != ' ' && (length == 0 || text[length - 1] != ' ');
        for (size_t i = 0; i < length; i++)
                is_plain = is_plain && (unsigned char)text[i] >= 0x20 && text[i] != 0x7f;
        if (!is_plain) {
                char expected[96];
                snprintf(expected, sizeof expected,
                         "at most %zu bytes, no control characters, no space at either end", size - 1);
                request_invalid(request, parameter, expected);
                return false;
        }
        memcpy(ret, text, length + 1);
        return true;
}

static bool take_access(struct request *request, const char *parameter, const char *text, struct access *ret) {
        char expected[160] = "a rule, as in \"user:alice group:wheel\"";
        if (access_parse(text, world_principal_lookup, ret, expected) == 0)
                return true;
        request_invalid(request, parameter, expected);
        return false;
}

static bool take_name(struct request *request, const char *name, char *ret, size_t size) {
        GUID ignored;
        if (name[0] == 0 || guid_parse(name, &ignored) == 0 || strncmp(name, "vsock:", 6) == 0) {
                request_invalid(request, "name", "a friendly name: not empty, not a GUID, not vsock:");
                return false;
        }
        return take_text(request, "name", name, ret, size);
}

/* Unlike a program or a partition, a user does not come later. */
static bool take_user(struct request *request, const char *user, struct service_definition *definition) {
        if (!take_text(request, "user", user, definition->exec_user, sizeof definition->exec_user))
                return false;
        int r = spawn_check_user(user);
        if (r == -ENOENT)
                request_invalid(request, "user", "a user of this host");
        else if (r == -EPERM)
                request_invalid(request, "user", "the world's own user: only root may start a program as another");
        return r == 0;
}

/* The drop-in's own parser has the last word: what is written must be what will be read. */
static void refuse_to_save(struct request *request, const char *what, int r, const struct text_error *error) {
        if (r == -EINVAL && *error->expected)
                request_invalid(request, "service", error->expected);
        else if (r == -ENOSPC)
                request_limit(request, "services", SERVICES_MAX);
        else
                request_failed(request, what, r);
}

static void save_service(struct request *request, const struct service_definition *definition) {
        struct service *service;
        struct text_error error = {};
        int r = world_save_service(request->world, definition, &service, &error);
        if (r < 0)
                refuse_to_save(request, "the service was not added", r, &error);
        else
                reply_service(request, service);
}

void manage_add_service(struct request *request) {
        const char *name = NULL, *id = NULL, *bind = "", *connect = "", *exec = "", *user = "", *partition = "";
        struct service_definition definition = {.enabled = true, .wildcard_binds = true};
        const struct parameter parameters[] = {
                {"name", PARAMETER_STRING, &name, .required = true},
                {"id", PARAMETER_STRING, &id},
                {"enabled", PARAMETER_BOOL, &definition.enabled},
                {"wildcardBinds", PARAMETER_BOOL, &definition.wildcard_binds},
                {"bind", PARAMETER_STRING, &bind},
                {"connect", PARAMETER_STRING, &connect},
                {"exec", PARAMETER_STRING, &exec},
                {"user", PARAMETER_STRING, &user},
                {"accept", PARAMETER_BOOL, &definition.exec_accept},
                {"partition", PARAMETER_STRING, &partition},
        };
        if (!request_parameters(request, parameters, sizeof parameters / sizeof *parameters) ||
            !take_name(request, name, definition.name, sizeof definition.name) ||
            !take_access(request, "bind", bind, &definition.bind) ||
            !take_access(request, "connect", connect, &definition.connect) ||
            !take_text(request, "exec", exec, definition.exec, sizeof definition.exec) ||
            !take_user(request, user, &definition) ||
            !take_text(request, "partition", partition, definition.exec_partition, sizeof definition.exec_partition))
                return;
        struct broker *broker = request->world->broker;
        if (id) {
                if (guid_parse_service(id, &definition.service_id) < 0) {
                        request_invalid(request, "id",
                                        "a GUID, as in 999e53d4-3d5c-4c3e-8779-bed06ec056e1, or " PORT_EXPECTED);
                        return;
                }
                if (guid_is_zero(&definition.service_id)) {
                        request_invalid(request, "id", "a ServiceId that is not all zero");
                        return;
                }
                if (registry_by_id(broker, &definition.service_id)) {
                        request_exists(request, "service", id);
                        return;
                }
        }
        struct service *namesake;
        if (registry_by_name(broker, name, &namesake) != -ENOENT) {
                request_exists(request, "service", name);
                return;
        }
        save_service(request, &definition);
}

static struct service *named_service(struct request *request) {
        const char *name = NULL;
        const struct parameter parameters[] = {{"service", PARAMETER_STRING, &name, .required = true}};
        return request_parameters(request, parameters, 1) ? request_service(request, name) : NULL;
}

void manage_remove_service(struct request *request) {
        const char *name = NULL;
        const struct parameter parameters[] = {{"service", PARAMETER_STRING, &name, .required = true}};
        if (!request_parameters(request, parameters, 1))
                return;
        GUID service_id;
        if (guid_parse_service(name, &service_id) < 0) {
                const struct service *service = request_service(request, name);
                if (!service)
                        return;
                service_id = service->definition.service_id;
        }
        int r = world_remove_service(request->world, &service_id);
        if (r == -ENOENT)
                request_not_found(request, "service", name);
        else if (r < 0)
                request_failed(request, "the service was not removed", r);
        else
                request_reply(request, NULL);
}

void manage_set_service_enabled(struct request *request) {
        const char *name = NULL;
        bool enabled = false;
        const struct parameter parameters[] = {
                {"service", PARAMETER_STRING, &name, .required = true},
                {"enabled", PARAMETER_BOOL, &enabled, .required = true},
        };
        struct service *service;
        if (!request_parameters(request, parameters, 2) || !(service = request_service(request, name)))
                return;
        unsigned listeners_ended = 0, channels_remaining = 0;
        struct text_error error = {};
        int r = world_set_service_enabled(request->world, service, enabled, &listeners_ended, &channels_remaining, &error);
        if (r < 0) {
                refuse_to_save(request, enabled ? "the service was not enabled" : "the service was not disabled", r, &error);
                return;
        }
        struct json_object *reply = json_object_new_object();
        put_int(reply, "listenersEnded", listeners_ended);
        put_int(reply, "channelsRemaining", channels_remaining);
        request_reply(request, reply);
}

static struct json_object *next_service(struct request *request, void *state) {
        const struct service **at = state;
        *at = registry_next(request->world->broker, *at);
        return *at ? json_of_service(request->world, *at) : NULL;
}

void manage_list_services(struct request *request) {
        if (!request_parameters(request, NULL, 0))
                return;
        world_probe_all(request->world);
        rings_count_all(request->world);
        const struct service *at = NULL;
        request_list(request, "services", next_service, &at);
}

void manage_get_service(struct request *request) {
        const struct service *service = named_service(request);
        if (!service)
                return;
        rings_count_all(request->world);
        reply_service(request, service);
}

/* All is read before anything is saved: a mistake in the text imports nothing. */
struct imported {
        GUID service_id;
        char name[SERVICE_NAME_MAX + 1];
};

struct import {
        struct imported *services;
        size_t count, capacity;
};

static int import_each(const struct service_definition *definition, void *userdata) {
        struct import *import = userdata;
        if (import->count == SERVICES_MAX)
                return -ENOSPC;
        if (import->count == import->capacity) {
                size_t capacity = import->capacity ? import->capacity * 2 : 16;
                struct imported *services = reallocarray(import->services, capacity, sizeof *services);
                if (!services)
                        return -ENOMEM;
                import->services = services;
                import->capacity = capacity;
        }
        struct imported *imported = &import->services[import->count++];
        imported->service_id = definition->service_id;
        memcpy(imported->name, definition->name, sizeof imported->name);
        return 0;
}

/* A .reg file says what a service is called; who may use a known one, and whether, stays as it was. */
static int import_one(struct request *request, const struct imported *imported, bool *ret_replaced,
                      struct text_error *ret_error) {
        const struct service *known = registry_by_id(request->world->broker, &imported->service_id);
        struct service_definition definition = {.service_id = imported->service_id,
                                                .enabled = true,
                                                .wildcard_binds = true,
                                                .bind.is_default = true,
                                                .connect.is_default = true};
        if (known)
                definition = known->definition;
        memcpy(definition.name, imported->name, sizeof definition.name);
        *ret_replaced = known;
        struct service *service;
        return world_save_service(request->world, &definition, &service, ret_error);
}

void manage_import_services(struct request *request) {
        const char *text = NULL;
        const struct parameter parameters[] = {{"text", PARAMETER_STRING, &text, .required = true}};
        if (!request_parameters(request, parameters, 1))
                return;

        struct import import = {};
        struct text_error error = {};
        int r = reg_import(text, strlen(text), import_each, &import, &error);
        if (r == -EINVAL) {
                struct json_object *mistake = json_object_new_object();
                put_string(mistake, "parameter", "text");
                put_string(mistake, "expected", without_expected(error.expected));
                put_int(mistake, "line", error.line);
                request_error(request, "io.hvsock.Invalid", mistake);
        } else if (r == -ENOSPC) {
                request_limit(request, "services", SERVICES_MAX);
        } else if (r < 0) {
                request_failed(request, "nothing was imported", r);
        }

        struct json_object *added = json_object_new_array(), *replaced = json_object_new_array();
        for (size_t i = 0; r == 0 && i < import.count; i++) {
                bool was_known;
                r = import_one(request, &import.services[i], &was_known, &error);
                char id[HV_GUID_TEXT_SIZE], what[64];
                guid_format(&import.services[i].service_id, id);
                snprintf(what, sizeof what, "%zu of %zu services were imported", i, import.count);
                if (r == 0)
                        json_object_array_add(was_known ? replaced : added, json_object_new_string(id));
                else
                        refuse_to_save(request, what, r, &error);
        }
        free(import.services);
        if (r < 0) {
                json_object_put(added);
                json_object_put(replaced);
                return;
        }
        struct json_object *reply = json_object_new_object();
        json_object_object_add(reply, "added", added);
        json_object_object_add(reply, "replaced", replaced);
        request_reply(request, reply);
}

void manage_export_services(struct request *request) {
        if (!request_parameters(request, NULL, 0))
                return;
        char *text;
        int r = reg_export(request->world->broker, &text);
        if (r < 0) {
                request_failed(request, "nothing was exported", r);
                return;
        }
        struct json_object *reply = json_object_new_object();
        put_string(reply, "text", text);
        free(text);
        request_reply(request, reply);
}
