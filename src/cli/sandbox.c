/* SPDX-License-Identifier: MIT */

/*
 * hvsock sandbox: a private broker, a command in its world, nothing afterwards.
 *
 * Theory of operation. Two processes. The one that was started only waits: it
 * passes signals on and returns the exit code. Its child, the keeper, makes the
 * directory and starts the broker and the command. It is the subreaper of all
 * that the command starts, has no signal that could surprise it, and holds one
 * end of a socket pair: when the other end closes, by whatever death, it ends
 * every process below it, the broker last, and removes the directory. Should
 * the keeper itself be killed, the kernel kills broker and command (their
 * parent-death signal) and the waiting process removes the directory.
 */

#include "cli/sandbox.h"

#include "base/fd.h"
#include "cli/report.h"
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static const int passed_on[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};

/* From the terminal, the whole foreground process group has the signal already, the command included. */
static void pass_on(int control_fd, const siginfo_t *information) {
        if (information->si_code != SI_KERNEL)
                send(control_fd, &information->si_signo, sizeof information->si_signo, MSG_NOSIGNAL);
}

static void take_directory(int control_fd, char *directory, size_t size) {
        ssize_t length = recv(control_fd, directory, size - 1, MSG_DONTWAIT);
        directory[length > 0 ? length : 0] = 0;
}

static int wait_for_keeper(pid_t keeper, int control_fd, const sigset_t *waited) {
        for (;;) {
                siginfo_t information;
                if (sigwaitinfo(waited, &information) < 0)
                        continue;
                if (information.si_signo != SIGCHLD) {
                        pass_on(control_fd, &information);
                        continue;
                }
                int status;
                if (waitpid(keeper, &status, WNOHANG) != keeper || WIFSTOPPED(status) || WIFCONTINUED(status))
                        continue;
                if (WIFEXITED(status))
                        return WEXITSTATUS(status);
                char directory[PATH_MAX];
                take_directory(control_fd, directory, sizeof directory);
                if (*directory)
                        sandbox_remove(directory);
                return fail(EXIT_OWN, "sandbox", "its keeper was killed", NULL);
        }
}

static int run_sandbox(const struct invocation *invocation) {
        int ends[2];
        const char *config = value_of(invocation, "config", NULL);
        if (config && access(config, R_OK) < 0) /* to the broker, a file that is not there is the defaults */
                return fail(EXIT_USAGE, config, strerror(errno), "man hvsockd.conf");
        if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
                return fail(EXIT_OWN, "sandbox", strerror(errno), NULL);
        cleanup(fd_closep) int control_fd = ends[0];

        struct sandbox sandbox = {.invocation = invocation, .control_fd = ends[1]};
        sigset_t waited;
        sigemptyset(&waited);
        sigaddset(&waited, SIGCHLD);
        for (size_t i = 0; i < sizeof passed_on / sizeof *passed_on; i++)
                sigaddset(&waited, passed_on[i]);
        signal(SIGCHLD, SIG_DFL); /* whoever ignores it is told of no child */
        sigprocmask(SIG_BLOCK, &waited, &sandbox.old_mask);

        pid_t keeper = fork();
        if (keeper < 0)
                return fail(EXIT_OWN, "sandbox", strerror(errno), NULL);
        if (keeper == 0) {
                control_fd = fd_close(control_fd);
                _exit(sandbox_keep(&sandbox));
        }
        fd_close(ends[1]);
        return wait_for_keeper(keeper, control_fd, &waited);
}

static const struct verb_option options[] = {
        {"vm", 0, "NAME[=GUID]", "with this virtual machine (may be repeated)"},
        {"container", 0, "PARENT/NAME[=GUID]", "with this container; NAME alone: on the host"},
        {"service", 0, "[ID=]NAME", "with this service registered: a GUID, vsock:PORT, or a new ServiceId if none is given"},
        {"config", 0, "FILE", "with the quotas of this hvsockd.conf"},
        {"preload", 0, NULL, "COMMAND and what it starts need not know of hvsock: as run --preload"},
        {"verbose", 'v', NULL, "show what the broker logs"},
        OPTIONS_END,
};

const struct verb verb_sandbox = {
        .name = "sandbox",
        .synopsis = "[--] COMMAND [ARGUMENT]...",
        .summary = "run a command on the host of a new, private world that is gone afterwards",
        .details =
                "The world has the named partitions and services, and its host is called \"host\". COMMAND finds it\n"
                "by HVSOCK_SOCKET and HVSOCK_MANAGE; `hvsock run PARTITION -- ...` inside it runs a program in\n"
                "another partition. When COMMAND ends, so does all that it started.",
        .options = options,
        .arguments_min = 1,
        .arguments_max = ARGUMENTS_ANY,
        .runs_command = true,
        .offers = {OFFERS_COMMAND},
        .run = run_sandbox};
