/* SPDX-License-Identifier: MIT */

/* The memory of a ring: what the sender makes, and what the receiver refuses. */

#include "base/fd.h"
#include "ring/copy.h"
#include "ring/memory.h"
#include "test.h"

#include <fcntl.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define ALL_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

static const struct ring_header good = {
        .magic = RING_MAGIC, .version = RING_VERSION, .capacity = RING_CAPACITY_MIN, .socket_type = SOCK_STREAM};

/* A memfd as no honest sender need make it. */
static int make_file(const struct ring_header *header, off_t size, int seals) {
        int fd = (int)must(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
        must(ftruncate(fd, size));
        if (size >= (off_t)sizeof *header)
                check_equal(must(pwrite(fd, header, sizeof *header, 0)), sizeof *header);
        must(fcntl(fd, F_ADD_SEALS, seals));
        return fd;
}

static off_t size_for(uint32_t capacity) {
        return (off_t)RING_HEADER_SIZE + capacity;
}

/* Those of memfds, and what is only reserved. */
static unsigned count_mappings(void) {
        char line[1024];
        unsigned count = 0;
        FILE *file = fopen("/proc/self/maps", "re");
        check(file != NULL);
        while (fgets(line, sizeof line, file))
                count += strstr(line, "/memfd:") || strstr(line, " ---p 00000000 00:00 0");
        fclose(file);
        return count;
}

static unsigned count_descriptors(void) {
        unsigned count = 0;
        for (int fd = 0; fd < 256; fd++)
                count += fcntl(fd, F_GETFD) >= 0;
        return count;
}

/* Takes `fd`. Neither of those that look at it takes it, and nothing is left of the attempt. */
static void expect_refused_as(int fd, int socket_type, bool is_refused_to_observers) {
        struct ring_memory memory = {.capacity = 99};
        const struct ring_header *header = &good;
        unsigned mappings = count_mappings(), descriptors = count_descriptors();
        check_equal(ring_accept(fd, socket_type, &memory), -EPROTO);
        check_equal(memory.capacity, 99);
        check(!memory.header && !memory.data);
        if (is_refused_to_observers) {
                check_equal(ring_observe(fd, &header), -EPROTO);
                check(header == &good);
        }
        check_equal(count_mappings(), mappings);
        check_equal(count_descriptors(), descriptors);
        fd_close(fd);
}

static void expect_refused(int fd) {
        expect_refused_as(fd, SOCK_STREAM, true);
}

static void expect_header_refused(const struct ring_header *header) {
        expect_refused(make_file(header, size_for(RING_CAPACITY_MIN), ALL_SEALS));
}

TEST(each_end_sees_what_the_other_wrote) {
        struct ring_memory sender, receiver;
        const struct ring_header *observed;
        int fd;
        check_ok(ring_create(SOCK_SEQPACKET, RING_CAPACITY_MIN, &sender, &fd));
        check_ok(ring_accept(fd, SOCK_SEQPACKET, &receiver));
        check_ok(ring_observe(fd, &observed));
        fd_close(fd); /* the mappings stay */
        check_equal(receiver.capacity, RING_CAPACITY_MIN);
        check(receiver.header != sender.header && receiver.data != sender.data);
        sender.header->words.head = 5;
        memcpy(sender.data, "bytes", 5);
        check_equal(receiver.header->words.head, 5);
        check(!memcmp(receiver.data, "bytes", 5));
        receiver.header->words.tail = 3;
        check_equal(sender.header->words.tail, 3);
        check_equal(observed->words.head, 5);
        check_equal(observed->words.tail, 3);
        ring_unobserve(observed);
        ring_unmap(&sender);
        ring_unmap(&receiver);
}

TEST(a_new_ring_is_empty_and_says_what_it_is) {
        static const struct ring_words none;
        struct ring_memory memory;
        int fd;
        check_ok(ring_create(SOCK_STREAM, RING_CAPACITY_MAX, &memory, &fd));
        check_equal(memory.header->magic, RING_MAGIC);
        check_equal(memory.header->version, RING_VERSION);
        check_equal(memory.header->features, 0);
        check_equal(memory.header->capacity, RING_CAPACITY_MAX);
        check_equal(memory.header->socket_type, SOCK_STREAM);
        check_equal(memory.header->accepted, 0);
        check_equal(memory.header->leaving, RING_NOT_LEFT);
        check(!memcmp(&memory.header->words, &none, sizeof none));
        check(must(fcntl(fd, F_GETFD)) & FD_CLOEXEC);
        check(ring_is_offer(fd));
        fd_close(fd);
        ring_unmap(&memory);
}

TEST(what_wraps_around_the_end_is_contiguous_for_both_ends) {
        struct ring_memory sender, receiver;
        int fd;
        check_ok(ring_create(SOCK_STREAM, RING_CAPACITY_MIN, &sender, &fd));
        check_ok(ring_accept(fd, SOCK_STREAM, &receiver));
        fd_close(fd);
        uint8_t *span = sender.data + sender.capacity - 3;
        memcpy(span, "wrapped", 7);
        check(!memcmp(sender.data, "pped", 4));
        check(!memcmp(receiver.data + receiver.capacity - 3, "wrapped", 7));
        check(!memcmp(receiver.data, "pped", 4));
        sender.data[2 * sender.capacity - 1] = 'z';
        check_equal(receiver.data[receiver.capacity - 1], 'z');
        check_equal(receiver.data[2 * receiver.capacity - 1], 'z');
        ring_unmap(&sender);
        ring_unmap(&receiver);
}

static void expect_capacity(size_t asked, uint32_t expected) {
        struct ring_memory memory;
        struct stat status;
        int fd;
        check_ok(ring_create(SOCK_STREAM, asked, &memory, &fd));
        check_equal(memory.capacity, expected);
        must(fstat(fd, &status));
        check_equal(status.st_size, size_for(expected));
        fd_close(fd);
        ring_unmap(&memory);
}

TEST(a_copy_past_the_caches_writes_what_it_was_given_and_no_byte_beside_it) {
        static uint8_t from[3 * 4096 + 64], to[sizeof from + 2 * 64];
        for (size_t i = 0; i < sizeof from; i++)
                from[i] = (uint8_t)(i * 7 + i / 256 + 1);
        for (size_t size = 64; size <= 3 * 4096; size = size < 300 ? size + 1 : size + 977)
                for (size_t offset = 0; offset < 64; offset += size < 300 ? 7 : 13) {
                        memset(to, 0xee, sizeof to);
                        copy_past_caches(to + 64 + offset, from + offset / 3, size);
                        check(memcmp(to + 64 + offset, from + offset / 3, size) == 0);
                        check_equal(to[63 + offset], 0xee);
                        check_equal(to[64 + offset + size], 0xee);
                }
}

TEST(a_capacity_is_rounded_up_to_a_power_of_two_within_the_limits) {
        expect_capacity(0, RING_CAPACITY_MIN);
        expect_capacity(RING_CAPACITY_MIN, RING_CAPACITY_MIN);
        expect_capacity(RING_CAPACITY_MIN + 1, 2 * RING_CAPACITY_MIN);
        expect_capacity(RING_CAPACITY_MAX / 2 + 1, RING_CAPACITY_MAX);
        expect_capacity(RING_CAPACITY_MAX, RING_CAPACITY_MAX);
        expect_capacity(RING_CAPACITY_MAX + 1, RING_CAPACITY_MAX);
        expect_capacity(SIZE_MAX, RING_CAPACITY_MAX);
}

TEST(neither_end_can_resize_a_ring_or_unseal_it) {
        struct ring_memory memory;
        int fd;
        check_ok(ring_create(SOCK_STREAM, 0, &memory, &fd));
        check_errno(ftruncate(fd, 0), EPERM);
        check_errno(ftruncate(fd, size_for(memory.capacity) - 1), EPERM);
        check_errno(ftruncate(fd, size_for(memory.capacity) + 1), EPERM);
        check_errno(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), EPERM);
        fd_close(fd);
        ring_unmap(&memory);
}

