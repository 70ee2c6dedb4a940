/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Between the files of the management interface: its connections, one request,
 * and what answers it.
 *
 * manage.c accepts, reads, writes and enforces the limits; manage_methods.c has
 * the table of methods; manage_services.c, manage_partitions.c, manage_vms.c,
 * manage_world.c, manage_lists.c and manage_why.c answer; manage_monitor.c tells
 * watchers what happens.
 *
 * A handler answers exactly once: by request_reply(), by one of the errors or by
 * a list.
 */

#include "daemon/manage.h"
#include "daemon/varlink.h"

struct manage {
        struct world *world;
        struct source source; /* the listening socket */
        int listen_fd;
        bool is_own;          /* made here: removed at the end */
        struct timer accept_again;
        struct list connections;
        struct list due;      /* connections that are to be answered, one a turn */
        struct timer next;
        unsigned connection_count, watcher_count;
};

/* Of MANAGE_CONNECTIONS_MAX, those kept for who may change the world. */
#define MANAGE_CONNECTIONS_RESERVED 16u

struct manage_connection {
        struct manage *manage;
        struct source source;
        int fd;
        uint32_t pid, uid, gid;
        bool may_change;
        bool watches; /* a monitor: nothing more is read from it */
        struct manage_list *list; /* whose next part is due when nothing is unsent, or NULL */
        bool ended;   /* the client sends no more */
        bool broken;  /* nothing more can be told it: ends at its next turn */
        struct byte_queue received, unsent;
        size_t searched; /* bytes of `received` known to hold no NUL */
        struct list link, due_link;
};

struct request {
        struct manage_connection *connection;
        struct world *world;
        struct varlink_call call;
        int failure; /* a negative errno: the answer could not be written, and the connection ends */
};

void request_reply(struct request *request, struct json_object *parameters); /* consumes; NULL: no parameters */
void request_error(struct request *request, const char *error, struct json_object *parameters);
void request_invalid(struct request *request, const char *parameter, const char *expected);
const char *without_expected(const char *text); /* parsers say "expected yes or no"; the field's name says it already */
void request_not_found(struct request *request, const char *what, const char *name);
void request_exists(struct request *request, const char *what, const char *name);
void request_limit(struct request *request, const char *limit, int64_t value);
void request_failed(struct request *request, const char *what, int error); /* a negative errno */

/* Each of these answers the request itself when it returns false or NULL. */
bool request_parameters(struct request *request, const struct parameter *parameters, size_t count);
bool request_guid(struct request *request, const char *parameter, const char *text, GUID *ret);
/* Also by "loopback", the host's word for itself; a word that stands for no partition, or for many, is refused. */
struct partition *request_partition(struct request *request, const char *name);
#define PORT_EXPECTED "vsock: and a port from 0 to 2147483647"
struct service *request_service(struct request *request, const char *name);

/* A list with one element for each call of `next(state)`, which returns NULL at the end. */
void request_list(struct request *request, const char *key, struct json_object *(*next)(struct request *, void *state),
                  void *state);

/* Writes the next part of connection->list, which is NULL after the last. A negative errno ends the connection. */
int manage_list_continue(struct manage_connection *connection);
struct manage_list *manage_list_end(struct manage_list *list);

/* The message's answer goes to the connection's queue. A negative errno ends the connection. */
int manage_dispatch(struct manage_connection *connection, const char *text, size_t length);
/* The queue is written at the loop's next turn; a reader that let too much pile up is cut off. */
void manage_queued(struct manage_connection *connection, int result);

/* The types of io.hvsock, as JSON. */
struct json_object *json_of_counters(const struct counters *counters);
/* Of one service; NULL: of all. */
struct json_object *json_of_problems(const struct world *world, const struct service *service);
struct json_object *json_of_partition(const struct world *world, const struct partition *partition);
struct json_object *json_of_listener(const struct world *world, const struct listener *listener);
/* "": nothing is wrong. */
const char *problem_of_vm(struct world *world, const struct partition *partition);
void put_service_name(const struct world *world, struct json_object *object, const GUID *service_id);
void put_path(struct json_object *object, const char *key, const struct partition *partition);
void put_command(struct json_object *object, const char *key, uint32_t pid);
struct partition *partition_after(const struct partition *partition); /* parents first; NULL at the end */

void manage_get_world(struct request *request);
void manage_list_listeners(struct request *request);
void manage_list_channels(struct request *request);
void manage_add_service(struct request *request);
void manage_remove_service(struct request *request);
void manage_set_service_enabled(struct request *request);
void manage_list_services(struct request *request);
void manage_get_service(struct request *request);
void manage_import_services(struct request *request);
void manage_export_services(struct request *request);
void manage_add_partition(struct request *request);
void manage_remove_partition(struct request *request);
void manage_list_partitions(struct request *request);
void manage_get_partition(struct request *request);
void manage_get_vm(struct request *request);
void manage_why(struct request *request);
void manage_monitor(struct request *request);

/* manage_monitor.c: the broker's observer. */
void manage_observe(const struct event *event, void *userdata);
