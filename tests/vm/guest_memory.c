/* SPDX-License-Identifier: MIT */

/* Guest addresses, and memory that goes away. */

#include "fake_guest.h"

#include "test.h"
#include "vm/memory_guard.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define SIZE 65536u

/* Two regions that follow each other, and one behind a hole. */
static void three_regions(struct fake_guest *guest, struct guest_memory *memory) {
        fake_guest_init(guest);
        fake_add_region(guest, FAKE_BASE, SIZE);
        fake_add_region(guest, FAKE_BASE + 3 * SIZE, SIZE);
        fake_add_region(guest, FAKE_BASE + SIZE, SIZE);
        fake_map(guest, memory);
}

static void give_back(struct fake_guest *guest, struct guest_memory *memory) {
        guest_memory_clear(memory);
        fake_guest_free(guest);
}

static int new_file(size_t size) {
        int fd = (int)must(memfd_create("memory", MFD_CLOEXEC));
        must(ftruncate(fd, (off_t)size));
        return fd;
}

TEST(an_address_is_found_in_its_region) {
        struct fake_guest guest;
        struct guest_memory memory;
        struct iovec piece;
        three_regions(&guest, &memory);
        *(uint8_t *)fake_at(&guest, FAKE_BASE + 3 * SIZE + 5, 1) = 'x';
        check_equal(guest_memory_pieces(&memory, FAKE_BASE + 3 * SIZE + 5, 10, &piece, 1), 1);
        check_equal(*(uint8_t *)piece.iov_base, 'x');
        check_equal(piece.iov_len, 10);
        check_equal(*(uint8_t *)guest_memory_of_user(&memory, FAKE_USER_OFFSET + FAKE_BASE + 3 * SIZE + 5, 1), 'x');
        give_back(&guest, &memory);
}

TEST(the_two_kinds_of_address_are_not_mixed_up) {
        struct fake_guest guest;
        struct guest_memory memory;
        struct iovec piece;
        three_regions(&guest, &memory);
        check_equal(guest_memory_pieces(&memory, FAKE_USER_OFFSET + FAKE_BASE, 1, &piece, 1), -EFAULT);
        check(!guest_memory_of_user(&memory, FAKE_BASE, 1));
        give_back(&guest, &memory);
}

TEST(what_runs_over_the_end_of_a_region_goes_on_in_the_next_one) {
        struct fake_guest guest;
        struct guest_memory memory;
        struct iovec pieces[2];
        uint8_t bytes[4];
        three_regions(&guest, &memory);
        memcpy(fake_at(&guest, FAKE_BASE + SIZE - 2, 2), "ab", 2);
        memcpy(fake_at(&guest, FAKE_BASE + SIZE, 2), "cd", 2);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE + SIZE - 2, 4, pieces, 2), 2);
        check_equal(pieces[0].iov_len, 2);
        check_equal(pieces[1].iov_len, 2);
        check_ok(guest_memory_read(&memory, FAKE_BASE + SIZE - 2, bytes, sizeof bytes));
        check(memcmp(bytes, "abcd", 4) == 0);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE + SIZE - 2, 4, pieces, 1), -E2BIG);
        give_back(&guest, &memory);
}

TEST(what_runs_into_a_hole_is_no_memory) {
        struct fake_guest guest;
        struct guest_memory memory;
        struct iovec pieces[4];
        uint8_t bytes[2];
        three_regions(&guest, &memory);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE + 2 * SIZE - 1, 1, pieces, 4), 1);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE + 2 * SIZE - 1, 2, pieces, 4), -EFAULT);
        check_equal(guest_memory_read(&memory, FAKE_BASE + 2 * SIZE - 1, bytes, 2), -EFAULT);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE - 1, 2, pieces, 4), -EFAULT);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE, UINT64_MAX, pieces, 4), -EFAULT);
        check_equal(guest_memory_pieces(&memory, UINT64_MAX, 2, pieces, 4), -EFAULT);
        give_back(&guest, &memory);
}

TEST(what_lies_at_a_virtual_address_is_all_in_one_region) {
        struct fake_guest guest;
        struct guest_memory memory;
        three_regions(&guest, &memory);
        uint64_t end = FAKE_USER_OFFSET + FAKE_BASE + SIZE;
        check(guest_memory_of_user(&memory, end - 8, 8));
        check(!guest_memory_of_user(&memory, end - 8, 9));
        check(!guest_memory_of_user(&memory, end - 8, UINT64_MAX));
        check(!guest_memory_of_user(&memory, UINT64_MAX, 2));
        give_back(&guest, &memory);
}

