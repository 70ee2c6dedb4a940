/* SPDX-License-Identifier: MIT */

/* One connection to the broker. */

#include "lib/connection.h"

#include "base/fd.h"
#include "lib/address.h"
#include "lib/process.h"
#include "lib/revocation.h"
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>

#define SYSTEM_SOCKET "/run/hvsock/control"
#define FIRST_DESCRIPTOR 3 /* below are standard input, output and error, which programs close and reopen */
#define OVERFLOW_UID 65534u /* what the kernel shows for a user that this user namespace has not */

int64_t monotonic_ms(void) {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* The broker's socket. *ret_is_named: the environment names it, so whoever listens there is meant. */
static int find_socket(char ret_path[PATH_MAX], bool *ret_is_named) {
        const char *named = secure_getenv("HVSOCK_SOCKET"), *runtime = secure_getenv("XDG_RUNTIME_DIR");
        struct stat status;
        *ret_is_named = named && *named;
        if (*ret_is_named) {
                if (stat(named, &status) < 0)
                        return errno == EACCES ? -EACCES : -ENETDOWN;
                if (snprintf(ret_path, PATH_MAX, "%s%s", named, S_ISDIR(status.st_mode) ? "/control" : "") >= PATH_MAX)
                        return -ENETDOWN;
                return 0;
        }
        if (runtime && snprintf(ret_path, PATH_MAX, "%s/hvsock/control", runtime) < PATH_MAX && stat(ret_path, &status) == 0)
                return 0;
        strcpy(ret_path, SYSTEM_SOCKET);
        return 0;
}

/* Whether this user namespace leaves users out, so that root outside looks like OVERFLOW_UID. */
static bool users_are_left_out(void) {
        cleanup(freep) char *map = NULL;
        size_t length;
        unsigned inside, outside, count;
        if (file_read(AT_FDCWD, "/proc/self/uid_map", 4096, &map, &length) < 0)
                return false;
        return sscanf(map, "%u %u %u", &inside, &outside, &count) != 3 || inside || outside || count != UINT32_MAX;
}

static bool is_trusted(int fd) {
        struct ucred peer;
        socklen_t size = sizeof peer;
        if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0)
                return false;
        return peer.uid == 0 || peer.uid == geteuid() || (peer.uid == OVERFLOW_UID && users_are_left_out());
}

static int set_wait(struct connection *connection, uint32_t wait_ms) {
        struct timeval wait = {.tv_sec = wait_ms / 1000, .tv_usec = wait_ms % 1000 * 1000};
        if (connection->wait_ms == wait_ms)
                return 0;
        if (setsockopt(connection->fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait) < 0 ||
            setsockopt(connection->fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait) < 0)
                return -errno;
        connection->wait_ms = wait_ms;
        return 0;
}

/* Before what a signal interrupted is done again: signals do not cut a wait short, nor do they lengthen it. */
static int wait_for_the_rest(struct connection *connection, int64_t deadline_ms) {
        int64_t left_ms = deadline_ms - monotonic_ms();
        return left_ms > 0 ? set_wait(connection, (uint32_t)left_ms) : -ETIMEDOUT;
}

static int connect_to_broker(struct connection *connection, int64_t deadline_ms) {
        char path[PATH_MAX];
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1;
        bool is_named;
        int r = find_socket(path, &is_named);
        if (!r)
                r = address_of_path(path, &address, &length, &directory_fd);
        if (r < 0)
                return r;
        while ((r = connect(connection->fd, (const struct sockaddr *)&address, length) < 0 ? -errno : 0) == -EINTR)
                if ((r = wait_for_the_rest(connection, deadline_ms)) < 0)
                        return r;
        switch (r) {
        case 0:
                return is_named || is_trusted(connection->fd) ? 0 : -ENETDOWN;
        case -EAGAIN:
                return -ETIMEDOUT;
        case -ECONNREFUSED:
        case -EACCES:
        case -ENOMEM:
                return r;
        default:
                return -ENETDOWN; /* what is there is no broker's socket */
        }
}

static int say_hello(struct connection *connection, uint32_t wait_ms, struct wire_reply *ret_reply) {
        struct wire_request hello = {.header.type = WIRE_HELLO};
        struct wire_reply reply;
        int r = connection_ask(connection, &hello, -1, wait_ms, &reply);
        if (r < 0 || !reply.error)
                return r;
        *ret_reply = reply;
        return -(int)reply.error;
}

static void close_connection(struct connection **connection) {
        *connection = connection_close(*connection);
}

