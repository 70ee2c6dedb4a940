/* SPDX-License-Identifier: MIT */

/* The keeper: owns the directory and every process of a sandbox, and ends them all. */

#include "cli/sandbox.h"

#include "base/fd.h"
#include "cli/advice.h"
#include "cli/execute.h"
#include "cli/management.h"
#include "cli/preload.h"
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define STEP_MS 10
#define GRACE_STEPS 100 /* how long a process may take to heed SIGTERM */
#define GIVE_UP_STEPS 600

void sandbox_prepare_child(const struct sandbox *sandbox) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != sandbox->keeper) /* it died before it could be known */
                _exit(EXIT_OWN);
        sigprocmask(SIG_SETMASK, &sandbox->old_mask, NULL);
}

static int make_directory(struct sandbox *sandbox) {
        const char *parent = getenv("TMPDIR");
        snprintf(sandbox->directory, sizeof sandbox->directory, "%s/hvsock-sandbox-XXXXXX",
                 parent && *parent == '/' ? parent : "/tmp");
        if (!mkdtemp(sandbox->directory)) {
                int r = fail(EXIT_OWN, sandbox->directory, strerror(errno), advice_again("TMPDIR=/tmp", ""));
                sandbox->directory[0] = 0;
                return r;
        }
        send(sandbox->control_fd, sandbox->directory, strlen(sandbox->directory), MSG_NOSIGNAL);
        char services[PATH_MAX + 16];
        snprintf(services, sizeof services, "%s/services", sandbox->directory);
        return mkdir(services, 0755) == 0 ? EXIT_OK : fail(EXIT_OWN, services, strerror(errno), NULL);
}

/* The command's way into the world, and ours. */
static int set_environment(const struct sandbox *sandbox) {
        char socket_path[PATH_MAX + 32], manage_path[PATH_MAX + 32];
        snprintf(socket_path, sizeof socket_path, "%s/runtime/control", sandbox->directory);
        snprintf(manage_path, sizeof manage_path, "%s/runtime/manage", sandbox->directory);
        if (setenv("HVSOCK_SOCKET", socket_path, 1) < 0 || setenv("HVSOCK_MANAGE", manage_path, 1) < 0)
                return fail(EXIT_OWN, "sandbox", strerror(errno), NULL);
        return EXIT_OK;
}

/* "NAME=GUID", "PARENT/NAME=GUID". A label has no "=". */
static int add_partition(const char *text, const char *kind) {
        cleanup(freep) char *copy = strdup(text);
        if (!copy)
                return fail(EXIT_OWN, "sandbox", "no memory", NULL);
        char *id = strchr(copy, '='), *label = copy;
        if (id)
                *id++ = 0;
        struct json_object *parameters = parameter("kind", kind);
        add_text(parameters, "id", id);
        char *slash = strcmp(kind, "container") == 0 ? strrchr(copy, '/') : NULL;
        if (slash) {
                *slash = 0;
                add_text(parameters, "parent", copy);
                label = slash + 1;
        }
        add_text(parameters, "label", label);
        return management_call("AddPartition", parameters, NULL);
}

#define PORT_PREFIX "vsock:"

/*
 * "ID=NAME", "NAME", or "=NAME" for a name that holds a "=". "vsock:PORT" alone is an id, and a name is made for it:
 * no name starts like that. A wrong id is the broker's to refuse.
 */
static int add_service(const char *text) {
        const char *equals = strchr(text, '=');
        bool is_port = !equals && strncmp(text, PORT_PREFIX, strlen(PORT_PREFIX)) == 0;
        char name_of_port[32];
        size_t id_length = equals ? (size_t)(equals - text) : is_port ? strlen(text) : 0;
        cleanup(freep) char *id = strndup(text, id_length);
        if (!id)
                return fail(EXIT_OWN, "sandbox", "no memory", NULL);
        if (is_port)
                snprintf(name_of_port, sizeof name_of_port, "vsock port %s", text + strlen(PORT_PREFIX));
        struct json_object *parameters = parameter("name", equals ? equals + 1 : is_port ? name_of_port : text);
        add_text(parameters, "id", id_length ? id : NULL);
        return management_call("AddService", parameters, NULL);
}

static int furnish(const struct invocation *invocation) {
        const char *text;
        int r = EXIT_OK;
        for (size_t at = 0; r == EXIT_OK && (text = next_value(invocation, "vm", &at));)
                r = add_partition(text, "vm");
        for (size_t at = 0; r == EXIT_OK && (text = next_value(invocation, "container", &at));)
                r = add_partition(text, "container");
        for (size_t at = 0; r == EXIT_OK && (text = next_value(invocation, "service", &at));)
                r = add_service(text);
        /* What the broker refuses is what was written on the command line. */
        return r == EXIT_OK ? EXIT_OK : r == EXIT_NO_BROKER || r == EXIT_TIMED_OUT ? EXIT_OWN : EXIT_USAGE;
}

