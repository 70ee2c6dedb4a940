/* SPDX-License-Identifier: MIT */

/* The back-end's side of the vhost-user protocol, over a socket, against a front-end as QEMU is, and against others. */

#include "fake_guest.h"

#include "base/fd.h"
#include "test.h"
#include "vm/vhost_user_socket.h"
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINUX_FEATURES                                                                                            \
        (VHOST_USER_FEATURE_SEQPACKET | VHOST_USER_FEATURE_INDIRECT | VHOST_USER_FEATURE_EVENT_INDEX |            \
         VHOST_USER_FEATURE_PROTOCOL | VHOST_USER_FEATURE_VERSION_1)
#define BOTH 3u /* rings */

struct fixture {
        struct fake_guest guest;
        struct vhost_user device;
        struct vhost_user_reader reader;
        struct vhost_user_changes changes; /* of all messages of one serve() */
        int socket;
};

static void begin(struct fixture *fixture) {
        *fixture = (struct fixture){};
        fake_guest_start(&fixture->guest);
        fixture->socket = fake_connect(&fixture->guest);
        vhost_user_init(&fixture->device, FAKE_CID, VHOST_USER_PROTOCOL_FEATURES);
}

static void end(struct fixture *fixture) {
        vhost_user_reader_reset(&fixture->reader);
        vhost_user_reset(&fixture->device);
        fd_close(fixture->socket);
        fake_guest_free(&fixture->guest);
}

/* Takes what was sent, and answers. */
static int serve(struct fixture *fixture) {
        struct vhost_user_message message, reply;
        int fds[VHOST_USER_TABLE_MAX], r;
        unsigned fd_count;
        fixture->changes = (struct vhost_user_changes){};
        while ((r = vhost_user_receive(&fixture->reader, fixture->socket, &message, fds, &fd_count)) == 1) {
                struct vhost_user_changes changes;
                bool has_reply;
                r = vhost_user_take(&fixture->device, &message, fds, fd_count, &reply, &has_reply, &changes);
                fixture->changes.started |= changes.started;
                fixture->changes.stopped |= changes.stopped;
                fixture->changes.call |= changes.call;
                fixture->changes.memory |= changes.memory;
                if (has_reply)
                        check_ok(vhost_user_send(fixture->socket, &reply));
                if (r < 0)
                        return r;
        }
        return r;
}

static uint64_t answer_number(struct fixture *fixture, uint32_t request) {
        uint64_t value;
        uint32_t size;
        check(fake_answer(&fixture->guest, request, &value, &size));
        check_equal(size, sizeof value);
        return value;
}

static void realize(struct fixture *fixture) {
        uint8_t config[32];
        uint64_t cid;
        uint32_t size;
        fake_realize(&fixture->guest);
        check_ok(serve(fixture));
        check_equal(answer_number(fixture, VHOST_USER_GET_FEATURES), VHOST_USER_FEATURES);
        check_equal(answer_number(fixture, VHOST_USER_GET_PROTOCOL_FEATURES), VHOST_USER_PROTOCOL_FEATURES);
        check_equal(answer_number(fixture, VHOST_USER_GET_QUEUE_NUM), VHOST_USER_RINGS_MAX);
        check_equal(answer_number(fixture, VHOST_USER_GET_MAX_MEM_SLOTS), GUEST_REGIONS_MAX);
        check_equal(answer_number(fixture, VHOST_USER_GET_FEATURES), VHOST_USER_FEATURES);
        check(fake_answer(&fixture->guest, VHOST_USER_GET_CONFIG, config, &size));
        check_equal(size, 12 + 8);
        memcpy(&cid, config + 12, sizeof cid);
        check_equal(cid, FAKE_CID);
        check(!fixture->changes.started);
}

static void driver_starts(struct fixture *fixture, uint16_t rx_base, uint16_t tx_base) {
        fake_driver_starts(&fixture->guest, LINUX_FEATURES, rx_base, tx_base);
        check_ok(serve(fixture));
        check_equal(answer_number(fixture, VHOST_USER_SET_MEM_TABLE), 0);
        check_equal(fixture->changes.started, BOTH);
}

