/* SPDX-License-Identifier: MIT */
#include "guest.h"

#include "test.h"
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define ARGUMENTS_MAX 64
#define CANNOT 77 /* the status of `image` where there is no guest to be had */

static const char *environment(const char *name) {
        const char *value = getenv(name);
        if (!value)
                test_skip("%s is not set", name);
        return value;
}

static void path_of(const char *directory, const char *name, char ret_path[PATH_MAX]) {
        check(snprintf(ret_path, PATH_MAX, "%s/%s", directory, name) < PATH_MAX);
}

/* The first line that a program of tests/guest prints; its exit status. */
static int ask_program(char *ret_line, size_t size, const char *format, ...) __attribute__((format(printf, 3, 4)));
static int ask_program(char *ret_line, size_t size, const char *format, ...) {
        char *command;
        va_list values;
        va_start(values, format);
        must(vasprintf(&command, format, values));
        va_end(values);
        FILE *output = popen(command, "re");
        check(output);
        free(command);
        *ret_line = 0;
        if (fgets(ret_line, (int)size, output))
                ret_line[strcspn(ret_line, "\n")] = 0;
        for (char rest[256]; fgets(rest, sizeof rest, output);)
                ;
        int status = pclose(output);
        return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

/* One of those that exit with CANNOT and a reason where what they make cannot be had. */
static void make(const char *program, const char *directory, const char *rest) {
        char line[512];
        int status = ask_program(line, sizeof line, "'%s/tests/guest/%s' '%s' %s 2>&1", environment("HVSOCK_SOURCE"),
                                 program, directory, rest);
        if (status == CANNOT)
                test_skip("%s", line);
        if (status)
                test_fail(__FILE__, __LINE__, "%s exited with %d: %s", program, status, line);
}

static char accelerator[16];

void guest_require(void) {
        char agent[PATH_MAX + 2];
        const char *directory = environment("HVSOCK_GUEST");
        check(snprintf(agent, sizeof agent, "'%s'", environment("HVSOCK_GUEST_AGENT")) < (int)sizeof agent);
        make("image", directory, agent);
        check_equal(ask_program(accelerator, sizeof accelerator, "'%s/tests/guest/accelerator' '%s'",
                                environment("HVSOCK_SOURCE"), directory), 0);
        check(!strcmp(accelerator, "kvm") || !strcmp(accelerator, "tcg"));
}

void guest_require_kernel_suite(void) {
        make("kernel_suite", environment("HVSOCK_GUEST"), "");
        guest_require(); /* the image takes up what is there */
}

static void print_console(const struct guest *guest) {
        char line[512];
        FILE *console = fopen(guest->console, "re");
        while (console && fgets(line, sizeof line, console))
                printf("console: %s%s", line, strchr(line, '\n') ? "" : "\n");
        if (console)
                fclose(console);
}

static void guest_free(struct guest *guest) {
        close(guest->control);
        unlink(guest->console);
        free(guest);
}

struct guest *guest_start(const char *const arguments[]) {
        char boot[PATH_MAX];
        const char *all[ARGUMENTS_MAX];
        unsigned count = 4;
        int sockets[2];
        struct guest *guest = calloc(1, sizeof *guest);
        check(guest);
        const char *temporary = getenv("TMPDIR");
        check(snprintf(guest->console, sizeof guest->console, "%s/console-XXXXXX", temporary ? temporary : "/tmp") <
              (int)sizeof guest->console);
        int console = (int)must(mkstemp(guest->console));
        close(console);
        path_of(environment("HVSOCK_SOURCE"), "tests/guest/boot", boot);
        memcpy(all, (const char *[]){boot, environment("HVSOCK_GUEST"), guest->console, accelerator}, 4 * sizeof *all);
        for (; arguments && *arguments; arguments++) {
                check(count < ARGUMENTS_MAX - 1);
                all[count++] = *arguments;
        }
        all[count] = NULL;
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, sockets));
        pid_t parent = getpid();
        guest->vmm = (pid_t)must(fork());
        if (!guest->vmm) {
                prctl(PR_SET_PDEATHSIG, SIGKILL);
                if (getppid() != parent || dup2(sockets[1], 0) < 0 || dup2(sockets[1], 1) < 0)
                        _exit(1);
                execv(boot, (char **)all);
                _exit(1);
        }
        close(sockets[1]);
        guest->control = sockets[0];
        return guest;
}

