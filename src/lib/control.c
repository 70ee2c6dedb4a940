/* SPDX-License-Identifier: MIT */

/* Asking the broker: the pool of control connections, and waiting for a broker that restarts. */

#include "lib/control.h"

#include "base/fd.h"
#include "lib/find.h"
#include "lib/process_lock.h"
#include "lib/revocation.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#define BACKOFF_FIRST_MS 1
#define BACKOFF_LAST_MS 20

/* The cookie proves that the number still names the socket that was opened. */
struct connection {
        int fd;
        uint64_t cookie;
};

static struct process_lock lock;
static struct {
        pid_t pid;
        uid_t uid;
        unsigned count;
        struct connection idle[CONTROL_IDLE_MAX];
        bool self_known;
        struct hv_partition self;
} pool;

static _Atomic(uint32_t) next_serial;

int64_t control_now_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static uint64_t cookie_of(int fd) {
        uint64_t cookie;
        socklen_t length = sizeof cookie;
        return getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length) < 0 ? 0 : cookie;
}

static bool is_intact(const struct connection *connection) {
        return connection->cookie && cookie_of(connection->fd) == connection->cookie;
}

static void drop(struct connection *connection) {
        if (is_intact(connection))
                fd_close(connection->fd);
        connection->fd = -1;
}

/* Takes the lock; connections of another process or user go. */
static void lock_pool(void) {
        bool sound = process_lock(&lock);
        pid_t pid = getpid();
        uid_t uid = geteuid();
        if (!sound)
                pool.count = 0;
        if (pool.pid == pid && pool.uid == uid)
                return;
        for (unsigned i = 0; i < pool.count; i++)
                drop(&pool.idle[i]);
        pool.count = 0;
        pool.self_known = false;
        pool.pid = pid;
        pool.uid = uid;
}

static bool take_idle(struct connection *ret_connection) {
        bool found = false;
        lock_pool();
        while (pool.count && !found) {
                *ret_connection = pool.idle[--pool.count];
                found = is_intact(ret_connection);
        }
        process_unlock(&lock);
        return found;
}

static void put_idle(struct connection *connection) {
        lock_pool();
        if (pool.count < CONTROL_IDLE_MAX)
                pool.idle[pool.count++] = *connection;
        else
                drop(connection);
        process_unlock(&lock);
}

static int wait_readable(int fd, int64_t deadline_ms) {
        for (;;) {
                int64_t left = deadline_ms - control_now_ms();
                struct pollfd one = {.fd = fd, .events = POLLIN};
                int n = poll(&one, 1, left > 0 ? (int)left : 0);
                if (n > 0)
                        return 0;
                if (n == 0)
                        return -ETIMEDOUT;
                if (errno != EINTR)
                        return -errno;
        }
}

/*
 * One request on one connection. -EPIPE: the broker went away. Any failure
 * leaves the connection good for nothing: a late answer would be taken for the
 * answer to the next request.
 */
static int exchange(int connection, struct wire_request *request, int fd, int64_t deadline_ms, struct wire_reply *ret,
                    int *ret_fd) {
        uint8_t packet[WIRE_PACKET_MAX];
        size_t length;
        cleanup(fd_closep) int received = -1;
        request->header = (struct wire_header){.major = WIRE_MAJOR,
                                               .minor = WIRE_MINOR,
                                               .type = request->header.type,
                                               .serial = atomic_fetch_add(&next_serial, 1)};
        int r;
        do
                r = packet_send(connection, packet, wire_encode_request(request, packet), fd, 0);
        while (r == -EINTR);
        if (r == -EBADF && fd >= 0 && fcntl(fd, F_GETFD) < 0)
                return -EBADF;
        if (r == -ETOOMANYREFS || r == -ENOMEM || r == -ENOBUFS)
                return -ENOBUFS;
        if (r)
                return r == -EAGAIN ? -ETIMEDOUT : -EPIPE;
        r = wait_readable(connection, deadline_ms);
        if (r)
                return r;
        r = packet_receive(connection, packet, sizeof packet, MSG_DONTWAIT, &length, &received, NULL);
        if (r == -EPROTO)
                return r;
        if (r || !length)
                return -EPIPE;
        r = wire_decode_reply(packet, length, ret);
        if (r)
                return -EPROTO;
        if (ret->header.serial != request->header.serial ||
            ret->header.type != (request->header.type | WIRE_REPLY))
                return -EPROTO;
        *ret_fd = fd_take(received);
        return 0;
}