/* Whether a child that writes there dies of it. */
static bool write_kills(volatile uint8_t *byte) {
        int status;
        pid_t pid = (pid_t)must(fork());
        if (!pid) {
                must(setrlimit(RLIMIT_CORE, &(struct rlimit){}));
                struct sigaction action = {.sa_handler = SIG_DFL};
                must(sigaction(SIGSEGV, &action, NULL));
                *byte = 1;
                _exit(0);
        }
        check_equal(must(waitpid(pid, &status, 0)), pid);
        check(WIFEXITED(status) || WTERMSIG(status) == SIGSEGV);
        return WIFSIGNALED(status);
}

TEST(a_receiver_can_only_read_the_data_and_an_observer_not_even_write_the_header) {
        struct ring_memory sender, receiver;
        const struct ring_header *observed;
        int fd;
        check_ok(ring_create(SOCK_STREAM, 0, &sender, &fd));
        check_ok(ring_accept(fd, SOCK_STREAM, &receiver));
        check_ok(ring_observe(fd, &observed));
        fd_close(fd);
        check(!write_kills((uint8_t *)receiver.header));
        check(!write_kills(sender.data));
        check(write_kills(receiver.data));
        check(write_kills(receiver.data + receiver.capacity));
        check(write_kills((uint8_t *)observed));
        ring_unobserve(observed);
        ring_unmap(&sender);
        ring_unmap(&receiver);
}

