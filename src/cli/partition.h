/* SPDX-License-Identifier: MIT */
#pragma once

/* What the verbs of VMs and of containers have in common. */

#include "cli/listing.h"
#include "cli/verb.h"
#include <json-c/json.h>

#define OPTION_CID {"cid", 0, "N", "this CID, not the first that is free"}
#define OPTION_SIBLINGS {"siblings", 0, NULL, "it and siblings that have this too may address each other"}

/* `parameters` of AddPartition, and what the options say of any kind; the new VmId is printed. Consumes them. */
int partition_add_as_told(const struct invocation *invocation, struct json_object *parameters);

/* `vm remove` removes no container, and the reverse: a slip of the name should not cost a partition. */
int partition_get(const char *name, const char *kind, struct json_object **ret_reply);

void partition_print(struct json_object *partition, const char *state);

bool partition_is_reached_as_vm(struct json_object *partition);
/* How many; "-" in a VM's guest, where nobody knows. */
void partition_put_listeners(struct libscols_line *line, unsigned column, struct json_object *partition);
