/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The test runner's face. Each TEST runs in a process of its own, under a time
 * limit, and fails on a failed check, a signal, a descriptor or child process
 * left behind, or a sanitizer's finding. Output is TAP.
 *
 *     TEST(a_guid_reads_in_any_case) {
 *             GUID guid;
 *             check_ok(guid_parse("A42E7CDA-…", &guid));
 *     }
 */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>

struct test {
        const char *name;
        void (*run)(void);
        unsigned seconds; /* time limit; 0 means the default */
};

#if __has_attribute(no_reorder)
#define TEST_IN_ORDER __attribute__((no_reorder)) /* tests run in the order of the source */
#else
#define TEST_IN_ORDER
#endif

#define TEST_LIMITED(test_name, limit_seconds)                                                               \
        static void test_##test_name(void);                                                                  \
        static const struct test test_entry_##test_name = {#test_name, test_##test_name, limit_seconds};     \
        TEST_IN_ORDER __attribute__((used, section("hvsock_tests"))) static const struct test                \
                *const test_link_##test_name = &test_entry_##test_name;                                      \
        static void test_##test_name(void)
#define TEST(test_name) TEST_LIMITED(test_name, 0)

__attribute__((noreturn, format(printf, 3, 4))) void test_fail(const char *file, int line, const char *format, ...);
__attribute__((noreturn, format(printf, 1, 2))) void test_skip(const char *reason, ...); /* printed and counted */

/* A suite may define this: a descriptor that the code under test keeps on purpose, and that is therefore no leak. */
bool test_keeps_descriptor(int fd);

#define check(condition) \
        do { if (!(condition)) test_fail(__FILE__, __LINE__, "%s", #condition); } while (0)
#define check_equal(actual, expected)                                                                            \
        do {                                                                                                     \
                long long actual_ = (long long)(actual), expected_ = (long long)(expected);                      \
                if (actual_ != expected_)                                                                        \
                        test_fail(__FILE__, __LINE__, "%s is %lld, expected %s = %lld", #actual, actual_, #expected, \
                                  expected_);                                                                    \
        } while (0)
#define check_string(actual, expected)                                                                      \
        do {                                                                                                \
                const char *actual_ = (actual), *expected_ = (expected);                                    \
                if (strcmp(actual_, expected_))                                                             \
                        test_fail(__FILE__, __LINE__, "%s is \"%s\", expected \"%s\"", #actual, actual_, expected_); \
        } while (0)
/* A call of ours that returns 0 or -errno. */
#define check_ok(call) \
        do { int r_ = (call); if (r_) test_fail(__FILE__, __LINE__, "%s: %s", #call, strerror(r_ < 0 ? -r_ : r_)); } while (0)
/* A POSIX-like call: -1 with this errno; or not -1, and its value. */
#define check_errno(call, expected)                                                                             \
        do {                                                                                                    \
                errno = 0;                                                                                      \
                long long r_ = (long long)(call);                                                               \
                if (r_ != -1 || errno != (expected))                                                            \
                        test_fail(__FILE__, __LINE__, "%s gave %lld, errno %s; expected -1, %s", #call, r_,     \
                                  strerrorname_np(errno), strerrorname_np(expected));                           \
        } while (0)
#define must(call)                                                                                            \
        ({ long long r_ = (long long)(call);                                                                  \
           if (r_ < 0) test_fail(__FILE__, __LINE__, "%s: %s", #call, strerrorname_np(errno));                   \
           r_; })
