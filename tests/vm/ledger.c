/* SPDX-License-Identifier: MIT */

/* A device is served, dies without a word, and is served on by a successor, for a guest that knows nothing of it. */

#include "fake_guest.h"

#include "base/fd.h"
#include "test.h"
#include "vm/device.h"
#include "vm/ledger.h"
#include "vm/vhost_user_socket.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define FEATURES                                                                                                  \
        (VHOST_USER_FEATURE_SEQPACKET | VHOST_USER_FEATURE_INDIRECT | VHOST_USER_FEATURE_PROTOCOL |               \
         VHOST_USER_FEATURE_VERSION_1)
#define WITH_EVENTS (FEATURES | VHOST_USER_FEATURE_EVENT_INDEX)
#define LINUX_BUFFER 3776u
#define PORT_FIRST 5000u
#define PORTS 4096u

/* The guest's side of a connection to the host's port 22. */
enum guest_end { NEVER, ASKS, OPEN, WAS_RESET };

struct fixture {
        struct fake_guest guest;
        enum guest_end ends[PORTS]; /* by port - PORT_FIRST */
        struct device device;
        struct ledger *ledger;
        struct vhost_user_reader reader;
        int socket;
        uint64_t features;
        size_t received; /* by the host */
        struct vsock_connection *last;
        size_t to_give;  /* from the host, to the last one */
};

static struct fixture *fixture_of(struct device *device) {
        return container_of(device, struct fixture, device);
}

static void on_event(struct device *device, struct vsock_connection *connection, enum vsock_event event) {
        if (event == VSOCK_CLOSED || event == VSOCK_RESET) {
                vsock_release(&device->vsock, connection);
                return;
        }
        fixture_of(device)->last = connection;
        if (event == VSOCK_ASKS)
                vsock_accept(&device->vsock, connection);
        if (event == VSOCK_ANSWERED)
                vsock_open(&device->vsock, connection);
}

static void on_take(struct device *device, struct vsock_connection *connection, const struct iovec *pieces,
                    unsigned count, size_t size, uint32_t flags) {
        fixture_of(device)->received += size;
        vsock_forward(&device->vsock, connection, (uint32_t)size);
}

static ssize_t on_give(struct device *device, const struct vsock_wanted *wanted, const struct iovec *pieces,
                       unsigned count, uint32_t *ret_flags, bool *ret_has_more) {
        struct fixture *fixture = fixture_of(device);
        size_t size = fixture->to_give < wanted->room ? fixture->to_give : wanted->room;
        fixture->to_give -= size;
        return size ? (ssize_t)size : DEVICE_NOTHING;
}

static const struct device_ends ends = {on_event, on_take, on_give};

static void serve(struct fixture *fixture) {
        struct vhost_user_message message, reply;
        struct vhost_user_changes changes;
        int fds[VHOST_USER_TABLE_MAX];
        unsigned fd_count;
        bool has_reply;
        for (;;) {
                ledger_begin_message(fixture->ledger);
                if (vhost_user_receive(&fixture->reader, fixture->socket, &message, fds, &fd_count) != 1)
                        break;
                check_ok(vhost_user_take(&fixture->device.front_end, &message, fds, fd_count, &reply, &has_reply,
                                         &changes));
                if (has_reply)
                        check_ok(vhost_user_send(fixture->socket, &reply));
                ledger_end_message(fixture->ledger, &fixture->device.front_end, message.request);
        }
        ledger_no_message(fixture->ledger);
}

static void new_device(struct fixture *fixture) {
        check_ok(device_init(&fixture->device, FAKE_CID, VHOST_USER_PROTOCOL_FEATURES,
                             (const uint8_t *)"sixteen bytes..", &ends));
}

