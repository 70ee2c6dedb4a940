/* SPDX-License-Identifier: MIT */

/*
 * Starting a program. All that allocates or looks up happens before fork: the
 * child may call only what is safe after it.
 */

#include "daemon/spawn.h"
#include "base/fd.h"
#include "broker/command.h"
#include "broker/text.h"
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pwd.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define LISTEN_FD 3
#define GROUPS_MAX 1024
#define ENVIRONMENT_MAX 32
#define ENVIRONMENT_SIZE 8192
#define PASSWD_SIZE 16384

struct prepared {
        struct command command;
        char text[ENVIRONMENT_SIZE];
        size_t text_length;
        char *environment[ENVIRONMENT_MAX + 1];
        unsigned environment_count;
        char *listen_pid; /* where the child writes its pid: in `text` */
        bool change_user;
        uid_t uid;
        gid_t gid, groups[GROUPS_MAX];
        int group_count;
};

__attribute__((format(printf, 2, 3)))
static int add_variable(struct prepared *prepared, const char *format, ...) {
        va_list arguments;
        char *at = prepared->text + prepared->text_length;
        size_t room = sizeof prepared->text - prepared->text_length;
        va_start(arguments, format);
        int length = vsnprintf(at, room, format, arguments);
        va_end(arguments);
        if (length < 0 || (size_t)length >= room || prepared->environment_count == ENVIRONMENT_MAX)
                return -E2BIG;
        prepared->environment[prepared->environment_count++] = at;
        prepared->text_length += (size_t)length + 1;
        return 0;
}

/*
 * By name or number; "" is the broker's own user, who need not have an entry:
 * *ret_found is NULL then.
 */
static int find_user(const char *user, char buffer[PASSWD_SIZE], struct passwd *entry, struct passwd **ret_found) {
        char *end;
        unsigned long uid = *user ? strtoul(user, &end, 10) : geteuid();
        bool is_number = !*user || (*user >= '0' && *user <= '9' && !*end && uid < UINT32_MAX);
        int r = is_number ? getpwuid_r((uid_t)uid, entry, buffer, PASSWD_SIZE, ret_found)
                          : getpwnam_r(user, entry, buffer, PASSWD_SIZE, ret_found);
        if (r || !*ret_found) {
                *ret_found = NULL;
                return is_number && uid == geteuid() ? 0 : -ENOENT;
        }
        return (*ret_found)->pw_uid != geteuid() && geteuid() != 0 ? -EPERM : 0;
}

int spawn_check_user(const char *user) {
        char buffer[PASSWD_SIZE];
        struct passwd entry, *found;
        return find_user(user, buffer, &entry, &found);
}

static int take_user(const char *user, struct prepared *prepared) {
        char buffer[PASSWD_SIZE];
        struct passwd entry, *found;
        int r = find_user(user, buffer, &entry, &found);
        if (r < 0 || !found)
                return r;
        if (found->pw_uid != geteuid()) {
                prepared->change_user = true;
                prepared->uid = found->pw_uid;
                prepared->gid = found->pw_gid;
                prepared->group_count = GROUPS_MAX;
                if (getgrouplist(found->pw_name, found->pw_gid, prepared->groups, &prepared->group_count) < 0)
                        return -E2BIG;
        }
        if ((r = add_variable(prepared, "HOME=%s", found->pw_dir)) < 0 ||
            (r = add_variable(prepared, "USER=%s", found->pw_name)) < 0 ||
            (r = add_variable(prepared, "LOGNAME=%s", found->pw_name)) < 0 ||
            (r = add_variable(prepared, "SHELL=%s", found->pw_shell)) < 0)
                return r;
        return 0;
}