int connection_open(uint32_t wait_ms, struct connection **ret, struct wire_reply *ret_reply) {
        int64_t deadline_ms = monotonic_ms() + wait_ms;
        cleanup(close_connection) struct connection *connection = malloc(sizeof *connection);
        if (!connection)
                return -ENOMEM;
        *connection = (struct connection){
                .fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), .pid = getpid(), .euid = geteuid()};
        if (connection->fd >= 0 && connection->fd < FIRST_DESCRIPTOR) {
                int low = connection->fd;
                connection->fd = fcntl(low, F_DUPFD_CLOEXEC, FIRST_DESCRIPTOR);
                fd_close(low);
        }
        if (connection->fd < 0)
                return -errno;
        int r = socket_cookie(connection->fd, &connection->cookie);
        if (!r)
                r = set_wait(connection, wait_ms);
        if (!r)
                r = connect_to_broker(connection, deadline_ms);
        if (r < 0)
                return r;
        int64_t left_ms = deadline_ms - monotonic_ms();
        r = left_ms > 0 ? say_hello(connection, (uint32_t)left_ms, ret_reply) : -ETIMEDOUT;
        if (r < 0)
                return r;
        *ret = connection;
        connection = NULL;
        return 0;
}

static bool is_still_there(const struct connection *connection) {
        uint64_t cookie;
        return socket_cookie(connection->fd, &cookie) == 0 && cookie == connection->cookie;
}

struct connection *connection_close(struct connection *connection) {
        if (connection && is_still_there(connection))
                fd_close(connection->fd);
        free(connection);
        return NULL;
}

bool connection_is_ours(const struct connection *connection) {
        return connection->pid == process_id() && connection->euid == geteuid() && is_still_there(connection);
}

static int send_request(struct connection *connection, struct wire_request *request, int lent_fd, int flags,
                        int64_t deadline_ms) {
        uint8_t packet[WIRE_PACKET_MAX];
        request->header.major = WIRE_MAJOR;
        request->header.minor = WIRE_MINOR;
        request->header.serial = ++connection->serial;
        size_t length = wire_encode_request(request, packet);
        int r;
        while ((r = packet_send(connection->fd, packet, length, lent_fd, flags)) == -EINTR)
                if ((r = wait_for_the_rest(connection, deadline_ms)) < 0)
                        return r;
        switch (r) {
        case -EPIPE:
                return -ECONNRESET;
        case -EAGAIN:
                return -ETIMEDOUT;
        case -ETOOMANYREFS:
                return -ENOBUFS;
        default:
                return r;
        }
}

/* `ret_fd` is NULL where no descriptor belongs: the kernel then closes what comes. */
static int receive_once(int fd, uint8_t packet[WIRE_PACKET_MAX], size_t *ret_length, int *ret_fd) {
        if (ret_fd)
                return packet_receive(fd, packet, WIRE_PACKET_MAX, 0, ret_length, ret_fd, NULL);
        ssize_t length = recv(fd, packet, WIRE_PACKET_MAX, 0);
        if (length < 0)
                return -errno;
        *ret_length = (size_t)length;
        return 0;
}

static int receive_packet(struct connection *connection, int64_t deadline_ms, uint8_t packet[WIRE_PACKET_MAX],
                          size_t *ret_length, int *ret_fd) {
        for (;;) {
                int r = receive_once(connection->fd, packet, ret_length, ret_fd);
                if (r == -EAGAIN)
                        return -ETIMEDOUT;
                if (r != -EINTR)
                        return r || *ret_length ? r : -ECONNRESET;
                r = wait_for_the_rest(connection, deadline_ms);
                if (r < 0)
                        return r;
        }
}

int connection_ask(struct connection *connection, struct wire_request *request, int lent_fd, uint32_t wait_ms,
                   struct wire_reply *ret_reply) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_reply reply;
        size_t length;
        cleanup(fd_closep) int fd = -1;
        int64_t deadline_ms = monotonic_ms() + wait_ms;
        int r = set_wait(connection, wait_ms);
        if (!r)
                r = send_request(connection, request, lent_fd, 0, deadline_ms);
        if (!r)
                r = receive_packet(connection, deadline_ms, packet, &length, request->header.type == WIRE_HELLO ? &fd : NULL);
        if (!r)
                r = wire_decode_reply(packet, length, &reply);
        if (r < 0)
                return r == -ENOSYS ? -EPROTO : r;
        if (reply.header.serial != connection->serial || reply.header.type != (request->header.type | WIRE_REPLY))
                return -EPROTO;
        if (fd >= 0)
                revocation_map(fd);
        connection->minor = reply.header.minor;
        *ret_reply = reply;
        return 0;
}

int connection_tell(struct connection *connection, struct wire_request *request, int lent_fd) {
        return send_request(connection, request, lent_fd, MSG_DONTWAIT, 0); /* which nothing interrupts */
}
