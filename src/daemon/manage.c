/* SPDX-License-Identifier: MIT */

/*
 * The management socket and its connections.
 *
 * Theory of operation. A connection has two bounded queues: what it sent and
 * has not been answered, what it was answered and has not read. One request, or
 * one part of a list, is answered a turn of the loop, whosever it is: those that
 * are due stand in line, and however many they are, a connect waits for one of
 * them. Nothing is answered while something waits to be read: a client that
 * sends without reading stops being read, so what it can occupy is one request,
 * one reply and the kernel's buffers.
 * A watcher is not read from any more; what happens is queued for it, and past
 * MANAGE_BACKLOG_MAX bytes it is cut off, so that it sees an end rather than a
 * hole.
 */

#include "daemon/manage_request.h"

#include "base/fd.h"
#include "base/log.h"
#include "daemon/watchdog.h"
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define READ_SIZE 65536u
#define ACCEPT_PAUSE_MS 100 /* when there are no descriptors left */

static void connection_end(struct manage_connection *connection) {
        struct manage *manage = connection->manage;
        if (connection->watches && --manage->watcher_count == 0)
                world_watch_closes(manage->world, false);
        loop_remove(manage->world->loop, &connection->source);
        watchdog_closep(&connection->fd);
        list_unlink(&connection->link);
        list_unlink(&connection->due_link);
        manage->connection_count--;
        byte_queue_release(&connection->received);
        byte_queue_release(&connection->unsent);
        manage_list_end(connection->list);
        free(connection);
}

/* Takes what has arrived. A message that grows past MANAGE_MESSAGE_MAX is -EMSGSIZE. */
static int connection_read(struct manage_connection *connection) {
        struct byte_queue *received = &connection->received;
        size_t room = MANAGE_MESSAGE_MAX + 1 - byte_queue_length(received);
        if (room == 0)
                return -EMSGSIZE;
        int r = byte_queue_reserve(received, room < READ_SIZE ? room : READ_SIZE, MANAGE_MESSAGE_MAX + 1);
        if (r < 0)
                return r;
        watchdog_guard(); /* descriptors that came, for which there is no room, are closed within this call */
        ssize_t length = recv(connection->fd, received->bytes + received->end, room < READ_SIZE ? room : READ_SIZE,
                              MSG_DONTWAIT);
        if (length < 0)
                return errno == EAGAIN || errno == EINTR ? 0 : -errno;
        received->end += (size_t)length;
        connection->ended = length == 0;
        return 0;
}

static int connection_write(struct manage_connection *connection) {
        struct byte_queue *unsent = &connection->unsent;
        while (byte_queue_length(unsent) > 0) {
                ssize_t length = send(connection->fd, unsent->bytes + unsent->start, byte_queue_length(unsent),
                                      MSG_DONTWAIT | MSG_NOSIGNAL);
                if (length < 0)
                        return errno == EAGAIN || errno == EINTR ? 0 : -errno;
                byte_queue_consume(unsent, (size_t)length);
        }
        return 0;
}

/* The length of the first complete message, its NUL not counted; SIZE_MAX when there is none. Looks at each byte once.
 */
static size_t first_message(struct manage_connection *connection) {
        const struct byte_queue *received = &connection->received;
        size_t length = byte_queue_length(received);
        if (length == connection->searched)
                return SIZE_MAX;
        const char *start = received->bytes + received->start;
        const char *end = memchr(start + connection->searched, 0, length - connection->searched);
        connection->searched = end ? (size_t)(end - start) : length;
        return end ? connection->searched : SIZE_MAX;
}

/* The first request in line, or the next part of the list that the last one asked for. */
static int connection_answer(struct manage_connection *connection) {
        struct byte_queue *received = &connection->received;
        int r;
        if (connection->list) {
                r = manage_list_continue(connection);
        } else {
                size_t length = first_message(connection);
                r = manage_dispatch(connection, received->bytes + received->start, length);
                if (r == 0) {
                        byte_queue_consume(received, length + 1);
                        connection->searched = 0;
                }
        }
        return r < 0 ? r : connection_write(connection);
}

