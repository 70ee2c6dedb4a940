/* SPDX-License-Identifier: MIT */
#include "daemon/varlink.h"

#include "base/fd.h"
#include "base/guid.h"
#include "base/utf8.h"
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_CAPACITY 16384u /* bytes that an empty queue may keep */

int byte_queue_reserve(struct byte_queue *queue, size_t size, size_t limit) {
        size_t length = byte_queue_length(queue);
        if (size > limit || length > limit - size)
                return -ENOBUFS;
        if (queue->capacity - queue->end >= size)
                return 0;

        if (queue->start > 0) {
                memmove(queue->bytes, queue->bytes + queue->start, length);
                queue->start = 0;
                queue->end = length;
        }
        if (queue->capacity - queue->end >= size)
                return 0;

        size_t capacity = queue->capacity ? queue->capacity : 1024;
        while (capacity - length < size)
                capacity *= 2;
        char *bytes = realloc(queue->bytes, capacity);
        if (!bytes)
                return -ENOMEM;
        queue->bytes = bytes;
        queue->capacity = capacity;
        return 0;
}

int byte_queue_append(struct byte_queue *queue, const void *bytes, size_t size, size_t limit) {
        int r = byte_queue_reserve(queue, size, limit);
        if (r < 0)
                return r;
        memcpy(queue->bytes + queue->end, bytes, size);
        queue->end += size;
        return 0;
}

void byte_queue_consume(struct byte_queue *queue, size_t size) {
        queue->start += size;
        if (queue->start < queue->end)
                return;
        queue->start = queue->end = 0;
        if (queue->capacity > KEPT_CAPACITY)
                byte_queue_release(queue);
}

void byte_queue_release(struct byte_queue *queue) {
        free(queue->bytes);
        *queue = (struct byte_queue){};
}

static void tokener_freep(struct json_tokener **tokener) {
        if (*tokener)
                json_tokener_free(*tokener);
}

static int flag_of(struct json_object *message, const char *key, bool *ret) {
        struct json_object *value;
        if (!json_object_object_get_ex(message, key, &value) || !value)
                return 0;
        if (!json_object_is_type(value, json_type_boolean))
                return -EBADMSG;
        *ret = json_object_get_boolean(value);
        return 0;
}

/* A string without a NUL inside: what follows one would be checked by nobody. */
static const char *string_of(struct json_object *value) {
        if (!json_object_is_type(value, json_type_string))
                return NULL;
        const char *text = json_object_get_string(value);
        return strlen(text) == (size_t)json_object_get_string_len(value) ? text : NULL;
}

int varlink_call_parse(const char *text, size_t length, struct varlink_call *ret) {
        cleanup(tokener_freep) struct json_tokener *tokener = json_tokener_new_ex(VARLINK_DEPTH_MAX);
        if (!tokener)
                return -ENOMEM;
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT | JSON_TOKENER_VALIDATE_UTF8);

        struct varlink_call call = {.message = json_tokener_parse_ex(tokener, text, (int)length)};
        if (!call.message)
                return -EBADMSG;
        struct json_object *method = NULL;
        if (json_tokener_get_parse_end(tokener) != length || !json_object_is_type(call.message, json_type_object) ||
            !json_object_object_get_ex(call.message, "method", &method) || !(call.method = string_of(method)) ||
            flag_of(call.message, "more", &call.more) < 0 || flag_of(call.message, "oneway", &call.oneway) < 0)
                goto bad;
        if (json_object_object_get_ex(call.message, "parameters", &call.parameters) && call.parameters &&
            !json_object_is_type(call.parameters, json_type_object))
                goto bad;
        *ret = call;
        return 0;

bad:
        json_object_put(call.message);
        return -EBADMSG;
}

void varlink_call_release(struct varlink_call *call) {
        json_object_put(call->message);
        *call = (struct varlink_call){};
}

/* json-c saturates what does not fit 64 bits, so the ends of the range are refused. */
static bool is_int(struct json_object *value) {
        return json_object_is_type(value, json_type_int) && json_object_get_int64(value) < INT64_MAX &&
               json_object_get_int64(value) > INT64_MIN;
}

static bool is_array_of_ids(struct json_object *value) {
        if (!json_object_is_type(value, json_type_array))
                return false;
        for (size_t i = 0; i < json_object_array_length(value); i++) {
                struct json_object *element = json_object_array_get_idx(value, i);
                if (!is_int(element) || json_object_get_int64(element) < 0 ||
                    json_object_get_int64(element) > UINT32_MAX)
                        return false;
        }
        return true;
}

