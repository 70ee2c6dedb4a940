/* SPDX-License-Identifier: MIT */

/* The programs of services on demand: started, and judged by how they end. */

#include "base/fd.h"
#include "base/log.h"
#include "broker/text.h"
#include "daemon/on_demand.h"
#include "daemon/socket_dump.h"
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* Outlives its service. */
struct program {
        struct child child;
        struct on_demand *on_demand; /* NULL once the service is forgotten */
        struct list link;
        int report_fd;
        int64_t started_ms;
        uint32_t started_for; /* who waited first: first_waiting() */
        char name[SERVICE_NAME_MAX + 1];
};

static struct program *program_of(struct list *link) {
        return container_of(link, struct program, link);
}

static void program_free(struct program *program) {
        list_unlink(&program->link);
        fd_close(program->report_fd);
        free(program);
}

static void visit_listening(const struct socket_seen *seen, void *userdata) {
        if (seen->waiting_count)
                memcpy(userdata, seen->waiting, sizeof(uint32_t));
}

/* The inode of the socket that waits first to be accepted; 0 where the kernel does not tell. */
static uint32_t first_waiting(int listen_fd) {
        uint32_t first = 0;
        struct stat status;
        cleanup(fd_closep) int fd = -1;
        if (fstat(listen_fd, &status) == 0 && socket_dump_open(&fd) == 0)
                (void)socket_dump_one(fd, (uint32_t)status.st_ino, visit_listening, &first);
        return first;
}

/* Whether the connection that the program was started for still waits to be accepted. */
static bool is_left_waiting(const struct program *program) {
        const struct on_demand *on_demand = program->on_demand;
        struct pollfd pending = {.fd = on_demand->fd, .events = POLLIN};
        return !on_demand->used.exec_accept && poll(&pending, 1, 0) > 0 &&
               first_waiting(on_demand->fd) == program->started_for;
}

/* False when it ended well. */
static bool describe_end(const struct program *program, int status, struct failure *ret_failure) {
        struct failure failure = {.time_ms = loop_wall_ms(), .exit_status = -1};
        struct spawn_failure report;
        bool failed = true;
        if (spawn_report(program->report_fd, &report)) {
                failure.was_started = false;
                (void)text_expected(failure.cause, "%s: %s", report.is_user ? "its user cannot be assumed"
                                                                           : "it cannot be executed",
                                    strerror(report.error));
        } else if (WIFSIGNALED(status)) {
                failure.was_started = true;
                failure.signal = WTERMSIG(status);
                (void)text_expected(failure.cause, "it was ended by SIG%s", sigabbrev_np(failure.signal));
        } else {
                failure.was_started = true;
                failure.exit_status = WEXITSTATUS(status);
                failed = failure.exit_status != 0;
                (void)text_expected(failure.cause, "it exited with %d", failure.exit_status);
        }
        *ret_failure = failure;
        return failed;
}

static void program_exited(struct child *child, int status) {
        struct program *program = container_of(child, struct program, child);
        struct on_demand *on_demand = program->on_demand;
        struct failure failure;
        bool failed = describe_end(program, status, &failure);
        bool early = loop_now_ms() - program->started_ms < ACTIVATION_SETTLED_MS;
        if (!failed && on_demand && early && is_left_waiting(program)) {
                (void)text_expected(failure.cause, "it exited with 0 and accepted no connection; is Accept=yes missing?");
                failed = true;
        }
        log_stranger(failed ? LOG_LEVEL_NOTICE : LOG_LEVEL_DEBUG, "service %s, its program: %s", program->name,
                     failure.cause);
        program_free(program);
        if (!on_demand)
                return;
        on_demand->program_count--;
        if (failed)
                on_demand_failed(on_demand, &failure, early && (!failure.was_started || !on_demand->used.exec_accept));
        else
                on_demand_ended(on_demand);
}

int program_start(struct on_demand *on_demand, struct spawn *request) {
        struct world *world = on_demand->world;
        struct program *program = calloc(1, sizeof *program);
        pid_t pid;
        if (!program)
                return -ENOMEM;
        program->started_for = on_demand->used.exec_accept ? 0 : first_waiting(on_demand->fd);
        request->command = on_demand->used.exec;
        request->user = on_demand->used.exec_user;
        request->descriptor_limit = world->options.descriptor_limit;
        int r = spawn(request, &pid, &program->report_fd);
        if (r < 0) {
                free(program);
                return r;
        }
        program->child = (struct child){.exited = program_exited};
        program->on_demand = on_demand;
        program->started_ms = loop_now_ms();
        strcpy(program->name, on_demand->used.name);
        list_append(&on_demand->programs, &program->link);
        r = loop_watch_child(world->loop, &program->child, pid);
        if (r < 0) {
                /* Without a way to see it end it may not run. */
                (void)kill(pid, SIGKILL);
                while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
                        continue;
                program_free(program);
                return r;
        }
        on_demand->program_count++;
        return 0;
}

void programs_orphan(struct on_demand *on_demand, struct list *orphans) {
        list_for_each_safe(link, &on_demand->programs) {
                program_of(link)->on_demand = NULL;
                list_unlink(link);
                list_append(orphans, link);
        }
}

void programs_forget(struct list *orphans, struct loop *loop) {
        list_for_each_safe(link, orphans) {
                loop_forget_child(loop, &program_of(link)->child);
                program_free(program_of(link));
        }
}
