/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * One connection to the broker: finding its socket, deciding whether to trust
 * who listens there, saying hello, and asking one thing at a time.
 */

#include "wire/message.h"
#include <sys/types.h>

struct connection {
        int fd;           /* >= 3, close-on-exec */
        uint64_t cookie;  /* of its socket, to notice when a program closed it under us */
        pid_t pid;        /* whose it is: the broker hears only the process and user that opened it */
        uid_t euid;
        uint32_t serial;  /* of the last request */
        uint32_t wait_ms; /* what the kernel was told to wait at most */
        uint16_t minor;   /* the broker's, as it last answered */
};

/*
 * Connects and says hello, waiting at most `wait_ms`. -ENETDOWN: there is no
 * socket, or nobody to be trusted behind it. -ECONNREFUSED: a socket with nobody
 * behind it. -EACCES: it may not be reached. -ETIMEDOUT; as connection_ask(). A
 * broker that refuses even this has said why in *ret_reply, whose error is
 * returned; else that is not touched.
 */
int connection_open(uint32_t wait_ms, struct connection **ret, struct wire_reply *ret_reply);
/* Closes it, unless the program has already put something else in its place. */
struct connection *connection_close(struct connection *connection);
/* Whether it can be used by this process, now. */
bool connection_is_ours(const struct connection *connection);

/*
 * One request, with the descriptor `lent_fd` or -1, and its answer. 0 means that
 * there is an answer, be it a refusal. After anything else the connection can
 * only be closed: -ECONNRESET when the broker went away, -ETIMEDOUT, -EPROTO for
 * an answer that is none, -ENOBUFS with too many descriptors in flight, -EBADF.
 */
int connection_ask(struct connection *connection, struct wire_request *request, int lent_fd, uint32_t wait_ms,
                   struct wire_reply *ret_reply);
/* Sends what has no answer, with the descriptor `lent_fd` or -1; does not wait. */
int connection_tell(struct connection *connection, struct wire_request *request, int lent_fd);

int64_t monotonic_ms(void);
