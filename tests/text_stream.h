/* SPDX-License-Identifier: MIT */
#pragma once

/* Short texts on stream sockets, which nobody waits for too long. */

#include "test.h"
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TEXT_PATIENCE_MS 20000

static inline void await_text(int fd) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        check_equal(poll(&poll_fd, 1, TEXT_PATIENCE_MS), 1);
}

static inline void send_text(int fd, const char *text) {
        check_equal(must(send(fd, text, strlen(text), MSG_NOSIGNAL)), strlen(text));
}

static inline void expect_text(int fd, const char *text) {
        char bytes[128];
        size_t length = strlen(text);
        await_text(fd);
        check_equal(must(recv(fd, bytes, length, MSG_WAITALL)), length);
        check(!memcmp(bytes, text, length));
}

static inline void expect_end(int fd) {
        await_text(fd);
        check_equal(must(recv(fd, &(char){0}, 1, 0)), 0);
}
