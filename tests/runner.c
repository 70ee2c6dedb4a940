/* SPDX-License-Identifier: MIT */

/*
 * The test runner: main() of every suite that uses test.h.
 *
 *     suite [--list] [TEST...]
 *
 * Theory of operation. Each test is forked into a process group of its own, its
 * output caught in a memory file that is shown only when it fails. That process
 * is a subreaper, so that whatever the test started and lost comes back to it;
 * when the body has returned, it compares its open descriptors with those it
 * began with and looks for children still running. Its verdict goes to a page
 * shared with the runner: an exit status of 0 alone proves nothing, since a test
 * that calls exit() never got to its last check. The runner is a subreaper too:
 * what outlives the test's process comes to the runner, which kills it by pid.
 * What is killed cannot tidy up: $TMPDIR is a directory of this run, and goes
 * with all that is in it.
 *
 * Sanitizers write their findings to files (log_path), so that a finding in any
 * process of a test fails the test, wherever that process's stderr went. GCC's
 * UBSan heeds no log_path: it is looked for in the output.
 *
 * $HVSOCK_TEST_TIME_FACTOR multiplies the time limits (valgrind). With
 * $HVSOCK_TEST_OUTPUT the output of tests that pass is shown, too.
 */

#include "test.h"

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SECONDS_DEFAULT 30
#define GRACE_MS 2000        /* for children that were told to end and are about to */
#define DESCRIPTORS_MAX 4096 /* beyond which leaks are not looked for */
#define OUTPUT_SHOWN_MAX 32768

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

extern const struct test *const __start_hvsock_tests[] __attribute__((weak));
extern const struct test *const __stop_hvsock_tests[] __attribute__((weak));

enum verdict { UNFINISHED, PASSED, FAILED, SKIPPED };

static struct report {
        enum verdict verdict;
        char text[PIPE_BUF];
} *report;

static char findings_directory[PATH_MAX]; /* empty when not sanitized */

__attribute__((format(printf, 2, 0))) static void set_report(enum verdict verdict, const char *format, va_list values) {
        vsnprintf(report->text, sizeof report->text, format, values);
        report->verdict = verdict;
}

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...) {
        va_list values;
        va_start(values, format);
        set_report(FAILED, format, values);
        va_end(values);
        _exit(1);
}

void test_fail(const char *file, int line, const char *format, ...) {
        char text[sizeof report->text / 2];
        va_list values;
        va_start(values, format);
        vsnprintf(text, sizeof text, format, values);
        va_end(values);
        fail("%s:%d: %s", file, line, text);
}

void test_skip(const char *reason, ...) {
        va_list values;
        va_start(values, reason);
        set_report(SKIPPED, reason, values);
        va_end(values);
        _exit(0);
}

__attribute__((weak)) bool test_keeps_descriptor(int fd) {
        return false;
}

static long long now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec * 1000LL + now.tv_nsec / 1000000;
}

static void sleep_ms(long ms) {
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

/* ---- in the test's process ---- */

/* Marks the open descriptors in `open`. */
static void list_descriptors(bool open[DESCRIPTORS_MAX]) {
        memset(open, 0, DESCRIPTORS_MAX * sizeof *open);
        DIR *directory = opendir("/proc/self/fd");
        if (!directory)
                fail("/proc/self/fd: %s", strerror(errno));
        for (struct dirent *entry; (entry = readdir(directory));) {
                int fd = atoi(entry->d_name);
                if (entry->d_name[0] != '.' && fd != dirfd(directory) && fd < DESCRIPTORS_MAX)
                        open[fd] = true;
        }
        closedir(directory);
}

static void compare_descriptors(const bool before[DESCRIPTORS_MAX]) {
        static bool after[DESCRIPTORS_MAX];
        list_descriptors(after);
        for (int fd = 0; fd < DESCRIPTORS_MAX; fd++) {
                if (after[fd] && !before[fd] && !test_keeps_descriptor(fd)) {
                        char path[64], target[256];
                        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
                        ssize_t length = readlink(path, target, sizeof target - 1);
                        target[length < 0 ? 0 : length] = 0;
                        fail("left descriptor %d open: %s", fd, target);
                }
                if (before[fd] && !after[fd])
                        fail("closed descriptor %d, which was not its own", fd);
        }
}

/* Dead children are reaped without complaint: an orphan's killer cannot wait for it. */
static void require_no_children(void) {
        for (long long deadline = now_ms() + GRACE_MS;;) {
                siginfo_t info = {};
                if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG) < 0)
                        return;
                if (info.si_pid)
                        continue;
                if (now_ms() >= deadline)
                        fail("left a child process running");
                sleep_ms(5);
        }
}

