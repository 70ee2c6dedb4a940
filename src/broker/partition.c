/* SPDX-License-Identifier: MIT */

/* The tree: adding, finding, naming and removing partitions. */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool partition_label_is_valid(const char *label) {
        GUID guid;
        size_t length = strlen(label);
        if (!length || length >= HV_LABEL_SIZE || guid_by_word(label) || !guid_parse(label, &guid))
                return false;
        for (const char *at = label; *at; at++)
                if (!strchr("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-", *at))
                        return false;
        return true;
}

static bool kind_can_stand(enum hv_partition_kind kind, const struct partition *parent) {
        switch (kind) {
        case HV_PARTITION_HOST:
                return !parent;
        case HV_PARTITION_VM:
                return parent && parent->kind != HV_PARTITION_CONTAINER;
        case HV_PARTITION_CONTAINER:
                return parent != NULL;
        }
        return false;
}

bool hybrid_path_is_valid(const char *path) {
        return path[0] == '/' && path[1] && strnlen(path, HYBRID_PATH_SIZE) < HYBRID_PATH_SIZE &&
               service_name_is_valid(path);
}

/* Whether what is said of a VM is said of one, and can be. */
static bool reach_is_valid(const struct partition_definition *definition) {
        if (definition->reach != REACH_VM)
                return !*definition->hybrid && !*definition->vmm_user;
        return definition->kind == HV_PARTITION_VM &&
               (!*definition->hybrid || hybrid_path_is_valid(definition->hybrid));
}

static bool cid_is_valid(const struct partition_definition *definition) {
        return !definition->cid || (definition->kind != HV_PARTITION_HOST && definition->cid >= CID_FIRST &&
                                    definition->cid <= CID_LAST);
}

static uint64_t choose_cid(struct broker *broker, const struct partition_definition *definition) {
        if (definition->kind == HV_PARTITION_HOST)
                return CID_HOST;
        if (definition->cid)
                return definition->cid;
        while (partition_by_cid(broker, broker->cid_free))
                broker->cid_free++;
        return broker->cid_free;
}

static bool has_label(const struct partition *partition, const char *label, size_t length) {
        return !strncmp(partition->label, label, length) && !partition->label[length];
}

struct place {
        const struct partition *parent;
        const char *label;
        size_t length;
};

static int compare(const void *key, const void *item) {
        const struct place *place = key;
        const struct partition *child = item;
        int order = memcmp(&place->parent->vm_id, &child->parent->vm_id, sizeof(GUID));
        if (!order)
                order = strncmp(place->label, child->label, place->length);
        return order || !child->label[place->length] ? order : -1; /* a label that goes on comes later */
}

static struct partition *child_at(const struct broker *broker, size_t at) {
        const struct order *order = &broker->children_in_order;
        return at < order->count ? order->items[at] : NULL;
}

static struct partition *child_by_label(const struct broker *broker, const struct partition *parent, const char *label,
                                        size_t length) {
        struct place place = {parent, label, length};
        struct partition *child = child_at(broker, order_place(&broker->children_in_order, compare, &place));
        return child && child->parent == parent && has_label(child, label, length) ? child : NULL;
}

static size_t place_of(const struct broker *broker, const struct partition *child) {
        struct place place = {child->parent, child->label, strlen(child->label)};
        return order_place(&broker->children_in_order, compare, &place);
}

/* Into the order, and before the sibling that it there precedes. */
static int insert_child(struct broker *broker, struct partition *child) {
        size_t place = place_of(broker, child);
        int r = order_insert(&broker->children_in_order, place, child);
        if (r)
                return r;
        struct partition *next = child_at(broker, place + 1);
        bool is_sibling = next && next->parent == child->parent;
        list_insert_before(is_sibling ? &next->sibling_link : &child->parent->children, &child->sibling_link);
        return 0;
}

/* Into the tables and the tree, or into none of them. */
static int insert(struct broker *broker, struct partition *partition) {
        struct table *ids = &broker->partitions, *cids = &broker->partitions_by_cid;
        int r = table_insert(ids, &partition->id_link, table_hash(ids, &partition->vm_id, sizeof partition->vm_id));
        if (r)
                return r;
        r = table_insert(cids, &partition->cid_link, table_hash(cids, &partition->cid, sizeof partition->cid));
        if (!r && partition->parent && (r = insert_child(broker, partition)))
                table_remove(cids, &partition->cid_link);
        if (r)
                table_remove(ids, &partition->id_link);
        return r;
}

