/* SPDX-License-Identifier: MIT */

/*
 * Tests with every fault that the runner must find, and some without: runner.c
 * runs this program and reads its verdicts. Descriptor 9 is runner.c's: it is
 * held by every process started here, so that its end shows when all are gone.
 */

#include "test.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static int kept_descriptor = -1;

bool test_keeps_descriptor(int fd) {
        return fd == kept_descriptor;
}

static void wait_forever(void) {
        for (;;)
                pause();
}

TEST(passes) {}

TEST(passes_with_a_reaped_child) {
        pid_t pid = (pid_t)must(fork());
        if (!pid)
                _exit(0);
        must(waitpid(pid, NULL, 0));
}

TEST(passes_with_a_dead_orphan) {
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                if (!fork())
                        _exit(0);
                _exit(0);
        }
        must(waitpid(pid, NULL, 0));
}

TEST(passes_with_a_kept_descriptor) {
        kept_descriptor = (int)must(open("/dev/null", O_RDONLY));
}

TEST(skips) {
        test_skip("there is no %s here", "moon");
}

TEST(leaks_a_descriptor) {
        must(open("/dev/null", O_RDONLY));
}

TEST(closes_a_descriptor_of_others) {
        close(STDIN_FILENO);
}

TEST(crashes) {
        puts("said before the crash");
        abort();
}

TEST_LIMITED(hangs, 1) {
        wait_forever();
}

TEST(leaves_a_child) {
        if (!must(fork()))
                wait_forever();
}

/* In another session and process group, its parent dead. */
TEST(leaves_a_daemon) {
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                setsid();
                if (!fork())
                        wait_forever();
                _exit(0);
        }
        must(waitpid(pid, NULL, 0));
}

TEST(crashes_and_leaves_a_daemon) {
        if (!must(fork())) {
                setsid();
                if (!fork())
                        wait_forever();
                wait_forever();
        }
        raise(SIGKILL);
}

TEST(fails_a_check) {
        check_equal(1 + 1, 3);
}

TEST(fails_a_check_in_a_child) {
        pid_t pid = (pid_t)must(fork());
        if (!pid)
                check_string("apple", "pear");
        must(waitpid(pid, NULL, 0));
}

TEST(exits_early) {
        exit(0);
}

TEST(exits_with_a_status) {
        exit(3);
}

TEST(returns_twice) {
        pid_t pid = (pid_t)must(fork());
        if (pid)
                must(waitpid(pid, NULL, 0));
}

TEST(leaks_memory) {
        void *volatile lost = malloc(100);
        lost = NULL;
        (void)lost;
}

TEST(overflows_an_integer_in_a_child) {
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                volatile int most = INT_MAX;
                most = most + 1;
                _exit(0);
        }
        must(waitpid(pid, NULL, 0));
}