static void attach(struct fixture *fixture, uint64_t features, unsigned buffers) {
        *fixture = (struct fixture){.features = features};
        fake_guest_start(&fixture->guest);
        fixture->socket = fake_connect(&fixture->guest);
        new_device(fixture);
        check_ok(ledger_create(&fixture->ledger));
        fixture->device.vsock.ledger = fixture->ledger;
        fake_realize(&fixture->guest);
        serve(fixture);
        fake_driver_starts(&fixture->guest, features, 0, 0);
        serve(fixture);
        fixture->device.vsock.has_seqpacket = true;
        fake_give_buffers(&fixture->guest, buffers, LINUX_BUFFER);
}

static void detach(struct fixture *fixture) {
        vhost_user_reader_reset(&fixture->reader);
        device_deinit(&fixture->device);
        ledger_free(fixture->ledger);
        fd_close(fixture->socket);
        fake_guest_free(&fixture->guest);
}

/* ---- death, and a successor ---- */

/* What a holder has. */
struct held {
        int ledger_fd, fds[VHOST_USER_DESCRIPTORS_MAX];
        unsigned count;
        uint64_t generation;
};

static struct held hold(const struct fixture *fixture) {
        struct held held = {.generation = ledger_generation(fixture->ledger)};
        held.ledger_fd = (int)must(fcntl(ledger_fd(fixture->ledger), F_DUPFD_CLOEXEC, 0));
        held.count = vhost_user_descriptors(&fixture->device.front_end, held.fds);
        for (unsigned i = 0; i < held.count; i++)
                held.fds[i] = (int)must(fcntl(held.fds[i], F_DUPFD_CLOEXEC, 0));
        return held;
}

/* Nothing of it is told to anybody. */
static void die(struct fixture *fixture) {
        vhost_user_reader_reset(&fixture->reader);
        device_deinit(&fixture->device);
        fixture->ledger = ledger_free(fixture->ledger);
}

static int try_to_succeed(struct fixture *fixture, const struct held *held, struct vhost_user_changes *changes) {
        new_device(fixture);
        check_ok(ledger_adopt(held->ledger_fd, &fixture->ledger));
        return ledger_restore(fixture->ledger, &fixture->device, held->generation, held->fds, held->count, changes);
}

static void succeed(struct fixture *fixture, const struct held *held) {
        struct vhost_user_changes changes;
        check_ok(try_to_succeed(fixture, held, &changes));
        check_equal(changes.started, 3);
        check_equal(changes.call, 3);
        check(changes.memory);
        fixture->last = NULL;
}

static void die_and_succeed(struct fixture *fixture) {
        struct held held = hold(fixture);
        die(fixture);
        succeed(fixture, &held);
}

static void run(struct fixture *fixture) {
        struct device_turn turn;
        do {
                turn = device_turn(&fixture->device);
                check(!turn.is_broken);
        } while (turn.has_more || !device_arm(&fixture->device));
        fake_reclaim(&fixture->guest);
}

/* ---- what the guest does ---- */

static void say(struct fixture *fixture, uint32_t port, uint16_t operation, uint32_t length) {
        static const uint8_t bytes[4096];
        struct vsock_packet header = {
                .source_cid = FAKE_CID, .target_cid = VSOCK_CID_HOST, .source_port = port, .target_port = 22,
                .length = length, .type = VSOCK_STREAM, .operation = operation, .buffer_size = 262144,
        };
        if (operation == VSOCK_REQUEST)
                fixture->ends[port - PORT_FIRST] = ASKS;
        fake_send(&fixture->guest, &header, length ? bytes : NULL, FAKE_SPLIT);
}

/* Takes what came, and gives buffers again. Returns the bytes of data. */
static size_t listen_to_host(struct fixture *fixture) {
        static uint8_t payload[LINUX_BUFFER];
        struct vsock_packet header;
        size_t bytes = 0;
        unsigned count = 0;
        for (; fake_receive(&fixture->guest, &header, payload, sizeof payload); count++) {
                enum guest_end *end = header.target_port - PORT_FIRST < PORTS
                                              ? &fixture->ends[header.target_port - PORT_FIRST] : NULL;
                bytes += header.operation == VSOCK_RW ? header.length : 0;
                if (end && header.operation == VSOCK_RESPONSE && *end == ASKS)
                        *end = OPEN;
                if (end && header.operation == VSOCK_RST)
                        *end = WAS_RESET;
        }
        fake_give_buffers(&fixture->guest, count, LINUX_BUFFER);
        return bytes;
}