TEST(every_capacity_within_the_limits_is_accepted) {
        for (uint32_t capacity = RING_CAPACITY_MIN; capacity <= RING_CAPACITY_MAX; capacity *= 2) {
                struct ring_header header = good;
                struct ring_memory memory;
                header.capacity = capacity;
                int fd = make_file(&header, size_for(capacity), ALL_SEALS);
                check_ok(ring_accept(fd, SOCK_STREAM, &memory));
                check_equal(memory.capacity, capacity);
                check_equal(memory.data[2 * capacity - 1], 0);
                fd_close(fd);
                ring_unmap(&memory);
        }
}

TEST(a_ring_of_another_type_or_version_is_refused) {
        struct ring_header header = good;
        header.magic ^= 1;
        expect_header_refused(&header);
        header = good;
        header.version++;
        expect_header_refused(&header);
        header = good;
        header.features = 1;
        expect_header_refused(&header);
        header = good;
        header.features = 1u << 31;
        expect_header_refused(&header);
        header = good;
        header.socket_type = SOCK_DGRAM;
        expect_header_refused(&header);
        header = good;
        header.socket_type = 0;
        expect_header_refused(&header);
        header = good;
        header.socket_type = SOCK_SEQPACKET; /* to count, it may be of either type */
        expect_refused_as(make_file(&header, size_for(header.capacity), ALL_SEALS), SOCK_STREAM, false);
        expect_refused_as(make_file(&good, size_for(good.capacity), ALL_SEALS), SOCK_SEQPACKET, false);
}

TEST(a_capacity_beyond_the_limits_or_between_powers_of_two_is_refused_even_if_the_file_has_it) {
        static const uint32_t capacities[] = {
                0, 1, 4096, RING_CAPACITY_MIN / 2, RING_CAPACITY_MIN - 1, RING_CAPACITY_MIN + 1, RING_CAPACITY_MIN + 4096,
                RING_CAPACITY_MAX - 1, RING_CAPACITY_MAX + 1, 2 * RING_CAPACITY_MAX, 1u << 31, UINT32_MAX};
        for (size_t i = 0; i < sizeof capacities / sizeof *capacities; i++) {
                struct ring_header header = good;
                header.capacity = capacities[i];
                expect_refused(make_file(&header, size_for(header.capacity), ALL_SEALS));
        }
}