static void stand_in_line(struct manage_connection *connection) {
        struct manage *manage = connection->manage;
        if (list_is_empty(&connection->due_link))
                list_append(&manage->due, &connection->due_link);
        if (!manage->next.deadline_ms)
                loop_arm(manage->world->loop, &manage->next, 0);
}

/* What comes next: an answer, reading, or only the end. */
static int connection_wait(struct manage_connection *connection) {
        uint32_t wanted = 0;
        bool has_message = first_message(connection) != SIZE_MAX;
        if (connection->watches)
                byte_queue_release(&connection->received);
        if (byte_queue_length(&connection->unsent) > 0)
                wanted = EPOLLOUT;
        else if (connection->list || (has_message && !connection->watches))
                stand_in_line(connection);
        else if (connection->ended && !connection->watches)
                return -EPIPE;
        else if (!connection->watches)
                wanted = EPOLLIN;
        return loop_modify(connection->manage->world->loop, &connection->source, wanted);
}

static int connection_turn(struct manage_connection *connection, uint32_t events) {
        bool hung_up = events & (EPOLLHUP | EPOLLERR);
        if (connection->broken || (connection->watches && hung_up))
                return -EPIPE;
        int r = 0;
        if (!connection->watches && !connection->ended && first_message(connection) == SIZE_MAX)
                r = connection_read(connection);
        if (r == 0)
                r = connection_write(connection);
        return r < 0 ? r : connection_wait(connection);
}

static int connection_dispatch(struct source *source, uint32_t events) {
        struct manage_connection *connection = container_of(source, struct manage_connection, source);
        if (connection_turn(connection, events) < 0)
                connection_end(connection);
        return 0;
}

static int manage_next(struct timer *timer) {
        struct manage *manage = container_of(timer, struct manage, next);
        struct manage_connection *connection = container_of(manage->due.next, struct manage_connection, due_link);
        if (list_is_empty(&manage->due))
                return 0;
        list_unlink(&connection->due_link);
        if (connection_answer(connection) < 0 || connection_wait(connection) < 0)
                connection_end(connection);
        if (!list_is_empty(&manage->due) && !timer->deadline_ms)
                loop_arm(manage->world->loop, timer, 0);
        return 0;
}

void manage_queued(struct manage_connection *connection, int result) {
        if (result < 0) {
                log_stranger(LOG_LEVEL_NOTICE, "management: pid %u reads too slowly and is cut off", connection->pid);
                connection->broken = true;
        }
        if (loop_modify(connection->manage->world->loop, &connection->source, EPOLLOUT) < 0 || connection->broken)
                shutdown(connection->fd, SHUT_RDWR);
}

static bool may_change(const struct manage *manage, uint32_t uid) {
        return uid == 0 || (uid == manage->world->options.owner.uid && uid != CALLER_UNMAPPED);
}

static int connection_new(struct manage *manage, int *fd) {
        struct ucred credentials;
        socklen_t length = sizeof credentials;
        if (getsockopt(*fd, SOL_SOCKET, SO_PEERCRED, &credentials, &length) < 0)
                return -errno;
        bool is_trusted = may_change(manage, credentials.uid);
        if (manage->connection_count >= MANAGE_CONNECTIONS_MAX - (is_trusted ? 0 : MANAGE_CONNECTIONS_RESERVED)) {
                log_stranger(LOG_LEVEL_NOTICE, "management: too many connections; pid %d is turned away",
                             credentials.pid);
                return -ENOBUFS;
        }

        struct manage_connection *connection = calloc(1, sizeof *connection);
        if (!connection)
                return -ENOMEM;
        *connection = (struct manage_connection){.manage = manage,
                                                 .source = {.dispatch = connection_dispatch, .fd = -1},
                                                 .fd = *fd,
                                                 .pid = (uint32_t)credentials.pid,
                                                 .uid = credentials.uid,
                                                 .gid = credentials.gid,
                                                 .may_change = is_trusted};
        int r = loop_add(manage->world->loop, &connection->source, *fd, EPOLLIN);
        if (r < 0) {
                free(connection);
                return r;
        }
        *fd = -1;
        list_init(&connection->due_link);
        list_append(&manage->connections, &connection->link);
        manage->connection_count++;
        return 0;
}