static enum guest_end end_at(const struct fixture *fixture, uint32_t port) {
        return fixture->ends[port - PORT_FIRST];
}

static void connect_guest(struct fixture *fixture, uint32_t port) {
        say(fixture, port, VSOCK_REQUEST, 0);
        run(fixture);
        listen_to_host(fixture);
        check_equal(end_at(fixture, port), OPEN);
}

/* New connections both ways, with data both ways. */
static void check_served(struct fixture *fixture, uint32_t port) {
        struct vsock_packet header;
        struct vsock_connection *dialled;
        connect_guest(fixture, port);
        fixture->received = 0;
        say(fixture, port, VSOCK_RW, 100);
        run(fixture);
        check_equal(fixture->received, 100);
        fixture->to_give = 200;
        vsock_ready(&fixture->device.vsock, fixture->last);
        run(fixture);
        check_equal(listen_to_host(fixture), 200);
        check_ok(vsock_dial(&fixture->device.vsock, VSOCK_CID_HOST, 23, VSOCK_STREAM, NULL, &dialled));
        run(fixture);
        check(fake_receive(&fixture->guest, &header, NULL, 0));
        fake_give_buffers(&fixture->guest, 1, LINUX_BUFFER);
        check_equal(header.operation, VSOCK_REQUEST);
        header = (struct vsock_packet){.source_cid = FAKE_CID, .target_cid = VSOCK_CID_HOST, .source_port = 23,
                                       .target_port = header.source_port, .type = VSOCK_STREAM,
                                       .operation = VSOCK_RESPONSE, .buffer_size = 262144};
        fake_send(&fixture->guest, &header, NULL, FAKE_SPLIT);
        run(fixture);
        check(fixture->last == dialled);
        check_equal(dialled->state, VSOCK_CONNECTED);
        listen_to_host(fixture); /* its credit */
}

static void served_on(uint64_t features) {
        struct fixture fixture;
        attach(&fixture, features, 64);
        check_served(&fixture, 5000);
        check_served(&fixture, 5001);
        die_and_succeed(&fixture);
        run(&fixture);
        listen_to_host(&fixture);
        check_equal(end_at(&fixture, 5000), WAS_RESET);
        check_equal(end_at(&fixture, 5001), WAS_RESET);
        check_served(&fixture, 5002);
        check_served(&fixture, 5000);
        detach(&fixture);
}

TEST(a_successor_resets_what_was_open_and_serves_anew) {
        served_on(WITH_EVENTS);
}

TEST(without_event_indices_too) {
        served_on(FEATURES);
}

TEST(what_was_over_before_is_not_reset) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 64);
        connect_guest(&fixture, 5000);
        say(&fixture, 5000, VSOCK_RST, 0);
        run(&fixture);
        connect_guest(&fixture, 5001);
        die_and_succeed(&fixture);
        run(&fixture);
        listen_to_host(&fixture);
        check_equal(end_at(&fixture, 5000), OPEN); /* as it believes: nobody told it anything */
        check_equal(end_at(&fixture, 5001), WAS_RESET);
        detach(&fixture);
}

TEST(packets_that_nobody_had_taken_are_taken_by_the_successor) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 64);
        connect_guest(&fixture, 5000);
        say(&fixture, 5000, VSOCK_RW, 1000);
        say(&fixture, 5001, VSOCK_REQUEST, 0);
        die_and_succeed(&fixture);
        run(&fixture);
        listen_to_host(&fixture);
        check_equal(end_at(&fixture, 5000), WAS_RESET);
        check_equal(end_at(&fixture, 5001), OPEN);
        check_served(&fixture, 5002);
        detach(&fixture);
}

