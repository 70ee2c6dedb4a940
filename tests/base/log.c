/* SPDX-License-Identifier: MIT */

/* Linked with --wrap=clock_gettime: the log sees the clock below. */

#include "base/log.h"
#include "test.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static time_t now = 1000;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);
int __wrap_clock_gettime(clockid_t clock, struct timespec *ret) {
        *ret = (struct timespec){.tv_sec = now};
        return 0;
}

/* From here on standard error is a file of its own. */
static void divert_log(void) {
        int fd = (int)must(memfd_create("log", MFD_CLOEXEC));
        must(dup2(fd, STDERR_FILENO));
        close(fd);
}

/* What was logged since the last call. */
static const char *logged(void) {
        static char text[1 << 17];
        text[must(pread(STDERR_FILENO, text, sizeof text - 1, 0))] = 0;
        must(ftruncate(STDERR_FILENO, 0));
        must(lseek(STDERR_FILENO, 0, SEEK_SET));
        return text;
}

static unsigned count_lines(const char *lines) {
        unsigned count = 0;
        for (; (lines = strchr(lines, '\n')); lines++)
                count++;
        return count;
}

static void expect_line(const char *message) {
        char line[4096];
        snprintf(line, sizeof line, "%s: %s\n", program_invocation_short_name, message);
        check_string(logged(), line);
}

TEST(a_line_bears_the_programs_name) {
        divert_log();
        log_write(LOG_LEVEL_INFO, "hello %d", 42);
        expect_line("hello 42");
}

TEST(a_line_that_nobody_makes_room_for_is_lost_and_makes_nobody_wait) {
        int ends[2];
        must(pipe2(ends, O_CLOEXEC));
        must(fcntl(ends[0], F_SETPIPE_SZ, 4096));
        int old = (int)must(dup(STDERR_FILENO));
        must(dup2(ends[1], STDERR_FILENO));
        alarm(20); /* the runner's clock stands still, too */
        for (unsigned i = 0; i < 1000; i++)
                log_write(LOG_LEVEL_INFO, "line %u", i);
        alarm(0);
        must(dup2(old, STDERR_FILENO));
        close(old);
        close(ends[1]);
        char text[8192], first[64];
        ssize_t length = must(read(ends[0], text, sizeof text - 1));
        text[length] = 0;
        snprintf(first, sizeof first, "%s: line 0\n", program_invocation_short_name);
        check(!strncmp(text, first, strlen(first)));
        check(text[length - 1] == '\n');
        close(ends[0]);
}

TEST(a_line_below_the_threshold_is_not_written) {
        divert_log();
        log_write(LOG_LEVEL_DEBUG, "no");
        log_stranger(LOG_LEVEL_DEBUG, "no");
        check_string(logged(), "");
        log_threshold = LOG_LEVEL_DEBUG;
        log_write(LOG_LEVEL_DEBUG, "yes");
        expect_line("yes");
}

TEST(a_line_keeps_errno_and_can_show_it) {
        divert_log();
        errno = ENOTUNIQ;
        log_write(LOG_LEVEL_INFO, "%m");
        check_equal(errno, ENOTUNIQ);
        expect_line(strerror(ENOTUNIQ));
        log_stranger(LOG_LEVEL_INFO, "%m");
        check_equal(errno, ENOTUNIQ);
        expect_line(strerror(ENOTUNIQ));
}

TEST(control_characters_do_not_reach_the_log) {
        divert_log();
        log_write(LOG_LEVEL_INFO, "%s", "a\nb\x1b[2Jc\rd\te\x7f");
        expect_line("a?b?[2Jc?d?e?");
}

TEST(a_long_line_is_cut_and_ended) {
        divert_log();
        static char longer[5000];
        memset(longer, 'x', sizeof longer - 1);
        log_write(LOG_LEVEL_INFO, "%s", longer);
        const char *line = logged();
        check_equal(count_lines(line), 1);
        check(strlen(line) > 2000 && strlen(line) <= 2048);
        check_equal(line[strlen(line) - 1], '\n');
}

TEST(the_journal_gets_priorities_instead) {
        divert_log();
        struct stat status;
        must(fstat(STDERR_FILENO, &status));
        char stream[64];
        snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev, (unsigned long long)status.st_ino);
        setenv("JOURNAL_STREAM", stream, 1);
        log_write(LOG_LEVEL_WARNING, "hello");
        check_string(logged(), "<4>hello\n");
}

TEST(a_journal_that_is_not_standard_error_is_ignored) {
        divert_log();
        setenv("JOURNAL_STREAM", "1:1", 1);
        log_write(LOG_LEVEL_INFO, "hello");
        expect_line("hello");
}

TEST(strangers_get_100_lines_in_5_seconds) {
        divert_log();
        for (unsigned i = 0; i < 5 * LOG_STRANGER_BURST; i++)
                log_stranger(LOG_LEVEL_INFO, "line %u", i);
        now += LOG_STRANGER_SECONDS - 1;
        log_stranger(LOG_LEVEL_INFO, "still too early");
        const char *lines = logged();
        check_equal(count_lines(lines), LOG_STRANGER_BURST);
        check(strstr(lines, "line 99\n") != NULL);
}

TEST(the_next_line_after_a_burst_says_how_many_were_left_out) {
        divert_log();
        for (unsigned i = 0; i < LOG_STRANGER_BURST + 7; i++)
                log_stranger(LOG_LEVEL_INFO, "line %u", i);
        logged();
        now += LOG_STRANGER_SECONDS;
        log_stranger(LOG_LEVEL_INFO, "again");
        const char *lines = logged();
        check(strstr(lines, "7 lines about clients were left out\n") != NULL);
        check(strstr(lines, "again\n") != NULL);
        now += LOG_STRANGER_SECONDS;
        log_stranger(LOG_LEVEL_INFO, "quiet");
        expect_line("quiet");
}

TEST(the_daemons_own_lines_are_not_limited) {
        divert_log();
        for (unsigned i = 0; i < 3 * LOG_STRANGER_BURST; i++)
                log_write(LOG_LEVEL_INFO, "line %u", i);
        check_equal(count_lines(logged()), 3 * LOG_STRANGER_BURST);
}
