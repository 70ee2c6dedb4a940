/* SPDX-License-Identifier: MIT */
#pragma once

/* What doctor looks at. Each check adds problems, with the command that mends each. */

#include <json-c/json.h>

__attribute__((format(printf, 5, 6))) void add_problem(struct json_object *problems, const char *severity,
                                                       const char *what, const char *fix, const char *why_format, ...);

/* `asked`: 0, or the negative errno with which libhvsock gave up there. */
void diagnose_socket(struct json_object *diagnosis, struct json_object *problems, int asked);
/* *ret_world: GetWorld's reply, or NULL when nobody answers. */
void diagnose_management(struct json_object *diagnosis, struct json_object *problems, struct json_object **ret_world);
void diagnose_world(struct json_object *problems, struct json_object *world);
void diagnose_system(struct json_object *problems);