static int start_command(struct sandbox *sandbox) {
        sandbox->command = fork();
        if (sandbox->command < 0) {
                sandbox->command = 0;
                return fail(EXIT_OWN, "sandbox", strerror(errno), NULL);
        }
        if (sandbox->command == 0) {
                sandbox_prepare_child(sandbox);
                char **command = sandbox->invocation->arguments;
                int r = is_given(sandbox->invocation, "preload") ? preload_prepare("sandbox", command) : EXIT_OK;
                _exit(r == EXIT_OK ? execute(command) : r);
        }
        return EXIT_OK;
}

/* Reaps whoever has ended. true when the command has, with its exit code in *ret_code. */
static bool reap(struct sandbox *sandbox, int *ret_code) {
        bool command_ended = false;
        int status;
        for (pid_t pid; (pid = waitpid(-1, &status, WNOHANG)) > 0;) {
                if (pid == sandbox->command) {
                        *ret_code = WIFSIGNALED(status) ? EXIT_SIGNAL + WTERMSIG(status) : WEXITSTATUS(status);
                        sandbox->command = 0;
                        command_ended = true;
                } else if (pid == sandbox->broker) {
                        sandbox->broker = 0;
                        fail(EXIT_OK, "sandbox", "its hvsockd has died", advice_again("", "--verbose"));
                }
        }
        return command_ended;
}

static int wait_for_command(struct sandbox *sandbox) {
        sigset_t child_signal;
        sigemptyset(&child_signal);
        sigaddset(&child_signal, SIGCHLD);
        cleanup(fd_closep) int signal_fd = signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK);
        if (signal_fd < 0)
                return fail(EXIT_OWN, "sandbox", strerror(errno), NULL);

        struct pollfd wanted[] = {{.fd = signal_fd, .events = POLLIN}, {.fd = sandbox->control_fd, .events = POLLIN}};
        int code = EXIT_OWN;
        while (!reap(sandbox, &code)) {
                if (poll(wanted, 2, -1) < 0)
                        continue;
                if (wanted[0].revents) {
                        struct signalfd_siginfo information;
                        while (read(signal_fd, &information, sizeof information) > 0)
                                ;
                }
                if (wanted[1].revents) {
                        int signal_number;
                        ssize_t length = recv(sandbox->control_fd, &signal_number, sizeof signal_number, MSG_DONTWAIT);
                        if (length == 0 || (length < 0 && errno != EAGAIN))
                                return EXIT_OWN; /* the waiting process is gone */
                        if (length == sizeof signal_number && sandbox->command)
                                kill(sandbox->command, signal_number);
                }
        }
        return code;
}

static void pause_step(void) {
        struct timespec pause = {.tv_nsec = STEP_MS * 1000000L};
        clock_nanosleep(CLOCK_MONOTONIC, 0, &pause, NULL);
}

/* Sends to every child but the broker: all orphans of the command are children by now. false when there is none. */
static bool signal_children(const struct sandbox *sandbox, int signal_number) {
        bool has_children = false;
        FILE *children = fopen("/proc/thread-self/children", "re");
        for (int pid; children && fscanf(children, "%d", &pid) == 1;) {
                if (pid == sandbox->broker)
                        continue;
                has_children = true;
                kill(pid, signal_number);
        }
        if (children)
                fclose(children);
        else if (sandbox->command > 0)
                return kill(sandbox->command, signal_number) == 0;
        return has_children;
}

/* Each child that ends leaves its own children to this process: again, until there are none. */
static void end_children(struct sandbox *sandbox) {
        int ignored;
        for (unsigned step = 0; step < GIVE_UP_STEPS; step++) {
                reap(sandbox, &ignored);
                if (!signal_children(sandbox, step < GRACE_STEPS ? SIGTERM : SIGKILL))
                        return;
                reap(sandbox, &ignored);
                pause_step();
        }
}

static void end_broker(struct sandbox *sandbox) {
        for (unsigned step = 0; sandbox->broker > 0 && step < GIVE_UP_STEPS; step++) {
                if (step == 0 || step >= GRACE_STEPS)
                        kill(sandbox->broker, step == 0 ? SIGTERM : SIGKILL);
                if (waitpid(sandbox->broker, NULL, WNOHANG) == sandbox->broker)
                        sandbox->broker = 0;
                else
                        pause_step();
        }
}

int sandbox_keep(struct sandbox *sandbox) {
        sigset_t all;
        sandbox->keeper = getpid();
        sigfillset(&all);
        sigprocmask(SIG_SETMASK, &all, NULL);
        if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
                return fail(EXIT_OWN, "sandbox", strerror(errno), NULL);

        int r = make_directory(sandbox);
        if (r == EXIT_OK)
                r = sandbox_start_broker(sandbox);
        if (r == EXIT_OK)
                r = set_environment(sandbox);
        if (r == EXIT_OK)
                r = furnish(sandbox->invocation);
        if (r == EXIT_OK)
                r = start_command(sandbox);
        if (r == EXIT_OK)
                r = wait_for_command(sandbox);
        end_children(sandbox);
        end_broker(sandbox);
        end_children(sandbox); /* services that the broker had started on demand */
        if (*sandbox->directory)
                sandbox_remove(sandbox->directory);
        return r;
}
