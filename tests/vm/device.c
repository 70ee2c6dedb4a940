/* SPDX-License-Identifier: MIT */

/* Packets through the queues of a device that a front-end attached, with guests good and bad. */

#include "fake_guest.h"

#include "base/fd.h"
#include "test.h"
#include "vm/device.h"
#include "vm/vhost_user_socket.h"
#include <pthread.h>
#include <stdlib.h>

#define FEATURES                                                                                                  \
        (VHOST_USER_FEATURE_SEQPACKET | VHOST_USER_FEATURE_INDIRECT | VHOST_USER_FEATURE_PROTOCOL |               \
         VHOST_USER_FEATURE_VERSION_1)
#define WITH_EVENTS (FEATURES | VHOST_USER_FEATURE_EVENT_INDEX)
#define LINUX_BUFFER 3776u /* of an RX buffer of Linux' */
#define STREAM_SIZE (2u << 20)

/* The host's end of the one connection that a test has. */
struct host_end {
        struct vsock_connection *connection;
        uint8_t *received; /* STREAM_SIZE */
        size_t received_size;
        const uint8_t *to_send;
        size_t to_send_size;
        enum vsock_event last_event;
        unsigned takes, used_at_take; /* so many chains the driver saw as used at the last one */
        bool forwards; /* at once, what it gets */
};

struct fixture {
        struct fake_guest guest;
        struct device device;
        struct vhost_user_reader reader;
        int socket;
        struct host_end end;
        uint32_t guest_forwarded;
};

static struct fixture *fixture_of(struct device *device) {
        return container_of(device, struct fixture, device);
}

static void on_event(struct device *device, struct vsock_connection *connection, enum vsock_event event) {
        struct host_end *end = &fixture_of(device)->end;
        end->last_event = event;
        end->connection = connection;
        if (event == VSOCK_ASKS)
                vsock_accept(&device->vsock, connection);
}

static void on_take(struct device *device, struct vsock_connection *connection, const struct iovec *pieces,
                    unsigned count, size_t size, uint32_t flags) {
        struct host_end *end = &fixture_of(device)->end;
        check(end->received_size + size <= STREAM_SIZE);
        check_equal(pieces_read(pieces, count, 0, end->received + end->received_size, size), size);
        end->received_size += size;
        end->takes++;
        end->used_at_take = fixture_of(device)->guest.queues[VHOST_USER_TX].used[1];
        if (end->forwards)
                vsock_forward(&device->vsock, connection, (uint32_t)size);
}

static ssize_t on_give(struct device *device, const struct vsock_wanted *wanted, const struct iovec *pieces,
                       unsigned count, uint32_t *ret_flags, bool *ret_has_more) {
        struct host_end *end = &fixture_of(device)->end;
        if (!end->to_send_size || end->to_send_size < wanted->least)
                return DEVICE_NOTHING;
        size_t size = end->to_send_size < wanted->room ? end->to_send_size : wanted->room;
        check_equal(pieces_write(pieces, count, 0, end->to_send, size), size);
        end->to_send += size;
        end->to_send_size -= size;
        *ret_has_more = end->to_send_size;
        return (ssize_t)size;
}

static const struct device_ends ends = {on_event, on_take, on_give};

/* Takes the front-end's messages. */
static void serve(struct fixture *fixture) {
        struct vhost_user_message message, reply;
        struct vhost_user_changes changes;
        int fds[VHOST_USER_TABLE_MAX];
        unsigned fd_count;
        bool has_reply;
        while (vhost_user_receive(&fixture->reader, fixture->socket, &message, fds, &fd_count) == 1) {
                check_ok(vhost_user_take(&fixture->device.front_end, &message, fds, fd_count, &reply, &has_reply,
                                         &changes));
                if (has_reply)
                        check_ok(vhost_user_send(fixture->socket, &reply));
        }
}

