/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Typing at a shell: commands as a user would give them, with `hvsock` and
 * `hvsockd` of $HVSOCK_BUILD in the PATH, and a sandbox to give them in.
 */

#include <json-c/json.h>
#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#define OUTPUT_MAX 65536

struct outcome {
        int code; /* as a shell's $? */
        char out[OUTPUT_MAX], err[OUTPUT_MAX];
};

/* Runs `sh -c` with the formatted text. The outcome is valid until the next call. */
const struct outcome *sh(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, in the background: its pid. Output goes to the test's. */
pid_t sh_begin(const char *format, ...) __attribute__((format(printf, 1, 2)));
int sh_end(pid_t pid); /* waits; as a shell's $? */
/* What it printed, a newline at the end cut off; the test fails unless it exits with 0. Valid for TEXTS calls. */
#define TEXTS 4
const char *sh_text(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The same, read as JSON; the caller puts it. */
struct json_object *sh_json(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The exit code, and an error of the three parts "hvsock: what: why", "  try: next", on standard error alone. */
int sh_refused(const char *format, ...) __attribute__((format(printf, 1, 2)));

struct json_object *at(struct json_object *object, const char *pointer); /* fails the test when there is none */
const char *text_at(struct json_object *object, const char *pointer);
long long number_at(struct json_object *object, const char *pointer);

/*
 * `hvsock sandbox OPTIONS`: this process, and what it starts with sh(), is in
 * that world until sandbox_close(), which checks that nothing is left of it.
 */
struct sandbox {
        pid_t pid;
        int end_fd;                /* closing it ends the sandbox's command */
        char directory[PATH_MAX];
        char manage[PATH_MAX];
        pid_t broker;
};
void sandbox_open(struct sandbox *sandbox, const char *options);
void sandbox_close(struct sandbox *sandbox);
/* No directory and no broker. Waits for that, as something else has just been told to end them. */
void sandbox_check_gone(const struct sandbox *sandbox);

/* Waits until the command succeeds. */
void await_success(const char *format, ...) __attribute__((format(printf, 1, 2)));
void pause_ms(unsigned milliseconds);
