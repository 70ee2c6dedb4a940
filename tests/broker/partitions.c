/* SPDX-License-Identifier: MIT */

/* The tree: what may stand where, labels, names and limits. */

#include "base/guid.h"
#include "world.h"

#include <stdio.h>
#include <stdlib.h>

static int add(struct broker *broker, const char *label, enum hv_partition_kind kind, const struct partition *parent) {
        struct partition_definition definition = partition_called(label, kind, parent);
        struct partition *untouched = (struct partition *)broker, *partition = untouched;
        int r = partition_add(broker, &definition, &partition);
        check(r ? partition == untouched : partition != untouched);
        return r;
}

TEST(a_vm_stands_in_a_host_or_a_vm_and_a_container_anywhere) {
        WORLD(world);
        check_ok(add(world.broker, "a", HV_PARTITION_VM, world.host));
        check_ok(add(world.broker, "a", HV_PARTITION_VM, world.web01));
        check_equal(add(world.broker, "a", HV_PARTITION_VM, world.db), -EINVAL);
        check_ok(add(world.broker, "b", HV_PARTITION_CONTAINER, world.host));
        check_ok(add(world.broker, "b", HV_PARTITION_CONTAINER, world.web01));
        check_ok(add(world.broker, "b", HV_PARTITION_CONTAINER, world.db));
}

TEST(a_host_is_the_root_and_there_is_one) {
        struct broker *broker = bare_broker();
        check(!broker_root(broker));
        check_equal(add(broker, "orphan", HV_PARTITION_VM, NULL), -ENOENT);
        check_equal(add(broker, "orphan", HV_PARTITION_CONTAINER, NULL), -ENOENT);
        check_ok(add(broker, "host", HV_PARTITION_HOST, NULL));
        check(broker_root(broker)->kind == HV_PARTITION_HOST);
        check_equal(add(broker, "second", HV_PARTITION_HOST, NULL), -EEXIST);
        broker_free(broker);
}

TEST(a_kind_that_does_not_exist_stands_nowhere) {
        WORLD(world);
        check_equal(add(world.broker, "a", 0, world.host), -EINVAL);
        check_equal(add(world.broker, "a", 4, world.host), -EINVAL);
}

TEST(only_a_container_may_pass_through) {
        WORLD(world);
        struct partition_definition definition = partition_called("a", HV_PARTITION_VM, world.host);
        struct partition *partition;
        definition.passthru = true;
        check_equal(partition_add(world.broker, &definition, &partition), -EINVAL);
        definition.kind = HV_PARTITION_CONTAINER;
        check_ok(partition_add(world.broker, &definition, &partition));
}

TEST(a_vm_by_virtio_is_not_running_until_somebody_says_so) {
        WORLD(world);
        check(!world.gone->running);
        check(world.web01->running);
}

TEST(no_two_partitions_have_one_vm_id) {
        WORLD(world);
        struct partition_definition definition = partition_called("twin", HV_PARTITION_CONTAINER, world.host);
        struct partition *partition;
        definition.vm_id = world.inner->vm_id;
        check_equal(partition_add(world.broker, &definition, &partition), -EEXIST);
}

TEST(a_well_known_vm_id_is_no_partitions) {
        WORLD(world);
        const GUID *known[] = {&HV_GUID_ZERO,   &HV_GUID_WILDCARD, &HV_GUID_BROADCAST, &HV_GUID_CHILDREN,
                               &HV_GUID_PARENT, &HV_GUID_LOOPBACK, &HV_GUID_SILOHOST};
        for (size_t i = 0; i < sizeof known / sizeof *known; i++) {
                struct partition_definition definition = partition_called("a", HV_PARTITION_VM, world.host);
                struct partition *partition;
                definition.vm_id = *known[i];
                check_equal(partition_add(world.broker, &definition, &partition), -EINVAL);
        }
}

