/* SPDX-License-Identifier: MIT */

/* Starting the sandbox's broker, and waiting until it says that it is ready. */

#include "cli/sandbox.h"

#include "base/fd.h"
#include "cli/advice.h"
#include "cli/broker_place.h"
#include "cli/preload.h"
#include "cli/report.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define READY_TIMEOUT_MS 10000
#define LOG_SHOWN 4096 /* bytes of the broker's log after a failure */

/* An abstract address that the kernel chose; *ret_name as NOTIFY_SOCKET wants it. Only this user's messages count. */
static int notify_open(char ret_name[sizeof((struct sockaddr_un){}.sun_path) + 1]) {
        cleanup(fd_closep) int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        struct sockaddr_un address = {.sun_family = AF_UNIX};
        socklen_t length = sizeof address;
        int on = 1;
        if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address.sun_family) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on) < 0 ||
            getsockname(fd, (struct sockaddr *)&address, &length) < 0)
                return -errno;
        size_t name_length = length - offsetof(struct sockaddr_un, sun_path);
        memcpy(ret_name, address.sun_path, name_length);
        ret_name[0] = '@';
        ret_name[name_length] = 0;
        return fd_take(fd);
}

static bool says_ready(int notify_fd, pid_t broker) {
        char text[512];
        size_t length;
        int passed_fd;
        struct packet_credentials sender;
        if (packet_receive(notify_fd, text, sizeof text - 1, MSG_DONTWAIT, &length, &passed_fd, &sender) < 0)
                return false;
        fd_close(passed_fd);
        text[length] = 0;
        return sender.pid == (uint32_t)broker && (strncmp(text, "READY=1", 7) == 0 || strstr(text, "\nREADY=1"));
}

static void show_log(const char *path) {
        char text[LOG_SHOWN + 1];
        cleanup(fd_closep) int fd = open(path, O_RDONLY | O_CLOEXEC);
        struct stat status;
        if (fd < 0 || fstat(fd, &status) < 0)
                return;
        ssize_t length = pread(fd, text, LOG_SHOWN, status.st_size > LOG_SHOWN ? status.st_size - LOG_SHOWN : 0);
        if (length > 0)
                fwrite(text, 1, (size_t)length, stderr);
}

static void become_broker(const struct sandbox *sandbox, const char *notify_name, const char *log_path) {
        char path[PATH_MAX], runtime[PATH_MAX + 16], state[PATH_MAX + 16], services[PATH_MAX + 16],
                config[PATH_MAX + 16];
        const char *program = broker_program(path);
        snprintf(runtime, sizeof runtime, "%s/runtime", sandbox->directory);
        snprintf(state, sizeof state, "%s/state", sandbox->directory);
        snprintf(services, sizeof services, "%s/services", sandbox->directory);
        snprintf(config, sizeof config, "%s/hvsockd.conf", sandbox->directory); /* which there is not */

        setsid(); /* a terminal's signals are for the command */
        sandbox_prepare_child(sandbox);
        int input = open("/dev/null", O_RDONLY);
        int output = is_given(sandbox->invocation, "verbose") ? STDERR_FILENO
                                                               : open(log_path, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (input < 0 || output < 0 || dup2(input, STDIN_FILENO) < 0 || dup2(output, STDOUT_FILENO) < 0 ||
            dup2(output, STDERR_FILENO) < 0 || setenv("NOTIFY_SOCKET", notify_name, 1) < 0 ||
            preload_undo() < 0)
                _exit(EXIT_OWN);
        unsetenv("LISTEN_FDS");
        unsetenv("LISTEN_PID");
        execlp(program, "hvsockd", "--runtime", runtime, "--state", state, "--services", services, "--config",
               value_of(sandbox->invocation, "config", config), "--host-label", "host", NULL);
        dprintf(STDERR_FILENO, "hvsock: %s: %s\n", program, strerror(errno));
        _exit(EXIT_OWN);
}

static int64_t now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* 0 when ready; -ECHILD when the broker ended, -ECANCELED when the waiting process did, -ETIMEDOUT. */
static int wait_until_ready(struct sandbox *sandbox, int notify_fd) {
        sigset_t child_signal;
        sigemptyset(&child_signal);
        sigaddset(&child_signal, SIGCHLD);
        cleanup(fd_closep) int signal_fd = signalfd(-1, &child_signal, SFD_CLOEXEC | SFD_NONBLOCK);
        if (signal_fd < 0)
                return -errno;
        struct pollfd wanted[] = {{.fd = notify_fd, .events = POLLIN},
                                  {.fd = signal_fd, .events = POLLIN},
                                  {.fd = sandbox->control_fd}};
        for (int64_t deadline = now_ms() + READY_TIMEOUT_MS, left; (left = deadline - now_ms()) > 0;) {
                if (poll(wanted, 3, (int)left) < 0 && errno != EINTR)
                        return -errno;
                if (wanted[2].revents)
                        return -ECANCELED;
                if (wanted[0].revents && says_ready(notify_fd, sandbox->broker))
                        return 0;
                struct signalfd_siginfo information;
                if (wanted[1].revents && read(signal_fd, &information, sizeof information) > 0 &&
                    waitpid(sandbox->broker, NULL, WNOHANG) == sandbox->broker) {
                        sandbox->broker = 0;
                        return -ECHILD;
                }
        }
        return -ETIMEDOUT;
}

int sandbox_start_broker(struct sandbox *sandbox) {
        char notify_name[sizeof((struct sockaddr_un){}.sun_path) + 1], log_path[PATH_MAX + 8];
        cleanup(fd_closep) int notify_fd = notify_open(notify_name);
        if (notify_fd < 0)
                return fail(EXIT_OWN, "sandbox", strerror(-notify_fd), NULL);
        snprintf(log_path, sizeof log_path, "%s/log", sandbox->directory);

        sandbox->broker = fork();
        if (sandbox->broker < 0) {
                sandbox->broker = 0;
                return fail(EXIT_OWN, "sandbox", strerror(errno), NULL);
        }
        if (sandbox->broker == 0)
                become_broker(sandbox, notify_name, log_path);

        int r = wait_until_ready(sandbox, notify_fd);
        if (r == 0 || r == -ECANCELED)
                return r == 0 ? EXIT_OK : EXIT_OWN;
        show_log(log_path);
        return fail(EXIT_OWN, "sandbox",
                    r == -ECHILD ? "its hvsockd ended at once" : r == -ETIMEDOUT ? "its hvsockd did not become ready"
                                                                                  : strerror(-r),
                    advice_again("", "--verbose"));
}