static void start(struct fixture *fixture) {
        begin(fixture);
        realize(fixture);
        driver_starts(fixture, 0, 0);
}

/* Chains go through a queue that runs. */
static void move_chains(struct fixture *fixture, unsigned count) {
        struct fake_queue *driver = &fixture->guest.queues[VHOST_USER_TX];
        struct virtqueue *queue = &fixture->device.rings[VHOST_USER_TX].queue;
        struct chain chain;
        uint32_t head, written;
        while (count--) {
                fake_describe(driver, 1, FAKE_BASE + 65536, 44, 0, 0);
                fake_publish(driver, 1);
                check_equal(virtqueue_pop(queue, &chain), 1);
                check_equal(chain.readable_size, 44);
                virtqueue_push(queue, chain.head, 0);
                (void)virtqueue_flush(queue);
                check(fake_take_used(driver, &head, &written));
        }
}

static void check_is_refused(struct fixture *fixture, enum vhost_user_problem problem) {
        check_equal(serve(fixture), -EPROTO);
        check_equal(fixture->device.problem, problem);
        for (unsigned i = 0; i < VHOST_USER_RINGS_MAX; i++)
                check(!fixture->device.rings[i].is_running);
        end(fixture); /* and the runner finds descriptors that were not closed */
}

TEST(qemu_starts_and_chains_go_through) {
        struct fixture fixture;
        start(&fixture);
        check(fixture.device.rings[VHOST_USER_RX].queue.has_event_index);
        check(fixture.device.rings[VHOST_USER_TX].queue.has_indirect);
        check_equal(fixture.changes.call, BOTH);
        move_chains(&fixture, 10);
        end(&fixture);
}

TEST(a_message_comes_in_any_pieces) {
        struct fixture fixture;
        start(&fixture);
        uint32_t message[5] = {VHOST_USER_SET_VRING_ENABLE, VHOST_USER_VERSION, 8, VHOST_USER_TX, 0};
        for (size_t i = 0; i < sizeof message; i++) {
                check(!fixture.changes.stopped);
                must(send(fixture.guest.socket, (const char *)message + i, 1, 0));
                check_ok(serve(&fixture));
        }
        check_equal(fixture.changes.stopped, 1u << VHOST_USER_TX);
        end(&fixture);
}

TEST(a_front_end_that_goes_away_takes_the_rest_of_its_message_along) {
        struct fixture fixture;
        start(&fixture);
        const uint32_t header[3] = {VHOST_USER_SET_VRING_KICK, VHOST_USER_VERSION, 8};
        check_ok(packet_send(fixture.guest.socket, header, 7, fixture.guest.kick_fds[0], 0));
        check_ok(serve(&fixture));
        fixture.guest.socket = fd_close(fixture.guest.socket);
        check_equal(serve(&fixture), -ECONNRESET);
        end(&fixture);
}

TEST(a_paused_vm_goes_on_and_a_rebooted_one_begins_anew) {
        struct fixture fixture;
        uint32_t base[2], size;
        start(&fixture);
        check(!fixture.device.rings[VHOST_USER_TX].is_resumed);
        move_chains(&fixture, 5);
        fake_driver_stops(&fixture.guest);
        check_ok(serve(&fixture));
        check_equal(fixture.changes.stopped, BOTH);
        check_equal(fixture.device.rings[VHOST_USER_TX].kick_fd, -1);
        check(fake_answer(&fixture.guest, VHOST_USER_GET_VRING_BASE, base, &size) && base[0] == 0 && base[1] == 0);
        check(fake_answer(&fixture.guest, VHOST_USER_GET_VRING_BASE, base, &size) && base[0] == 1 && base[1] == 5);
        driver_starts(&fixture, 0, 5);
        check(fixture.device.rings[VHOST_USER_TX].is_resumed);
        move_chains(&fixture, 5);
        fake_driver_stops(&fixture.guest);
        check_ok(serve(&fixture));
        check(fake_answer(&fixture.guest, VHOST_USER_GET_VRING_BASE, base, &size));
        check(fake_answer(&fixture.guest, VHOST_USER_GET_VRING_BASE, base, &size) && base[1] == 10);
        fake_queue_make(&fixture.guest, VHOST_USER_RX, FAKE_QUEUE_SIZE); /* a new driver, in other memory */
        fake_queue_make(&fixture.guest, VHOST_USER_TX, FAKE_QUEUE_SIZE);
        driver_starts(&fixture, 0, 0);
        check(!fixture.device.rings[VHOST_USER_TX].is_resumed);
        move_chains(&fixture, 5);
        end(&fixture);
}

