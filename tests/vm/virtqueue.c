/* SPDX-License-Identifier: MIT */

/* A device's side of a virtqueue, against drivers good and bad. */

#include "fake_guest.h"

#include "test.h"
#include <sys/mman.h>

struct fixture {
        struct fake_guest guest;
        struct guest_memory memory;
        struct virtqueue queue;
        struct fake_queue *driver;
        struct chain chain;
        uint64_t buffer; /* 64 KiB of guest memory */
};

static void begin_with(struct fixture *fixture, bool has_event_index, bool has_indirect) {
        fake_guest_start(&fixture->guest);
        fixture->guest.has_event_index = has_event_index;
        fixture->buffer = fake_allocate(&fixture->guest, 65536);
        fixture->driver = &fixture->guest.queues[VHOST_USER_TX];
        fake_map(&fixture->guest, &fixture->memory);
        fake_queue_begin(&fixture->guest, VHOST_USER_TX, &fixture->memory, has_indirect, &fixture->queue);
}

static void begin(struct fixture *fixture) {
        begin_with(fixture, true, true);
}

static void end(struct fixture *fixture) {
        guest_memory_clear(&fixture->memory);
        fake_guest_free(&fixture->guest);
}

static int pop(struct fixture *fixture) {
        return virtqueue_pop(&fixture->queue, &fixture->chain);
}

static void check_is_broken(struct fixture *fixture) {
        check_equal(pop(fixture), -EPROTO);
        check_equal(pop(fixture), -EPROTO); /* for good */
        check(!virtqueue_arm(&fixture->queue));
        end(fixture);
}

TEST(a_chain_comes_as_the_memory_that_its_descriptors_name) {
        struct fixture fixture;
        begin(&fixture);
        check_equal(pop(&fixture), 0);
        fake_describe(fixture.driver, 7, fixture.buffer, 100, FAKE_NEXT, 3);
        fake_describe(fixture.driver, 3, fixture.buffer + 200, 50, FAKE_NEXT, 127);
        fake_describe(fixture.driver, 127, fixture.buffer + 1000, 8, FAKE_WRITE, 0);
        fake_publish(fixture.driver, 7);
        memcpy(fake_at(&fixture.guest, fixture.buffer + 200, 5), "hello", 5);
        check_equal(pop(&fixture), 1);
        check_equal(fixture.chain.head, 7);
        check_equal(fixture.chain.readable_count, 2);
        check_equal(fixture.chain.readable_size, 150);
        check_equal(fixture.chain.writable_count, 1);
        check_equal(fixture.chain.writable_size, 8);
        check(memcmp(fixture.chain.pieces[1].iov_base, "hello", 5) == 0);
        check_equal(pieces_write(chain_writable(&fixture.chain), 1, 2, "back", 4), 4);
        check(memcmp(fake_at(&fixture.guest, fixture.buffer + 1002, 4), "back", 4) == 0);
        check_equal(pop(&fixture), 0);
        end(&fixture);
}

TEST(an_indirect_table_is_a_chain_too) {
        struct fixture fixture;
        begin(&fixture);
        struct fake_descriptor table[3] = {
                {fixture.buffer + 4096, 44, FAKE_NEXT, 2}, {0, 0, 0, 0}, {fixture.buffer + 8192, 1000, FAKE_WRITE, 0}};
        memcpy(fake_at(&fixture.guest, fixture.buffer, sizeof table), table, sizeof table);
        fake_describe(fixture.driver, 0, fixture.buffer, sizeof table, FAKE_INDIRECT, 0);
        fake_publish(fixture.driver, 0);
        check_equal(pop(&fixture), 1);
        check_equal(fixture.chain.readable_size, 44);
        check_equal(fixture.chain.writable_size, 1000);
        end(&fixture);
}

TEST(used_chains_are_seen_when_they_are_flushed) {
        struct fixture fixture;
        uint32_t head, written;
        begin(&fixture);
        for (uint16_t i = 0; i < 3; i++) {
                fake_describe(fixture.driver, i, fixture.buffer, 8, FAKE_WRITE, 0);
                fake_publish(fixture.driver, i);
        }
        for (uint16_t i = 0; i < 3; i++) {
                check_equal(pop(&fixture), 1);
                virtqueue_push(&fixture.queue, fixture.chain.head, i + 1u);
        }
        check(!fake_take_used(fixture.driver, &head, &written));
        (void)virtqueue_flush(&fixture.queue);
        for (uint16_t i = 0; i < 3; i++) {
                check(fake_take_used(fixture.driver, &head, &written));
                check_equal(head, i);
                check_equal(written, i + 1u);
        }
        check(!fake_take_used(fixture.driver, &head, &written));
        end(&fixture);
}

