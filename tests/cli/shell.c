/* SPDX-License-Identifier: MIT */
#include "shell.h"

#include "test.h"
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define COMMAND_MAX 65536
#define WAIT_STEP_MS 10
#define WAIT_STEPS 2000

static void set_path(void) {
        const char *build = getenv("HVSOCK_BUILD"), *path = getenv("PATH");
        static bool is_set;
        char text[PATH_MAX * 2];
        if (is_set)
                return;
        check(build != NULL);
        snprintf(text, sizeof text, "%s:%s", build, path);
        setenv("PATH", text, 1);
        unsetenv("HVSOCK_SOCKET");
        unsetenv("HVSOCK_MANAGE");
        unsetenv("XDG_RUNTIME_DIR");
        is_set = true;
}

static pid_t start(const char *command, int out, int err) {
        set_path();
        pid_t pid = (pid_t)must(fork());
        if (pid == 0) {
                if (out >= 0)
                        dup2(out, STDOUT_FILENO);
                if (err >= 0)
                        dup2(err, STDERR_FILENO);
                execl("/bin/sh", "sh", "-c", command, NULL);
                _exit(127);
        }
        return pid;
}

int sh_end(pid_t pid) {
        int status;
        while (waitpid(pid, &status, 0) < 0)
                check(errno == EINTR);
        return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static void read_back(int fd, char *text) {
        ssize_t length = must(pread(fd, text, OUTPUT_MAX - 1, 0));
        text[length] = 0;
        close(fd);
}

static const struct outcome *run(const char *format, va_list arguments) {
        static struct outcome outcome;
        static char command[COMMAND_MAX];
        check(vsnprintf(command, sizeof command, format, arguments) < COMMAND_MAX);
        int out = (int)must(memfd_create("stdout", MFD_CLOEXEC)), err = (int)must(memfd_create("stderr", MFD_CLOEXEC));
        outcome.code = sh_end(start(command, out, err));
        read_back(out, outcome.out);
        read_back(err, outcome.err);
        printf("$ %s\n%s%s[%d]\n", command, outcome.out, outcome.err, outcome.code); /* shown when the test fails */
        fflush(stdout);
        return &outcome;
}

#define RUN(format)                              \
        ({                                       \
                va_list arguments_;              \
                va_start(arguments_, format);    \
                const struct outcome *outcome_ = run(format, arguments_); \
                va_end(arguments_);              \
                outcome_;                        \
        })

const struct outcome *sh(const char *format, ...) {
        return RUN(format);
}

pid_t sh_begin(const char *format, ...) {
        char command[COMMAND_MAX];
        va_list arguments;
        va_start(arguments, format);
        check(vsnprintf(command, sizeof command, format, arguments) < COMMAND_MAX);
        va_end(arguments);
        return start(command, -1, -1);
}

const char *sh_text(const char *format, ...) {
        static char texts[TEXTS][OUTPUT_MAX];
        static unsigned last;
        char *text = texts[last++ % TEXTS];
        const struct outcome *outcome = RUN(format);
        check_equal(outcome->code, 0);
        strcpy(text, outcome->out);
        size_t length = strlen(text);
        if (length > 0 && text[length - 1] == '\n')
                text[length - 1] = 0;
        return text;
}

struct json_object *sh_json(const char *format, ...) {
        const struct outcome *outcome = RUN(format);
        check_equal(outcome->code, 0);
        struct json_tokener *tokener = json_tokener_new();
        json_tokener_set_flags(tokener, JSON_TOKENER_STRICT);
        struct json_object *object = json_tokener_parse_ex(tokener, outcome->out, -1);
        check(json_tokener_get_error(tokener) == json_tokener_success);
        json_tokener_free(tokener);
        return object;
}

int sh_refused(const char *format, ...) {
        const struct outcome *outcome = RUN(format);
        check_string(outcome->out, "");
        check(strncmp(outcome->err, "hvsock: ", 8) == 0);
        const char *colon = strstr(outcome->err + 8, ": "), *next = strstr(outcome->err, "\n  try: ");
        check(colon && next && colon < next);
        check(next[8] && next[8] != '\n');
        check_string(strchr(next + 8, '\n'), "\n"); /* and nothing after it */
        return outcome->code;
}

struct json_object *at(struct json_object *object, const char *pointer) {
        struct json_object *found = NULL;
        if (json_pointer_get(object, pointer, &found) < 0)
                test_fail(__FILE__, __LINE__, "no %s in %s", pointer, json_object_to_json_string(object));
        return found;
}

const char *text_at(struct json_object *object, const char *pointer) {
        return json_object_get_string(at(object, pointer));
}

long long number_at(struct json_object *object, const char *pointer) {
        return json_object_get_int64(at(object, pointer));
}

void pause_ms(unsigned milliseconds) {
        struct timespec pause = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000L};
        nanosleep(&pause, NULL);
}

void await_success(const char *format, ...) {
        for (unsigned step = 0; step < WAIT_STEPS; step++) {
                if (RUN(format)->code == 0)
                        return;
                pause_ms(WAIT_STEP_MS);
        }
        test_fail(__FILE__, __LINE__, "never succeeded: %s", format);
}

static void read_line(FILE *stream, char *line, size_t size) {
        check(fgets(line, (int)size, stream) != NULL);
        line[strcspn(line, "\n")] = 0;
}

void sandbox_open(struct sandbox *sandbox, const char *options) {
        int told[2], end[2];
        must(pipe2(told, O_CLOEXEC));
        must(pipe2(end, O_CLOEXEC));
        set_path();
        sandbox->pid = (pid_t)must(fork());
        if (sandbox->pid == 0) {
                char command[COMMAND_MAX];
                dup2(end[0], STDIN_FILENO);
                dup2(told[1], STDOUT_FILENO);
                snprintf(command, sizeof command,
                         "exec hvsock sandbox %s -- sh -c 'echo $HVSOCK_SOCKET; echo $HVSOCK_MANAGE; read line'",
                         options);
                execl("/bin/sh", "sh", "-c", command, NULL);
                _exit(127);
        }
        close(told[1]);
        close(end[0]);
        sandbox->end_fd = end[1];

        char socket_path[PATH_MAX];
        FILE *stream = fdopen(told[0], "r");
        read_line(stream, socket_path, sizeof socket_path);
        read_line(stream, sandbox->manage, sizeof sandbox->manage);
        fclose(stream);
        setenv("HVSOCK_SOCKET", socket_path, 1);
        setenv("HVSOCK_MANAGE", sandbox->manage, 1);
        strcpy(sandbox->directory, sandbox->manage);
        *strstr(sandbox->directory, "/runtime/manage") = 0;

        struct json_object *world = sh_json("hvsock doctor --json || true");
        sandbox->broker = (pid_t)number_at(world, "/world/pid");
        json_object_put(world);
}

void sandbox_check_gone(const struct sandbox *sandbox) {
        unsigned step = 0;
        while (access(sandbox->directory, F_OK) == 0 || kill(sandbox->broker, 0) == 0) {
                check(step++ < WAIT_STEPS);
                waitpid(sandbox->broker, NULL, WNOHANG);
                pause_ms(WAIT_STEP_MS);
        }
}

void sandbox_close(struct sandbox *sandbox) {
        close(sandbox->end_fd);
        check_equal(sh_end(sandbox->pid), 1); /* the end of input, as `read` tells it */
        check(access(sandbox->directory, F_OK) < 0);
        check(kill(sandbox->broker, 0) < 0);
        unsetenv("HVSOCK_SOCKET");
        unsetenv("HVSOCK_MANAGE");
}
