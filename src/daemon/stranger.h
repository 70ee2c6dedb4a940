/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Who answers for what a client does to the broker: a user where the client is
 * of the root partition, else the whole partition, whose root has as many users
 * as it likes.
 */

#include "broker/broker.h"
#include <string.h>

struct stranger {
        GUID vm_id;
        uint32_t uid; /* all ones: the whole partition */
};

static inline struct stranger stranger_of(const struct partition *partition, uint32_t uid) {
        return (struct stranger){.vm_id = partition->vm_id, .uid = partition->parent ? UINT32_MAX : uid};
}

/* A VMM and its guest answer together. */
static inline struct stranger stranger_of_vm(const GUID *vm_id) {
        return (struct stranger){.vm_id = *vm_id, .uid = UINT32_MAX};
}

static inline bool stranger_equal(const struct stranger *a, const struct stranger *b) {
        return memcmp(a, b, sizeof *a) == 0;
}
