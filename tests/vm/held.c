/* SPDX-License-Identifier: MIT */

/* A VM's thread says what it has; a second thread serves the guest on with that. */

#include "fake_guest.h"

#include "base/fd.h"
#include "join.h"
#include "test.h"
#include "vm/memory_guard.h"
#include "vm/thread.h"
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#define FEATURES                                                                                             \
        (VHOST_USER_FEATURE_SEQPACKET | VHOST_USER_FEATURE_INDIRECT | VHOST_USER_FEATURE_EVENT_INDEX |       \
         VHOST_USER_FEATURE_PROTOCOL | VHOST_USER_FEATURE_VERSION_1)
#define RX_BUFFER 3776u
#define PATIENCE_MS 10000

static struct fake_guest guest;
static struct vm_worker *thread;
static struct list letters = LIST_INIT(letters);
static struct vm_held *held; /* the last that was said */

static void start(struct vm_held *of_predecessor, int front_end_fd) {
        struct vm_thread_options options = {.guest_cid = FAKE_CID,
                                            .protocol_features = VHOST_USER_PROTOCOL_FEATURES,
                                            .hash_key = "sixteen bytes..",
                                            .is_held = true,
                                            .front_end_fd = front_end_fd,
                                            .held = of_predecessor};
        check_ok(vm_thread_new(&options, &thread));
        check_ok(vm_worker_start(thread));
}

static void wait_for(int fd) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        check_equal(poll(&poll_fd, 1, PATIENCE_MS), 1);
}

/* The next message of this kind; of HELD the last one is kept. */
static struct vm_message expect(enum vm_message_kind kind) {
        struct vm_message message;
        for (;;) {
                while (mailbox_next(&letters, &message)) {
                        if (message.kind == VM_HELD) {
                                vm_held_free(held);
                                held = message.held;
                        }
                        if (message.kind == kind)
                                return message;
                }
                wait_for(vm_worker_fd(thread));
                vm_worker_hear(thread, &letters);
        }
}

static void await_running(void) {
        for (struct vm_state state = {}; !state.is_running; vm_worker_state(thread, &state))
                poll(NULL, 0, 1);
}

static void begin(void) {
        fake_guest_start(&guest);
        check_ok(memory_guard_open());
        start(NULL, fake_connect(&guest));
        fake_realize(&guest);
        fake_driver_starts(&guest, FEATURES, 0, 0);
        fake_give_buffers(&guest, 64, RX_BUFFER);
        check_ok(eventfd_write(guest.kick_fds[VHOST_USER_RX], 1));
        await_running();
}

/* What it has is what it said last. */
static void stop(void) {
        check_ok(vm_worker_tell(thread, &(struct vm_message){.kind = VM_STOP, .fd = -1}));
        expect(VM_ENDED);
        join(thread);
}

static void succeed(void) {
        struct vm_held *of_predecessor = held;
        held = NULL;
        check(of_predecessor);
        start(of_predecessor, -1);
}

static void end(void) {
        stop();
        held = vm_held_free(held);
        fake_guest_free(&guest);
}

static void say(uint32_t guest_port, uint16_t operation) {
        struct vsock_packet header = {
                .source_cid = FAKE_CID, .target_cid = VSOCK_CID_HOST, .source_port = guest_port, .target_port = 22,
                .type = VSOCK_STREAM, .operation = operation, .buffer_size = 262144};
        fake_reclaim(&guest);
        fake_send(&guest, &header, NULL, FAKE_SPLIT);
        check_ok(eventfd_write(guest.kick_fds[VHOST_USER_TX], 1));
}

static void expect_packet(uint32_t guest_port, uint16_t operation) {
        struct vsock_packet header;
        while (!fake_receive(&guest, &header, NULL, 0))
                if (fake_arm(&guest, VHOST_USER_RX)) {
                        wait_for(guest.call_fds[VHOST_USER_RX]);
                        check_ok(eventfd_read(guest.call_fds[VHOST_USER_RX], &(eventfd_t){0}));
                }
        check_equal(header.operation, operation);
        check_equal(header.target_port, guest_port);
}

