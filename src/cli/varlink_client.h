/* SPDX-License-Identifier: MIT */
#pragma once

/* The client's side of the varlink wire format: calls and replies over one connection. */

#include <json-c/json.h>
#include <stdbool.h>
#include <stddef.h>

#define VARLINK_REPLY_MAX (64u << 20) /* bytes; more is -EMSGSIZE */

struct varlink_client {
        int fd;
        char *received; /* owned */
        size_t length, capacity;
};

/* 0 or -errno, as connect(2). Whatever is waited for may take `timeout_s`. */
int varlink_client_open(struct varlink_client *client, const char *path, unsigned timeout_s);
void varlink_client_close(struct varlink_client *client);

/* `parameters` is consumed and may be NULL. */
int varlink_client_send(struct varlink_client *client, const char *method, struct json_object *parameters, bool more);
/* From now on a reply may take as long as it likes. */
int varlink_client_wait_for_ever(struct varlink_client *client);
/* The next reply, an object; caller puts it. -ECONNRESET at the end, -EBADMSG for what is no reply, -ETIMEDOUT. */
int varlink_client_receive(struct varlink_client *client, struct json_object **ret_reply);