TEST(chains_that_were_taken_and_not_given_back_are_taken_again) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 64);
        connect_guest(&fixture, 5000);
        say(&fixture, 5001, VSOCK_REQUEST, 0);
        static struct chain chain;
        for (unsigned ring = 0; ring < 2; ring++) {
                struct virtqueue *queue = &fixture.device.front_end.rings[ring].queue;
                check_equal(virtqueue_pop(queue, &chain), 1);
                virtqueue_push(queue, chain.head, 77); /* never flushed */
        }
        die_and_succeed(&fixture);
        run(&fixture);
        listen_to_host(&fixture);
        check_equal(end_at(&fixture, 5000), WAS_RESET);
        check_equal(end_at(&fixture, 5001), OPEN);
        check_served(&fixture, 5002);
        detach(&fixture);
}

TEST(a_reset_that_the_guest_was_not_shown_is_sent_by_the_successor) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 64);
        connect_guest(&fixture, 5000);
        vsock_reset(&fixture.device.vsock, fixture.last);
        struct vsock_packet packet;
        struct vsock_wanted wanted;
        check_equal(vsock_next(&fixture.device.vsock, LINUX_BUFFER, &packet, &wanted), VSOCK_PACKET);
        check_equal(packet.operation, VSOCK_RST); /* in a buffer that is never given back */
        die_and_succeed(&fixture);
        run(&fixture);
        listen_to_host(&fixture);
        check_equal(end_at(&fixture, 5000), WAS_RESET);
        detach(&fixture);
}

TEST(who_dies_soon_after_has_a_successor_too) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 1);
        for (uint32_t port = 5000; port < 5010; port++)
                connect_guest(&fixture, port);
        for (unsigned deaths = 0; deaths < 5; deaths++) { /* one buffer: one reset in each life */
                die_and_succeed(&fixture);
                while (device_turn(&fixture.device).has_more)
                        ;
                listen_to_host(&fixture);
        }
        die_and_succeed(&fixture);
        for (unsigned i = 0; i < 20; i++) {
                run(&fixture);
                listen_to_host(&fixture);
        }
        for (uint32_t port = 5000; port < 5010; port++)
                check_equal(end_at(&fixture, port), WAS_RESET);
        check_served(&fixture, 5020);
        detach(&fixture);
}

TEST(a_full_table_is_reset_and_has_room_again) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 64);
        for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
                connect_guest(&fixture, PORT_FIRST + i);
        die_and_succeed(&fixture);
        check_equal(fixture.device.vsock.count, VSOCK_CONNECTIONS_MAX);
        for (unsigned i = 0; i < 2 * VSOCK_CONNECTIONS_MAX / 64; i++) {
                run(&fixture);
                listen_to_host(&fixture);
        }
        check_equal(fixture.device.vsock.count, 0);
        for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
                check_equal(end_at(&fixture, PORT_FIRST + i), WAS_RESET);
        check_served(&fixture, 5000);
        detach(&fixture);
}

TEST(a_paused_guest_hears_of_it_when_it_goes_on) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 64);
        connect_guest(&fixture, 5000);
        fake_driver_stops(&fixture.guest);
        serve(&fixture);
        struct held held = hold(&fixture);
        struct vhost_user_changes changes;
        uint16_t bases[2] = {fixture.device.front_end.rings[0].base, fixture.device.front_end.rings[1].base};
        die(&fixture);
        check_ok(try_to_succeed(&fixture, &held, &changes));
        check_equal(changes.started, 0);
        check(!device_turn(&fixture.device).calls);
        fake_driver_starts(&fixture.guest, WITH_EVENTS, bases[0], bases[1]);
        serve(&fixture);
        check(fixture.device.front_end.rings[VHOST_USER_TX].is_resumed);
        run(&fixture);
        listen_to_host(&fixture);
        check_equal(end_at(&fixture, 5000), WAS_RESET);
        check_served(&fixture, 5001);
        detach(&fixture);
}