/* Returns the application's end. */
static int connect_guest(uint32_t guest_port) {
        static struct vm_traffic traffic;
        int ends[2];
        say(guest_port, VSOCK_REQUEST);
        uint64_t ticket = expect(VM_REQUEST).ticket;
        must(socketpair(AF_UNIX, SOCK_STREAM, 0, ends));
        const struct vm_message accept = {.kind = VM_ACCEPT, .ticket = ticket, .fd = ends[1], .traffic = &traffic};
        check_ok(vm_worker_tell(thread, &accept));
        expect_packet(guest_port, VSOCK_RESPONSE);
        return ends[0];
}

TEST(a_thread_serves_on_what_another_had) {
        begin();
        fd_close(connect_guest(5000));
        expect_packet(5000, VSOCK_SHUTDOWN);
        cleanup(fd_closep) int open_fd = connect_guest(5001);
        for (unsigned lives = 0; lives < 3; lives++) {
                stop();
                succeed();
                await_running();
                if (lives == 0)
                        expect_packet(5000, VSOCK_RST); /* which was not over yet */
                if (lives == 0)
                        expect_packet(5001, VSOCK_RST);
                fd_close(connect_guest(5002));
                expect_packet(5002, VSOCK_SHUTDOWN);
                say(5002, VSOCK_RST);
                fd_close(connect_guest(5003)); /* behind it */
                expect_packet(5003, VSOCK_SHUTDOWN);
                say(5003, VSOCK_RST);
                fd_close(connect_guest(5004));
                expect_packet(5004, VSOCK_SHUTDOWN);
                say(5004, VSOCK_RST);
                say(5005, VSOCK_CREDIT_REQUEST);
                expect_packet(5005, VSOCK_RST); /* and thereby all that came before was taken */
        }
        end();
}

TEST(it_is_said_anew_when_a_descriptor_changes_and_when_it_is_asked_for) {
        begin();
        uint64_t before = expect(VM_HELD).held->generation;
        while (before < 9) /* of the words that started the driver: 6 calls, 2 kicks, and the memory */
                before = expect(VM_HELD).held->generation;
        uint64_t none = VHOST_USER_NO_DESCRIPTOR;
        fake_message(&guest, VHOST_USER_SET_VRING_CALL, 0, &none, sizeof none, NULL, 0);
        check_equal(expect(VM_HELD).held->generation, before + 1);
        check_equal(held->count, VM_HELD_FIXED + 1 + 3);
        check_ok(vm_worker_tell(thread, &(struct vm_message){.kind = VM_SAY_HELD, .fd = -1}));
        check_equal(expect(VM_HELD).held->generation, before + 1);
        end();
}

TEST(what_is_too_old_is_not_served_on) {
        begin();
        expect(VM_HELD);
        struct vm_held *old = held;
        held = NULL;
        uint64_t none = VHOST_USER_NO_DESCRIPTOR;
        fake_message(&guest, VHOST_USER_SET_VRING_CALL, 0, &none, sizeof none, NULL, 0);
        while (expect(VM_HELD).held->generation <= old->generation)
                ;
        stop();
        vm_held_free(held);
        held = old;
        succeed();
        expect(VM_ENDED);
        struct vm_state state;
        vm_worker_state(thread, &state);
        check_equal(state.problem, VHOST_USER_LOST);
        join(thread);
        char byte;
        while (recv(guest.socket, &byte, 1, MSG_DONTWAIT) > 0) /* answers that nobody read */
                ;
        check_equal(must(recv(guest.socket, &byte, 1, 0)), 0); /* the VMM may connect again */
        held = vm_held_free(held);
        fake_guest_free(&guest);
}

TEST(what_is_no_ledger_is_not_taken) {
        begin();
        expect(VM_HELD);
        stop();
        struct vm_held *bad = held;
        struct vm_thread_options options = {.guest_cid = FAKE_CID, .front_end_fd = -1, .held = bad};
        fd_close(bad->fds[1]);
        bad->fds[1] = (int)must(eventfd(0, EFD_CLOEXEC));
        check_equal(vm_thread_new(&options, &thread), -EPROTO);
        held = vm_held_free(bad);
        fake_guest_free(&guest);
}
