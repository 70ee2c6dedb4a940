/* SPDX-License-Identifier: MIT */
#include "program.h"
#include "test.h"

#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct program {
        pid_t pid;
        int fd; /* struct call, there and back; a call without a function ends the program */
};

/* ---- in the program ---- */

#define DESCRIPTORS_MAX 4096

/* Without /proc, which a container may lack. */
static void mark_descriptors(bool open[DESCRIPTORS_MAX]) {
        for (int fd = 0; fd < DESCRIPTORS_MAX; fd++)
                open[fd] = fcntl(fd, F_GETFD) >= 0;
}

__attribute__((noreturn)) static void serve_test(int fd) {
        static bool before[DESCRIPTORS_MAX], after[DESCRIPTORS_MAX];
        mark_descriptors(before);
        for (;;) {
                static struct call call;
                if (!must(recv(fd, &call, sizeof call, 0)))
                        _exit(1); /* the test failed, and says why itself */
                if (!call.function)
                        break;
                errno = 0;
                call.result = call.function(&call);
                call.error = errno;
                check_equal(must(send(fd, &call, sizeof call, MSG_NOSIGNAL)), sizeof call);
        }
        mark_descriptors(after);
        for (int i = 0; i < DESCRIPTORS_MAX; i++)
                if (after[i] && !before[i] && !world_is_library_descriptor(i))
                        test_fail(__FILE__, __LINE__, "a program left descriptor %d open", i);
        exit(0);
}

/* ---- in the test ---- */

struct program *program_with(void (*enter)(void *argument), void *argument) {
        struct program *program = calloc(1, sizeof *program);
        int ends[2];
        check(program);
        must(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends));
        program->pid = (pid_t)must(fork());
        if (!program->pid) {
                free(program);
                close(ends[0]);
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                enter(argument);
                serve_test(ends[1]);
        }
        close(ends[1]);
        program->fd = ends[0];
        return program;
}

struct place {
        struct world *world;
        const char *path;
        uid_t uid;
        gid_t gid;
};

static void enter_place(void *argument) {
        const struct place *place = argument;
        world_enter(place->world, place->path);
        if (place->uid != geteuid()) {
                must(setgroups(0, NULL));
                must(setresgid(place->gid, place->gid, place->gid));
                must(setresuid(place->uid, place->uid, place->uid));
                prctl(PR_SET_DUMPABLE, 1); /* for /proc/self */
        }
}

struct program *program_as(struct world *world, const char *path, uid_t uid, gid_t gid) {
        struct place place = {.world = world, .path = path, .uid = uid, .gid = gid};
        return program_with(enter_place, &place);
}

struct program *program_new(struct world *world, const char *path) {
        return program_as(world, path, geteuid(), getegid());
}

struct program *program_in(struct world *world, const char *path) {
        for (unsigned i = 0; i < world->partition_count; i++) {
                struct world_partition *partition = &world->partitions[i];
                if (strcmp(partition->path, path))
                        continue;
                if (!partition->program)
                        partition->program = program_new(world, path);
                return partition->program;
        }
        test_fail(__FILE__, __LINE__, "the test knows no partition %s", path);
}

void program_end(struct program *program) {
        static const struct call last;
        must(send(program->fd, &last, sizeof last, MSG_NOSIGNAL));
        await_checker(program->pid);
        close(program->fd);
        free(program);
}

void program_kill(struct program *program) {
        must(kill(program->pid, SIGKILL));
        int status = await_child(program->pid);
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        close(program->fd);
        free(program);
}

pid_t program_pid(const struct program *program) {
        return program->pid;
}

void program_begin(struct program *program, const struct call *call) {
        must(send(program->fd, call, sizeof *call, MSG_NOSIGNAL));
}

long program_finish(struct program *program, struct call *ret_call) {
        struct pollfd descriptor = {.fd = program->fd, .events = POLLIN};
        if (!must(poll(&descriptor, 1, WORLD_WAIT_MS)))
                test_fail(__FILE__, __LINE__, "a call in process %d does not return", program->pid);
        ssize_t length = recv(program->fd, ret_call, sizeof *ret_call, 0);
        if (length <= 0) {
                await_checker(program->pid);
                test_fail(__FILE__, __LINE__, "process %d ended in the middle of a call", program->pid);
        }
        errno = ret_call->error;
        return ret_call->result;
}

long program_do(struct program *program, struct call *call) {
        program_begin(program, call);
        return program_finish(program, call);
}