static bool read_parameter(struct json_object *value, const struct parameter *parameter) {
        switch (parameter->type) {
        case PARAMETER_STRING: {
                const char *text = string_of(value);
                if (text)
                        *(const char **)parameter->ret = text;
                return text;
        }
        case PARAMETER_BOOL:
                if (!json_object_is_type(value, json_type_boolean))
                        return false;
                *(bool *)parameter->ret = json_object_get_boolean(value);
                return true;
        case PARAMETER_INT:
                if (!is_int(value))
                        return false;
                *(int64_t *)parameter->ret = json_object_get_int64(value);
                return true;
        case PARAMETER_INTS:
                if (!is_array_of_ids(value))
                        return false;
                *(struct json_object **)parameter->ret = value;
                return true;
        }
        return false;
}

int varlink_parameters(const struct varlink_call *call, const struct parameter *parameters, size_t count,
                       const char **ret_offender) {
        for (size_t i = 0; i < count; i++) {
                struct json_object *value = NULL;
                if (call->parameters)
                        json_object_object_get_ex(call->parameters, parameters[i].name, &value);
                if (value ? !read_parameter(value, &parameters[i]) : parameters[i].required) {
                        *ret_offender = parameters[i].name;
                        return -EINVAL;
                }
        }
        if (!call->parameters)
                return 0;
        json_object_object_foreach(call->parameters, key, ignored) {
                (void)ignored;
                size_t i = 0;
                while (i < count && strcmp(parameters[i].name, key))
                        i++;
                if (i == count) {
                        *ret_offender = key;
                        return -EINVAL;
                }
        }
        return 0;
}

void put_string(struct json_object *object, const char *key, const char *text) {
        struct json_object *value = NULL;
        char *copy = strdup(text);
        if (copy) {
                for (char *at = copy; *at;) {
                        uint32_t code_point;
                        size_t length = utf8_decode(at, &code_point);
                        if (length == 0) {
                                *at = '?';
                                length = 1;
                        }
                        at += length;
                }
                value = json_object_new_string(copy);
                free(copy);
        }
        json_object_object_add(object, key, value);
}

void put_int(struct json_object *object, const char *key, int64_t value) {
        json_object_object_add(object, key, json_object_new_int64(value));
}

void put_bool(struct json_object *object, const char *key, bool value) {
        json_object_object_add(object, key, json_object_new_boolean(value));
}

void put_guid(struct json_object *object, const char *key, const GUID *guid) {
        char text[HV_GUID_TEXT_SIZE];
        guid_format(guid, text);
        json_object_object_add(object, key, json_object_new_string(text));
}

#define TEXT_FLAGS (JSON_C_TO_STRING_PLAIN | JSON_C_TO_STRING_NOSLASHESCAPE)

int varlink_reply(struct byte_queue *queue, size_t limit, const char *error, struct json_object *parameters,
                  bool continues) {
        struct json_object *reply = json_object_new_object();
        if (!reply) {
                json_object_put(parameters);
                return -ENOMEM;
        }
        if (error)
                json_object_object_add(reply, "error", json_object_new_string(error));
        json_object_object_add(reply, "parameters", parameters ? parameters : json_object_new_object());
        if (continues)
                put_bool(reply, "continues", true);

        size_t length;
        const char *text = json_object_to_json_string_length(reply, TEXT_FLAGS, &length);
        int r = text ? byte_queue_append(queue, text, length + 1, limit) : -ENOMEM;
        json_object_put(reply);
        return r;
}

int varlink_list_begin(struct varlink_list *list, struct byte_queue *queue, size_t limit, const char *key) {
        *list = (struct varlink_list){.queue = queue, .limit = limit, .before = byte_queue_length(queue)};
        char head[128];
        int length = snprintf(head, sizeof head, "{\"parameters\":{\"%s\":[", key);
        return byte_queue_append(queue, head, (size_t)length, limit);
}

int varlink_list_add(struct varlink_list *list, struct json_object *element) {
        size_t length;
        const char *text = element ? json_object_to_json_string_length(element, TEXT_FLAGS, &length) : NULL;
        int r = text ? 0 : -ENOMEM;
        if (r == 0 && list->count > 0)
                r = byte_queue_append(list->queue, ",", 1, list->limit);
        if (r == 0)
                r = byte_queue_append(list->queue, text, length, list->limit);
        list->count++;
        json_object_put(element);
        return r;
}

int varlink_list_end(struct varlink_list *list, bool continues) {
        const char *tail = continues ? "]},\"continues\":true}" : "]}}";
        return byte_queue_append(list->queue, tail, strlen(tail) + 1, list->limit);
}

void varlink_list_abandon(struct varlink_list *list) {
        list->queue->end = list->queue->start + list->before;
}