static int fill_environment(const struct spawn *spawn, struct prepared *prepared) {
        static const char *const passed[] = {"LANG", "TZ", "XDG_RUNTIME_DIR"};
        int r = add_variable(prepared, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        for (size_t i = 0; !r && i < sizeof passed / sizeof passed[0]; i++) {
                const char *value = getenv(passed[i]);
                if (value && !prepared->change_user)
                        r = add_variable(prepared, "%s=%s", passed[i], value);
        }
        for (const char *const *variable = spawn->environment; !r && variable && *variable; variable++)
                r = add_variable(prepared, "%s", *variable);
        if (r < 0 || spawn->listen_fd < 0)
                return r;
        if ((r = add_variable(prepared, "LISTEN_FDS=1")) < 0 ||
            (r = add_variable(prepared, "LISTEN_FDNAMES=%s", spawn->listen_name)) < 0 ||
            (r = add_variable(prepared, "LISTEN_PID=%010d", 0)) < 0)
                return r;
        prepared->listen_pid = prepared->environment[prepared->environment_count - 1] + strlen("LISTEN_PID=");
        return 0;
}

/* Overwrites the ten digits: no leading zeros, since a reader may take them for an octal number. */
static void write_pid(char *at, pid_t pid) {
        char digits[10];
        unsigned count = 0;
        for (; pid; pid /= 10)
                digits[count++] = (char)('0' + pid % 10);
        while (count)
                *at++ = digits[--count];
        *at = 0;
}

/* The descriptor closes by itself when the program begins. Whoever connected sees a reset: nobody read what it sent. */
__attribute__((noreturn))
static void give_up(const struct spawn *spawn, int report_fd, bool is_user) {
        struct spawn_failure failure = {.error = errno, .is_user = is_user};
        (void)!write(report_fd, &failure, sizeof failure);
        if (spawn->connection_fd >= 0)
                mark_send(STDIN_FILENO, SOCK_STREAM, false);
        _exit(EXIT_FAILURE);
}

__attribute__((noreturn))
static void run(const struct spawn *spawn, struct prepared *prepared, int report_fd) {
        struct rlimit limit;
        sigset_t none;
        for (int signal_number = 1; signal_number < NSIG; signal_number++)
                signal(signal_number, SIG_DFL);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        setsid();
        umask(022);

        /* First out of the way of the numbers they are to get. */
        int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
        int connection_fd = spawn->connection_fd < 0 ? -1 : fcntl(spawn->connection_fd, F_DUPFD, LISTEN_FD + 2);
        int listen_fd = spawn->listen_fd < 0 ? -1 : fcntl(spawn->listen_fd, F_DUPFD, LISTEN_FD + 2);
        int first_free = listen_fd < 0 ? LISTEN_FD : LISTEN_FD + 1;
        report_fd = fcntl(report_fd, F_DUPFD, LISTEN_FD + 2);
        dup2(connection_fd < 0 ? null_fd : connection_fd, 0);
        dup2(connection_fd < 0 ? 2 : connection_fd, 1);
        if (listen_fd >= 0)
                dup2(listen_fd, LISTEN_FD);
        report_fd = dup3(report_fd, first_free, O_CLOEXEC);
        close_range((unsigned)first_free + 1, ~0u, 0);

        if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && spawn->descriptor_limit && spawn->descriptor_limit <= limit.rlim_max) {
                limit.rlim_cur = spawn->descriptor_limit;
                setrlimit(RLIMIT_NOFILE, &limit);
        }
        if (prepared->change_user && (setgroups((size_t)prepared->group_count, prepared->groups) < 0 ||
                                      setgid(prepared->gid) < 0 || setuid(prepared->uid) < 0))
                give_up(spawn, report_fd, true);
        if (chdir("/") < 0)
                give_up(spawn, report_fd, false);
        if (prepared->listen_pid)
                write_pid(prepared->listen_pid, getpid());
        execve(prepared->command.words[0], prepared->command.words, prepared->environment);
        give_up(spawn, report_fd, false);
}

int spawn(const struct spawn *spawn_request, pid_t *ret_pid, int *ret_report_fd) {
        cleanup(freep) struct prepared *prepared = calloc(1, sizeof *prepared);
        cleanup(fd_closep) int report_fd = -1, child_report_fd = -1;
        int ends[2];
        if (!prepared)
                return -ENOMEM;
        int r = command_split(spawn_request->command, &prepared->command);
        if (!r)
                r = take_user(spawn_request->user, prepared);
        if (!r)
                r = fill_environment(spawn_request, prepared);
        if (!r && pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
                r = -errno;
        if (r < 0)
                return r;
        report_fd = ends[0];
        child_report_fd = ends[1];
        pid_t pid = fork();
        if (pid < 0)
                return -errno;
        if (pid == 0)
                run(spawn_request, prepared, child_report_fd);
        *ret_pid = pid;
        *ret_report_fd = fd_take(report_fd);
        return 0;
}

bool spawn_report(int report_fd, struct spawn_failure *ret_failure) {
        return read(report_fd, ret_failure, sizeof *ret_failure) == sizeof *ret_failure;
}

int spawn_check(const char *command, const char *user, char ret_cause[TEXT_EXPECTED_SIZE]) {
        struct command split;
        struct stat status;
        int r = command_split(command, &split);
        if (!r)
                r = spawn_check_user(user);
        if (r == -ENOENT)
                (void)text_expected(ret_cause, "its user does not exist");
        else if (r == -EPERM)
                (void)text_expected(ret_cause, "only root may start it as another user");
        if (r < 0)
                return r;
        const char *path = split.words[0];
        if (stat(path, &status) < 0)
                r = -errno;
        else if (!S_ISREG(status.st_mode))
                r = S_ISDIR(status.st_mode) ? -EISDIR : -EACCES;
        else if (faccessat(AT_FDCWD, path, X_OK, AT_EACCESS) < 0)
                r = -errno;
        if (r < 0)
                (void)text_expected(ret_cause, "%s", strerror(-r));
        return r;
}