bool program_is_asleep(struct program *program) {
        /* Sleeping in anything but the wait for the test's next call. */
        char path[64], text[512], state = 0;
        struct pollfd descriptor = {.fd = program->fd, .events = POLLIN};
        check(!poll(&descriptor, 1, 0));
        snprintf(path, sizeof path, "/proc/%d/stat", program->pid);
        FILE *file = fopen(path, "re");
        check(file && fgets(text, sizeof text, file));
        fclose(file);
        check(sscanf(strrchr(text, ')'), ") %c", &state) == 1);
        return state == 'S';
}

/* ---- calls ---- */

static SOCKADDR_HV address_of(const GUID *vm_id, const GUID *service_id) {
        return (SOCKADDR_HV){.Family = AF_HYPERV, .VmId = *vm_id, .ServiceId = *service_id};
}

static bool becomes_readable(int fd) {
        struct pollfd descriptor = {.fd = fd, .events = POLLIN};
        return hv_poll(&descriptor, 1, WORLD_WAIT_MS) == 1;
}

static long call_socket(struct call *call) {
        return hv_socket(AF_HYPERV, call->value, HV_PROTOCOL_RAW);
}

static long call_bind(struct call *call) {
        return hv_bind(call->fd, (struct sockaddr *)&call->address, sizeof call->address);
}

static long call_listen(struct call *call) {
        return hv_listen(call->fd, call->value);
}

static long call_connect(struct call *call) {
        return hv_connect(call->fd, (struct sockaddr *)&call->address, sizeof call->address);
}

static long call_blocking_accept(struct call *call) {
        call->length = sizeof call->address;
        return hv_accept(call->fd, (struct sockaddr *)&call->address, &call->length);
}

static long call_accept(struct call *call) {
        if (!becomes_readable(call->fd)) {
                errno = ETIMEDOUT;
                return -1;
        }
        return call_blocking_accept(call);
}

static long call_send(struct call *call) {
        return hv_send(call->fd, call->bytes, call->size, call->flags);
}

static long call_receive(struct call *call) {
        if (!becomes_readable(call->fd)) {
                errno = ETIMEDOUT;
                return -1;
        }
        return hv_recv(call->fd, call->bytes, call->size, call->flags);
}

static long call_shutdown(struct call *call) {
        return hv_shutdown(call->fd, call->value);
}

static long call_close(struct call *call) {
        return hv_close(call->fd);
}

static long call_setsockopt(struct call *call) {
        return hv_setsockopt(call->fd, call->level, call->option, &call->value, sizeof call->value);
}

static long call_getsockopt(struct call *call) {
        socklen_t length = sizeof call->value;
        return hv_getsockopt(call->fd, call->level, call->option, &call->value, &length);
}

static long call_getsockname(struct call *call) {
        call->length = sizeof call->address;
        return hv_getsockname(call->fd, (struct sockaddr *)&call->address, &call->length);
}

static long call_getpeername(struct call *call) {
        call->length = sizeof call->address;
        return hv_getpeername(call->fd, (struct sockaddr *)&call->address, &call->length);
}

static long call_last_refusal(struct call *call) {
        call->refusal.struct_size = sizeof call->refusal;
        return hv_last_refusal(&call->refusal);
}

/* The calls are static, since a struct call is larger than a stack frame should be; a test has one thread. */
static struct call *new_call(long (*function)(struct call *), int fd) {
        static struct call call;
        call = (struct call){.function = function, .fd = fd};
        return &call;
}

int open_socket(struct program *program, int type) {
        struct call *call = new_call(call_socket, -1);
        call->value = type;
        return (int)program_do(program, call);
}

static int with_address(struct program *program, long (*function)(struct call *), int fd, const GUID *vm_id,
                        const GUID *service_id) {
        struct call *call = new_call(function, fd);
        call->address = address_of(vm_id, service_id);
        return (int)program_do(program, call);
}

int bind_to(struct program *program, int fd, const GUID *vm_id, const GUID *service_id) {
        return with_address(program, call_bind, fd, vm_id, service_id);
}

int connect_to(struct program *program, int fd, const GUID *vm_id, const GUID *service_id) {
        return with_address(program, call_connect, fd, vm_id, service_id);
}

int listen_with(struct program *program, int fd, int backlog) {
        struct call *call = new_call(call_listen, fd);
        call->value = backlog;
        return (int)program_do(program, call);
}

static int naming(struct program *program, long (*function)(struct call *), int fd, SOCKADDR_HV *ret_address) {
        struct call *call = new_call(function, fd);
        int result = (int)program_do(program, call);
        if (result >= 0)
                check_equal(call->length, sizeof(SOCKADDR_HV));
        *ret_address = call->address;
        return result;
}

int accept_address(struct program *program, int fd, SOCKADDR_HV *ret_peer) {
        return naming(program, call_accept, fd, ret_peer);
}

int accept_from(struct program *program, int fd) {
        SOCKADDR_HV peer;
        return accept_address(program, fd, &peer);
}