TEST(a_connection_that_begins_in_the_middle_is_served) {
        struct fixture fixture;
        begin(&fixture);
        for (unsigned i = 0; i < 2; i++)
                fixture.guest.call_fds[i] = (int)must(eventfd(0, EFD_CLOEXEC));
        driver_starts(&fixture, 0, 0);
        move_chains(&fixture, 3);
        end(&fixture);
}

TEST(a_ring_starts_in_whatever_order_its_parts_come) {
        struct fixture fixture;
        start(&fixture);
        fake_message_state(&fixture.guest, VHOST_USER_GET_VRING_BASE, VHOST_USER_TX, 0);
        check_ok(serve(&fixture));
        fake_message_state(&fixture.guest, VHOST_USER_SET_VRING_ENABLE, VHOST_USER_TX, 0);
        uint64_t ring = VHOST_USER_TX;
        fake_message(&fixture.guest, VHOST_USER_SET_VRING_KICK, 0, &ring, sizeof ring, &fixture.guest.kick_fds[1], 1);
        check_ok(serve(&fixture));
        check(!fixture.device.rings[VHOST_USER_TX].is_running);
        fake_message_state(&fixture.guest, VHOST_USER_SET_VRING_ENABLE, VHOST_USER_TX, 1);
        check_ok(serve(&fixture));
        check_equal(fixture.changes.started, 1u << VHOST_USER_TX);
        end(&fixture);
}