int partition_add(struct broker *broker, const struct partition_definition *definition,
                  struct partition **ret_partition) {
        bool root = definition->kind == HV_PARTITION_HOST;
        struct partition *parent = root ? NULL : partition_by_id(broker, &definition->parent_vm_id);
        if (!partition_label_is_valid(definition->label) || guid_word(&definition->vm_id))
                return -EINVAL;
        if (!root && !parent)
                return -ENOENT;
        if (!kind_can_stand(definition->kind, parent) ||
            (definition->passthru && definition->kind != HV_PARTITION_CONTAINER) || !reach_is_valid(definition) ||
            !cid_is_valid(definition))
                return -EINVAL;
        if (partition_by_id(broker, &definition->vm_id) || (root && broker->root) ||
            partition_by_cid(broker, definition->cid) ||
            (parent && child_by_label(broker, parent, definition->label, strlen(definition->label))))
                return -EEXIST;
        if (broker->partitions.count >= PARTITIONS_MAX || (parent && parent->depth >= PARTITION_DEPTH_MAX))
                return -ENOSPC;

        struct partition *partition = calloc(1, sizeof *partition);
        if (!partition)
                return -ENOMEM;
        partition->vm_id = definition->vm_id;
        memcpy(partition->label, definition->label, sizeof partition->label);
        partition->kind = definition->kind;
        partition->reach = definition->reach;
        partition->running = definition->reach == REACH_LOCAL;
        partition->passthru = definition->passthru;
        partition->sees_siblings = definition->sees_siblings;
        partition->cid = choose_cid(broker, definition);
        memcpy(partition->hybrid, definition->hybrid, sizeof partition->hybrid);
        memcpy(partition->vmm_user, definition->vmm_user, sizeof partition->vmm_user);
        partition->parent = parent;
        partition->depth = parent ? parent->depth + 1 : 1;
        list_init(&partition->children);
        list_init(&partition->sibling_link);
        list_init(&partition->listeners);
        int r = insert(broker, partition);
        if (r) {
                free(partition);
                return r;
        }
        if (!parent)
                broker->root = partition;
        *ret_partition = partition;
        return 0;
}

int partition_remove(struct broker *broker, struct partition *partition) {
        if (!list_is_empty(&partition->children))
                return -ENOTEMPTY;
        if (partition == broker->root || partition->listener_count || partition->channel_count ||
            partition->client_count)
                return -EBUSY;
        table_remove(&broker->partitions, &partition->id_link);
        table_remove(&broker->partitions_by_cid, &partition->cid_link);
        if (partition->cid < broker->cid_free)
                broker->cid_free = partition->cid;
        order_remove(&broker->children_in_order, place_of(broker, partition));
        list_unlink(&partition->sibling_link);
        free(partition);
        return 0;
}

struct partition *partition_by_id(const struct broker *broker, const GUID *vm_id) {
        uint64_t hash = table_hash(&broker->partitions, vm_id, sizeof *vm_id);
        for (struct table_link *link = NULL; (link = table_find(&broker->partitions, hash, link));) {
                struct partition *partition = container_of(link, struct partition, id_link);
                if (guid_equal(&partition->vm_id, vm_id))
                        return partition;
        }
        return NULL;
}

struct partition *partition_by_cid(const struct broker *broker, uint64_t cid) {
        uint64_t hash = table_hash(&broker->partitions_by_cid, &cid, sizeof cid);
        for (struct table_link *link = NULL; (link = table_find(&broker->partitions_by_cid, hash, link));) {
                struct partition *partition = container_of(link, struct partition, cid_link);
                if (partition->cid == cid)
                        return partition;
        }
        return NULL;
}

bool partition_is_seen(const struct partition *partition, const struct partition *from) {
        for (const struct partition *above = partition; above; above = above->parent)
                if (above == from)
                        return true;
        return partition->parent == from->parent && partition->sees_siblings && from->sees_siblings;
}

struct partition *partition_by_name(const struct broker *broker, const struct partition *from, const char *name) {
        GUID vm_id;
        if (!guid_parse(name, &vm_id))
                return partition_by_id(broker, &vm_id);
        size_t length = strcspn(name, "/");
        struct partition *at = child_by_label(broker, from, name, length);
        if (!at && has_label(from, name, length))
                at = (struct partition *)from;
        while (at && name[length]) {
                name += length + 1;
                length = strcspn(name, "/");
                at = child_by_label(broker, at, name, length);
        }
        return at;
}

void partition_path(const struct partition *partition, char *ret_text, size_t size) {
        const struct partition *steps[PARTITION_DEPTH_MAX];
        unsigned count = 0;
        for (const struct partition *at = partition; at && count < PARTITION_DEPTH_MAX; at = at->parent)
                if (at->parent || at == partition)
                        steps[count++] = at;
        size_t length = 0;
        ret_text[0] = 0;
        while (count && length < size) {
                count--;
                const char *slash = length ? "/" : "";
                length += (size_t)snprintf(ret_text + length, size - length, "%s%s", slash, steps[count]->label);
        }
}