int own_name(struct program *program, int fd, SOCKADDR_HV *ret_address) {
        return naming(program, call_getsockname, fd, ret_address);
}

int peer_name(struct program *program, int fd, SOCKADDR_HV *ret_address) {
        return naming(program, call_getpeername, fd, ret_address);
}

void begin_accept(struct program *program, int fd) {
        program_begin(program, new_call(call_blocking_accept, fd));
}

long send_text(struct program *program, int fd, const char *text) {
        struct call *call = new_call(call_send, fd);
        call->size = strlen(text);
        check(call->size <= sizeof call->bytes);
        memcpy(call->bytes, text, call->size);
        return program_do(program, call);
}

long receive_text(struct program *program, int fd, char *ret_text, size_t size) {
        struct call *call = new_call(call_receive, fd);
        check(size && size - 1 <= sizeof call->bytes);
        call->size = size - 1;
        long length = program_do(program, call);
        if (length >= 0) {
                memcpy(ret_text, call->bytes, (size_t)length);
                ret_text[length] = 0;
        }
        return length;
}

int shut(struct program *program, int fd, int how) {
        struct call *call = new_call(call_shutdown, fd);
        call->value = how;
        return (int)program_do(program, call);
}

int close_in(struct program *program, int fd) {
        return (int)program_do(program, new_call(call_close, fd));
}

int set_option(struct program *program, int fd, int level, int option, int value) {
        struct call *call = new_call(call_setsockopt, fd);
        call->level = level;
        call->option = option;
        call->value = value;
        return (int)program_do(program, call);
}

int get_option(struct program *program, int fd, int level, int option, int *ret_value) {
        struct call *call = new_call(call_getsockopt, fd);
        call->level = level;
        call->option = option;
        int result = (int)program_do(program, call);
        *ret_value = call->value;
        return result;
}

struct hv_refusal last_refusal(struct program *program) {
        struct call *call = new_call(call_last_refusal, -1);
        must(program_do(program, call));
        return call->refusal;
}

/* ---- stories ---- */

static int abandon(struct program *program, int fd) {
        int error = errno;
        must(close_in(program, fd));
        errno = error;
        return -1;
}

static int open_with(struct program *program, int type, bool passthru) {
        int fd = (int)must(open_socket(program, type));
        if (passthru && set_option(program, fd, SOL_HVSOCKET, HVSOCKET_CONTAINER_PASSTHRU, 1) < 0)
                return abandon(program, fd);
        return fd;
}

int serve_typed(struct program *program, const GUID *vm_id, const GUID *service_id, int type, bool passthru) {
        int fd = open_with(program, type, passthru);
        if (fd < 0)
                return -1;
        if (bind_to(program, fd, vm_id, service_id) < 0 || listen_with(program, fd, 16) < 0)
                return abandon(program, fd);
        return fd;
}

int serve(struct program *program, const GUID *vm_id, const GUID *service_id) {
        return serve_typed(program, vm_id, service_id, SOCK_STREAM, false);
}

int dial_typed(struct program *program, const GUID *vm_id, const GUID *service_id, int type, bool passthru) {
        int fd = open_with(program, type, passthru);
        if (fd < 0)
                return -1;
        return connect_to(program, fd, vm_id, service_id) < 0 ? abandon(program, fd) : fd;
}

int dial(struct program *program, const GUID *vm_id, const GUID *service_id) {
        return dial_typed(program, vm_id, service_id, SOCK_STREAM, false);
}

int check_meets(struct program *from, int connected, struct program *to, int listener) {
        static unsigned number;
        char said[64], heard[64];
        int accepted = (int)must(accept_from(to, listener));

        snprintf(said, sizeof said, "question %u", ++number);
        check_equal(must(send_text(from, connected, said)), strlen(said));
        check_equal(must(receive_text(to, accepted, heard, sizeof heard)), strlen(said));
        check_string(heard, said);

        snprintf(said, sizeof said, "answer %u", number);
        check_equal(must(send_text(to, accepted, said)), strlen(said));
        check_equal(must(receive_text(from, connected, heard, sizeof heard)), strlen(said));
        check_string(heard, said);
        return accepted;
}

int reach(struct world *world, const char *from, const GUID *dialled, const char *to, const GUID *bound,
          const GUID *service_id) {
        struct program *connector = program_in(world, from), *acceptor = program_in(world, to);
        int listener = (int)must(serve(acceptor, bound, service_id));
        int connected = dial(connector, dialled, service_id);
        int error = connected < 0 ? errno : 0;
        if (connected >= 0) {
                must(close_in(acceptor, check_meets(connector, connected, acceptor, listener)));
                must(close_in(connector, connected));
        }
        must(close_in(acceptor, listener));
        return error;
}
