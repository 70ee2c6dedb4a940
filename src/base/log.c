/* SPDX-License-Identifier: MIT */

/* The daemon's log. One line is one write, so that lines of several processes do not mix. */

#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define LINE_SIZE 2048  /* a longer line is cut */
#define LOG_WAIT_MS 100 /* for a reader that is slow; no more until it reads again */

enum log_level log_threshold = LOG_LEVEL_INFO;

/* $JOURNAL_STREAM names the device and inode of the journal's stream; it may be inherited although stderr is another. */
static bool stderr_is_journal(void) {
        static int known = -1;
        if (known < 0) {
                const char *stream = getenv("JOURNAL_STREAM");
                unsigned long long device, inode;
                struct stat status;
                known = stream && sscanf(stream, "%llu:%llu", &device, &inode) == 2 && !fstat(STDERR_FILENO, &status) &&
                        status.st_dev == device && status.st_ino == inode;
        }
        return known;
}

/* Where there is room at all, there is for a line. A pipe or a terminal that nobody reads is waited for once. */
static bool stderr_has_room(void) {
        static bool is_stalled;
        struct pollfd writable = {.fd = STDERR_FILENO, .events = POLLOUT};
        is_stalled = poll(&writable, 1, is_stalled ? 0 : LOG_WAIT_MS) != 1;
        return !is_stalled;
}

__attribute__((format(printf, 2, 0))) static void write_line(enum log_level level, const char *format, va_list values) {
        int saved = errno;
        char line[LINE_SIZE];
        int prefix = stderr_is_journal() ? snprintf(line, sizeof line, "<%d>", (int)level)
                                         : snprintf(line, sizeof line, "%s: ", program_invocation_short_name);
        size_t start = prefix < LINE_SIZE / 2 ? (size_t)prefix : LINE_SIZE / 2, room = sizeof line - start - 1;

        errno = saved; /* for %m */
        int wanted = vsnprintf(line + start, room, format, values);
        size_t length = wanted < 0 ? 0 : (size_t)wanted < room ? (size_t)wanted : room - 1;

        /* A stranger's text must neither begin a new line nor drive a terminal. */
        for (char *c = line + start; c < line + start + length; c++)
                if ((unsigned char)*c < ' ' || *c == 0x7f)
                        *c = '?';
        line[start + length] = '\n';
        if (!stderr_has_room() || write(STDERR_FILENO, line, start + length + 1) < 0) {
                /* There is nowhere left to say so. */
        }
        errno = saved;
}

void log_write(enum log_level level, const char *format, ...) {
        if (level > log_threshold)
                return;
        va_list values;
        va_start(values, format);
        write_line(level, format, values);
        va_end(values);
}

void log_stranger(enum log_level level, const char *format, ...) {
        static int64_t window_end;
        static unsigned written, left_out;

        if (level > log_threshold)
                return;
        int saved = errno;
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (now.tv_sec >= window_end) {
                if (left_out)
                        log_write(LOG_LEVEL_WARNING, "%u lines about clients were left out", left_out);
                window_end = now.tv_sec + LOG_STRANGER_SECONDS;
                written = left_out = 0;
        }
        errno = saved;
        if (written == LOG_STRANGER_BURST) {
                left_out++;
                return;
        }
        written++;
        va_list values;
        va_start(values, format);
        write_line(level, format, values);
        va_end(values);
}