__attribute__((noreturn)) static void run_in_child(const struct test *test, int output) {
        static bool before[DESCRIPTORS_MAX];
        sigset_t none;

        setpgid(0, 0);
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        sigemptyset(&none);
        sigprocmask(SIG_SETMASK, &none, NULL);
        /* nohup ignores the first, a shell's background the next two, and what is ignored is inherited. */
        static const int reset[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
        for (unsigned i = 0; i < sizeof reset / sizeof reset[0]; i++)
                signal(reset[i], SIG_DFL);
        dup2(output, STDOUT_FILENO);
        dup2(output, STDERR_FILENO);

        list_descriptors(before);
        pid_t self = getpid();
        test->run();
        if (getpid() != self)
                fail("a forked child returned from the test's body");
        require_no_children();
        compare_descriptors(before);
        if (report->verdict == UNFINISHED) /* a failed check in a forked child fails the test too */
                report->verdict = PASSED;
        exit(0); /* not _exit: LeakSanitizer looks for leaks now */
}

/* ---- in the runner ---- */

static double time_factor(void) {
        const char *text = getenv("HVSOCK_TEST_TIME_FACTOR");
        double factor = text ? atof(text) : 1;
#ifdef SANITIZED
        factor *= 4;
#endif
        return factor > 0 ? factor : 1;
}

/* Kills and reaps every process that came to this one; returns how many. They are descendants of a test, and of nothing else. */
static unsigned kill_orphans(void) {
        unsigned count = 0;
        char path[64];
        snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
        for (;;) {
                while (waitpid(-1, NULL, WNOHANG) > 0)
                        ;
                FILE *children = fopen(path, "re");
                int pid, found = 0;
                while (children && fscanf(children, "%d", &pid) == 1) {
                        kill(pid, SIGKILL);
                        found++;
                }
                if (children)
                        fclose(children);
                if (!found)
                        return count;
                count += (unsigned)found;
                waitpid(-1, NULL, 0);
        }
}

/* Waits for the test's process. False: its time was over and it was killed. */
static bool wait_until(pid_t pid, long long deadline, int *ret_status) {
        sigset_t child;
        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        for (;;) {
                if (waitpid(pid, ret_status, WNOHANG) == pid)
                        return true;
                long long left = deadline - now_ms();
                if (left <= 0) {
                        kill(pid, SIGKILL);
                        waitpid(pid, ret_status, 0);
                        return false;
                }
                struct timespec wait = {.tv_sec = left / 1000, .tv_nsec = left % 1000 * 1000000};
                sigtimedwait(&child, NULL, &wait);
        }
}

/* The last OUTPUT_SHOWN_MAX bytes of a file; the caller frees. NULL when there is nothing. */
static char *read_end(int fd, bool *ret_cut) {
        struct stat status;
        if (fstat(fd, &status) < 0 || !status.st_size)
                return NULL;
        off_t start = status.st_size > OUTPUT_SHOWN_MAX ? status.st_size - OUTPUT_SHOWN_MAX : 0;
        size_t size = (size_t)(status.st_size - start);
        char *text = malloc(size + 1);
        ssize_t length = text ? pread(fd, text, size, start) : 0;
        if (length <= 0) {
                free(text);
                return NULL;
        }
        text[length] = 0;
        *ret_cut = start;
        return text;
}

/* Prints as TAP comments. */
static void print_comments(int fd) {
        bool cut;
        char *text = read_end(fd, &cut);
        if (text && cut)
                printf("# (the beginning is left out)\n");
        for (char *rest = text, *line; (line = strsep(&rest, "\n"));)
                if (rest || *line)
                        printf("# %s\n", line);
        free(text);
}

static bool output_has_finding(int output) {
        bool cut;
        char *text = *findings_directory ? read_end(output, &cut) : NULL;
        bool found = text && strstr(text, ": runtime error: ");
        free(text);
        return found;
}

/* Prints (when `print`) and removes the sanitizers' findings. Returns whether there were any. */
static bool collect_findings(bool print) {
        bool any = false;
        DIR *directory = *findings_directory ? opendir(findings_directory) : NULL;
        if (!directory)
                return false;
        for (struct dirent *entry; (entry = readdir(directory));) {
                if (entry->d_name[0] == '.')
                        continue;
                any = true;
                if (!print)
                        continue;
                int fd = openat(dirfd(directory), entry->d_name, O_RDONLY | O_CLOEXEC);
                if (fd >= 0) {
                        print_comments(fd);
                        close(fd);
                }
                unlinkat(dirfd(directory), entry->d_name, 0);
        }
        closedir(directory);
        return any;
}

/* Returns whether the test did not fail. */
static bool run_test(const struct test *test, unsigned number) {
        int output = memfd_create("test output", MFD_CLOEXEC);
        if (output < 0) {
                printf("Bail out! memfd_create: %s\n", strerror(errno));
                exit(1);
        }
        *report = (struct report){};
        fflush(NULL);
        double limit = (test->seconds ? test->seconds : SECONDS_DEFAULT) * time_factor();

        pid_t pid = fork();
        if (pid < 0) {
                printf("Bail out! fork: %s\n", strerror(errno));
                exit(1);
        }
        if (!pid)
                run_in_child(test, output);
        setpgid(pid, pid);

        int status;
        bool in_time = wait_until(pid, now_ms() + (long long)(limit * 1000), &status);
        /* No process group outlives its members, and the members are descendants: none of them is a stranger. */
        kill_orphans();
        bool findings = collect_findings(false) || output_has_finding(output);

        char reason[sizeof report->text + 64] = "";
        if (!in_time)
                snprintf(reason, sizeof reason, "still running after %.0f s", limit);
        else if (report->verdict == FAILED)
                snprintf(reason, sizeof reason, "%s", report->text);
        else if (WIFSIGNALED(status))
                snprintf(reason, sizeof reason, "killed by SIG%s", sigabbrev_np(WTERMSIG(status)));
        else if (findings)
                snprintf(reason, sizeof reason, "a sanitizer's finding");
        else if (WEXITSTATUS(status))
                snprintf(reason, sizeof reason, "exited with status %d", WEXITSTATUS(status));
        else if (report->verdict == UNFINISHED)
                snprintf(reason, sizeof reason, "exited before its end");

        if (*reason) {
                printf("not ok %u - %s\n# %s\n", number, test->name, reason);
                print_comments(output);
                collect_findings(true);
        } else if (report->verdict == SKIPPED) {
                printf("ok %u - %s # SKIP %s\n", number, test->name, report->text);
        } else {
                printf("ok %u - %s\n", number, test->name);
                if (getenv("HVSOCK_TEST_OUTPUT"))
                        print_comments(output);
        }
        fflush(stdout);
        close(output);
        return !*reason;
}

#ifdef SANITIZED
static void append_to_environment(const char *name, const char *option) {
        const char *old = getenv(name);
        char options[PATH_MAX + 512];
        snprintf(options, sizeof options, "%s%s%s", old ? old : "", old ? ":" : "", option);
        setenv(name, options, 1);
}

/*
 * The sanitizers read their options when a program starts: makes the directory, and starts this program again with the
 * options set. The second time, the directory is in the environment, with the pid that tells it from an outer runner's.
 */
static void divert_findings(char **argv) {
        const char *diverted = getenv("HVSOCK_TEST_FINDINGS"), *temporary = getenv("TMPDIR");
        char pid[16], text[PATH_MAX + 32];
        snprintf(pid, sizeof pid, "%d:", getpid());
        if (diverted && !strncmp(diverted, pid, strlen(pid))) {
                snprintf(findings_directory, sizeof findings_directory, "%s", diverted + strlen(pid));
                return;
        }
        snprintf(findings_directory, sizeof findings_directory, "%s/findings-XXXXXX", temporary ? temporary : "/tmp");
        if (mkdtemp(findings_directory) && !chmod(findings_directory, 01777)) { /* processes of other users write there too */
                snprintf(text, sizeof text, "%s%s", pid, findings_directory);
                setenv("HVSOCK_TEST_FINDINGS", text, 1);
                snprintf(text, sizeof text, "log_path=%s/finding", findings_directory);
                append_to_environment("ASAN_OPTIONS", text);
                append_to_environment("UBSAN_OPTIONS", text);
                execv("/proc/self/exe", argv);
        }
        printf("Bail out! %s: %s\n", findings_directory, strerror(errno));
        exit(1);
}
#else
static void divert_findings(char **argv) {}
#endif

/* Open to all: tests become other users. */
static void make_temporary(char ret_path[PATH_MAX]) {
        const char *parent = getenv("TMPDIR");
        snprintf(ret_path, PATH_MAX, "%s/tests-XXXXXX", parent && *parent == '/' ? parent : "/tmp");
        if (!mkdtemp(ret_path) || chmod(ret_path, 01777) < 0 || setenv("TMPDIR", ret_path, 1) < 0) {
                printf("Bail out! %s: %s\n", ret_path, strerror(errno));
                exit(1);
        }
}

static int remove_entry(const char *path, const struct stat *status, int type, struct FTW *place) {
        remove(path);
        return 0;
}

static bool wanted(const struct test *test, char **names) {
        if (!*names)
                return true;
        for (; *names; names++)
                if (!strcmp(*names, test->name))
                        return true;
        return false;
}

int main(int argc, char **argv) {
        setvbuf(stdout, NULL, _IOLBF, 0); /* so that a test that crashes has said what it printed */
        bool list = argc > 1 && !strcmp(argv[1], "--list");
        unsigned count = 0, number = 0, failed = 0;
        for (const struct test *const *test = __start_hvsock_tests; test < __stop_hvsock_tests; test++)
                if (list)
                        puts((*test)->name);
                else if (wanted(*test, argv + 1))
                        count++;
        if (list)
                return 0;
        if (!count) {
                printf("Bail out! There is no such test.\n");
                return 1;
        }
        divert_findings(argv);

        report = mmap(NULL, sizeof *report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
        if (report == MAP_FAILED) {
                printf("Bail out! mmap: %s\n", strerror(errno));
                return 1;
        }
        prctl(PR_SET_CHILD_SUBREAPER, 1);
        /* Whoever started this may ignore them, and ignoring is inherited. */
        signal(SIGCHLD, SIG_DFL);
        signal(SIGPIPE, SIG_DFL);
        sigset_t child;
        sigemptyset(&child);
        sigaddset(&child, SIGCHLD);
        sigprocmask(SIG_BLOCK, &child, NULL);

        char temporary[PATH_MAX];
        make_temporary(temporary);
        printf("1..%u\n", count);
        for (const struct test *const *test = __start_hvsock_tests; test < __stop_hvsock_tests; test++)
                if (wanted(*test, argv + 1) && !run_test(*test, ++number))
                        failed++;
        nftw(temporary, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
        if (*findings_directory)
                rmdir(findings_directory);
        return failed ? 1 : 0;
}