/* ---- what cannot be served on ---- */

static void check_refused(struct fixture *fixture, const struct held *held) {
        struct vhost_user_changes changes;
        check_equal(try_to_succeed(fixture, held, &changes), -EPROTO);
        check_equal(changes.started, 0);
        check_equal(fixture->device.front_end.memory.count, 0);
        check(!fixture->device.vsock.count);
        detach(fixture);
}

TEST(a_death_in_a_message_is_the_last_one) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 8);
        ledger_begin_message(fixture.ledger);
        struct held held = hold(&fixture);
        die(&fixture);
        check_refused(&fixture, &held);
}

TEST(descriptors_of_another_generation_are_refused) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 8);
        struct held held = hold(&fixture);
        uint64_t value = VHOST_USER_NO_DESCRIPTOR;
        fake_message(&fixture.guest, VHOST_USER_SET_VRING_CALL, 0, &value, sizeof value, NULL, 0);
        serve(&fixture);
        die(&fixture);
        check_refused(&fixture, &held);
}

TEST(a_message_that_changes_no_descriptor_leaves_the_generation) {
        struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 8);
        uint64_t generation = ledger_generation(fixture.ledger);
        fake_message_state(&fixture.guest, VHOST_USER_SET_VRING_ENABLE, 0, 1);
        serve(&fixture);
        check_equal(ledger_generation(fixture.ledger), generation);
        detach(&fixture);
}

TEST(what_cannot_have_been_is_refused) {
        struct fixture fixture;
        struct vhost_user_saved good, bad;
        struct vhost_user_changes changes;
        int fds[VHOST_USER_DESCRIPTORS_MAX + 1];
        attach(&fixture, WITH_EVENTS, 8);
        vhost_user_save(&fixture.device.front_end, &good);
        for (unsigned mistake = 0;; mistake++) {
                unsigned count = vhost_user_descriptors(&fixture.device.front_end, fds);
                bad = good;
                switch (mistake) {
                case 0: bad.guest_cid++; break;
                case 1: bad.features |= UINT64_C(1) << 33; break;
                case 2: bad.protocol_features |= UINT64_C(1) << 5; break;
                case 3: bad.region_count = GUEST_REGIONS_MAX + 1; break;
                case 4: bad.region_count++; break;
                case 5: bad.regions[0].size++; break;
                case 6: bad.regions[0].file_offset = UINT64_MAX; break;
                case 7: bad.rings[0].size = 100; break;
                case 8: bad.rings[0].size = 2 * VIRTQUEUE_SIZE_MAX; break;
                case 9: bad.rings[0].size = 0; break;
                case 10: bad.rings[1].descriptors++; break;
                case 11: bad.rings[1].used += 16u << 20; break;
                case 12: bad.rings[1].used++; break;
                case 13: bad.rings[1].available--; break;
                case 14: bad.rings[1].flags |= VHOST_USER_SAVED_ALL + 1; break;
                case 15: bad.rings[1].flags &= ~VHOST_USER_SAVED_KICK; break;
                case 16: bad.rings[1].flags &= ~VHOST_USER_SAVED_CALL_FD; break;
                case 17: bad.rings[1].flags &= ~VHOST_USER_SAVED_ADDRESSES; break;
                case 18: bad.rings[2].flags |= VHOST_USER_SAVED_RUNNING; break;
                case 19: count--; break;
                case 20: fds[count] = fds[count - 1]; count++; break;
                case 21: fds[1] = fds[0]; break; /* a kick that is the memory, and so a call */
                case 22: fds[2] = fds[0]; break;
                default: detach(&fixture); return;
                }
                struct vhost_user device;
                for (unsigned i = 0; i < count; i++)
                        fds[i] = (int)must(fcntl(fds[i], F_DUPFD_CLOEXEC, 0));
                vhost_user_init(&device, FAKE_CID, VHOST_USER_PROTOCOL_FEATURES);
                if (vhost_user_restore(&device, &bad, fds, count, &changes) != -EPROTO)
                        test_fail(__FILE__, __LINE__, "mistake %u was taken", mistake);
                check(!device.memory.count && !changes.started);
        }
}