static int64_t now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* A whole line without its end. */
static void read_line(struct guest *guest, char *ret_line, size_t size, int patience_ms) {
        int64_t deadline = now_ms() + patience_ms;
        char *end;
        while (!(end = memchr(guest->line, '\n', guest->length))) {
                int64_t left = deadline - now_ms();
                struct pollfd event = {.fd = guest->control, .events = POLLIN};
                check(guest->length < sizeof guest->line);
                bool is_heard = left > 0 && must(poll(&event, 1, (int)left));
                ssize_t length = is_heard ? recv(guest->control, guest->line + guest->length,
                                                 sizeof guest->line - guest->length, MSG_DONTWAIT)
                                          : 0;
                if (length <= 0) {
                        print_console(guest);
                        test_fail(__FILE__, __LINE__, is_heard ? "the VMM ended" : "the guest says nothing");
                }
                guest->length += (size_t)length;
        }
        size_t length = (size_t)(end - guest->line);
        check(length < size);
        memcpy(ret_line, guest->line, length);
        ret_line[length] = 0;
        guest->length -= length + 1;
        memmove(guest->line, end + 1, guest->length);
}

void guest_await_ready(struct guest *guest) {
        char line[sizeof guest->line];
        /* The firmware, too, has something to say on serial ports. */
        do
                read_line(guest, line, sizeof line, GUEST_BOOT_MS);
        while (!strstr(line, "booted"));
        read_line(guest, line, sizeof line, GUEST_BOOT_MS);
        if (sscanf(line, "ready %u", &guest->cid) != 1) {
                print_console(guest);
                test_fail(__FILE__, __LINE__, "the guest said \"%s\"", line);
        }
}

static void tell(struct guest *guest, const char *format, va_list values) {
        char line[1024];
        int length = vsnprintf(line, sizeof line - 1, format, values);
        check(length > 0 && (size_t)length < sizeof line - 1);
        line[length++] = '\n';
        check_equal(send(guest->control, line, (size_t)length, MSG_NOSIGNAL), length);
}

void guest_tell(struct guest *guest, const char *format, ...) {
        va_list values;
        va_start(values, format);
        tell(guest, format, values);
        va_end(values);
}

const char *guest_answer(struct guest *guest) {
        static char line[sizeof guest->line];
        for (;;) {
                read_line(guest, line, sizeof line, GUEST_COMMAND_MS);
                if (strncmp(line, "| ", 2))
                        return line;
                printf("guest: %s\n", line + 2);
        }
}

const char *guest_do(struct guest *guest, const char *format, ...) {
        va_list values;
        va_start(values, format);
        tell(guest, format, values);
        va_end(values);
        const char *answer = guest_answer(guest);
        if (strncmp(answer, "ok", 2)) {
                print_console(guest);
                test_fail(__FILE__, __LINE__, "the guest answered \"%s\"", answer);
        }
        return answer + 2 + (answer[2] == ' ');
}

static int await_vmm(struct guest *guest) {
        int status, pidfd = (int)must(syscall(SYS_pidfd_open, guest->vmm, 0));
        struct pollfd event = {.fd = pidfd, .events = POLLIN};
        if (!must(poll(&event, 1, GUEST_BOOT_MS))) {
                print_console(guest);
                test_fail(__FILE__, __LINE__, "the VMM does not end");
        }
        close(pidfd);
        must(waitpid(guest->vmm, &status, 0));
        return status;
}

void guest_power_off(struct guest *guest) {
        guest_tell(guest, "poweroff");
        int status = await_vmm(guest);
        if (status) {
                print_console(guest);
                test_fail(__FILE__, __LINE__, "QEMU gave wait status %#x", status);
        }
        guest_free(guest);
}

void guest_kill(struct guest *guest) {
        must(kill(guest->vmm, SIGKILL));
        await_vmm(guest);
        guest_free(guest);
}