static void attach_with(struct fixture *fixture, uint64_t features, uint16_t tx_size) {
        *fixture = (struct fixture){.end.forwards = true};
        fake_guest_start(&fixture->guest);
        fake_queue_make(&fixture->guest, VHOST_USER_TX, tx_size);
        fixture->socket = fake_connect(&fixture->guest);
        check_ok(device_init(&fixture->device, FAKE_CID, VHOST_USER_PROTOCOL_FEATURES,
                             (const uint8_t *)"sixteen bytes..", &ends));
        fixture->end.received = malloc(STREAM_SIZE);
        check(fixture->end.received);
        fake_realize(&fixture->guest);
        serve(fixture);
        fake_driver_starts(&fixture->guest, features, 0, 0);
        serve(fixture);
        fixture->device.vsock.has_seqpacket = true;
}

static void attach(struct fixture *fixture, uint64_t features) {
        attach_with(fixture, features, FAKE_QUEUE_SIZE);
}

static void detach(struct fixture *fixture) {
        vhost_user_reader_reset(&fixture->reader);
        device_deinit(&fixture->device);
        fd_close(fixture->socket);
        fake_guest_free(&fixture->guest);
        free(fixture->end.received);
}

static struct vsock_packet packet(const struct fixture *fixture, uint16_t operation, uint32_t length) {
        return (struct vsock_packet){
                .source_cid = FAKE_CID, .target_cid = VSOCK_CID_HOST, .source_port = 5000, .target_port = 22,
                .length = length, .type = VSOCK_STREAM, .operation = operation,
                .buffer_size = 262144, .forwarded = fixture->guest_forwarded,
        };
}

static void say(struct fixture *fixture, uint16_t operation) {
        struct vsock_packet header = packet(fixture, operation, 0);
        fake_send(&fixture->guest, &header, NULL, FAKE_SPLIT);
}

/* Turns until there is nothing more to do. */
static void run(struct fixture *fixture) {
        struct device_turn turn;
        do {
                turn = device_turn(&fixture->device);
                check(!turn.is_broken);
        } while (turn.has_more || !device_arm(&fixture->device));
        fake_reclaim(&fixture->guest);
}

static void connect_guest(struct fixture *fixture) {
        struct vsock_packet response;
        say(fixture, VSOCK_REQUEST);
        run(fixture);
        check(fake_receive(&fixture->guest, &response, NULL, 0));
        check_equal(response.operation, VSOCK_RESPONSE);
}

static void start(struct fixture *fixture, unsigned buffers) {
        attach(fixture, WITH_EVENTS);
        fake_give_buffers(&fixture->guest, buffers, LINUX_BUFFER);
        connect_guest(fixture);
}

static uint8_t pattern(size_t at) {
        return (uint8_t)(at * 7 + at / 251);
}

static uint8_t *new_pattern(size_t size) {
        uint8_t *bytes = malloc(size);
        check(bytes);
        for (size_t i = 0; i < size; i++)
                bytes[i] = pattern(i);
        return bytes;
}

static void check_pattern(const uint8_t *bytes, size_t size) {
        for (size_t i = 0; i < size; i++)
                check_equal(bytes[i], pattern(i));
}

/* ---- guest to host ---- */

static void sends_in(enum fake_layout layout, uint32_t length) {
        struct fixture fixture;
        start(&fixture, 8);
        uint8_t *bytes = new_pattern(length);
        struct vsock_packet header = packet(&fixture, VSOCK_RW, length);
        fake_send(&fixture.guest, &header, bytes, layout);
        run(&fixture);
        check_equal(fixture.end.takes, 1);
        check_equal(fixture.end.received_size, length);
        check_pattern(fixture.end.received, length);
        free(bytes);
        detach(&fixture);
}

TEST(a_packet_may_lie_in_descriptors_in_any_way) {
        const enum fake_layout layouts[] = {FAKE_SPLIT, FAKE_MERGED, FAKE_PAGES, FAKE_TABLE};
        const uint32_t lengths[] = {1, 64, 4052, 4053, 32768, VSOCK_PAYLOAD_MAX};
        for (size_t i = 0; i < sizeof layouts / sizeof layouts[0]; i++)
                for (size_t j = 0; j < sizeof lengths / sizeof lengths[0]; j++)
                        sends_in(layouts[i], lengths[j]);
}