TEST(labels_are_unique_among_siblings_and_only_there) {
        WORLD(world);
        check_equal(add(world.broker, "web01", HV_PARTITION_CONTAINER, world.host), -EEXIST);
        check_ok(add(world.broker, "web01", HV_PARTITION_CONTAINER, world.web01));
        check_ok(add(world.broker, "Web01", HV_PARTITION_VM, world.host));
        check_ok(add(world.broker, "web", HV_PARTITION_VM, world.host));
}

TEST(a_label_has_1_to_63_letters_digits_dots_dashes_and_underscores) {
        char label[HV_LABEL_SIZE + 1];
        memset(label, 'a', sizeof label);
        label[63] = 0;
        check(partition_label_is_valid(label));
        label[63] = 'a';
        label[64] = 0;
        check(!partition_label_is_valid(label));
        check(partition_label_is_valid("A-z_0.9"));
        check(partition_label_is_valid("host"));
        const char *bad[] = {"", "a b", "a/b", "/", "a\n", "\033[m", "ä", "a:b", "a\\", "\"", "a+"};
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
                check(!partition_label_is_valid(bad[i]));
}

TEST(a_reserved_word_or_a_guid_is_no_label) {
        const char *bad[] = {"parent",   "loopback", "children", "wildcard", "zero", "broadcast",
                             "silohost", "3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e10", "3c2a8f5e9f0d4c499b0e6f7a6b1d2e10"};
        WORLD(world);
        for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
                check(!partition_label_is_valid(bad[i]));
                check_equal(add(world.broker, bad[i], HV_PARTITION_VM, world.host), -EINVAL);
        }
        check(partition_label_is_valid("parent1"));
        check(partition_label_is_valid("3c2a8f5e-9f0d-4c49-9b0e-6f7a6b1d2e1"));
}

TEST(a_partition_is_found_by_guid_label_or_path) {
        WORLD(world);
        const struct {
                struct partition *from;
                const char *name;
                struct partition *found;
        } cases[] = {
                {world.host, "web01", world.web01},
                {world.host, "web01/db", world.db},
                {world.host, "web01/db/inner", world.inner},
                {world.host, "machine", world.host},
                {world.host, "machine/web01", world.web01},
                {world.web01, "db", world.db},
                {world.web01, "db/inner", world.inner},
                {world.web01, "web01", world.web01},
                {world.web01, "web01/db", world.db},
                {world.db, "db", world.db},
                {world.host, "db", NULL},
                {world.host, "web01/", NULL},
                {world.host, "/web01", NULL},
                {world.host, "web01//db", NULL},
                {world.host, "web0", NULL},
                {world.host, "web011", NULL},
                {world.host, "", NULL},
                {world.host, "parent", NULL},
                {world.web01, "web02", NULL},
                {world.web01, "db/db", NULL},
                {world.web01, "web01/web01", NULL},
                {world.web01, "web01/db/web01", NULL},
        };
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
                if (partition_by_name(world.broker, cases[i].from, cases[i].name) != cases[i].found)
                        test_fail(__FILE__, __LINE__, "\"%s\" from %s is not as expected", cases[i].name,
                                  cases[i].from->label);
        char guid[HV_GUID_TEXT_SIZE];
        guid_format(&world.inner->vm_id, guid);
        check(partition_by_name(world.broker, world.host, guid) == world.inner);
        guid_format(&NOWHERE, guid);
        check(!partition_by_name(world.broker, world.host, guid));
}

TEST(a_path_leads_from_the_root_and_is_cut_to_its_room) {
        WORLD(world);
        char path[64], small[8];
        partition_path(world.inner, path, sizeof path);
        check_string(path, "web01/db/inner");
        partition_path(world.host, path, sizeof path);
        check_string(path, "machine");
        partition_path(world.inner, small, sizeof small);
        check_string(small, "web01/d");
}

TEST(children_stand_in_order_of_label) {
        WORLD(world);
        const char *before = "";
        list_for_each(link, &world.host->children) {
                const char *label = container_of(link, struct partition, sibling_link)->label;
                check(strcmp(before, label) < 0);
                before = label;
        }
        check_string(before, "west");
}

