/* SPDX-License-Identifier: MIT */

#include "base/hash.h"
#include "test.h"

#include <stdlib.h>

static const uint8_t key[16] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};

/* From the reference vectors of SipHash's authors: the input of N bytes is 0, 1, 2, … N - 1. */
TEST(siphash_gives_the_reference_vectors) {
        static const struct {
                unsigned length;
                uint64_t hash;
        } vectors[] = {
                {0, 0x726fdb47dd0e0e31},  {1, 0x74f839c593dc67fd},  {7, 0xab0200f58b01d137},
                {8, 0x93f5f5799a932462},  {15, 0xa129ca6149be45e5}, {63, 0x958a324ceb064572},
        };
        uint8_t input[64];
        for (unsigned i = 0; i < sizeof input; i++)
                input[i] = (uint8_t)i;
        for (unsigned i = 0; i < sizeof vectors / sizeof *vectors; i++)
                check_equal(siphash(key, input, vectors[i].length), vectors[i].hash);
}

TEST(siphash_depends_on_the_key) {
        uint8_t other[16];
        memcpy(other, key, sizeof other);
        for (unsigned i = 0; i < sizeof other; i++) {
                other[i] ^= 1;
                check(siphash(key, "text", 4) != siphash(other, "text", 4));
                other[i] ^= 1;
        }
}

TEST(siphash_reads_input_at_any_alignment) {
        char bytes[64];
        for (unsigned shift = 0; shift < 8; shift++) {
                memcpy(bytes + shift, "the same 23 bytes again", 23);
                check_equal(siphash(key, bytes + shift, 23), siphash(key, "the same 23 bytes again", 23));
        }
}

struct entry {
        struct table_link link;
        unsigned number;
        bool seen;
};

static struct entry *entry_of(struct table_link *link) {
        return container_of(link, struct entry, link);
}

static uint64_t hash_of(const struct table *table, unsigned number) {
        return table_hash(table, &number, sizeof number);
}

static struct entry *find(const struct table *table, unsigned number) {
        uint64_t hash = hash_of(table, number);
        for (struct table_link *link = NULL; (link = table_find(table, hash, link));)
                if (entry_of(link)->number == number)
                        return entry_of(link);
        return NULL;
}

#define MANY 10000

static struct entry *fill(struct table *table) {
        check_ok(table_init(table, key));
        struct entry *entries = calloc(MANY, sizeof *entries);
        check(entries != NULL);
        for (unsigned i = 0; i < MANY; i++) {
                entries[i].number = i;
                check_ok(table_insert(table, &entries[i].link, hash_of(table, i)));
        }
        return entries;
}

TEST(an_empty_table_finds_nothing) {
        struct table table;
        check_ok(table_init(&table, key));
        check(table_find(&table, 0, NULL) == NULL);
        check(table_next(&table, NULL) == NULL);
        check_equal(table.count, 0);
        table_deinit(&table);
}

TEST(a_table_never_initialized_is_empty) {
        struct table table = {};
        check(table_find(&table, 0, NULL) == NULL);
        check(table_next(&table, NULL) == NULL);
        table_deinit(&table);
}

TEST(a_table_that_grew_finds_everything) {
        struct table table;
        struct entry *entries = fill(&table);
        check_equal(table.count, MANY);
        for (unsigned i = 0; i < MANY; i++)
                check(find(&table, i) == entries + i);
        check(find(&table, MANY) == NULL);
        table_deinit(&table);
        free(entries);
}

TEST(a_table_that_grew_has_short_chains) {
        struct table table;
        struct entry *entries = fill(&table);
        check(table.bucket_count >= MANY);
        for (size_t i = 0; i < table.bucket_count; i++) {
                unsigned length = 0;
                list_for_each(link, table.buckets + i)
                        length++;
                check(length < 12);
        }
        table_deinit(&table);
        free(entries);
}

TEST(a_walk_meets_each_entry_once) {
        struct table table;
        struct entry *entries = fill(&table);
        unsigned count = 0;
        for (struct table_link *link = NULL; (link = table_next(&table, link)); count++) {
                check(!entry_of(link)->seen);
                entry_of(link)->seen = true;
        }
        check_equal(count, MANY);
        table_deinit(&table);
        free(entries);
}

TEST(a_walk_may_remove_what_it_has_met) {
        struct table table;
        struct entry *entries = fill(&table);
        unsigned met = 0;
        for (struct table_link *link = table_next(&table, NULL), *next; link; link = next, met++) {
                next = table_next(&table, link);
                if (entry_of(link)->number % 3)
                        table_remove(&table, link);
        }
        check_equal(met, MANY);
        check_equal(table.count, (MANY + 2) / 3);
        for (unsigned i = 0; i < MANY; i++)
                check(find(&table, i) == (i % 3 ? NULL : entries + i));
        table_deinit(&table);
        free(entries);
}

TEST(entries_with_one_hash_are_found_in_the_order_they_came) {
        struct table table;
        struct entry entries[100] = {};
        check_ok(table_init(&table, key));
        for (unsigned i = 0; i < 100; i++)
                check_ok(table_insert(&table, &entries[i].link, 42));
        struct table_link *link = NULL;
        for (unsigned i = 0; i < 100; i++) {
                link = table_find(&table, 42, link);
                check(link == &entries[i].link);
        }
        check(table_find(&table, 42, link) == NULL);
        check(table_find(&table, 43, NULL) == NULL);
        table_deinit(&table);
}

TEST(an_entry_can_be_put_back) {
        struct table table;
        struct entry entry = {.number = 7};
        check_ok(table_init(&table, key));
        for (unsigned i = 0; i < 3; i++) {
                check_ok(table_insert(&table, &entry.link, hash_of(&table, 7)));
                check(find(&table, 7) == &entry);
                table_remove(&table, &entry.link);
                check(find(&table, 7) == NULL);
                check_equal(table.count, 0);
        }
        table_deinit(&table);
}

TEST(a_list_keeps_its_order) {
        struct list head = LIST_INIT(head), links[5];
        check(list_is_empty(&head));
        for (unsigned i = 0; i < 5; i++)
                list_append(&head, links + i);
        list_unlink(links + 2);
        list_unlink(links + 2);
        list_insert_before(links + 4, links + 2);
        static const unsigned expected[] = {0, 1, 3, 2, 4};
        unsigned at = 0;
        list_for_each(link, &head)
                check(link == links + expected[at++]);
        check_equal(at, 5);
        list_for_each_safe(link, &head)
                list_unlink(link);
        check(list_is_empty(&head));
}
