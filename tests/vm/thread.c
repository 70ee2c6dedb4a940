/* SPDX-License-Identifier: MIT */

/* A VM's thread between a fake guest, the loop, which is the test, and applications. */

#include "fake_driver.h"

#include "base/fd.h"
#include "join.h"
#include "test.h"
#include "vm/memory_guard.h"
#include "vm/thread.h"
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

static struct vm_worker *thread;
static struct list letters = LIST_INIT(letters);

static void begin(void) {
        fake_guest_start(&guest);
        struct vm_thread_options options = {.guest_cid = FAKE_CID,
                                            .protocol_features = VHOST_USER_PROTOCOL_FEATURES,
                                            .hash_key = "sixteen bytes..",
                                            .front_end_fd = fake_connect(&guest)};
        check_ok(memory_guard_open());
        check_ok(vm_thread_new(&options, &thread));
        check_ok(vm_worker_start(thread));
        driver_plug(NULL);
        driver_start();
}

/* The next message, states apart. */
static struct vm_message hear(void) {
        struct vm_message message;
        for (;;) {
                while (mailbox_next(&letters, &message))
                        if (message.kind != VM_STATE)
                                return message;
                await_readable(vm_worker_fd(thread));
                vm_worker_hear(thread, &letters);
        }
}

static struct vm_message expect(enum vm_message_kind kind) {
        struct vm_message message = hear();
        check_equal(message.kind, kind);
        return message;
}

static void tell(struct vm_message message) {
        check_ok(vm_worker_tell(thread, &message));
}

static void end(void) {
        tell((struct vm_message){.kind = VM_STOP, .fd = -1});
        while (hear().kind != VM_ENDED)
                ;
        join(thread);
        fake_guest_free(&guest);
}

static struct vm_state await_running(bool is_running) {
        struct vm_state state;
        for (;;) {
                vm_worker_state(thread, &state);
                if (state.is_running == is_running)
                        return state;
                poll(NULL, 0, 1);
        }
}

static int application;
static struct vm_traffic traffic;

/* The guest connects to port 22 from 5000, and the loop accepts with an end whose other end is `application`. */
static struct vm_message connect_guest(enum vsock_type type) {
        int ends[2];
        await_running(true);
        driver_send(driver_packet(22, 5000, VSOCK_REQUEST, type), NULL, 0);
        struct vm_message request = expect(VM_REQUEST);
        check_equal(request.port, 22);
        check_equal(request.guest_port, 5000);
        check_equal(request.cid, VSOCK_CID_HOST);
        check_equal(request.type, type);
        must(socketpair(AF_UNIX, type == VSOCK_STREAM ? SOCK_STREAM : SOCK_SEQPACKET, 0, ends));
        application = ends[0];
        tell((struct vm_message){.kind = VM_ACCEPT, .ticket = request.ticket, .fd = ends[1], .traffic = &traffic});
        driver_expect(VSOCK_RESPONSE);
        return request;
}

TEST(a_guest_connects_and_talks_both_ways) {
        char bytes[16];
        begin();
        struct vm_message request = connect_guest(VSOCK_STREAM);
        driver_send(driver_packet(22, 5000, VSOCK_RW, VSOCK_STREAM), "hello", 5);
        check_equal(must(recv(application, bytes, sizeof bytes, 0)), 5);
        check(!memcmp(bytes, "hello", 5));
        check_equal(must(send(application, "world!", 6, 0)), 6);
        check_equal(driver_receive(bytes, sizeof bytes).length, 6);
        check(!memcmp(bytes, "world!", 6));
        close(application);
        struct vsock_packet shutdown = driver_receive(NULL, 0);
        check_equal(shutdown.operation, VSOCK_SHUTDOWN);
        check_equal(shutdown.flags, VSOCK_SHUT_BOTH);
        check_equal(expect(VM_CLOSED).ticket, request.ticket);
        check_equal(atomic_load(&traffic.from_guest), 5);
        check_equal(atomic_load(&traffic.to_guest), 6);
        end();
}