/* Raw chains on the TX queue, whose header says `length` bytes. */
static void sends_raw(struct fixture *fixture, uint32_t length, const uint32_t *sizes, unsigned count) {
        struct fake_queue *queue = &fixture->guest.queues[VHOST_USER_TX];
        uint64_t address = fake_allocate(&fixture->guest, 65536);
        struct vsock_packet header = packet(fixture, VSOCK_RW, length);
        vsock_packet_encode(&header, fake_at(&fixture->guest, address, VSOCK_HEADER_SIZE));
        for (unsigned i = 0; i < count; i++) {
                fake_describe(queue, (uint16_t)(100 + i), address, sizes[i], i + 1 < count ? FAKE_NEXT : 0,
                              (uint16_t)(101 + i));
                address += sizes[i];
        }
        fake_publish(queue, 100);
        run(fixture);
}

TEST(a_header_may_be_split_and_a_chain_longer_than_its_packet) {
        struct fixture fixture;
        start(&fixture, 8);
        sends_raw(&fixture, 30, (const uint32_t[]){10, 1, 33, 40}, 4);
        check_equal(fixture.end.received_size, 30);
        sends_raw(&fixture, 0, (const uint32_t[]){44}, 1);
        check_equal(fixture.end.received_size, 30);
        check_equal(fixture.end.takes, 2);
        detach(&fixture);
}

TEST(a_packet_that_is_not_all_there_is_given_back_and_forgotten) {
        struct fixture fixture;
        start(&fixture, 8);
        sends_raw(&fixture, 0, (const uint32_t[]){43}, 1);
        sends_raw(&fixture, 1, (const uint32_t[]){44}, 1);
        sends_raw(&fixture, 101, (const uint32_t[]){44, 100}, 2);
        sends_raw(&fixture, UINT32_MAX, (const uint32_t[]){44, 100}, 2);
        check_equal(fixture.end.takes, 0);
        check_equal(fixture.guest.queues[VHOST_USER_TX].taken, fixture.guest.queues[VHOST_USER_TX].published);
        sends_raw(&fixture, 100, (const uint32_t[]){44, 100}, 2);
        check_equal(fixture.end.received_size, 100);
        detach(&fixture);
}

TEST(payload_may_run_over_the_end_of_a_region_both_ways) {
        struct fixture fixture;
        struct fake_guest *guest = &fixture.guest;
        start(&fixture, 1);
        const uint64_t edge = FAKE_BASE + (16u << 20);
        fake_add_region(guest, edge, 65536);
        struct guest_region_definition added = fake_definition(guest, 1);
        const uint64_t region[5] = {0, added.guest_address, added.size, added.user_address, 0};
        fake_message(guest, VHOST_USER_ADD_MEM_REG, 0, region, sizeof region, &guest->regions[1].fd, 1);
        serve(&fixture);

        uint8_t *bytes = new_pattern(300);
        struct vsock_packet header = packet(&fixture, VSOCK_RW, 300);
        struct fake_queue *tx = &guest->queues[VHOST_USER_TX], *rx = &guest->queues[VHOST_USER_RX];
        uint8_t encoded[VSOCK_HEADER_SIZE];
        vsock_packet_encode(&header, encoded);
        memcpy(fake_at(guest, edge - 144, 44), encoded, 44);
        memcpy(fake_at(guest, edge - 100, 100), bytes, 100);
        memcpy(fake_at(guest, edge, 200), bytes + 100, 200);
        fake_describe(tx, 0, edge - 144, 344, 0, 0);
        fake_publish(tx, 0);
        run(&fixture);
        check_equal(fixture.end.received_size, 300);
        check_pattern(fixture.end.received, 300);

        fake_describe(rx, 50, edge - 20, 344, FAKE_WRITE, 0); /* in the middle of the header */
        fake_publish(rx, 50);
        fixture.end.to_send = bytes;
        fixture.end.to_send_size = 300;
        vsock_ready(&fixture.device.vsock, fixture.end.connection);
        run(&fixture);
        uint32_t head, written;
        check(fake_take_used(rx, &head, &written));
        check_equal(head, 50);
        check_equal(written, 344);
        memcpy(encoded, fake_at(guest, edge - 20, 20), 20);
        memcpy(encoded + 20, fake_at(guest, edge, 24), 24);
        vsock_packet_decode(encoded, &header);
        check_equal(header.length, 300);
        check(memcmp(fake_at(guest, edge + 24, 300), bytes, 300) == 0);
        free(bytes);
        detach(&fixture);
}