TEST(indices_go_round_many_times) {
        struct fixture fixture;
        uint32_t head, written;
        begin(&fixture);
        fake_describe(fixture.driver, 5, fixture.buffer, 8, 0, 0);
        for (unsigned i = 0; i < 70000; i++) {
                fake_publish(fixture.driver, 5);
                check_equal(pop(&fixture), 1);
                virtqueue_push(&fixture.queue, 5, 0);
                (void)virtqueue_flush(&fixture.queue);
                check(fake_take_used(fixture.driver, &head, &written));
        }
        check_equal(pop(&fixture), 0);
        end(&fixture);
}

TEST(what_was_not_used_is_popped_again) {
        struct fixture fixture;
        begin(&fixture);
        fake_describe(fixture.driver, 0, fixture.buffer, 8, FAKE_WRITE, 0);
        fake_publish(fixture.driver, 0);
        check_equal(pop(&fixture), 1);
        virtqueue_unpop(&fixture.queue);
        check(!virtqueue_arm(&fixture.queue));
        check_equal(pop(&fixture), 1);
        check_equal(pop(&fixture), 0);
        check(virtqueue_arm(&fixture.queue));
        end(&fixture);
}

TEST(a_queue_as_full_as_can_be_is_served) {
        struct fixture fixture;
        begin(&fixture);
        for (uint16_t i = 0; i < FAKE_QUEUE_SIZE; i++) {
                fake_describe(fixture.driver, i, fixture.buffer, 8, 0, 0);
                fake_publish(fixture.driver, i);
        }
        for (uint16_t i = 0; i < FAKE_QUEUE_SIZE; i++)
                check_equal(pop(&fixture), 1);
        check_equal(pop(&fixture), 0);
        end(&fixture);
}

TEST(an_available_index_more_than_a_queue_ahead_breaks_it) {
        struct fixture fixture;
        begin(&fixture);
        fixture.driver->available[1] = FAKE_QUEUE_SIZE + 1;
        check_is_broken(&fixture);
}

TEST(an_available_index_that_goes_back_breaks_it) {
        struct fixture fixture;
        begin(&fixture);
        fake_describe(fixture.driver, 0, fixture.buffer, 8, 0, 0);
        for (unsigned i = 0; i < 3; i++)
                fake_publish(fixture.driver, 0);
        check_equal(pop(&fixture), 1);
        fixture.driver->available[1] = 1;
        check(virtqueue_arm(&fixture.queue) == false);
        check_is_broken(&fixture);
}

TEST(a_chain_that_begins_outside_the_queue_breaks_it) {
        struct fixture fixture;
        begin(&fixture);
        fake_publish(fixture.driver, FAKE_QUEUE_SIZE);
        check_is_broken(&fixture);
}

TEST(a_chain_that_leads_out_of_the_queue_breaks_it) {
        struct fixture fixture;
        begin(&fixture);
        fake_describe(fixture.driver, 0, fixture.buffer, 8, FAKE_NEXT, FAKE_QUEUE_SIZE);
        fake_publish(fixture.driver, 0);
        check_is_broken(&fixture);
}

TEST(a_loop_breaks_it) {
        struct fixture fixture;
        begin(&fixture);
        fake_describe(fixture.driver, 0, fixture.buffer, 8, FAKE_NEXT, 1);
        fake_describe(fixture.driver, 1, fixture.buffer, 8, FAKE_NEXT, 0);
        fake_publish(fixture.driver, 0);
        check_is_broken(&fixture);
}

TEST(a_loop_of_nothing_breaks_it) {
        struct fixture fixture;
        begin(&fixture);
        fake_describe(fixture.driver, 0, fixture.buffer, 0, FAKE_NEXT, 0);
        fake_publish(fixture.driver, 0);
        check_is_broken(&fixture);
}

TEST(a_chain_of_all_descriptors_is_the_longest) {
        struct fixture fixture;
        begin(&fixture);
        for (uint16_t i = 0; i < FAKE_QUEUE_SIZE; i++)
                fake_describe(fixture.driver, i, fixture.buffer, 1, i + 1u < FAKE_QUEUE_SIZE ? FAKE_NEXT : 0,
                              (uint16_t)(i + 1));
        fake_publish(fixture.driver, 0);
        check_equal(pop(&fixture), 1);
        check_equal(fixture.chain.readable_size, FAKE_QUEUE_SIZE);
        end(&fixture);
}

