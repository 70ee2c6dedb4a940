/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The server's side of the varlink wire format: JSON objects, each ended by a NUL.
 *
 * Owns reading a call, reading its parameters strictly, and writing replies.
 * Knows nothing of worlds or sockets. What comes from a client is parsed once,
 * with a limit on depth; a parameter of a wrong type, a missing one or an
 * unknown one is an answer (InvalidParameter), never a guess. What goes out is
 * always valid UTF-8, whatever a process or a file is called.
 */

#include <hvsocket.h>
#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define VARLINK_DEPTH_MAX 16 /* of nested objects and arrays in a call */

/* Bytes on their way in or out. Empty when zeroed; gives its memory back when it runs empty. */
struct byte_queue {
        char *bytes;
        size_t start, end, capacity;
};

static inline size_t byte_queue_length(const struct byte_queue *queue) {
        return queue->end - queue->start;
}
/* At least `size` bytes of room behind the end. 0, or -ENOBUFS when there would be more than `limit` bytes; -ENOMEM. */
int byte_queue_reserve(struct byte_queue *queue, size_t size, size_t limit);
int byte_queue_append(struct byte_queue *queue, const void *bytes, size_t size, size_t limit);
void byte_queue_consume(struct byte_queue *queue, size_t size);
void byte_queue_release(struct byte_queue *queue);

struct varlink_call {
        struct json_object *message; /* owned */
        const char *method;          /* inside `message`, as is `parameters` */
        struct json_object *parameters; /* NULL when none were given */
        bool more, oneway;
};

/* `text` is one message without its NUL. -EBADMSG when it is not a call. */
int varlink_call_parse(const char *text, size_t length, struct varlink_call *ret);
void varlink_call_release(struct varlink_call *call);

enum parameter_type {
        PARAMETER_STRING, /* const char *, valid as long as the call */
        PARAMETER_BOOL,   /* bool */
        PARAMETER_INT,    /* int64_t */
        PARAMETER_INTS,   /* struct json_object *: an array of numbers, 0 to UINT32_MAX */
};

struct parameter {
        const char *name;
        enum parameter_type type;
        void *ret; /* untouched when the call does not give it, or gives null */
        bool required;
};

/* 0, or -EINVAL with *ret_offender the parameter that is wrong (valid as long as the call). */
int varlink_parameters(const struct varlink_call *call, const struct parameter *parameters, size_t count,
                       const char **ret_offender);

/* Fields of a reply. Bytes of `text` that are not UTF-8 become '?'. */
void put_string(struct json_object *object, const char *key, const char *text);
void put_int(struct json_object *object, const char *key, int64_t value);
void put_bool(struct json_object *object, const char *key, bool value);
void put_guid(struct json_object *object, const char *key, const GUID *guid);

/* One reply, NUL included. `error` may be NULL; `parameters` is consumed and may be NULL. -ENOBUFS past `limit`. */
int varlink_reply(struct byte_queue *queue, size_t limit, const char *error, struct json_object *parameters,
                  bool continues);

/*
 * A reply whose one parameter is a long array, written element by element so that its JSON never exists as a tree.
 * `list` remembers where it began; after a failure varlink_list_abandon() takes back what was written.
 */
struct varlink_list {
        struct byte_queue *queue;
        size_t limit, before, count;
};
int varlink_list_begin(struct varlink_list *list, struct byte_queue *queue, size_t limit, const char *key);
int varlink_list_add(struct varlink_list *list, struct json_object *element); /* consumes `element` */
int varlink_list_end(struct varlink_list *list, bool continues);
void varlink_list_abandon(struct varlink_list *list);