TEST(a_file_of_another_size_than_its_header_says_is_refused) {
        static const off_t sizes[] = {
                0, 1, 19, 20, sizeof(struct ring_header), RING_HEADER_SIZE - 1, RING_HEADER_SIZE, RING_CAPACITY_MIN,
                RING_HEADER_SIZE + RING_CAPACITY_MIN - 1, RING_HEADER_SIZE + RING_CAPACITY_MIN + 1,
                RING_HEADER_SIZE + 2 * RING_CAPACITY_MIN, (off_t)RING_HEADER_SIZE + RING_CAPACITY_MIN + ((off_t)1 << 32)};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
                expect_refused(make_file(&good, sizes[i], ALL_SEALS));
}

TEST(a_file_that_its_sender_can_still_resize_is_refused) {
        for (int seals = 0; seals < 8; seals++) { /* every choice of the three */
                _Static_assert((F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW) == 7, "");
                if (seals != ALL_SEALS)
                        expect_refused(make_file(&good, size_for(good.capacity), seals));
        }
        int fd = make_file(&good, size_for(good.capacity), 0);
        must(ftruncate(fd, RING_HEADER_SIZE));
        must(fcntl(fd, F_ADD_SEALS, ALL_SEALS));
        expect_refused(fd);
}

TEST(a_ring_whose_words_the_receiver_could_not_write_is_refused) {
        expect_refused_as(make_file(&good, size_for(good.capacity), ALL_SEALS | F_SEAL_WRITE), SOCK_STREAM, false);
        expect_refused_as(make_file(&good, size_for(good.capacity), ALL_SEALS | F_SEAL_FUTURE_WRITE), SOCK_STREAM, false);
        for (int mode = O_RDONLY; mode <= O_WRONLY; mode++) {
                char path[64];
                int fd = make_file(&good, size_for(good.capacity), ALL_SEALS);
                snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
                int other = (int)must(open(path, mode | O_CLOEXEC));
                fd_close(fd);
                expect_refused_as(other, SOCK_STREAM, false);
        }
}

/* A file of this content, which nothing seals. */
static int make_plain_file(const char *directory) {
        int fd = open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
        if (fd >= 0) {
                must(ftruncate(fd, size_for(good.capacity)));
                check_equal(must(pwrite(fd, &good, sizeof good, 0)), sizeof good);
        }
        return fd;
}

TEST(what_is_no_memfd_is_refused_and_no_offer) {
        int pair[2], fds[8];
        size_t count = 0;
        must(pipe2(pair, O_CLOEXEC));
        fds[count++] = pair[0];
        fds[count++] = pair[1];
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair));
        fds[count++] = pair[0];
        fds[count++] = pair[1];
        fds[count++] = (int)must(eventfd(0, EFD_CLOEXEC));
        fds[count++] = (int)must(open("/dev/null", O_RDWR | O_CLOEXEC));
        fds[count++] = (int)must(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
        fds[count++] = (int)must(open("/proc/self/exe", O_PATH | O_CLOEXEC));
        for (size_t i = 0; i < count; i++) {
                check(!ring_is_offer(fds[i]));
                expect_refused(fds[i]);
        }
        check(!ring_is_offer(-1));
        check_equal(ring_accept(-1, SOCK_STREAM, &(struct ring_memory){}), -EPROTO);
}

/* On a tmpfs it even answers for seals. */
TEST(a_plain_file_is_refused_on_any_file_system) {
        static const char *const directories[] = {"/tmp", "/dev/shm"};
        unsigned tried = 0;
        for (size_t i = 0; i < 2; i++) {
                int fd = make_plain_file(directories[i]);
                if (fd < 0)
                        continue;
                expect_refused(fd);
                tried++;
        }
        if (!tried)
                test_skip("no directory for a file without a name");
}

