/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Managing the world this shell is in: calls of io.hvsock, with every failure
 * told to the user and turned into an exit code.
 */

#include "cli/report.h"

/* `method` is a name of io.hvsock; `parameters` is consumed. 0 with *ret_reply the reply's parameters (caller puts
 * them; may be NULL), else an exit code, and the user has been told. */
int management_call(const char *method, struct json_object *parameters, struct json_object **ret_reply);
/* The same of a method that takes the text of `file`: a mistake in it is told with file and line. */
int management_call_with_text(const char *method, const char *text, const char *file, struct json_object **ret_reply);
/* The same, but tells nobody and waits no longer than a person at a prompt would: for completion and doctor. */
int management_ask(const char *method, struct json_object *parameters, struct json_object **ret_reply);
/* Calls `each` for every reply, until it returns non-zero or the connection ends. */
int management_watch(const char *method, int (*each)(struct json_object *reply, void *userdata), void *userdata);

/* Calls `each` for every part of a list. */
int management_list(const char *method, int (*each)(struct json_object *part, void *userdata), void *userdata);

/* {"key": "value"} for calls that take one name. */
struct json_object *parameter(const char *key, const char *value);
void add_text(struct json_object *parameters, const char *key, const char *value); /* nothing when NULL */
void add_flag(struct json_object *parameters, const char *key, bool value);