TEST(a_readable_descriptor_behind_a_writable_one_breaks_it) {
        struct fixture fixture;
        begin(&fixture);
        fake_describe(fixture.driver, 0, fixture.buffer, 8, FAKE_NEXT | FAKE_WRITE, 1);
        fake_describe(fixture.driver, 1, fixture.buffer, 8, 0, 0);
        fake_publish(fixture.driver, 0);
        check_is_broken(&fixture);
}

TEST(memory_that_is_not_the_guest_s_breaks_it) {
        const struct {
                uint64_t address;
                uint32_t length;
        } cases[] = {{0, 1},
                     {FAKE_BASE - 1, 2},
                     {FAKE_BASE + (16u << 20) - 1, 2},
                     {UINT64_MAX - 7, 8},
                     {UINT64_MAX, UINT32_MAX},
                     {FAKE_BASE, UINT32_MAX},
                     {FAKE_BASE + FAKE_USER_OFFSET, 8}};
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                struct fixture fixture;
                begin(&fixture);
                fake_describe(fixture.driver, 0, cases[i].address, cases[i].length, 0, 0);
                fake_publish(fixture.driver, 0);
                check_is_broken(&fixture);
        }
}

/* One indirect table, whose bytes are these. */
static void check_table(uint32_t length, const struct fake_descriptor *table, size_t count, uint16_t flags,
                        int expected) {
        struct fixture fixture;
        begin(&fixture);
        struct fake_descriptor *place = fake_at(&fixture.guest, fixture.buffer, 65536);
        for (size_t i = 0; i < count; i++) {
                place[i] = table[i];
                place[i].address += fixture.buffer;
        }
        fake_describe(fixture.driver, 0, fixture.buffer, length, flags, 1);
        fake_describe(fixture.driver, 1, fixture.buffer, 8, 0, 0);
        fake_publish(fixture.driver, 0);
        if (expected < 0) {
                check_is_broken(&fixture);
        } else {
                check_equal(pop(&fixture), expected);
                end(&fixture);
        }
}

TEST(an_indirect_table_that_cannot_be_breaks_it) {
        const struct fake_descriptor good[2] = {{0, 8, FAKE_NEXT, 1}, {8, 8, 0, 0}};
        const struct fake_descriptor nested[1] = {{0, 16, FAKE_INDIRECT, 0}};
        const struct fake_descriptor loop[2] = {{0, 8, FAKE_NEXT, 1}, {8, 8, FAKE_NEXT, 0}};
        const struct fake_descriptor astray[2] = {{0, 8, FAKE_NEXT, 2}, {8, 8, 0, 0}};
        check_table(32, good, 2, FAKE_INDIRECT, 1);
        check_table(0, good, 2, FAKE_INDIRECT, -EPROTO);
        check_table(33, good, 2, FAKE_INDIRECT, -EPROTO);
        check_table(16 * (FAKE_QUEUE_SIZE + 1), good, 2, FAKE_INDIRECT, -EPROTO);
        check_table(16 * FAKE_QUEUE_SIZE, good, 2, FAKE_INDIRECT, 1);
        check_table(32, good, 2, FAKE_INDIRECT | FAKE_NEXT, -EPROTO);
        check_table(32, good, 2, FAKE_INDIRECT | FAKE_WRITE, -EPROTO);
        check_table(16, nested, 1, FAKE_INDIRECT, -EPROTO);
        check_table(32, loop, 2, FAKE_INDIRECT, -EPROTO);
        check_table(32, astray, 2, FAKE_INDIRECT, -EPROTO);
}

TEST(an_indirect_table_that_was_not_negotiated_breaks_it) {
        struct fixture fixture;
        begin_with(&fixture, true, false);
        fake_describe(fixture.driver, 0, fixture.buffer, 16, FAKE_INDIRECT, 0);
        fake_publish(fixture.driver, 0);
        check_is_broken(&fixture);
}

