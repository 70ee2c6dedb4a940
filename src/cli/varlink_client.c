/* SPDX-License-Identifier: MIT */
#include "cli/varlink_client.h"

#include "base/fd.h"
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#define READ_SIZE 65536u

int varlink_client_open(struct varlink_client *client, const char *path, unsigned timeout_s) {
        struct sockaddr_un address;
        socklen_t length;
        cleanup(fd_closep) int directory_fd = -1;
        int r = address_of_path(path, &address, &length, &directory_fd);
        if (r < 0)
                return r;
        cleanup(fd_closep) int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        struct timeval limit = {.tv_sec = timeout_s};
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit) < 0 ||
            setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit) < 0)
                return -errno;
        if (connect(fd, (struct sockaddr *)&address, length) < 0)
                return errno == EAGAIN ? -ETIMEDOUT : -errno;
        *client = (struct varlink_client){.fd = fd_take(fd)};
        return 0;
}

void varlink_client_close(struct varlink_client *client) {
        fd_close(client->fd);
        free(client->received);
        *client = (struct varlink_client){.fd = -1};
}

int varlink_client_wait_for_ever(struct varlink_client *client) {
        const struct timeval no_limit = {};
        return setsockopt(client->fd, SOL_SOCKET, SO_RCVTIMEO, &no_limit, sizeof no_limit) < 0 ? -errno : 0;
}

int varlink_client_send(struct varlink_client *client, const char *method, struct json_object *parameters, bool more) {
        struct json_object *call = json_object_new_object();
        json_object_object_add(call, "method", json_object_new_string(method));
        if (parameters)
                json_object_object_add(call, "parameters", parameters);
        if (more)
                json_object_object_add(call, "more", json_object_new_boolean(true));

        size_t length;
        const char *text = json_object_to_json_string_length(call, JSON_C_TO_STRING_PLAIN, &length);
        length++; /* the NUL ends the message */
        int r = 0;
        while (length > 0 && r == 0) {
                ssize_t sent = send(client->fd, text, length, MSG_NOSIGNAL);
                if (sent >= 0) {
                        text += sent;
                        length -= (size_t)sent;
                } else if (errno != EINTR) {
                        r = errno == EAGAIN ? -ETIMEDOUT : -errno;
                }
        }
        json_object_put(call);
        return r;
}

static int make_room(struct varlink_client *client) {
        if (client->capacity - client->length >= READ_SIZE)
                return 0;
        if (client->length > VARLINK_REPLY_MAX)
                return -EMSGSIZE;
        size_t capacity = client->capacity ? client->capacity * 2 : READ_SIZE * 2;
        char *received = realloc(client->received, capacity);
        if (!received)
                return -ENOMEM;
        client->received = received;
        client->capacity = capacity;
        return 0;
}

int varlink_client_receive(struct varlink_client *client, struct json_object **ret_reply) {
        char *end = client->length ? memchr(client->received, 0, client->length) : NULL;
        while (!end) {
                int r = make_room(client);
                if (r < 0)
                        return r;
                char *at = client->received + client->length;
                ssize_t length = recv(client->fd, at, READ_SIZE, 0);
                if (length < 0 && errno == EINTR)
                        continue;
                if (length < 0)
                        return errno == EAGAIN ? -ETIMEDOUT : -errno;
                if (length == 0)
                        return -ECONNRESET;
                client->length += (size_t)length;
                end = memchr(at, 0, (size_t)length);
        }

        struct json_object *reply = json_tokener_parse(client->received);
        client->length -= (size_t)(end + 1 - client->received);
        memmove(client->received, end + 1, client->length);
        if (!json_object_is_type(reply, json_type_object)) {
                json_object_put(reply);
                return -EBADMSG;
        }
        *ret_reply = reply;
        return 0;
}