struct scribbler {
        uint8_t *length; /* of the header */
        _Atomic bool is_over;
};

static void *scribble(void *argument) {
        struct scribbler *scribbler = argument;
        while (!scribbler->is_over) {
                *(volatile uint32_t *)scribbler->length = 10;
                *(volatile uint32_t *)scribbler->length = 60000;
                *(volatile uint32_t *)scribbler->length = 100;
        }
        return NULL;
}

TEST(a_header_that_changes_while_it_is_looked_at_is_looked_at_once) {
        struct fixture fixture;
        start(&fixture, 8);
        struct fake_queue *queue = &fixture.guest.queues[VHOST_USER_TX];
        uint64_t address = fake_allocate(&fixture.guest, 4096);
        struct vsock_packet header = packet(&fixture, VSOCK_RW, 100);
        uint8_t *bytes = fake_at(&fixture.guest, address, 4096);
        vsock_packet_encode(&header, bytes);
        fake_describe(queue, 0, address, 144, 0, 0);
        struct scribbler scribbler = {.length = bytes + 24};
        pthread_t thread;
        check_ok(pthread_create(&thread, NULL, scribble, &scribbler));
        for (unsigned i = 0; i < 20000; i++) {
                fixture.end.received_size = 0;
                fixture.end.takes = 0;
                fake_publish(queue, 0);
                run(&fixture); /* which checks that as much was there as was said */
                check(fixture.end.takes <= 1);
                size_t size = fixture.end.received_size;
                check(fixture.end.takes ? size == 10 || size == 100 : !size);
                while (fake_receive(&fixture.guest, &header, NULL, 0))
                        fake_give_buffers(&fixture.guest, 1, LINUX_BUFFER);
        }
        scribbler.is_over = true;
        pthread_join(thread, NULL);
        detach(&fixture);
}

/* ---- host to guest ---- */

TEST(much_comes_in_packets_as_large_as_the_guest_s_buffers) {
        struct fixture fixture;
        start(&fixture, 100);
        uint8_t *bytes = new_pattern(STREAM_SIZE), payload[LINUX_BUFFER];
        fixture.end.to_send = bytes;
        fixture.end.to_send_size = STREAM_SIZE;
        vsock_ready(&fixture.device.vsock, fixture.end.connection);
        size_t done = 0;
        while (done < STREAM_SIZE) {
                struct vsock_packet header;
                bool has_come = false;
                run(&fixture);
                for (; fake_receive(&fixture.guest, &header, payload, sizeof payload); has_come = true) {
                        if (header.operation == VSOCK_RW) {
                                check(memcmp(payload, bytes + done, header.length) == 0);
                                bool is_full = header.length == LINUX_BUFFER - VSOCK_HEADER_SIZE;
                                done += header.length;
                                check(is_full || done == STREAM_SIZE || done % 262144 == 0 /* no credit for more */);
                        }
                        fake_give_buffers(&fixture.guest, 1, LINUX_BUFFER);
                }
                check(has_come);
                fixture.guest_forwarded = (uint32_t)done;
                say(&fixture, VSOCK_CREDIT_UPDATE);
        }
        free(bytes);
        detach(&fixture);
}