TEST(the_host_asks_a_guest_that_answers) {
        char bytes[16];
        int ends[2];
        begin();
        await_running(true);
        tell((struct vm_message){.kind = VM_CONNECT, .ticket = 2, .cid = VSOCK_CID_HOST, .port = 80, .type = VSOCK_STREAM, .fd = -1});
        struct vsock_packet request = driver_receive(NULL, 0);
        check_equal(request.operation, VSOCK_REQUEST);
        check_equal(request.target_port, 80);
        check_equal(request.buffer_size, 0);
        driver_send(driver_packet(request.source_port, 80, VSOCK_RESPONSE, VSOCK_STREAM), NULL, 0);
        check_equal(expect(VM_ANSWERED).ticket, 2);
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
        tell((struct vm_message){.kind = VM_END, .ticket = 2, .fd = ends[1], .traffic = &traffic});
        check_equal(must(send(ends[0], "hi", 2, 0)), 2);
        check_equal(driver_receive(bytes, sizeof bytes).length, 2);
        driver_send(driver_packet(request.source_port, 80, VSOCK_RW, VSOCK_STREAM), "yes", 3);
        check_equal(must(recv(ends[0], bytes, sizeof bytes, 0)), 3);
        driver_send((struct vsock_packet){.source_cid = FAKE_CID, .target_cid = 2, .source_port = 80,
                                          .target_port = request.source_port, .type = VSOCK_STREAM,
                                          .operation = VSOCK_SHUTDOWN, .flags = VSOCK_SHUT_BOTH, .buffer_size = 65536}, NULL, 0);
        driver_expect(VSOCK_RST);
        check_equal(must(recv(ends[0], bytes, sizeof bytes, 0)), 0);
        check_equal(expect(VM_CLOSED).ticket, 2);
        close(ends[0]);
        end();
}

TEST(a_guest_that_refuses_is_told_of) {
        begin();
        await_running(true);
        tell((struct vm_message){.kind = VM_CONNECT, .ticket = 2, .cid = VSOCK_CID_HOST, .port = 80, .type = VSOCK_STREAM, .fd = -1});
        struct vsock_packet request = driver_receive(NULL, 0);
        driver_send(driver_packet(request.source_port, 80, VSOCK_RST, VSOCK_STREAM), NULL, 0);
        struct vm_message refused = expect(VM_REFUSED);
        check_equal(refused.ticket, 2);
        check_equal(refused.error, ECONNREFUSED);
        end();
}

TEST(nobody_waits_for_a_guest_any_more_and_it_gets_a_reset) {
        begin();
        await_running(true);
        tell((struct vm_message){.kind = VM_CONNECT, .ticket = 2, .cid = VSOCK_CID_HOST, .port = 80, .type = VSOCK_STREAM, .fd = -1});
        struct vsock_packet request = driver_receive(NULL, 0);
        tell((struct vm_message){.kind = VM_GIVE_UP, .ticket = 2, .fd = -1});
        driver_expect(VSOCK_RST);
        driver_send(driver_packet(request.source_port, 80, VSOCK_RESPONSE, VSOCK_STREAM), NULL, 0);
        driver_expect(VSOCK_RST);
        end();
}

TEST(a_connect_is_refused_while_the_driver_does_not_run) {
        begin();
        await_running(true);
        fake_driver_stops(&guest);
        await_running(false);
        tell((struct vm_message){.kind = VM_CONNECT, .ticket = 2, .cid = VSOCK_CID_HOST, .port = 80, .type = VSOCK_STREAM, .fd = -1});
        check_equal(expect(VM_REFUSED).error, EHOSTUNREACH);
        end();
}

