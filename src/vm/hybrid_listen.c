/* SPDX-License-Identifier: MIT */

/*
 * The files PATH_<port>, at which the VMM knocks for its guest.
 *
 * Anyone can connect to them that the directory lets in, so that a VMM of another
 * user can: who it was is asked of each connection.
 */

#include "vm/hybrid_internal.h"

#include "base/fd.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/stat.h>

struct hybrid_listener {
        struct hybrid_watch watch;
        struct list link;
        uint32_t port;
        int fd;
};

static struct hybrid_listener *listener_of(struct list *link) {
        return container_of(link, struct hybrid_listener, link);
}

static struct hybrid_listener *listener_find(struct hybrid_thread *thread, uint32_t port) {
        list_for_each(link, &thread->listeners)
                if (listener_of(link)->port == port)
                        return listener_of(link);
        return NULL;
}

static int listener_path(const struct hybrid_thread *thread, uint32_t port, char ret_path[PATH_MAX]) {
        int length = snprintf(ret_path, PATH_MAX, "%s_%" PRIu32, thread->path, port);
        return length >= PATH_MAX ? -ENAMETOOLONG : 0;
}

/* A socket that refuses has nobody who listens. */
static bool is_stale(const char *path, const struct sockaddr_un *address, socklen_t length) {
        struct stat status;
        cleanup(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        return fd >= 0 && lstat(path, &status) == 0 && S_ISSOCK(status.st_mode) &&
               connect(fd, (const struct sockaddr *)address, length) < 0 && errno == ECONNREFUSED;
}

static int bind_file(const char *path, int *ret_fd) {
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1;
        cleanup(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        int r = fd < 0 ? -errno : address_of_path(path, &address, &length, &directory_fd);
        if (r < 0)
                return r;
        r = bind(fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
        if (r == -EADDRINUSE && is_stale(path, &address, length) && unlink(path) == 0)
                r = bind(fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
        if (r < 0)
                return r;
        if (chmod(path, 0666) < 0 || listen(fd, SOMAXCONN) < 0) {
                r = -errno;
                (void)unlink(path);
                return r;
        }
        *ret_fd = fd_take(fd);
        return 0;
}

void hybrid_listen(struct hybrid_thread *thread, uint32_t port) {
        char path[PATH_MAX];
        if (listener_find(thread, port) || thread->listener_count >= HYBRID_LISTENERS_MAX ||
            listener_path(thread, port, path) < 0)
                return;
        struct hybrid_listener *listener = calloc(1, sizeof *listener);
        if (!listener)
                return;
        *listener = (struct hybrid_listener){.watch.kind = HYBRID_LISTENER, .port = port, .fd = -1};
        list_append(&thread->listeners, &listener->link);
        thread->listener_count++;
        if (bind_file(path, &listener->fd) < 0 || hybrid_watch_add(thread, listener->fd, &listener->watch) < 0)
                hybrid_unlisten(thread, port);
}

static void listener_close(struct hybrid_thread *thread, struct hybrid_listener *listener) {
        char path[PATH_MAX];
        if (listener->fd >= 0 && listener_path(thread, listener->port, path) == 0)
                (void)unlink(path);
        hybrid_watch_remove(thread, listener->fd);
        fd_close(listener->fd);
        list_unlink(&listener->link);
        thread->listener_count--;
        free(listener);
}

void hybrid_unlisten(struct hybrid_thread *thread, uint32_t port) {
        struct hybrid_listener *listener = listener_find(thread, port);
        if (listener)
                listener_close(thread, listener);
}

void hybrid_listeners_close(struct hybrid_thread *thread) {
        list_for_each_safe(link, &thread->listeners)
                listener_close(thread, listener_of(link));
}

/* ---- who connects ---- */

static bool speaks_for_guest(const struct hybrid_thread *thread, int fd) {
        struct stat status;
        uint32_t uid = thread->vmm_uid;
        if (uid == HYBRID_ANY_UID)
                uid = lstat(thread->path, &status) == 0 ? status.st_uid : 0;
        return hybrid_peer_is(fd, uid);
}

static void accept_all(struct hybrid_thread *thread, struct hybrid_listener *listener) {
        for (;;) {
                cleanup(fd_closep) int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
                if (fd < 0) {
                        if (errno == EINTR || errno == ECONNABORTED)
                                continue;
                        if (errno != EAGAIN)
                                hybrid_retry_soon(thread);
                        return;
                }
                if (!thread->worker.state.is_running)
                        (void)hybrid_probe(thread); /* it seems to */
                if (speaks_for_guest(thread, fd) && hybrid_channel_ask(thread, listener->port, fd) == 0)
                        fd_take(fd);
        }
}

void hybrid_accept(struct hybrid_thread *thread, struct hybrid_watch *watch) {
        accept_all(thread, container_of(watch, struct hybrid_listener, watch));
}

void hybrid_listeners_retry(struct hybrid_thread *thread) {
        list_for_each(link, &thread->listeners)
                accept_all(thread, listener_of(link));
}