static int say_hello(int connection, int64_t deadline_ms) {
        struct wire_request hello = {.header.type = WIRE_HELLO};
        struct wire_reply reply;
        cleanup(fd_closep) int page = -1;
        int r = exchange(connection, &hello, -1, deadline_ms, &reply, &page);
        if (r)
                return r;
        if (reply.error)
                return -(int)reply.error;
        revocation_map(page);
        lock_pool();
        pool.self = (struct hv_partition){.vm_id = reply.vm_id, .parent_vm_id = reply.parent_vm_id, .kind = (int)reply.kind};
        memcpy(pool.self.label, reply.label, sizeof pool.self.label);
        pool.self_known = true;
        process_unlock(&lock);
        return 0;
}

static int open_connection(int64_t deadline_ms, struct connection *ret_connection) {
        cleanup(fd_closep) int fd = -1;
        int r = broker_open(&fd);
        if (r)
                return r == -ECONNREFUSED ? -EPIPE : r;
        r = say_hello(fd, deadline_ms);
        if (r)
                return r;
        *ret_connection = (struct connection){.cookie = cookie_of(fd), .fd = fd};
        fd = -1;
        return 0;
}

/* One attempt: -EPIPE when the broker is not there, or went away before it answered. */
static int attempt(struct wire_request *request, int fd, int64_t deadline_ms, struct wire_reply *ret, bool *ret_stale) {
        struct connection connection;
        *ret_stale = take_idle(&connection);
        int r = *ret_stale ? 0 : open_connection(deadline_ms, &connection);
        if (r)
                return r;
        cleanup(fd_closep) int received = -1;
        r = exchange(connection.fd, request, fd, deadline_ms, ret, &received);
        if (r)
                drop(&connection);
        else
                put_idle(&connection);
        return r;
}

static void pause_ms(int64_t delay_ms, int64_t deadline_ms) {
        int64_t left = deadline_ms - control_now_ms();
        if (delay_ms > left)
                delay_ms = left;
        if (delay_ms > 0)
                (void)nanosleep(&(struct timespec){.tv_nsec = delay_ms * 1000000}, NULL);
}

int control_call(struct wire_request *request, int fd, int64_t deadline_ms, bool patient, bool (*settled)(int fd),
                 struct wire_reply *ret) {
        int64_t delay_ms = BACKOFF_FIRST_MS;
        for (;;) {
                struct wire_reply reply;
                bool stale;
                int r = attempt(request, fd, deadline_ms, &reply, &stale);
                if (!r) {
                        *ret = reply;
                        return 0;
                }
                if (r != -EPIPE)
                        return r;
                if (settled && settled(fd)) {
                        *ret = (struct wire_reply){};
                        return 0;
                }
                /* An idle connection that broke tells of a broker that is gone, not of one that is not back yet. */
                if (stale)
                        continue;
                if (!patient)
                        return -EAGAIN;
                if (control_now_ms() >= deadline_ms)
                        return -ETIMEDOUT;
                pause_ms(delay_ms, deadline_ms);
                delay_ms = delay_ms * 2 < BACKOFF_LAST_MS ? delay_ms * 2 : BACKOFF_LAST_MS;
        }
}

void control_tell(struct wire_request *request) {
        struct connection connection;
        uint8_t packet[WIRE_PACKET_MAX];
        if (!take_idle(&connection))
                return;
        request->header.major = WIRE_MAJOR;
        request->header.minor = WIRE_MINOR;
        request->header.serial = atomic_fetch_add(&next_serial, 1);
        if (packet_send(connection.fd, packet, wire_encode_request(request, packet), -1, MSG_DONTWAIT))
                drop(&connection);
        else
                put_idle(&connection);
}

static bool recall_self(struct hv_partition *ret_self) {
        lock_pool();
        bool known = pool.self_known;
        if (known)
                *ret_self = pool.self;
        process_unlock(&lock);
        return known;
}

int control_self(struct hv_partition *ret_self) {
        int64_t deadline_ms = control_now_ms() + HV_CONNECT_TIMEOUT_DEFAULT_MS, delay_ms = BACKOFF_FIRST_MS;
        while (!recall_self(ret_self)) {
                struct connection connection;
                int r = open_connection(deadline_ms, &connection);
                if (!r) {
                        put_idle(&connection);
                } else if (r != -EPIPE) {
                        return r;
                } else if (control_now_ms() >= deadline_ms) {
                        return -ETIMEDOUT;
                } else {
                        pause_ms(delay_ms, deadline_ms);
                        delay_ms = delay_ms * 2 < BACKOFF_LAST_MS ? delay_ms * 2 : BACKOFF_LAST_MS;
                }
        }
        return 0;
}