TEST(the_call_descriptor_may_change_at_any_time_or_be_none) {
        struct fixture fixture;
        start(&fixture);
        uint64_t ring = VHOST_USER_RX;
        int fd = (int)must(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
        fake_message(&fixture.guest, VHOST_USER_SET_VRING_CALL, 0, &ring, sizeof ring, &fd, 1);
        check_ok(serve(&fixture));
        check_equal(fixture.changes.call, 1u << VHOST_USER_RX);
        check_equal(fixture.changes.stopped, 0);
        eventfd_t times = 1;
        check_ok(eventfd_write(fixture.device.rings[VHOST_USER_RX].call_fd, times));
        check_ok(eventfd_read(fd, &times));
        close(fd);
        fake_message_number(&fixture.guest, VHOST_USER_SET_VRING_CALL, VHOST_USER_RX | VHOST_USER_NO_DESCRIPTOR);
        check_ok(serve(&fixture));
        check_equal(fixture.device.rings[VHOST_USER_RX].call_fd, -1);
        check(fixture.device.rings[VHOST_USER_RX].is_running);
        end(&fixture);
}

TEST(memory_may_be_set_again_under_running_queues) {
        struct fixture fixture;
        start(&fixture);
        move_chains(&fixture, 2);
        uint64_t table[5] = {1, FAKE_BASE, 16u << 20, FAKE_BASE + FAKE_USER_OFFSET, 0};
        fake_message(&fixture.guest, VHOST_USER_SET_MEM_TABLE, VHOST_USER_NEED_REPLY, table, sizeof table,
                     &fixture.guest.regions[0].fd, 1);
        check_ok(serve(&fixture));
        check_equal(answer_number(&fixture, VHOST_USER_SET_MEM_TABLE), 0);
        check(fixture.changes.memory);
        check_equal(fixture.changes.stopped, 0);
        move_chains(&fixture, 2);
        end(&fixture);
}

TEST(regions_come_and_go_one_by_one) {
        struct fixture fixture;
        struct iovec piece;
        start(&fixture);
        fake_add_region(&fixture.guest, FAKE_BASE + (32u << 20), 65536);
        uint64_t region[5] = {0, FAKE_BASE + (32u << 20), 65536, FAKE_BASE + (32u << 20) + FAKE_USER_OFFSET, 0};
        fake_message(&fixture.guest, VHOST_USER_ADD_MEM_REG, 0, region, sizeof region, &fixture.guest.regions[1].fd, 1);
        check_ok(serve(&fixture));
        check_equal(guest_memory_pieces(&fixture.device.memory, FAKE_BASE + (32u << 20), 65536, &piece, 1), 1);
        move_chains(&fixture, 2);
        fake_message(&fixture.guest, VHOST_USER_REM_MEM_REG, 0, region, sizeof region, NULL, 0);
        check_ok(serve(&fixture));
        check_equal(guest_memory_pieces(&fixture.device.memory, FAKE_BASE + (32u << 20), 65536, &piece, 1), -EFAULT);
        move_chains(&fixture, 2);
        end(&fixture);
}

TEST(to_take_the_memory_of_a_running_queue_away_ends_the_connection) {
        struct fixture fixture;
        start(&fixture);
        uint64_t region[5] = {0, FAKE_BASE, 16u << 20, FAKE_BASE + FAKE_USER_OFFSET, 0};
        fake_message(&fixture.guest, VHOST_USER_REM_MEM_REG, 0, region, sizeof region, NULL, 0);
        check_is_refused(&fixture, VHOST_USER_BAD_RING);
}

TEST(features_that_were_not_offered_are_refused) {
        struct fixture fixture;
        begin(&fixture);
        uint64_t packed = UINT64_C(1) << 34;
        fake_message_number(&fixture.guest, VHOST_USER_SET_FEATURES, LINUX_FEATURES | packed);
        check_equal(serve(&fixture), -EPROTO);
        check_equal(fixture.device.problem, VHOST_USER_NOT_OFFERED);
        check_equal(fixture.device.refused_features, packed);
        check(strstr(vhost_user_problem_text(fixture.device.problem), "packed=on"));
        end(&fixture);
        begin(&fixture);
        fake_message_number(&fixture.guest, VHOST_USER_SET_PROTOCOL_FEATURES, UINT64_C(1) << 16);
        check_is_refused(&fixture, VHOST_USER_NOT_OFFERED);
}

TEST(what_was_not_negotiated_is_not_taken) {
        struct fixture fixture;
        begin(&fixture);
        fake_message_number(&fixture.guest, VHOST_USER_SET_PROTOCOL_FEATURES, 0);
        fake_message(&fixture.guest, VHOST_USER_GET_QUEUE_NUM, 0, NULL, 0, NULL, 0);
        check_is_refused(&fixture, VHOST_USER_UNKNOWN_MESSAGE);
}

TEST(unknown_messages_end_the_connection) {
        const uint32_t requests[] = {0, 4, 6, 21, 31, 34, 39, 40, 41, 1000, UINT32_MAX};
        for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
                struct fixture fixture;
                begin(&fixture);
                fake_message_number(&fixture.guest, requests[i], 0);
                check_is_refused(&fixture, VHOST_USER_UNKNOWN_MESSAGE);
        }
}

TEST(a_refusal_is_told_to_who_asked_for_a_reply) {
        struct fixture fixture;
        start(&fixture);
        uint64_t region[5] = {0, 0, 0, 0, 0};
        fake_message(&fixture.guest, VHOST_USER_ADD_MEM_REG, VHOST_USER_NEED_REPLY, region, sizeof region,
                     &fixture.guest.regions[0].fd, 1);
        check_equal(serve(&fixture), -EPROTO);
        check_equal(answer_number(&fixture, VHOST_USER_ADD_MEM_REG), 1);
        end(&fixture);
}

TEST(a_message_of_another_length_or_version_ends_the_connection) {
        static const uint8_t zeros[VHOST_USER_PAYLOAD_MAX];
        const struct {
                uint32_t request, flags, size;
        } cases[] = {
                {VHOST_USER_GET_FEATURES, 0, 1},
                {VHOST_USER_SET_FEATURES, 0, 7},
                {VHOST_USER_SET_FEATURES, 0, 9},
                {VHOST_USER_SET_FEATURES, 2, 8}, /* version 3 */
                {VHOST_USER_SET_FEATURES, VHOST_USER_IS_REPLY, 8},
                {VHOST_USER_SET_MEM_TABLE, 0, 0},
                {VHOST_USER_SET_MEM_TABLE, 0, 7},
                {VHOST_USER_SET_MEM_TABLE, 0, 40},
                {VHOST_USER_SET_VRING_ADDR, 0, 39},
                {VHOST_USER_GET_CONFIG, 0, 11},
                {VHOST_USER_SET_CONFIG, 0, 20},
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                struct fixture fixture;
                begin(&fixture);
                fake_message(&fixture.guest, cases[i].request, cases[i].flags, zeros, cases[i].size, NULL, 0);
                check_is_refused(&fixture, VHOST_USER_BAD_MESSAGE);
        }
}