TEST(without_buffers_what_the_guest_sends_is_served_all_the_same) {
        struct fixture fixture;
        struct vsock_packet header;
        start(&fixture, 1); /* which the RESPONSE took */
        uint8_t byte = 'x';
        for (unsigned i = 0; i < 20 * VSOCK_STRAYS_MAX; i++) {
                header = packet(&fixture, VSOCK_RW, 1);
                fake_send(&fixture.guest, &header, &byte, FAKE_SPLIT);
                header.source_port = 6000 + i; /* a stranger, who is owed a reset */
                fake_send(&fixture.guest, &header, &byte, FAKE_SPLIT);
                say(&fixture, VSOCK_CREDIT_REQUEST);
                run(&fixture);
        }
        check_equal(fixture.end.received_size, 20 * VSOCK_STRAYS_MAX);
        check(!fake_receive(&fixture.guest, &header, NULL, 0));
        uint16_t before = fixture.guest.queues[VHOST_USER_RX].published;
        check(device_arm(&fixture.device)); /* it sleeps */
        fake_give_buffers(&fixture.guest, 100, LINUX_BUFFER);
        check(fake_wants_kick(&fixture.guest, VHOST_USER_RX, before)); /* and is woken */
        unsigned resets = 0, updates = 0;
        for (bool has_come = true; has_come;) {
                has_come = false;
                run(&fixture);
                for (; fake_receive(&fixture.guest, &header, NULL, 0); has_come = true) {
                        resets += header.operation == VSOCK_RST;
                        updates += header.operation == VSOCK_CREDIT_UPDATE;
                }
                if (resets + updates == 100)
                        fake_give_buffers(&fixture.guest, 100, LINUX_BUFFER);
        }
        check_equal(resets, VSOCK_STRAYS_MAX);
        check_equal(updates, 1);
        detach(&fixture);
}

TEST(buffers_that_are_not_needed_are_left_alone) {
        struct fixture fixture;
        start(&fixture, 8);
        for (unsigned i = 0; i < 10; i++) {
                vsock_ready(&fixture.device.vsock, fixture.end.connection); /* but there is nothing */
                run(&fixture);
        }
        uint32_t head, written;
        check(!fake_take_used(&fixture.guest.queues[VHOST_USER_RX], &head, &written));
        detach(&fixture);
}

TEST(a_buffer_too_small_for_a_packet_goes_back_empty) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS);
        fake_give_buffers(&fixture.guest, 2, VSOCK_HEADER_SIZE - 1);
        fake_give_buffers(&fixture.guest, 1, VSOCK_HEADER_SIZE);
        say(&fixture, VSOCK_REQUEST);
        run(&fixture);
        struct fake_queue *queue = &fixture.guest.queues[VHOST_USER_RX];
        uint32_t head, written;
        for (unsigned i = 0; i < 3; i++) {
                check(fake_take_used(queue, &head, &written));
                check_equal(written, i < 2 ? 0 : VSOCK_HEADER_SIZE);
        }
        detach(&fixture);
}

/* ---- queues ---- */

TEST(a_guest_is_called_once_a_batch) {
        struct fixture fixture;
        attach_with(&fixture, WITH_EVENTS, 2 * DEVICE_BATCH);
        fake_give_buffers(&fixture.guest, 8, LINUX_BUFFER);
        connect_guest(&fixture);
        fake_arm(&fixture.guest, VHOST_USER_TX);
        for (unsigned i = 0; i < 2 * DEVICE_BATCH; i++)
                say(&fixture, VSOCK_CREDIT_UPDATE);
        struct device_turn turn = device_turn(&fixture.device);
        check(turn.has_more);
        check_equal(turn.calls, 1u << VHOST_USER_TX);
        turn = device_turn(&fixture.device);
        check_equal(turn.calls, 0); /* it has not looked since */
        detach(&fixture);
}

TEST(a_driver_sees_what_was_used_while_a_batch_goes_on) {
        struct fixture fixture;
        start(&fixture, 8);
        uint16_t before = fixture.guest.queues[VHOST_USER_TX].used[1];
        struct vsock_packet header = packet(&fixture, VSOCK_RW, 1);
        for (unsigned i = 0; i < DEVICE_SHOWN + 1; i++)
                fake_send(&fixture.guest, &header, "x", FAKE_MERGED);
        (void)device_turn(&fixture.device);
        check_equal(fixture.end.takes, DEVICE_SHOWN + 1);
        check_equal(fixture.end.used_at_take - before, DEVICE_SHOWN);
        detach(&fixture);
}