/* A queue of 1024 descriptors, each of which names memory in two regions. */
static void check_many_pieces(unsigned descriptors, int expected) {
        struct fixture fixture;
        struct fake_guest *guest = &fixture.guest;
        fake_guest_init(guest);
        fake_add_region(guest, FAKE_BASE, 1u << 20);
        fake_add_region(guest, FAKE_BASE + (1u << 20), 1u << 20);
        fake_queue_make(guest, VHOST_USER_TX, VIRTQUEUE_SIZE_MAX);
        fake_map(guest, &fixture.memory);
        fixture.driver = &guest->queues[VHOST_USER_TX];
        fake_queue_begin(guest, VHOST_USER_TX, &fixture.memory, true, &fixture.queue);
        for (unsigned i = 0; i < descriptors; i++)
                fake_describe(fixture.driver, (uint16_t)i, FAKE_BASE + (1u << 20) - 4, 8,
                              i + 1 < descriptors ? FAKE_NEXT : 0, (uint16_t)(i + 1));
        fake_publish(fixture.driver, 0);
        if (expected < 0) {
                check_is_broken(&fixture);
                return;
        }
        check_equal(pop(&fixture), expected);
        check_equal(fixture.chain.readable_count, 2 * descriptors);
        check_equal(fixture.chain.readable_size, 8 * descriptors);
        end(&fixture);
}

TEST(a_buffer_that_runs_over_the_end_of_a_region_is_two_pieces_and_pieces_are_counted) {
        check_many_pieces(1, 1);
        check_many_pieces(CHAIN_PIECES_MAX / 2, 1);
        check_many_pieces(CHAIN_PIECES_MAX / 2 + 1, -EPROTO);
}

TEST(a_size_or_place_that_cannot_be_is_refused) {
        struct fixture fixture;
        begin(&fixture);
        uint8_t *bytes = fake_at(&fixture.guest, fixture.buffer, 65536);
        struct virtqueue queue;
        struct virtqueue_place place = {.descriptors = bytes, .available = bytes, .used = bytes, .size = 128};
        check_ok(virtqueue_begin(&queue, &fixture.memory, &place));
        const uint16_t sizes[] = {0, 3, 127, 2048};
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
                place.size = sizes[i];
                check_equal(virtqueue_begin(&queue, &fixture.memory, &place), -EINVAL);
        }
        place.size = VIRTQUEUE_SIZE_MAX;
        check_ok(virtqueue_begin(&queue, &fixture.memory, &place));
        place.descriptors = bytes + 8;
        check_equal(virtqueue_begin(&queue, &fixture.memory, &place), -EINVAL);
        place.descriptors = bytes;
        place.available = bytes + 1;
        check_equal(virtqueue_begin(&queue, &fixture.memory, &place), -EINVAL);
        place.available = bytes;
        place.used = bytes + 2;
        check_equal(virtqueue_begin(&queue, &fixture.memory, &place), -EINVAL);
        end(&fixture);
}

static void use_one(struct fixture *fixture) {
        fake_describe(fixture->driver, 0, fixture->buffer, 8, 0, 0);
        fake_publish(fixture->driver, 0);
        check_equal(pop(fixture), 1);
        virtqueue_push(&fixture->queue, 0, 0);
}

TEST(a_queue_in_memory_that_is_private_to_the_vmm_stays_blank) {
        struct fixture fixture;
        begin(&fixture);
        check(virtqueue_is_blank(&fixture.queue));
        int fd = fixture.guest.regions[0].fd;
        uint8_t *private = mmap(NULL, 16u << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0);
        check(private != MAP_FAILED);
        private[fixture.driver->available_address - FAKE_BASE + 2] = 1; /* a driver there publishes a chain */
        private[fixture.driver->descriptors_address - FAKE_BASE] = 1;
        check_equal(pop(&fixture), 0);
        check(virtqueue_is_blank(&fixture.queue));
        munmap(private, 16u << 20);
        use_one(&fixture);
        check(!virtqueue_is_blank(&fixture.queue));
        end(&fixture);
}


/* ---- notifications ---- */

static void with_and_without_event_index(void (*test)(struct fixture *fixture)) {
        for (unsigned has = 0; has < 2; has++) {
                struct fixture fixture;
                begin_with(&fixture, has, true);
                test(&fixture);
                end(&fixture);
        }
}

static void kicks(struct fixture *fixture) {
        uint16_t before = fixture->driver->published;
        check(virtqueue_arm(&fixture->queue));
        fake_describe(fixture->driver, 0, fixture->buffer, 8, 0, 0);
        fake_publish(fixture->driver, 0);
        check(fake_wants_kick(&fixture->guest, VHOST_USER_TX, before));
        virtqueue_disarm(&fixture->queue);
        before = fixture->driver->published;
        fake_publish(fixture->driver, 0);
        check(!fake_wants_kick(&fixture->guest, VHOST_USER_TX, before));
        check(!virtqueue_arm(&fixture->queue)); /* it came meanwhile: nobody will kick for it */
        check_equal(pop(fixture), 1);
        check_equal(pop(fixture), 1);
        check(virtqueue_arm(&fixture->queue));
        before = fixture->driver->published;
        fake_publish(fixture->driver, 0);
        check(fake_wants_kick(&fixture->guest, VHOST_USER_TX, before));
}