TEST(a_ledger_is_a_sealed_file_of_its_size_and_kind) {
        struct ledger *ledger;
        struct stat status;
        check_equal(ledger_adopt((int)must(memfd_create("other", MFD_CLOEXEC)), &ledger), -EPROTO);
        int pipes[2];
        must(pipe2(pipes, O_CLOEXEC));
        check_equal(ledger_adopt(pipes[0], &ledger), -EPROTO);
        fd_close(pipes[1]);
        check_ok(ledger_create(&ledger));
        must(fstat(ledger_fd(ledger), &status));
        check_errno(ftruncate(ledger_fd(ledger), status.st_size - 1), EPERM);
        check_errno(ftruncate(ledger_fd(ledger), status.st_size + 1), EPERM);
        ledger_free(ledger);
        for (off_t size = status.st_size - 1; size <= status.st_size + 1; size++) { /* zeros are no ledger */
                int fd = (int)must(memfd_create("other", MFD_CLOEXEC | MFD_ALLOW_SEALING));
                must(ftruncate(fd, size));
                must(fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL));
                check_equal(ledger_adopt(fd, &ledger), -EPROTO);
        }
}

/* ---- real deaths ---- */

/* In a process of its own, until it is killed. */
static pid_t serve_apart(struct fixture *fixture) {
        pid_t pid = (pid_t)must(fork());
        if (pid)
                return pid;
        for (;;) {
                struct device_turn turn = device_turn(&fixture->device);
                if (fixture->last) { /* now and then the host ends one, and begins one */
                        if (fixture->last->guest_port % 3 == 0 && fixture->last->state == VSOCK_CONNECTED)
                                vsock_reset(&fixture->device.vsock, fixture->last);
                        fixture->last = NULL;
                }
                if (!turn.calls && !turn.has_more)
                        (void)device_arm(&fixture->device);
        }
}

TEST_LIMITED(whenever_it_is_killed_every_end_of_the_guest_hears_of_it, 60) {
        static struct fixture fixture;
        attach(&fixture, WITH_EVENTS, 64);
        uint32_t port = PORT_FIRST;
        for (unsigned deaths = 0; deaths < 40; deaths++) {
                struct held held = hold(&fixture);
                pid_t pid = serve_apart(&fixture);
                uint32_t first = port;
                for (unsigned turns = 0; turns < 30 + 17 * deaths; turns++) {
                        if (turns % 8 == 0)
                                say(&fixture, port++, VSOCK_REQUEST, 0);
                        else
                                say(&fixture, first + turns % (port - first), VSOCK_RW, 100);
                        for (unsigned waits = 0; waits < 100000; waits++) {
                                struct fake_queue *queue = &fixture.guest.queues[VHOST_USER_TX];
                                (void)fake_reclaim(&fixture.guest);
                                listen_to_host(&fixture);
                                if ((uint16_t)(queue->published - queue->taken) < 16)
                                        break;
                                usleep(10);
                        }
                }
                must(kill(pid, SIGKILL));
                check_equal(must(waitpid(pid, NULL, 0)), pid);
                die(&fixture);
                succeed(&fixture, &held);
                for (unsigned i = 0; i < 20; i++) {
                        run(&fixture);
                        listen_to_host(&fixture);
                }
                for (uint32_t i = 0; i < PORTS; i++) {
                        check(fixture.ends[i] != ASKS);
                        if (fixture.ends[i] != OPEN)
                                continue;
                        say(&fixture, PORT_FIRST + i, VSOCK_CREDIT_REQUEST, 0); /* it asked when nobody served it, */
                        run(&fixture);
                        listen_to_host(&fixture);
                        check_equal(fixture.ends[i], OPEN);                    /* and was heard now */
                }
        }
        check_served(&fixture, port);
        detach(&fixture);
}