TEST(a_partition_with_children_stays) {
        WORLD(world);
        check_equal(partition_remove(world.broker, world.db), -ENOTEMPTY);
        check_ok(partition_remove(world.broker, world.inner));
        check_ok(partition_remove(world.broker, world.db));
        check(!partition_by_name(world.broker, world.host, "web01/db"));
        check_ok(add(world.broker, "db", HV_PARTITION_CONTAINER, world.web01));
}

TEST(the_root_stays) {
        struct broker *broker = bare_broker();
        check_ok(add(broker, "host", HV_PARTITION_HOST, NULL));
        check_equal(partition_remove(broker, broker_root(broker)), -EBUSY);
        broker_free(broker);
}

TEST(a_partition_that_somebody_uses_stays) {
        WORLD(world);
        struct caller guest = root_in(world.web02), host = root_in(world.host);
        check_allowed(broker_client_opened(world.broker, &guest));
        check_equal(partition_remove(world.broker, world.web02), -EBUSY);
        broker_client_closed(world.broker, &guest);

        struct listener *listener = listening(&world, world.web02, &HV_GUID_WILDCARD);
        check_equal(partition_remove(world.broker, world.web02), -EBUSY);
        struct channel *accepted = connected(&world, &host, &world.web02->vm_id);
        broker_listener_gone(world.broker, listener);
        check_equal(partition_remove(world.broker, world.web02), -EBUSY);
        broker_closed(world.broker, accepted);

        listening(&world, world.host, &HV_GUID_WILDCARD);
        struct channel *opened = connected(&world, &guest, &HV_GUID_PARENT);
        check_equal(partition_remove(world.broker, world.web02), -EBUSY);
        broker_closed(world.broker, opened);
        check_ok(partition_remove(world.broker, world.web02));
}

TEST(a_tree_is_as_deep_as_the_limit_and_no_deeper) {
        struct broker *broker = bare_broker();
        check_ok(add(broker, "host", HV_PARTITION_HOST, NULL));
        struct partition *at = broker_root(broker);
        for (unsigned depth = 2; depth <= PARTITION_DEPTH_MAX; depth++) {
                struct partition_definition definition = partition_called("deeper", HV_PARTITION_CONTAINER, at);
                at = must_add(broker, &definition);
                check_equal(at->depth, depth);
        }
        check_equal(add(broker, "deeper", HV_PARTITION_CONTAINER, at), -ENOSPC);
        char path[PARTITION_DEPTH_MAX * HV_LABEL_SIZE];
        partition_path(at, path, sizeof path);
        check(partition_by_name(broker, broker_root(broker), path) == at);
        broker_free(broker);
}

TEST(a_world_has_as_many_partitions_as_the_limit_and_no_more) {
        struct broker *broker = bare_broker();
        check_ok(add(broker, "host", HV_PARTITION_HOST, NULL));
        struct partition *vm = broker_root(broker), *last = vm;
        for (unsigned i = 1; i < PARTITIONS_MAX; i++) {
                char label[16];
                snprintf(label, sizeof label, "p%u", i);
                struct partition_definition definition = partition_called(label, HV_PARTITION_VM, vm);
                if (i % 128 == 0) { /* a new VM, whose containers come next */
                        definition = partition_called(label, HV_PARTITION_VM, broker_root(broker));
                        last = vm = must_add(broker, &definition);
                        continue;
                }
                definition.kind = HV_PARTITION_CONTAINER;
                last = must_add(broker, &definition);
        }
        check_equal(add(broker, "more", HV_PARTITION_VM, broker_root(broker)), -ENOSPC);
        check(partition_by_id(broker, &last->vm_id) == last);
        check_ok(partition_remove(broker, last));
        check_ok(add(broker, "more", HV_PARTITION_VM, broker_root(broker)));
        broker_free(broker);
}
