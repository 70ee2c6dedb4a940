/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * A program in a partition: a process that does one call at a time for the
 * test, so that a test reads as a story in which several machines take part.
 *
 * Each function named after a POSIX call does that hv_* call in the program and
 * leaves its errno here. Descriptor numbers are the program's.
 */

#include "world.h"

#define CALL_BYTES_MAX 4096

struct call {
        long (*function)(struct call *call); /* run in the program: the same image, forked */
        int fd, flags;
        SOCKADDR_HV address; /* in and out */
        socklen_t length;
        int level, option, value, value2;
        struct hv_refusal refusal;
        size_t size;
        uint8_t bytes[CALL_BYTES_MAX];
        long result;
        int error;
};

/* The program of a partition ("host", "web01/db"); always the same one. Ended by world_end(). */
struct program *program_in(struct world *world, const char *path);
/* One more, which the test ends. */
struct program *program_new(struct world *world, const char *path);
/* The same as another user: world_require_root() comes first. */
struct program *program_as(struct world *world, const char *path, uid_t uid, gid_t gid);
/* The same after `enter`, which makes the new process what it shall be. */
struct program *program_with(void (*enter)(void *argument), void *argument);
void program_end(struct program *program);  /* it must have closed what it opened */
void program_kill(struct program *program); /* SIGKILL */
pid_t program_pid(const struct program *program);

/* Runs call->function in the program. Sets errno and returns its result. */
long program_do(struct program *program, struct call *call);
/* The two halves of program_do(), for a call that is expected to wait. */
void program_begin(struct program *program, const struct call *call);
long program_finish(struct program *program, struct call *ret_call);
/* Has the call that was begun gone to sleep in the kernel? */
bool program_is_asleep(struct program *program);

int open_socket(struct program *program, int type);
int bind_to(struct program *program, int fd, const GUID *vm_id, const GUID *service_id);
int listen_with(struct program *program, int fd, int backlog);
int connect_to(struct program *program, int fd, const GUID *vm_id, const GUID *service_id);
int accept_from(struct program *program, int fd); /* waits at most WORLD_WAIT_MS */
int accept_address(struct program *program, int fd, SOCKADDR_HV *ret_peer);
void begin_accept(struct program *program, int fd); /* blocks in hv_accept() */
long send_text(struct program *program, int fd, const char *text);
/* Up to `size` bytes, NUL-terminated; waits at most WORLD_WAIT_MS. */
long receive_text(struct program *program, int fd, char *ret_text, size_t size);
int shut(struct program *program, int fd, int how);
int close_in(struct program *program, int fd);
int set_option(struct program *program, int fd, int level, int option, int value);
int get_option(struct program *program, int fd, int level, int option, int *ret_value);
int own_name(struct program *program, int fd, SOCKADDR_HV *ret_address);
int peer_name(struct program *program, int fd, SOCKADDR_HV *ret_address);
struct hv_refusal last_refusal(struct program *program);

/* Socket, bind and listen; socket and connect. On failure nothing stays open, and errno is the step's that failed. */
int serve(struct program *program, const GUID *vm_id, const GUID *service_id);
int serve_typed(struct program *program, const GUID *vm_id, const GUID *service_id, int type, bool passthru);
int dial(struct program *program, const GUID *vm_id, const GUID *service_id);
int dial_typed(struct program *program, const GUID *vm_id, const GUID *service_id, int type, bool passthru);

/*
 * The connection `connected` of `from` is the next one that `listener` of `to`
 * accepts: what one writes the other reads, both ways. Returns the accepted one.
 */
int check_meets(struct program *from, int connected, struct program *to, int listener);

/*
 * Listens in `to` at {bind, service}, connects from `from` to {dial, service}.
 * Returns 0 when they met, else the errno of the connect. Leaves nothing open.
 */
int reach(struct world *world, const char *from, const GUID *dialled, const char *to, const GUID *bound,
          const GUID *service_id);
