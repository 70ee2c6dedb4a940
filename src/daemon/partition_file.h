/* SPDX-License-Identifier: MIT */
#pragma once

/* The text of <state>/partitions/<guid>.conf. Pure. */

#include "broker/partition.h"
#include "broker/registry.h"
#include <stddef.h>

#define PARTITION_FILE_MAX 4096u /* bytes */
#define PARTITION_TEXT_SIZE 512u /* what partition_format() may need */

/* `vm_id` comes from the file's name. Labels and places are partition_add()'s to judge. */
int partition_parse(const GUID *vm_id, const char *text, size_t length, struct partition_definition *ret,
                    struct text_error *ret_error, struct text_notes *ret_notes);
size_t partition_format(const struct partition_definition *definition, char ret_text[PARTITION_TEXT_SIZE]);