TEST(a_payload_longer_than_any_message_is_not_waited_for) {
        struct fixture fixture;
        begin(&fixture);
        const uint32_t header[3] = {VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, VHOST_USER_PAYLOAD_MAX + 1};
        must(send(fixture.guest.socket, header, sizeof header, 0));
        check_equal(serve(&fixture), -EPROTO);
        end(&fixture);
}

TEST(config_is_given_within_its_bounds) {
        const struct {
                uint32_t offset, size, expected;
        } cases[] = {{0, 8, 20}, {4, 4, 16}, {8, 0, 12}, {0, 9, 0}, {1, 8, 0}, {9, 0, 0}, {UINT32_MAX, 8, 0}};
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                struct fixture fixture;
                uint8_t answer[VHOST_USER_PAYLOAD_MAX];
                uint32_t config[3 + 4] = {cases[i].offset, cases[i].size}, size;
                begin(&fixture);
                fake_message(&fixture.guest, VHOST_USER_GET_CONFIG, 0, config, 12 + cases[i].size, NULL, 0);
                check_ok(serve(&fixture));
                check(fake_answer(&fixture.guest, VHOST_USER_GET_CONFIG, answer, &size));
                check_equal(size, cases[i].expected);
                end(&fixture);
        }
}

TEST(descriptors_that_a_message_must_not_have_end_the_connection_and_are_closed) {
        const uint64_t payload[5] = {};
        const struct {
                uint32_t request, size;
                unsigned fds;
        } cases[] = {
                {VHOST_USER_GET_FEATURES, 0, 1},
                {VHOST_USER_SET_FEATURES, 8, 1},
                {VHOST_USER_SET_VRING_NUM, 8, VHOST_USER_TABLE_MAX},
                {VHOST_USER_SET_VRING_KICK, 8, 0},
                {VHOST_USER_SET_VRING_CALL, 8, 2},
                {VHOST_USER_SET_VRING_ERR, 8, 0},
                {VHOST_USER_SET_MEM_TABLE, 8, 1},
                {VHOST_USER_ADD_MEM_REG, 40, 0},
                {VHOST_USER_ADD_MEM_REG, 40, 2},
                {VHOST_USER_REM_MEM_REG, 40, 1},
        };
        for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
                struct fixture fixture;
                begin(&fixture);
                int fds[VHOST_USER_TABLE_MAX];
                for (unsigned fd = 0; fd < VHOST_USER_TABLE_MAX; fd++)
                        fds[fd] = fixture.guest.regions[0].fd;
                fake_message(&fixture.guest, cases[i].request, 0, payload, cases[i].size, fds, cases[i].fds);
                check_is_refused(&fixture, VHOST_USER_BAD_DESCRIPTORS);
        }
}

/* Those of ring 0, which a message of each of the kinds passes. */
static void check_event(int fd, bool is_taken) {
        static const uint32_t requests[] = {VHOST_USER_SET_VRING_KICK, VHOST_USER_SET_VRING_CALL, VHOST_USER_SET_VRING_ERR};
        const uint64_t ring = 0;
        for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
                struct fixture fixture;
                begin(&fixture);
                fake_message(&fixture.guest, requests[i], 0, &ring, sizeof ring, &fd, 1);
                if (!is_taken) {
                        check_is_refused(&fixture, VHOST_USER_BAD_DESCRIPTORS);
                        continue;
                }
                check_ok(serve(&fixture));
                end(&fixture);
        }
        close(fd);
}

