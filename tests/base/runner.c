/* SPDX-License-Identifier: MIT */

/* The runner finds every fault of runner_faults.c, says which, and leaves no process. */

#include "test.h"

#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define HELD_DESCRIPTOR 9 /* as in runner_faults.c */
#define OUTPUT_SIZE 65536

#if defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif

struct outcome {
        char output[OUTPUT_SIZE];
        int status;
};

/* Runs the faulty program with this one argument, and waits until each process it started is gone. */
static void run_faults(const char *argument, struct outcome *ret) {
        const char *program = getenv("RUNNER_FAULTS");
        check(program != NULL);
        int output[2], held[2];
        must(pipe(output));
        must(pipe(held));
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                must(dup2(output[1], STDOUT_FILENO));
                must(dup2(held[1], HELD_DESCRIPTOR));
                setenv("HVSOCK_TEST_TIME_FACTOR", "1", 1);
                close(output[0]);
                close(output[1]);
                close(held[0]);
                close(held[1]);
                execl(program, program, argument, NULL);
                _exit(127);
        }
        close(output[1]);
        close(held[1]);
        size_t length = 0;
        for (ssize_t got; (got = must(read(output[0], ret->output + length, OUTPUT_SIZE - 1 - length)));)
                length += (size_t)got;
        ret->output[length] = 0;
        must(waitpid(pid, &ret->status, 0));
        char byte;
        check_equal(must(read(held[0], &byte, 1)), 0);
        close(output[0]);
        close(held[0]);
}

static void expect_failure(const char *test, const char *reason) {
        static struct outcome outcome;
        char line[128];
        run_faults(test, &outcome);
        snprintf(line, sizeof line, "1..1\nnot ok 1 - %s\n# ", test);
        if (strncmp(outcome.output, line, strlen(line)) || !strstr(outcome.output, reason))
                test_fail(__FILE__, __LINE__, "%s, expected to fail with \"%s\", gave:\n%s", test, reason, outcome.output);
        check(WIFEXITED(outcome.status));
        check_equal(WEXITSTATUS(outcome.status), 1);
}

static void expect_success(const char *test, const char *directive) {
        static struct outcome outcome;
        char line[128];
        run_faults(test, &outcome);
        snprintf(line, sizeof line, "1..1\nok 1 - %s%s\n", test, directive);
        check_string(outcome.output, line);
        check_equal(outcome.status, 0);
}

TEST(a_test_without_fault_passes) {
        expect_success("passes", "");
        expect_success("passes_with_a_reaped_child", "");
        expect_success("passes_with_a_dead_orphan", "");
        expect_success("passes_with_a_kept_descriptor", "");
}

TEST(a_skipped_test_says_why) {
        expect_success("skips", " # SKIP there is no moon here");
}

TEST(a_failed_check_says_where_and_what) {
        expect_failure("fails_a_check", "runner_faults.c:");
        expect_failure("fails_a_check", "1 + 1 is 2, expected 3 = 3");
}

TEST(a_failed_check_in_a_child_fails_the_test) {
        expect_failure("fails_a_check_in_a_child", "\"apple\" is \"apple\", expected \"pear\"");
}

TEST(a_leaked_descriptor_fails) {
        expect_failure("leaks_a_descriptor", "open: /dev/null");
}

TEST(a_closed_descriptor_of_others_fails) {
        expect_failure("closes_a_descriptor_of_others", "closed descriptor 0");
}

TEST(a_crash_fails_and_shows_the_output_before_it) {
        expect_failure("crashes", "killed by SIGABRT");
        expect_failure("crashes", "# said before the crash");
}

TEST(a_hang_fails_at_its_limit) {
        expect_failure("hangs", "still running after");
}

TEST(a_child_left_behind_fails_and_is_killed) {
        expect_failure("leaves_a_child", "left a child process running");
}

TEST(a_daemon_left_behind_fails_and_is_killed) {
        expect_failure("leaves_a_daemon", "left a child process running");
}

TEST(a_daemon_left_by_a_crashed_test_is_killed) {
        expect_failure("crashes_and_leaves_a_daemon", "killed by SIGKILL");
}

TEST(an_exit_before_the_end_fails) {
        expect_failure("exits_early", "exited before its end");
        expect_failure("exits_with_a_status", "exited with status 3");
}

TEST(a_child_that_returns_from_the_body_fails) {
        expect_failure("returns_twice", "a forked child returned");
}

TEST(a_name_that_is_no_test_fails) {
        static struct outcome outcome;
        run_faults("no_such_test", &outcome);
        check_string(outcome.output, "Bail out! There is no such test.\n");
        check_equal(WEXITSTATUS(outcome.status), 1);
}

TEST(the_list_names_the_tests) {
        static struct outcome outcome;
        run_faults("--list", &outcome);
        check(strstr(outcome.output, "leaks_a_descriptor\n") != NULL);
        check_equal(outcome.status, 0);
}

#ifdef SANITIZED
TEST(a_sanitizers_finding_in_any_process_fails) {
        expect_failure("leaks_memory", "detected memory leaks");
        expect_failure("overflows_an_integer_in_a_child", "signed integer overflow");
}
#endif