TEST(a_kick_is_wanted_only_by_who_is_about_to_sleep) {
        with_and_without_event_index(kicks);
}

static void calls(struct fixture *fixture) {
        uint32_t head, written;
        use_one(fixture);
        check(virtqueue_flush(&fixture->queue)); /* the first is always told */
        check(!virtqueue_flush(&fixture->queue)); /* nothing new */
        check(fake_take_used(fixture->driver, &head, &written));
        if (!fixture->guest.has_event_index)
                fixture->driver->available[0] = 1; /* no interrupt, please */
        use_one(fixture);
        bool is_called = virtqueue_flush(&fixture->queue);
        if (fixture->guest.has_event_index) { /* used_event stands at 0: nothing since */
                check(!is_called);
                check(!fake_arm(&fixture->guest, VHOST_USER_TX));
                check(fake_take_used(fixture->driver, &head, &written));
                check(fake_arm(&fixture->guest, VHOST_USER_TX));
        } else {
                check(!is_called);
                fixture->driver->available[0] = 0;
        }
        use_one(fixture);
        use_one(fixture);
        check(virtqueue_flush(&fixture->queue));
}

TEST(the_driver_is_called_when_it_wants_to_be) {
        with_and_without_event_index(calls);
}

TEST(a_call_is_wanted_for_a_batch_that_passes_the_event_across_the_wrap) {
        struct fixture fixture;
        uint32_t head, written;
        begin(&fixture);
        for (unsigned i = 0; i < 65534; i++) {
                use_one(&fixture);
                (void)virtqueue_flush(&fixture.queue);
                check(fake_take_used(fixture.driver, &head, &written));
        }
        check(fake_arm(&fixture.guest, VHOST_USER_TX));
        for (unsigned i = 0; i < 4; i++)
                use_one(&fixture);
        check(virtqueue_flush(&fixture.queue));
        use_one(&fixture);
        check(!virtqueue_flush(&fixture.queue));
        end(&fixture);
}

TEST(a_queue_goes_on_where_it_was) {
        struct fixture fixture;
        uint32_t head, written;
        begin(&fixture);
        for (unsigned i = 0; i < 5; i++) {
                use_one(&fixture);
                (void)virtqueue_flush(&fixture.queue);
                check(fake_take_used(fixture.driver, &head, &written));
        }
        fake_queue_begin(&fixture.guest, VHOST_USER_TX, &fixture.memory, true, &fixture.queue);
        check_equal(pop(&fixture), 0);
        check(!virtqueue_flush(&fixture.queue));
        use_one(&fixture);
        check(virtqueue_flush(&fixture.queue)); /* nobody knows what the driver was told before */
        check(fake_take_used(fixture.driver, &head, &written));
        check(!fake_take_used(fixture.driver, &head, &written));
        end(&fixture);
}

/* ---- pieces ---- */

TEST(pieces_are_read_and_written_from_any_place) {
        char first[3] = "abc", second[1] = "d", third[4] = "efgh", out[8];
        const struct iovec pieces[4] = {{first, 3}, {second, 1}, {NULL, 0}, {third, 4}};
        check_equal(pieces_read(pieces, 4, 0, out, 8), 8);
        check(memcmp(out, "abcdefgh", 8) == 0);
        check_equal(pieces_read(pieces, 4, 2, out, 3), 3);
        check(memcmp(out, "cde", 3) == 0);
        check_equal(pieces_read(pieces, 4, 6, out, 8), 2);
        check_equal(pieces_read(pieces, 4, 8, out, 8), 0);
        check_equal(pieces_write(pieces, 4, 3, "XY", 2), 2);
        check_equal(pieces_read(pieces, 4, 0, out, 8), 8);
        check(memcmp(out, "abcXYfgh", 8) == 0);
        struct iovec slice[4];
        check_equal(pieces_slice(pieces, 4, 2, 4, slice), 3);
        check(slice[0].iov_base == first + 2 && slice[0].iov_len == 1);
        check(slice[1].iov_base == second && slice[1].iov_len == 1);
        check(slice[2].iov_base == third && slice[2].iov_len == 2);
        check_equal(pieces_slice(pieces, 4, 8, 1, slice), 0);
}