TEST(a_kick_call_or_error_descriptor_is_an_eventfd_or_a_pipe_and_nothing_else) {
        int ends[2];
        check_event((int)must(eventfd(0, EFD_CLOEXEC)), true);
        must(pipe2(ends, O_CLOEXEC));
        check_event(ends[0], true);
        check_event(ends[1], true);
        must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends));
        check_event(ends[0], false);
        close(ends[1]);
        check_event((int)must(memfd_create("anon_inode:[eventfd]", MFD_CLOEXEC)), false);
        check_event((int)must(open("anon_inode:[eventfd]", O_CREAT | O_RDWR | O_CLOEXEC, 0600)), false);
        must(unlink("anon_inode:[eventfd]"));
        check_event((int)must(open("/dev/null", O_RDWR | O_CLOEXEC)), false);
        check_event((int)must(epoll_create1(EPOLL_CLOEXEC)), false);
}

TEST(more_descriptors_than_any_message_has_are_closed) {
        struct fixture fixture;
        int fds[VHOST_USER_TABLE_MAX + 1];
        begin(&fixture);
        for (unsigned i = 0; i <= VHOST_USER_TABLE_MAX; i++)
                fds[i] = fixture.guest.regions[0].fd;
        fake_message(&fixture.guest, VHOST_USER_GET_FEATURES, 0, NULL, 0, fds, VHOST_USER_TABLE_MAX + 1);
        check_equal(serve(&fixture), -EPROTO);
        end(&fixture);
        begin(&fixture); /* a few with each byte */
        const uint32_t header[3] = {VHOST_USER_SET_FEATURES, VHOST_USER_VERSION, 8};
        int r = 0;
        for (unsigned i = 0; i <= VHOST_USER_TABLE_MAX && !r; i++) {
                check_ok(packet_send(fixture.guest.socket, (const char *)header + i, 1,
                                     fds[0] = fixture.guest.regions[0].fd, 0));
                r = serve(&fixture);
        }
        check_equal(r, -EPROTO);
        end(&fixture);
}

TEST(descriptors_that_there_is_no_number_for_end_the_connection) {
        struct fixture fixture;
        struct rlimit limit;
        int filler[64];
        unsigned count = 0;
        start(&fixture);
        uint64_t ring = VHOST_USER_TX;
        fake_message(&fixture.guest, VHOST_USER_SET_VRING_KICK, 0, &ring, sizeof ring, &fixture.guest.kick_fds[1], 1);
        must(getrlimit(RLIMIT_NOFILE, &limit));
        limit.rlim_cur = 64;
        must(setrlimit(RLIMIT_NOFILE, &limit));
        while (count < 64 && (filler[count] = dup(fixture.socket)) >= 0)
                count++;
        check_equal(serve(&fixture), -EPROTO);
        while (count)
                close(filler[--count]);
        end(&fixture);
}

TEST(a_ring_that_cannot_be_ends_the_connection) {
        const uint32_t states[][3] = {
                {VHOST_USER_SET_VRING_NUM, VHOST_USER_RINGS_MAX, 128},
                {VHOST_USER_SET_VRING_NUM, 2, 0},
                {VHOST_USER_SET_VRING_NUM, 2, 100},
                {VHOST_USER_SET_VRING_NUM, 2, VIRTQUEUE_SIZE_MAX * 2},
                {VHOST_USER_SET_VRING_NUM, 2, 65536 + 128},
                {VHOST_USER_SET_VRING_NUM, 0, 64}, /* it runs */
                {VHOST_USER_SET_VRING_BASE, 2, 65536},
                {VHOST_USER_SET_VRING_BASE, 0, 0},
                {VHOST_USER_SET_VRING_BASE, UINT32_MAX, 0},
                {VHOST_USER_GET_VRING_BASE, 3, 0},
                {VHOST_USER_SET_VRING_ENABLE, 3, 1},
                {VHOST_USER_SET_VRING_ENABLE, 0, 2},
        };
        for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
                struct fixture fixture;
                start(&fixture);
                fake_message_state(&fixture.guest, states[i][0], states[i][1], states[i][2]);
                check_is_refused(&fixture, VHOST_USER_BAD_RING);
        }
}

