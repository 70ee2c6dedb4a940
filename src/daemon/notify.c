/* SPDX-License-Identifier: MIT */

/* Readiness and passed sockets. */

#include "daemon/notify.h"
#include "base/fd.h"
#include "base/log.h"
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#define LISTEN_FDS_FIRST 3
#define LISTEN_FDS_MAX 64

void notify_send(const char *state) {
        const char *path = getenv("NOTIFY_SOCKET");
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1, fd = -1;
        if (!path || !*path)
                return;
        int r = 0;
        if (*path == '@' && strlen(path) < sizeof address.sun_path) {
                address = (struct sockaddr_un){.sun_family = AF_UNIX};
                memcpy(address.sun_path + 1, path + 1, strlen(path) - 1);
                length = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
        } else {
                r = address_of_path(path, &address, &length, &directory_fd);
        }
        if (!r) {
                fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
                if (fd < 0 || sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, length) < 0)
                        r = -errno;
        }
        if (r < 0)
                log_write(LOG_LEVEL_WARNING, "cannot notify %s: %s", path, strerror(-r));
}

static int number_in(const char *variable) {
        const char *text = getenv(variable);
        char *end;
        long number = text ? strtol(text, &end, 10) : -1;
        return text && *text && !*end && number >= 0 && number <= INT32_MAX ? (int)number : -1;
}

static bool is_listening(int fd, int socket_type) {
        int domain, type, listening;
        socklen_t size = sizeof(int);
        return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0 && domain == AF_UNIX &&
               getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == socket_type &&
               getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listening, &size) == 0 && listening;
}

int notify_take_socket(const char *name, int socket_type) {
        int count = number_in("LISTEN_FDS");
        const char *names = getenv("LISTEN_FDNAMES");
        if (count <= 0 || count > LISTEN_FDS_MAX || number_in("LISTEN_PID") != getpid() || !names)
                return -1;
        for (int fd = LISTEN_FDS_FIRST; fd < LISTEN_FDS_FIRST + count && *names; fd++) {
                size_t length = strcspn(names, ":");
                bool found = length == strlen(name) && !strncmp(names, name, length);
                names += length + (names[length] == ':');
                if (!found)
                        continue;
                if (!is_listening(fd, socket_type) || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
                    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0) {
                        log_write(LOG_LEVEL_ERROR, "the passed descriptor \"%s\" is no listening Unix socket of its type", name);
                        return -1;
                }
                return fd;
        }
        return -1;
}

void notify_forget(void) {
        unsetenv("NOTIFY_SOCKET");
        unsetenv("LISTEN_FDS");
        unsetenv("LISTEN_PID");
        unsetenv("LISTEN_FDNAMES");
}
