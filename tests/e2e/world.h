/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A private world for one test: a broker on directories of its own, the
 * partitions in it, its registry, and the programs that run in its partitions.
 *
 * Everything goes through public doors: definitions and drop-ins are files, the
 * rest is the management interface, and programs use libhvsock. world_end()
 * checks what no test may leave behind: a program's descriptor, a listener, a
 * channel, a descriptor of the broker. Functions that cannot do what they
 * promise fail the test.
 *
 * $HVSOCK_BUILD says where hvsockd and hvsock are.
 */

#include <hvsock.h>
#include <json-c/json.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <sys/types.h>

#define WORLD_PARTITIONS_MAX 32
#define WORLD_WAIT_MS 20000 /* nothing that a test waits for takes as long */

struct program;

struct world_partition {
        char path[256]; /* "web01/db"; "host" is the host */
        GUID id;
        struct program *program; /* program_in()'s, made at the first call */
};

struct world {
        char root[PATH_MAX]; /* removed at the end */
        char runtime[PATH_MAX], state[PATH_MAX], services[PATH_MAX], config[PATH_MAX];
        uid_t uid;           /* whose broker */
        pid_t broker;        /* 0 while none runs */
        int notify_fd;       /* the broker says here that it is ready */
        unsigned broker_descriptors; /* when it was ready */
        unsigned extra_descriptors;  /* how many more it may have at the end: partitions added, services on demand */
        unsigned partition_count;
        struct world_partition partitions[WORLD_PARTITIONS_MAX];
};

/* Registered by world_family(), for everybody. */
extern const GUID ECHO;
#define ECHO_NAME "Echo Service"
/* Other services: each number is a GUID, registered by nobody. */
GUID service_numbered(unsigned number);
GUID port_service(unsigned port); /* of a vsock port */

/* Directories, a host, nothing running. */
struct world *world_new(void);
/*
 * A world that runs, with the service ECHO:
 *
 *     host ── web01 (VM) ─┬─ db    (container)
 *        │                ├─ cache (container)
 *        │                └─ proxy (container, may pass through)
 *        ├─ web02 (VM)
 *        ├─ off   (VM, known but not running)
 *        └─ box   (container) ── inner (container)
 */
struct world *world_family(void);

/* Before world_start(): a partition; `extra` are lines of its definition. */
void world_define(struct world *world, const char *path, const char *kind, const char *extra);
/* A drop-in, at any time; a running broker finds it by itself: world_await_service() waits for that. */
void world_write_service(struct world *world, const GUID *service_id, const char *name, const char *extra);
void world_await_service(struct world *world, const GUID *service_id, const char *pointer, const char *expected);
/* Before world_start(): lines of hvsockd.conf. */
void world_configure(struct world *world, const char *lines);

void world_start(struct world *world);   /* returns when the broker said that it is ready */
void world_stop(struct world *world);    /* SIGTERM: it must exit with 0 */
void world_kill(struct world *world);    /* SIGKILL */
void world_end(struct world *world);

/* Nothing listens and no channel is open. */
void world_check_quiet(struct world *world);

const GUID *world_id(struct world *world, const char *path);
/* The directory that a container would have mounted. */
void world_directory(struct world *world, const char *path, char ret_directory[PATH_MAX]);
/* Makes this very process a process of that partition. */
void world_enter(struct world *world, const char *path);
/* An executable in $HVSOCK_BUILD. */
void world_executable(const char *name, char ret_path[PATH_MAX]);

/*
 * Calls io.hvsock.METHOD with JSON parameters. Returns the reply's parameters,
 * which the caller puts, or fails the test.
 */
struct json_object *manage(struct world *world, const char *method, const char *format, ...)
        __attribute__((format(printf, 3, 4)));
/* A call with "more", and its next reply, which is a part; the caller closes the descriptor and puts the reply. */
int manage_begin(struct world *world, const char *method);
struct json_object *manage_next(int fd);
/* The same where an error is expected: "NotFound". */
void manage_refused(struct world *world, const char *error, const char *method, const char *format, ...)
        __attribute__((format(printf, 4, 5)));
/* By JSON pointer: "/service/counters/channelsNow". */
long long number_at(struct json_object *object, const char *pointer);
bool flag_at(struct json_object *object, const char *pointer);
const char *text_at(struct json_object *object, const char *pointer);
size_t length_at(struct json_object *object, const char *pointer);
/* A counter of a service: "channelsNow", "refused/no-listener" (0 when there was none). */
long long service_counter(struct world *world, const GUID *service_id, const char *counter);
bool partition_is_running(struct world *world, const char *path);
long long partition_counter(struct world *world, const char *path, const char *counter);

/* Runs build/hvsock in this world; its output goes to `ret_output`. Returns the exit code. */
int cli(struct world *world, char *ret_output, size_t size, ...) __attribute__((sentinel));

/* Skips the test, before it has begun anything, unless it may act as other users. */
void world_require_root(void);
/* As above, and other users can run what was built: a checkout may lie where only root goes. */
void world_require_reach(void);

/* Waits for a child of the test that should end by itself; returns its wait status. */
int await_child(pid_t pid);
/* Waits for a child that checks things: the test fails as the child did. */
void await_checker(pid_t pid);
/* Waits until `condition` holds, looking again every few milliseconds; false when it never did. */
#define await(condition)                                                                 \
        ({                                                                               \
                bool held_ = false;                                                      \
                for (unsigned tries_ = 0; !(held_ = (condition)) && tries_ < WORLD_WAIT_MS / 5; tries_++) \
                        world_pause_ms(5);                                               \
                held_;                                                                   \
        })
void world_pause_ms(unsigned milliseconds);
unsigned world_count_descriptors(pid_t pid);
/* One of the library's own connections to the broker, as against a channel or listener that a program left open. */
bool world_is_library_descriptor(int fd);
unsigned world_count_library_descriptors(void); /* in this process */