TEST(a_ring_outside_memory_ends_the_connection) {
        const uint64_t whole = FAKE_BASE + FAKE_USER_OFFSET, end_of = whole + (16u << 20);
        const uint64_t places[][3] = {{0, whole, whole},
                                      {FAKE_BASE, whole, whole}, /* the other kind of address */
                                      {end_of - 16, whole, whole},
                                      {whole, end_of - 4, whole},
                                      {whole, whole, end_of - 2},
                                      {whole + 8, whole, whole},
                                      {UINT64_MAX - 15, whole, whole}};
        for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
                struct fixture fixture;
                start(&fixture);
                fake_driver_stops(&fixture.guest);
                const uint64_t address[5] = {VHOST_USER_TX, places[i][0], places[i][1], places[i][2], 0};
                uint64_t ring = VHOST_USER_TX;
                fake_message(&fixture.guest, VHOST_USER_SET_VRING_ADDR, 0, address, sizeof address, NULL, 0);
                fake_message(&fixture.guest, VHOST_USER_SET_VRING_KICK, 0, &ring, sizeof ring,
                             &fixture.guest.kick_fds[1], 1);
                fake_message_state(&fixture.guest, VHOST_USER_SET_VRING_ENABLE, VHOST_USER_TX, 1);
                check_is_refused(&fixture, VHOST_USER_BAD_RING);
        }
}

TEST(a_running_ring_that_moves_must_lie_as_well_as_before) {
        const uint64_t moves[][3] = {{0, 0, 0}, {8, 0, 0}, {0, 2, 0}, {0, 0, 1}, {UINT64_C(1) << 40, 0, 0}};
        for (size_t i = 0; i < sizeof moves / sizeof moves[0]; i++) {
                struct fixture fixture;
                start(&fixture);
                const struct fake_queue *queue = &fixture.guest.queues[VHOST_USER_TX];
                const uint64_t address[5] = {VHOST_USER_TX, queue->descriptors_address + FAKE_USER_OFFSET + moves[i][0],
                                             queue->used_address + FAKE_USER_OFFSET + moves[i][1],
                                             queue->available_address + FAKE_USER_OFFSET + moves[i][2], 0};
                fake_message(&fixture.guest, VHOST_USER_SET_VRING_ADDR, 0, address, sizeof address, NULL, 0);
                if (i) {
                        check_is_refused(&fixture, VHOST_USER_BAD_RING);
                        continue;
                }
                check_ok(serve(&fixture));
                move_chains(&fixture, 3);
                end(&fixture);
        }
}

TEST(memory_that_cannot_be_ends_the_connection) {
        struct fixture fixture;
        begin(&fixture);
        uint64_t table[9] = {2, FAKE_BASE, 8192, FAKE_USER_OFFSET, 0, FAKE_BASE + 4096, 8192, FAKE_USER_OFFSET + 8192,
                             0};
        const int fds[2] = {fixture.guest.regions[0].fd, fixture.guest.regions[0].fd};
        fake_message(&fixture.guest, VHOST_USER_SET_MEM_TABLE, 0, table, sizeof table, fds, 2);
        check_is_refused(&fixture, VHOST_USER_BAD_MEMORY);
        begin(&fixture);
        uint64_t many[1 + 4 * 9] = {9};
        fake_message(&fixture.guest, VHOST_USER_SET_MEM_TABLE, 0, many, 8 + 32 * 8, NULL, 0);
        check_is_refused(&fixture, VHOST_USER_BAD_MESSAGE);
}

TEST(nothing_is_left_of_a_front_end_that_is_gone) {
        struct fixture fixture;
        start(&fixture);
        vhost_user_reset(&fixture.device);
        check_equal(fixture.device.memory.count, 0);
        check(!fixture.device.rings[VHOST_USER_TX].is_running);
        check_equal(fixture.device.guest_cid, FAKE_CID);
        fixture.guest.socket = fd_close(fixture.guest.socket);
        fd_close(fixture.socket);
        fixture.socket = fake_connect(&fixture.guest);
        fake_queue_make(&fixture.guest, VHOST_USER_RX, FAKE_QUEUE_SIZE);
        fake_queue_make(&fixture.guest, VHOST_USER_TX, FAKE_QUEUE_SIZE);
        realize(&fixture);
        driver_starts(&fixture, 0, 0);
        move_chains(&fixture, 3);
        end(&fixture);
}