TEST(a_batch_is_of_so_many_bytes_too) {
        struct fixture fixture;
        start(&fixture, 8);
        uint8_t *bytes = new_pattern(VSOCK_PAYLOAD_MAX);
        struct vsock_packet header = packet(&fixture, VSOCK_RW, VSOCK_PAYLOAD_MAX);
        const unsigned count = DEVICE_BATCH_BYTES / VSOCK_PAYLOAD_MAX;
        for (unsigned i = 0; i < count + 1; i++)
                fake_send(&fixture.guest, &header, bytes, FAKE_SPLIT);
        check(device_turn(&fixture.device).has_more);
        check_equal(fixture.end.takes, count);
        check(!device_turn(&fixture.device).has_more);
        check_equal(fixture.end.takes, count + 1);
        free(bytes);
        detach(&fixture);
}

TEST(without_event_indices_it_is_the_same) {
        struct fixture fixture;
        attach(&fixture, FEATURES);
        fake_give_buffers(&fixture.guest, 8, LINUX_BUFFER);
        connect_guest(&fixture);
        uint16_t before = fixture.guest.queues[VHOST_USER_TX].published;
        say(&fixture, VSOCK_CREDIT_REQUEST);
        check(fake_wants_kick(&fixture.guest, VHOST_USER_TX, before));
        check_equal(device_turn(&fixture.device).calls, 3);
        before = fixture.guest.queues[VHOST_USER_TX].published;
        say(&fixture, VSOCK_CREDIT_REQUEST);
        check(!fake_wants_kick(&fixture.guest, VHOST_USER_TX, before)); /* it is not asleep yet, */
        check(!device_arm(&fixture.device));                            /* and sees it before it is */
        fixture.guest.queues[VHOST_USER_TX].available[0] = 1;           /* no calls, please */
        check_equal(device_turn(&fixture.device).calls, 1u << VHOST_USER_RX);
        detach(&fixture);
}

TEST(a_broken_queue_is_said_to_be_and_stands_still_until_it_starts_anew) {
        struct fixture fixture;
        start(&fixture, 8);
        fixture.guest.queues[VHOST_USER_TX].available[1] += 1000;
        struct device_turn turn = device_turn(&fixture.device);
        check(turn.is_broken && !turn.has_more);
        check(device_arm(&fixture.device));
        vsock_reset(&fixture.device.vsock, fixture.end.connection);
        fake_driver_stops(&fixture.guest);
        serve(&fixture);
        fake_queue_make(&fixture.guest, VHOST_USER_RX, FAKE_QUEUE_SIZE);
        fake_queue_make(&fixture.guest, VHOST_USER_TX, FAKE_QUEUE_SIZE);
        fake_driver_starts(&fixture.guest, WITH_EVENTS, 0, 0);
        serve(&fixture);
        fake_give_buffers(&fixture.guest, 8, LINUX_BUFFER);
        run(&fixture); /* the reset that was owed */
        struct vsock_packet header;
        check(fake_receive(&fixture.guest, &header, NULL, 0));
        check_equal(header.operation, VSOCK_RST);
        connect_guest(&fixture);
        detach(&fixture);
}

TEST(a_connection_survives_a_pause) {
        struct fixture fixture;
        start(&fixture, 8);
        uint8_t bytes[100] = "before";
        struct vsock_packet header = packet(&fixture, VSOCK_RW, sizeof bytes);
        fake_send(&fixture.guest, &header, bytes, FAKE_SPLIT);
        run(&fixture);
        fake_driver_stops(&fixture.guest);
        serve(&fixture);
        fake_send(&fixture.guest, &header, bytes, FAKE_SPLIT); /* not yet seen */
        struct device_turn turn = device_turn(&fixture.device);
        check(!turn.calls && !turn.has_more && !turn.is_broken);
        check(device_arm(&fixture.device));
        check_equal(fixture.end.received_size, 100);
        fake_driver_starts(&fixture.guest, WITH_EVENTS, fixture.device.front_end.rings[VHOST_USER_RX].base,
                           fixture.device.front_end.rings[VHOST_USER_TX].base);
        serve(&fixture);
        check(fixture.device.front_end.rings[VHOST_USER_TX].is_resumed);
        run(&fixture);
        check_equal(fixture.end.received_size, 200);
        detach(&fixture);
}