TEST(what_the_loop_refuses_is_a_reset_for_the_guest) {
        begin();
        await_running(true);
        driver_send(driver_packet(22, 5000, VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        struct vm_message request = expect(VM_REQUEST);
        tell((struct vm_message){.kind = VM_REFUSE, .ticket = request.ticket, .fd = -1});
        driver_expect(VSOCK_RST);
        end();
}

TEST(a_guest_that_left_before_the_answer_leaves_the_application_a_reset) {
        int ends[2];
        char byte;
        begin();
        await_running(true);
        driver_send(driver_packet(22, 5000, VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        struct vm_message request = expect(VM_REQUEST);
        driver_send(driver_packet(22, 5000, VSOCK_RST, VSOCK_STREAM), NULL, 0);
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
        while ((under_way -= fake_reclaim(&guest)))
                poll(NULL, 0, 1);
        tell((struct vm_message){.kind = VM_ACCEPT, .ticket = request.ticket, .fd = ends[1], .traffic = &traffic});
        check_equal(expect(VM_CLOSED).ticket, request.ticket);
        await_readable(ends[0]);
        (void)recv(ends[0], &byte, 1, MSG_DONTWAIT); /* the mark of an abort */
        close(ends[0]);
        end();
}

TEST(a_megabyte_comes_whole_though_the_application_takes_it_late) {
        static uint8_t piece[4096], bytes[4096];
        size_t sent = 0, taken = 0;
        begin();
        connect_guest(VSOCK_STREAM);
        uint32_t forwarded = 0, credit = 262144;
        while (taken < 1u << 20) {
                if (sent < 1u << 20 && sent - forwarded + sizeof piece <= credit) {
                        for (unsigned i = 0; i < sizeof piece; i++)
                                piece[i] = (uint8_t)((sent + i) * 7 >> 3);
                        driver_send(driver_packet(22, 5000, VSOCK_RW, VSOCK_STREAM), piece, sizeof piece);
                        sent += sizeof piece;
                } else if (taken < sent) {
                        ssize_t length = must(recv(application, bytes, sizeof bytes, 0));
                        for (ssize_t i = 0; i < length; i++)
                                check_equal(bytes[i], (uint8_t)((taken + (size_t)i) * 7 >> 3));
                        taken += (size_t)length;
                } else {
                        struct vsock_packet header = driver_next(NULL, 0);
                        forwarded = header.forwarded;
                        credit = header.buffer_size;
                }
        }
        close(application);
        end();
}

TEST(messages_come_whole_and_one_by_one) {
        char bytes[16];
        begin();
        connect_guest(VSOCK_SEQPACKET);
        struct vsock_packet part = driver_packet(22, 5000, VSOCK_RW, VSOCK_SEQPACKET);
        driver_send(part, "ab", 2);
        part.flags = VSOCK_END_OF_MESSAGE;
        driver_send(part, "cd", 2);
        driver_send(part, "e", 1);
        check_equal(must(recv(application, bytes, sizeof bytes, 0)), 4);
        check(!memcmp(bytes, "abcd", 4));
        check_equal(must(recv(application, bytes, sizeof bytes, 0)), 1);
        check_equal(must(send(application, "xyz", 3, 0)), 3);
        struct vsock_packet message = driver_receive(bytes, sizeof bytes);
        check_equal(message.length, 3);
        check_equal(message.flags, VSOCK_END_OF_MESSAGE);
        close(application);
        end();
}

TEST(half_closes_are_passed_on) {
        char byte;
        begin();
        connect_guest(VSOCK_STREAM);
        struct vsock_packet half = driver_packet(22, 5000, VSOCK_SHUTDOWN, VSOCK_STREAM);
        half.flags = VSOCK_SHUT_SEND;
        driver_send(half, NULL, 0);
        check_equal(must(recv(application, &byte, 1, 0)), 0);
        check_equal(must(send(application, "!", 1, 0)), 1);
        check_equal(driver_receive(&byte, 1).length, 1);
        must(shutdown(application, SHUT_WR)); /* then nothing is left */
        check_equal(driver_receive(NULL, 0).flags, VSOCK_SHUT_BOTH);
        close(application);
        end();
}

TEST(a_guest_goes_on_sending_to_who_sends_no_more) {
        char bytes[8];
        begin();
        connect_guest(VSOCK_STREAM);
        must(shutdown(application, SHUT_WR));
        struct vsock_packet half = driver_receive(NULL, 0);
        check_equal(half.operation, VSOCK_SHUTDOWN);
        check_equal(half.flags, VSOCK_SHUT_SEND);
        driver_send(driver_packet(22, 5000, VSOCK_RW, VSOCK_STREAM), "still", 5);
        check_equal(must(recv(application, bytes, sizeof bytes, 0)), 5);
        close(application);
        check_equal(driver_receive(NULL, 0).flags, VSOCK_SHUT_BOTH);
        end();
}

TEST(a_pause_resets_those_that_do_not_survive_it) {
        char bytes[16];
        begin();
        struct vm_message request = connect_guest(VSOCK_STREAM);
        int first = application;
        tell((struct vm_message){.kind = VM_SUSPEND, .ticket = request.ticket, .survives_pause = true, .fd = -1});
        struct vsock_packet ask = driver_packet(22, 5001, VSOCK_REQUEST, VSOCK_STREAM);
        driver_send(ask, NULL, 0);
        struct vm_message second = expect(VM_REQUEST);
        int ends[2];
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
        tell((struct vm_message){.kind = VM_ACCEPT, .ticket = second.ticket, .fd = ends[1], .traffic = &traffic});
        driver_expect(VSOCK_RESPONSE);
        uint16_t rx = guest.queues[VHOST_USER_RX].taken, tx = guest.queues[VHOST_USER_TX].published;
        fake_driver_stops(&guest);
        check_equal(expect(VM_CLOSED).ticket, second.ticket);
        await_running(false);
        driver_resume(rx, tx);
        await_running(true);
        struct vsock_packet reset = driver_receive(NULL, 0);
        check_equal(reset.operation, VSOCK_RST);
        check_equal(reset.target_port, 5001);
        driver_send(driver_packet(22, 5000, VSOCK_RW, VSOCK_STREAM), "still", 5);
        check_equal(must(recv(first, bytes, sizeof bytes, 0)), 5);
        close(first);
        close(ends[0]);
        end();
}

TEST(a_reboot_resets_all) {
        begin();
        struct vm_message request = connect_guest(VSOCK_STREAM);
        tell((struct vm_message){.kind = VM_SUSPEND, .ticket = request.ticket, .survives_pause = true, .fd = -1});
        fake_driver_stops(&guest);
        await_running(false);
        fake_queue_make(&guest, VHOST_USER_RX, FAKE_QUEUE_SIZE);
        fake_queue_make(&guest, VHOST_USER_TX, FAKE_QUEUE_SIZE);
        driver_start();
        check_equal(expect(VM_CLOSED).ticket, request.ticket);
        close(application);
        connect_guest(VSOCK_STREAM);
        close(application);
        end();
}

TEST(a_front_end_that_goes_ends_the_thread_and_all_its_channels) {
        begin();
        struct vm_message request = connect_guest(VSOCK_STREAM);
        guest.socket = fd_close(guest.socket);
        check_equal(expect(VM_CLOSED).ticket, request.ticket);
        expect(VM_ENDED);
        join(thread);
        close(application);
        fake_guest_free(&guest);
}

TEST(a_channel_of_a_service_that_is_disabled_is_reset_on_both_sides) {
        begin();
        struct vm_message request = connect_guest(VSOCK_STREAM);
        tell((struct vm_message){.kind = VM_RESET, .ticket = request.ticket, .fd = -1});
        driver_expect(VSOCK_RST);
        check_equal(expect(VM_CLOSED).ticket, request.ticket);
        close(application);
        end();
}

TEST(memory_that_shrinks_ends_the_front_end_and_nothing_else) {
        struct vm_state state;
        begin();
        await_running(true);
        must(ftruncate(guest.regions[0].fd, 0));
        check_ok(eventfd_write(guest.kick_fds[VHOST_USER_TX], 1));
        expect(VM_ENDED);
        vm_worker_state(thread, &state);
        check_equal(state.problem, VHOST_USER_BAD_MEMORY);
        join(thread);
        guest.socket = fd_close(guest.socket);
        fake_guest_free(&guest);
}

TEST(of_states_that_nobody_heard_there_is_one) {
        struct mailbox mailbox;
        struct list taken;
        struct vm_message message;
        check_ok(mailbox_init(&mailbox));
        for (unsigned i = 0; i < 1000; i++) {
                check_ok(mailbox_put(&mailbox, &(struct vm_message){.kind = VM_STATE, .fd = -1}));
                check_ok(mailbox_put(&mailbox, &(struct vm_message){.kind = VM_CLOSED, .ticket = i, .fd = -1}));
        }
        mailbox_empty(&mailbox, &taken);
        unsigned states = 0, closed = 0;
        while (mailbox_next(&taken, &message))
                if (message.kind == VM_STATE)
                        states++;
                else
                        check_equal(message.ticket, closed++);
        check_equal(states, 1);
        check_equal(closed, 1000);
        mailbox_deinit(&mailbox);
}

/* ---- VMMs that mean harm ---- */

static void *talk_without_end(void *argument) {
        enum { BATCH = 4096 };
        static uint32_t headers[BATCH][3];
        struct pollfd poll_fd = {.fd = guest.socket, .events = POLLOUT};
        for (unsigned i = 0; i < BATCH; i++)
                memcpy(headers[i], (const uint32_t[3]){VHOST_USER_SET_OWNER, VHOST_USER_VERSION}, sizeof headers[i]);
        for (size_t at = 0;;) {
                ssize_t length = send(guest.socket, (const char *)headers + at, sizeof headers - at, MSG_NOSIGNAL);
                if (length < 0 && errno != EAGAIN)
                        return NULL;
                if (length < 0)
                        (void)poll(&poll_fd, 1, -1);
                else
                        at = (at + (size_t)length) % sizeof headers;
        }
}

TEST(a_vmm_that_never_ends_talking_holds_up_no_order) {
        pthread_t talker;
        begin();
        await_running(true);
        check_ok(pthread_create(&talker, NULL, talk_without_end, NULL));
        for (unsigned i = 0; i < 100; i++) {
                tell((struct vm_message){.kind = VM_CONNECT, .ticket = 2 + 2 * i, .cid = VSOCK_CID_HOST, .port = 80, .type = VSOCK_STREAM, .fd = -1});
                driver_expect(VSOCK_REQUEST);
                tell((struct vm_message){.kind = VM_GIVE_UP, .ticket = 2 + 2 * i, .fd = -1});
                driver_expect(VSOCK_RST);
        }
        tell((struct vm_message){.kind = VM_STOP, .fd = -1});
        expect(VM_ENDED);
        join(thread);
        check_ok(pthread_join(talker, NULL));
        guest.socket = fd_close(guest.socket);
        fake_guest_free(&guest);
}

/* The thread waits in the call that the driver asked for. */
static int hold_up(void) {
        static const char bytes[65536];
        const uint64_t ring = VHOST_USER_RX;
        int ends[2];
        must(pipe(ends));
        must(fcntl(ends[1], F_SETFL, O_NONBLOCK));
        while (write(ends[1], bytes, sizeof bytes) > 0 || write(ends[1], bytes, 1) > 0)
                ;
        must(fcntl(ends[1], F_SETFL, 0));
        fake_message(&guest, VHOST_USER_SET_VRING_CALL, 0, &ring, sizeof ring, &ends[1], 1);
        close(ends[1]);
        return ends[0];
}

TEST(a_thread_that_is_held_up_gathers_only_so_many_orders) {
        begin();
        struct vm_message request = connect_guest(VSOCK_STREAM);
        int reader = hold_up(), r = 0;
        unsigned given = 0;
        while (!r && given < 2 * VM_ORDERS_MAX) {
                uint64_t ticket = 2 + 2 * given++;
                r = vm_worker_tell(thread, &(struct vm_message){.kind = VM_CONNECT, .ticket = ticket, .cid = VSOCK_CID_HOST,
                                                                .port = 80, .type = VSOCK_STREAM, .fd = -1});
                if (!r)
                        tell((struct vm_message){.kind = VM_GIVE_UP, .ticket = ticket, .fd = -1});
                tell((struct vm_message){.kind = VM_SUSPEND, .ticket = request.ticket, .survives_pause = given % 2, .fd = -1});
        }
        check_equal(r, -ENOBUFS);
        check(given > VM_ORDERS_MAX / 2 - 2);
        close(reader);
        close(application);
        end();
}

TEST(a_guest_that_gave_no_buffers_and_sends_is_not_taken_for_one_with_private_memory) {
        fake_guest_start(&guest);
        struct vm_thread_options options = {.guest_cid = FAKE_CID,
                                            .protocol_features = VHOST_USER_PROTOCOL_FEATURES,
                                            .hash_key = "sixteen bytes..",
                                            .front_end_fd = fake_connect(&guest)};
        check_ok(vm_thread_new(&options, &thread));
        check_ok(vm_worker_start(thread));
        driver_plug(NULL);
        fake_driver_starts(&guest, FAKE_FEATURES, 0, 0);
        await_running(true);
        driver_send(driver_packet(22, 5000, VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        expect(VM_REQUEST);
        poll(NULL, 0, VM_PRIVATE_MS + 100);
        driver_send(driver_packet(22, 5001, VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        expect(VM_REQUEST);
        end();
}