TEST(unmapping_gives_everything_back_and_can_be_repeated) {
        struct ring_memory sender, receiver;
        const struct ring_header *observed;
        unsigned mappings = count_mappings(), descriptors = count_descriptors();
        int fd;
        check_ok(ring_create(SOCK_STREAM, 0, &sender, &fd));
        check_ok(ring_accept(fd, SOCK_STREAM, &receiver));
        check_ok(ring_observe(fd, &observed));
        check_equal(count_descriptors(), descriptors + 1);
        check(count_mappings() > mappings);
        fd_close(fd);
        ring_unobserve(observed);
        ring_unmap(&sender);
        ring_unmap(&receiver);
        check(!sender.header && !receiver.header);
        ring_unmap(&sender);
        check_equal(count_mappings(), mappings);
        check_equal(count_descriptors(), descriptors);
}

TEST(without_a_free_descriptor_there_is_no_ring_and_nothing_is_left) {
        struct ring_memory memory = {.capacity = 99};
        struct rlimit limit, none;
        int fd = -99, lowest = (int)must(open("/dev/null", O_RDONLY | O_CLOEXEC));
        fd_close(lowest);
        unsigned mappings = count_mappings();
        must(getrlimit(RLIMIT_NOFILE, &limit));
        none = (struct rlimit){.rlim_cur = (rlim_t)lowest, .rlim_max = limit.rlim_max};
        must(setrlimit(RLIMIT_NOFILE, &none));
        check_equal(ring_create(SOCK_STREAM, 0, &memory, &fd), -EMFILE);
        must(setrlimit(RLIMIT_NOFILE, &limit));
        check_equal(memory.capacity, 99);
        check_equal(fd, -99);
        check_equal(count_mappings(), mappings);
}

static size_t address_space(void) {
        unsigned long pages = 0;
        FILE *file = fopen("/proc/self/statm", "re");
        check(file != NULL && fscanf(file, "%lu", &pages) == 1);
        fclose(file);
        return pages * (size_t)sysconf(_SC_PAGESIZE);
}

/* Every limit from none at all to enough: each step of the mapping fails once. */
TEST(without_address_space_there_is_no_ring_and_nothing_is_left) {
        struct ring_memory memory = {.capacity = 99}, receiver = {.capacity = 99};
        struct rlimit limit;
        unsigned mappings = count_mappings(), descriptors = count_descriptors(), failed = 0;
        int made, accepted, fd = -99;
        int other = make_file(&good, size_for(good.capacity), ALL_SEALS);
        size_t used = address_space();
        must(getrlimit(RLIMIT_AS, &limit));
        if (limit.rlim_cur != RLIM_INFINITY)
                test_skip("address space is limited already");
        for (size_t more = 0; more <= 3 * (size_t)RING_CAPACITY_MIN; more += RING_HEADER_SIZE) {
                must(setrlimit(RLIMIT_AS, &(struct rlimit){.rlim_cur = used + more, .rlim_max = limit.rlim_max}));
                made = ring_create(SOCK_STREAM, 0, &memory, &fd);
                if (!made) {
                        fd_close(fd);
                        ring_unmap(&memory);
                }
                accepted = ring_accept(other, SOCK_STREAM, &receiver);
                if (!accepted)
                        ring_unmap(&receiver);
                must(setrlimit(RLIMIT_AS, &limit));
                if (!made)
                        break;
                check_equal(made, -ENOMEM);
                check_equal(accepted, -ENOMEM);
                check_equal(fd, -99);
                check_equal(memory.capacity, 99);
                check_equal(receiver.capacity, 99);
                check_equal(count_mappings(), mappings);
                check_equal(count_descriptors(), descriptors + 1);
                failed++;
        }
        check(failed > 0);
        check_ok(made);
        check_ok(accepted);
        fd_close(other);
}