TEST(a_region_that_cannot_be_is_refused_and_its_descriptor_closed) {
        struct fake_guest guest;
        struct guest_memory memory;
        three_regions(&guest, &memory);
        const struct {
                struct guest_region_definition definition;
                size_t file_size;
        } cases[] = {
                {{.guest_address = 0, .size = 0, .user_address = 0}, SIZE},
                {{.guest_address = FAKE_BASE + 1, .size = SIZE, .user_address = 0}, 2 * SIZE},
                {{.guest_address = FAKE_BASE - 1, .size = 2, .user_address = 0}, SIZE},
                {{.guest_address = 0, .size = SIZE, .user_address = FAKE_BASE + FAKE_USER_OFFSET - SIZE + 1}, SIZE},
                {{.guest_address = UINT64_MAX - SIZE + 2, .size = SIZE, .user_address = 0}, SIZE},
                {{.guest_address = 0, .size = SIZE, .user_address = UINT64_MAX - SIZE + 2}, SIZE},
                {{.guest_address = 0, .size = SIZE, .user_address = 0}, SIZE - 1},
                {{.guest_address = 0, .size = SIZE, .user_address = 0, .file_offset = 1}, SIZE},
                {{.guest_address = 0, .size = SIZE, .user_address = 0, .file_offset = UINT64_MAX}, SIZE},
                {{.guest_address = 0, .size = UINT64_MAX / 2, .user_address = 0}, SIZE},
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
                check_equal(guest_memory_add(&memory, &cases[i].definition, new_file(cases[i].file_size)), -EINVAL);
        int ends[2];
        must(pipe(ends));
        close(ends[1]);
        struct guest_region_definition definition = {.guest_address = 0, .size = 1, .user_address = 0};
        check_equal(guest_memory_add(&memory, &definition, ends[0]), -EINVAL);
        check_equal(memory.count, 3);
        give_back(&guest, &memory);
}

TEST(there_are_at_most_as_many_regions_as_were_promised) {
        struct guest_memory memory;
        guest_memory_init(&memory);
        for (unsigned i = 0; i <= GUEST_REGIONS_MAX; i++) {
                struct guest_region_definition definition = {
                        .guest_address = i * 4096, .size = 4096, .user_address = i * 4096};
                check_equal(guest_memory_add(&memory, &definition, new_file(4096)),
                            i < GUEST_REGIONS_MAX ? 0 : -ENOSPC);
        }
        guest_memory_clear(&memory);
}

TEST(a_region_may_begin_anywhere_in_its_file) {
        struct guest_memory memory;
        struct iovec piece;
        int fd = new_file(3 * SIZE);
        must(pwrite(fd, "here", 4, SIZE + 100));
        guest_memory_init(&memory);
        struct guest_region_definition definition = {
                .guest_address = 0, .size = SIZE, .user_address = FAKE_USER_OFFSET, .file_offset = SIZE + 100};
        check_ok(guest_memory_add(&memory, &definition, fd));
        check_equal(guest_memory_pieces(&memory, 0, 4, &piece, 1), 1);
        check(memcmp(piece.iov_base, "here", 4) == 0);
        guest_memory_clear(&memory);
}

TEST(a_region_that_was_removed_is_gone_and_the_others_stay) {
        struct fake_guest guest;
        struct guest_memory memory;
        struct iovec piece;
        three_regions(&guest, &memory);
        struct guest_region_definition definition = fake_definition(&guest, 0);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE, 1, &piece, 1), 1);
        definition.size--;
        check_equal(guest_memory_remove(&memory, &definition), -ENOENT);
        definition.size++;
        check_ok(guest_memory_remove(&memory, &definition));
        check_equal(guest_memory_pieces(&memory, FAKE_BASE, 1, &piece, 1), -EFAULT);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE + SIZE, 1, &piece, 1), 1);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE + 3 * SIZE, 1, &piece, 1), 1);
        give_back(&guest, &memory);
}

TEST(a_file_that_shrinks_tears_its_region_and_nothing_else) {
        struct fake_guest guest;
        struct guest_memory memory;
        struct iovec piece;
        uint8_t bytes[16];
        three_regions(&guest, &memory);
        check_ok(memory_guard_open());
        memory_guard_watch(&memory);
        check_equal(guest_memory_pieces(&memory, FAKE_BASE + SIZE / 2, 16, &piece, 1), 1);
        memset(piece.iov_base, 'x', 16);
        memcpy(fake_at(&guest, FAKE_BASE + SIZE, 4), "next", 4);
        check(!guest_memory_is_torn(&memory));
        must(ftruncate(guest.regions[0].fd, 4096));
        check_equal(pieces_read(&piece, 1, 0, bytes, sizeof bytes), 16);
        check_equal(bytes[0], 0);
        memset(piece.iov_base, 'y', 16); /* harms nobody */
        check(guest_memory_is_torn(&memory));
        check_ok(guest_memory_read(&memory, FAKE_BASE + SIZE, bytes, 4));
        check(memcmp(bytes, "next", 4) == 0);
        memory_guard_watch(NULL);
        give_back(&guest, &memory);
}

TEST(a_bus_error_elsewhere_kills_as_ever) {
        struct fake_guest guest;
        struct guest_memory memory;
        three_regions(&guest, &memory);
        signal(SIGBUS, SIG_DFL); /* a sanitizer has its own */
        check_ok(memory_guard_open());
        pid_t child = (pid_t)must(fork());
        if (!child) {
                volatile uint8_t *mapping = mmap(NULL, 4096, PROT_READ, MAP_SHARED, new_file(0), 0);
                memory_guard_watch(&memory);
                (void)mapping[0];
                _exit(0);
        }
        int status;
        must(waitpid(child, &status, 0));
        check(WIFSIGNALED(status) && WTERMSIG(status) == SIGBUS);
        give_back(&guest, &memory);
}
