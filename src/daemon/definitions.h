/* SPDX-License-Identifier: MIT */
#pragma once

/* The directory of partition definitions: one file a partition, <VmId>.conf. */

#include "broker/partition.h"
#include "daemon/problem.h"
#include <stddef.h>

struct found {
        struct partition_definition definition;
        bool added; /* the reader's mark */
};

/*
 * Every definition that can be read; of the others, *ret_wrong in number, and of
 * what is odd, `problems` says what is wrong. The caller frees.
 */
int definitions_read(int directory_fd, const char *path, struct problem **problems, struct found **ret_found,
                     size_t *ret_count, size_t *ret_wrong);
int definition_save(int directory_fd, const struct partition_definition *definition);
/* To a file that says nothing of its CID; whatever else it says stays. */
int definition_add_cid(int directory_fd, const struct partition_definition *definition);
/* 0 also when there is none. */
int definition_remove(int directory_fd, const GUID *vm_id);
