/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A running hvsockd and packets made by hand: what a program that is not
 * libhvsock, or means harm, can do to it. $HVSOCK_BUILD says where hvsockd is.
 *
 * Functions that cannot do what they promise fail the test.
 */

#include "wire/message.h"
#include "wire/name.h"
#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct bare_world {
        char root[PATH_MAX]; /* removed at the end; runtime/, state/, services/, lower/ and hvsockd.conf lie in it */
        pid_t broker;        /* 0 while none runs */
        int control_fd;      /* passed to the broker as systemd does, or -1 */
};

extern const GUID HOST;          /* the host's VmId */
extern const GUID SERVICE;       /* a ServiceId nobody registered */
extern const GUID OTHER_SERVICE; /* another */

/* Directories and the definition of the host, nothing running. */
void bare_new(struct bare_world *world);
/* Writes `text` to a file under the root, as an editor does: in place, or beside and renamed. */
void bare_write(const struct bare_world *world, const char *path, const char *text);
void bare_replace(const struct bare_world *world, const char *path, const char *text);
/* "Format=1" and then `lines` for services/<service_id>.conf. */
void bare_service(const struct bare_world *world, const char *directory, const GUID *service_id, const char *lines);
void bare_partition(const struct bare_world *world, const GUID *vm_id, const char *lines);
void bare_path(const struct bare_world *world, const char *path, char ret_path[PATH_MAX]);

/* Returns when it is ready. */
void bare_start(struct bare_world *world);
/* Starts one that is to give up by itself: its exit code. */
int bare_start_in_vain(struct bare_world *world);
void bare_kill(struct bare_world *world);
/* SIGTERM, and it must exit with 0; removes everything. */
void bare_end(struct bare_world *world);
/* It is the same process as ever and answers. */
void bare_check_alive(struct bare_world *world);
/* Of the broker, once it has done with all that this client asked before. */
unsigned bare_descriptors(const struct bare_world *world, int client);

/* A connection to the host's socket, or to that of a partition. */
int bare_client(const struct bare_world *world);
int bare_client_of(const struct bare_world *world, const GUID *vm_id);
/* 0, or the errno of connecting to the partition's socket. */
int bare_try_client(const struct bare_world *world, const GUID *vm_id, int *ret_client);

struct wire_request request_of(uint16_t type);
struct wire_request bind_request(const GUID *vm_id, const GUID *service_id, int socket_type);
struct wire_request connect_request(const GUID *vm_id, const GUID *service_id, int socket_type);
void tell(int client, const struct wire_request *request, int fd);
/* The reply to what was told. */
void hear(int client, struct wire_reply *ret_reply);
/* Tells and hears: the error. */
uint32_t ask(int client, const struct wire_request *request, int fd);
/* The broker closed the connection. */
void check_closed(int client);

/* A socket bound through the broker at this VmId, listening. */
int bare_listener(int client, const GUID *vm_id, const GUID *service_id, int socket_type);
/* The error of connecting a new socket; *ret_fd (may be NULL) is the socket where that is 0. */
uint32_t bare_connect(int client, const GUID *vm_id, const GUID *service_id, int socket_type, int *ret_fd);
/* Waits until `condition` holds. */
#define until(condition)                                                     \
        do {                                                                 \
                unsigned tries_ = 0;                                         \
                while (!(condition) && ++tries_ < 4000)                      \
                        usleep(5000);                                        \
                if (tries_ >= 4000)                                          \
                        test_fail(__FILE__, __LINE__, "never: %s", #condition); \
        } while (0)