static int manage_accept(struct source *source, uint32_t events) {
        struct manage *manage = container_of(source, struct manage, source);
        cleanup(fd_closep) int fd = accept4(manage->listen_fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
                connection_new(manage, &fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
                log_stranger(LOG_LEVEL_WARNING, "management: cannot accept: %s", strerror(errno));
                loop_remove(manage->world->loop, &manage->source);
                loop_arm(manage->world->loop, &manage->accept_again, ACCEPT_PAUSE_MS);
        }
        return 0;
}

static int manage_accept_again(struct timer *timer) {
        struct manage *manage = container_of(timer, struct manage, accept_again);
        if (loop_add(manage->world->loop, &manage->source, manage->listen_fd, EPOLLIN) < 0)
                loop_arm(manage->world->loop, timer, ACCEPT_PAUSE_MS);
        return 0;
}

static void socket_path(const struct world *world, char *ret_path, size_t size) {
        snprintf(ret_path, size, "%s/manage", world->options.runtime);
}

/* Only its owner may connect until the file has its group. */
static int make_socket(struct world *world, int *ret_fd) {
        char path[PATH_MAX + 16];
        socket_path(world, path, sizeof path);
        if (unlink(path) < 0 && errno != ENOENT)
                return -errno;

        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1;
        int r = address_of_path(path, &address, &length, &directory_fd);
        if (r < 0)
                return r;
        cleanup(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (fd < 0)
                return -errno;
        mode_t mask = umask(0177);
        r = bind(fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
        umask(mask);
        if (r < 0)
                return r;

        uint32_t group = world->options.owner.group_hvsock;
        if ((group != CALLER_UNMAPPED && chown(path, (uid_t)-1, group) < 0) || chmod(path, 0660) < 0 ||
            listen(fd, SOMAXCONN) < 0) {
                r = -errno;
                unlink(path);
                return r;
        }
        *ret_fd = fd_take(fd);
        return 0;
}

int manage_open(struct world *world, int given_fd) {
        cleanup(fd_closep) int listen_fd = given_fd;
        bool is_own = listen_fd < 0;
        if (is_own) {
                int r = make_socket(world, &listen_fd);
                if (r < 0) {
                        log_write(LOG_LEVEL_ERROR, "%s/manage: %s", world->options.runtime, strerror(-r));
                        return r;
                }
        } else {
                int flags = fcntl(listen_fd, F_GETFL);
                if (flags < 0 || fcntl(listen_fd, F_SETFL, flags | O_NONBLOCK) < 0)
                        return -errno;
        }

        struct manage *manage = calloc(1, sizeof *manage);
        if (!manage)
                return -ENOMEM;
        *manage = (struct manage){.world = world,
                                  .source = {.dispatch = manage_accept, .fd = -1},
                                  .listen_fd = listen_fd,
                                  .is_own = is_own,
                                  .accept_again = {.expire = manage_accept_again},
                                  .next = {.expire = manage_next}};
        list_init(&manage->connections);
        list_init(&manage->due);
        int r = loop_add(world->loop, &manage->source, listen_fd, EPOLLIN);
        if (r < 0) {
                free(manage);
                return r;
        }
        listen_fd = -1;
        world->manage = manage;
        broker_observe(world->broker, manage_observe, manage);
        return 0;
}

void manage_close(struct world *world) {
        struct manage *manage = world->manage;
        if (!manage)
                return;
        broker_observe(world->broker, NULL, NULL);
        list_for_each_safe(link, &manage->connections)
                connection_end(container_of(link, struct manage_connection, link));
        loop_disarm(world->loop, &manage->accept_again);
        loop_disarm(world->loop, &manage->next);
        loop_remove(world->loop, &manage->source);
        if (manage->is_own) {
                char path[PATH_MAX + 16];
                socket_path(world, path, sizeof path);
                unlink(path);
        }
        fd_close(manage->listen_fd);
        free(manage);
        world->manage = NULL;
}
