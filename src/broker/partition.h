/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * The tree of partitions whose root is the host.
 *
 * Owns each partition, its place and its label. Pure. A partition is found by
 * VmId in constant time, by a path of labels from any ancestor, and is removed
 * only when it has no children and nobody uses it. `host` is a label like any
 * other, and the usual one of the root.
 */

#include "base/hash.h"
#include "broker/counters.h"
#include "broker/limits.h"
#include <hvsock.h>
#include <stdbool.h>
#include <stdint.h>

enum partition_reach {
        REACH_LOCAL, /* processes that hold this partition's socket */
        REACH_VM,    /* a virtual machine */
};

struct partition {
        GUID vm_id;
        char label[HV_LABEL_SIZE];
        enum hv_partition_kind kind;
        enum partition_reach reach;
        bool running;       /* always true for REACH_LOCAL; of a VM: its guest's driver takes packets */
        bool passthru;      /* a container that may stand in its VM's place */
        bool sees_siblings; /* two siblings that both have this may address each other */
        struct partition *parent; /* NULL on the root */
        struct list children;     /* of partition.sibling_link, in order of label */
        struct list sibling_link;
        uint64_t cid;                  /* how AF_VSOCK names it: CID_HOST on the root, else from CID_FIRST to CID_LAST */
        char hybrid[HYBRID_PATH_SIZE]; /* with REACH_VM: the VMM's own socket; "": it comes as a vhost-user front-end */
        char vmm_user[VMM_USER_SIZE];  /* with REACH_VM: who runs its VMM, and gets its socket; "": the broker's user */
        struct table_link id_link, cid_link;
        struct list listeners;    /* of listener.partition_link */
        unsigned depth;           /* 1 on the root */
        uint32_t listener_count, client_count;
        uint32_t channel_count; /* at either end */
        uint32_t opened_count;  /* of them, those that were opened from here: what the quota is for */
        struct counters counters;
        void *shell; /* the daemon's: sockets and directories. Never looked at here */
};

struct partition_definition {
        GUID vm_id;
        GUID parent_vm_id; /* zero for the root */
        char label[HV_LABEL_SIZE];
        enum hv_partition_kind kind;
        enum partition_reach reach;
        bool passthru;
        bool sees_siblings;
        uint64_t cid; /* 0: the first that is free. The root's is not asked for */
        char hybrid[HYBRID_PATH_SIZE];
        char vmm_user[VMM_USER_SIZE];
};

struct broker;

/*
 * A host is the root, a VM stands in a host or a VM, a container anywhere. 0; -EINVAL bad label, well-known VmId,
 * kind that cannot stand there, passthru but no container, REACH_VM but no VM, a CID or a hybrid path that cannot be,
 * or this or a user without REACH_VM; -EEXIST VmId, label or CID taken, or a second root; -ENOENT no such parent;
 * -ENOSPC PARTITIONS_MAX or PARTITION_DEPTH_MAX; -ENOMEM. What the definition leaves open is in the partition.
 */
int partition_add(struct broker *broker, const struct partition_definition *definition,
                  struct partition **ret_partition);
/* 0; -ENOTEMPTY has children; -EBUSY is the root, or has listeners, channels or clients. */
int partition_remove(struct broker *broker, struct partition *partition);

struct partition *partition_by_id(const struct broker *broker, const GUID *vm_id);
/* Of the whole world: whether a caller may address it, broker_route() and partition_is_seen() say. */
struct partition *partition_by_cid(const struct broker *broker, uint64_t cid);
/* Whether `from` may know of it: it is itself, below it, or a sibling where both see siblings. */
bool partition_is_seen(const struct partition *partition, const struct partition *from);
/* Absolute, printable, and short enough. */
bool hybrid_path_is_valid(const char *path);
/*
 * A GUID; or a path of labels ("web01/db") from `from`, whose own label may begin it. NULL if none. The words parent,
 * loopback, … are not names.
 */
struct partition *partition_by_name(const struct broker *broker, const struct partition *from, const char *name);
/* "web01/db" from the root; the root's own label for the root. Truncated to `size`, always terminated. */
void partition_path(const struct partition *partition, char *ret_text, size_t size);
bool partition_label_is_valid(const char *label);
