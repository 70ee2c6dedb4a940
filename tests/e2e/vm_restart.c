/* SPDX-License-Identifier: MIT */

/* hvsockd ends, in whatever way, while a VM runs; another one begins. The VMM and its guest are left alone. */

#include "base/fd.h"
#include "lingering.h"
#include "pair.h"
#include "test.h"
#include "vm_world.h"
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define GUEST_PORT 40000u
#define CROWD 200u

static int listener;
static uint32_t next_guest_port;

static long long connections(void) {
        struct json_object *reply = manage(world, "GetVm", "{\"partition\": \"guest\"}");
        long long connections = number_at(reply, "/vm/connections");
        json_object_put(reply);
        return connections;
}

/* All that the VMM said was heard, and the holder was told. */
static void await_held(void) {
        check(await(!vm_unheard(&guest)));
        world_pause_ms(20);
        for (unsigned i = 0; i < 3; i++) /* turns of hvsockd */
                check(is_running());
}

static void plug(void) {
        vm_plug("guest");
        await_held();
}

static void begin(int type) {
        vm_world_open("", "");
        listener = vm_listen(type);
        next_guest_port = GUEST_PORT;
        plug();
}

static void end(void) {
        must(hv_close(listener));
        fake_guest_free(&guest);
        vm_world_close();
}

/* ---- channels ---- */

static enum vsock_type guest_type(int type) {
        return type == SOCK_STREAM ? VSOCK_STREAM : VSOCK_SEQPACKET;
}

/* The guest connects, and an application accepts. */
static int from_guest(int type) {
        return vm_accept(listener, next_guest_port++, type);
}

static long connect_to_guest(void *argument) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = vm_id, .ServiceId = service_id};
        return hv_connect(*(int *)argument, (struct sockaddr *)&address, sizeof address);
}

/* An application connects, and the guest accepts. Its host port is in *ret_port. */
static int to_guest(int type, uint32_t *ret_port) {
        int fd = (int)must(hv_socket(AF_HYPERV, type, HV_PROTOCOL_RAW));
        struct thread *thread = thread_start(connect_to_guest, &fd);
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        *ret_port = request.source_port;
        driver_send(driver_packet(request.source_port, PORT, VSOCK_RESPONSE, guest_type(type)), NULL, 0);
        check_equal(thread_join(thread), 0);
        return fd;
}

static void check_talks(int fd, uint32_t host_port, uint32_t guest_port, int type) {
        char bytes[16];
        struct vsock_packet header = driver_packet(host_port, guest_port, VSOCK_RW, guest_type(type));
        header.flags = type == SOCK_SEQPACKET ? VSOCK_END_OF_MESSAGE : 0;
        driver_send(header, "hello", 5);
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 5);
        check_equal(must(hv_send(fd, "you!", 4, 0)), 4);
        header = driver_receive(bytes, sizeof bytes);
        check_equal(header.operation, VSOCK_RW);
        check_equal(header.length, 4);
        check_equal(header.target_port, guest_port);
}

/* What came until now, for a RST of this port; the answer to a packet of nobody is behind it. */
static bool has_reset(uint32_t guest_port, uint32_t nobodys_port) {
        static char bytes[FAKE_RX_BUFFER];
        bool is_reset = false;
        driver_send(driver_packet(PORT, nobodys_port, VSOCK_CREDIT_REQUEST, VSOCK_STREAM), NULL, 0);
        for (;;) {
                struct vsock_packet packet = driver_receive(bytes, sizeof bytes);
                if (packet.operation != VSOCK_RST)
                        continue;
                if (packet.target_port == nobodys_port)
                        return is_reset;
                is_reset |= packet.target_port == guest_port;
        }
}

/*
 * Three turns of the VM's thread: in one it hears of an end, in the next it forgets the connection, and its ledger has
 * that before the third. A successor resets once more what is in there, as it may.
 */
static void await_forgotten(void) {
        for (unsigned turns = 0; turns < 3; turns++)
                (void)has_reset(0, 1);
}

static void check_served(int type) {
        uint32_t port;
        int accepted = from_guest(type), connected = to_guest(type, &port);
        check_talks(accepted, PORT, next_guest_port - 1, type);
        check_talks(connected, port, PORT, type);
        must(hv_close(accepted));
        check_equal(driver_expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_BOTH);
        driver_send(driver_packet(PORT, next_guest_port - 1, VSOCK_RST, guest_type(type)), NULL, 0);
        must(hv_close(connected));
        check_equal(driver_expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_BOTH);
        driver_send(driver_packet(port, PORT, VSOCK_RST, guest_type(type)), NULL, 0);
        await_forgotten();
}

static void check_was_reset(int fd) {
        char byte;
        check_errno(hv_recv(fd, &byte, 1, 0), ECONNRESET);
        must(hv_close(fd));
}

/* RSTs for so many, and nothing else. */
static void expect_resets(unsigned count) {
        while (count--)
                driver_expect(VSOCK_RST);
}

/* What was sent to it before may come first, and more of them for what the guest had sent. */
static void expect_reset_of(uint32_t guest_port) {
        bool is_reset = has_reset(guest_port, 1);
        check(await(connections() == 0));
        is_reset |= has_reset(guest_port, 2);
        check(is_reset);
}

/* ---- ends of hvsockd ---- */

static void resets_and_serves(int type, void (*end_broker)(struct world *world)) {
        uint32_t port;
        begin(type);
        int accepted = from_guest(type), connected = to_guest(type, &port);
        check_talks(accepted, PORT, GUEST_PORT, type);
        check_talks(connected, port, PORT, type);
        world_pause_ms(20);
        end_broker(world);
        check_was_reset(accepted); /* while nobody serves */
        check_was_reset(connected);
        world_start(world);
        check(await(is_running()));
        expect_resets(2);
        check_served(type);
        end();
}

TEST(a_killed_hvsockd_resets_streams_at_once_and_its_successor_serves_the_guest) {
        resets_and_serves(SOCK_STREAM, world_kill);
}

TEST(so_it_does_with_messages) {
        resets_and_serves(SOCK_SEQPACKET, world_kill);
}

TEST(one_that_is_told_to_end_does_the_same) {
        resets_and_serves(SOCK_STREAM, world_stop);
        resets_and_serves(SOCK_SEQPACKET, world_stop);
}

TEST(many_deaths_in_a_row_are_survived) {
        begin(SOCK_STREAM);
        for (unsigned deaths = 0; deaths < 5; deaths++) {
                world_kill(world);
                world_start(world);
                if (deaths % 2)
                        continue; /* killed at once, whatever it was about to do */
                check(await(is_running()));
                check_served(SOCK_STREAM);
        }
        world_kill(world);
        world_start(world);
        check(await(is_running()));
        check_served(SOCK_STREAM);
        end();
}

TEST(a_request_that_nobody_served_is_answered_by_the_successor) {
        begin(SOCK_STREAM);
        world_kill(world);
        driver_send(driver_packet(PORT, next_guest_port, VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        world_start(world);
        int fd = (int)must(hv_accept(listener, NULL, NULL));
        driver_expect(VSOCK_RESPONSE);
        check_talks(fd, PORT, next_guest_port++, SOCK_STREAM);
        must(hv_close(fd));
        driver_expect(VSOCK_SHUTDOWN);
        end();
}

TEST(a_vmm_that_speaks_while_nobody_listens_is_answered_by_the_successor) {
        uint64_t features = 0;
        uint32_t size;
        begin(SOCK_STREAM);
        world_kill(world);
        char bytes[4096];
        while (recv(guest.socket, bytes, sizeof bytes, MSG_DONTWAIT) > 0) /* answers of before */
                ;
        fake_message(&guest, VHOST_USER_GET_FEATURES, 0, NULL, 0, NULL, 0);
        world_start(world);
        await_readable(guest.socket);
        check(fake_answer(&guest, VHOST_USER_GET_FEATURES, &features, &size));
        check_equal(features, VHOST_USER_FEATURES);
        check_served(SOCK_STREAM);
        end();
}

/* ---- during traffic ---- */

static long send_until_it_fails(void *argument) {
        static char bytes[4096];
        while (hv_send(*(int *)argument, bytes, sizeof bytes, 0) > 0)
                ;
        return errno;
}

TEST(traffic_that_is_cut_off_is_a_reset_on_both_sides) {
        static char bytes[4096];
        begin(SOCK_STREAM);
        for (unsigned deaths = 0; deaths < 5; deaths++) {
                uint32_t guest_port = next_guest_port, forwarded = 0, sent = 0;
                int fd = from_guest(SOCK_STREAM);
                struct thread *thread = thread_start(send_until_it_fails, &fd);
                for (unsigned i = 0; i < 200 + 61 * deaths; i++) {
                        struct vsock_packet packet = driver_receive(bytes, sizeof bytes);
                        check(packet.operation == VSOCK_RW || packet.operation == VSOCK_CREDIT_REQUEST);
                        forwarded += packet.length;
                        if (i % 4)
                                continue;
                        struct vsock_packet update = driver_packet(PORT, guest_port, VSOCK_CREDIT_UPDATE, VSOCK_STREAM);
                        update.forwarded = forwarded;
                        driver_send(update, NULL, 0);
                        if (sent < 131072) { /* which nobody reads */
                                update.operation = VSOCK_RW;
                                driver_send(update, bytes, sizeof bytes);
                                sent += sizeof bytes;
                        }
                }
                world_kill(world);
                long error = thread_join(thread);
                if (error != ECONNRESET)
                        check_equal(error, EPIPE);
                must(hv_close(fd));
                world_start(world);
                check(await(is_running()));
                expect_reset_of(guest_port);
                check_served(SOCK_STREAM);
        }
        end();
}

/* ---- without a holder ---- */

static void kill_holder(void) {
        pid_t pid = vm_holder();
        must(kill(pid, SIGKILL));
        check_equal(must(waitpid(pid, NULL, 0)), pid);
}

static bool needs_replug(void) {
        struct json_object *reply = manage(world, "GetVm", "{\"partition\": \"guest\"}");
        bool needs_replug = flag_at(reply, "/vm/needsReplug");
        json_object_put(reply);
        return needs_replug;
}

TEST(without_a_holder_the_vm_is_said_to_need_a_re_plug_and_then_is_served) {
        begin(SOCK_STREAM);
        check(!needs_replug());
        world_kill(world);
        kill_holder();
        world_start(world);
        check(!is_running());
        check(needs_replug());
        char byte;
        while (recv(guest.socket, &byte, 1, 0) > 0)
                ;
        world_kill(world); /* who comes then says so, too */
        world_start(world);
        check(needs_replug());
        fake_guest_free(&guest);
        plug();
        check(!needs_replug());
        check_served(SOCK_STREAM);
        end();
}

TEST(a_holder_that_dies_is_replaced) {
        begin(SOCK_STREAM);
        uint32_t port;
        int before = to_guest(SOCK_STREAM, &port);
        pid_t first = vm_holder();
        kill_holder();
        check(await(vm_holder() != first));
        world_pause_ms(50);
        int fd = to_guest(SOCK_STREAM, &port);
        world_pause_ms(20);
        world_kill(world);
        check_was_reset(before);
        check_was_reset(fd);
        world_start(world);
        check(await(is_running()));
        expect_resets(2);
        check_served(SOCK_STREAM);
        end();
}

TEST(a_holder_that_does_not_keep_up_holds_up_nobody) {
        int fds[CROWD];
        uint32_t first;
        begin(SOCK_STREAM);
        pid_t pid = vm_holder();
        must(kill(pid, SIGSTOP));
        for (unsigned rounds = 0; rounds < 4; rounds++) { /* more than the socket to it takes */
                first = next_guest_port;
                for (unsigned i = 0; i < CROWD; i++)
                        fds[i] = from_guest(SOCK_STREAM);
                for (unsigned i = 0; i < CROWD && rounds < 3; i++) {
                        must(hv_close(fds[i]));
                        driver_expect(VSOCK_SHUTDOWN);
                        driver_send(driver_packet(PORT, first + i, VSOCK_RST, VSOCK_STREAM), NULL, 0);
                }
        }
        check_talks(fds[0], PORT, first, SOCK_STREAM);
        must(kill(pid, SIGCONT));
        await_held();
        world_pause_ms(100);
        world_kill(world);
        for (unsigned i = 0; i < CROWD; i++)
                check_was_reset(fds[i]);
        world_start(world);
        check(await(is_running()));
        expect_resets(CROWD);
        check_served(SOCK_STREAM);
        end();
}

TEST(a_channel_whose_close_waits_does_not_hold_up_the_successor) {
        int deaf;
        begin(SOCK_STREAM);
        int fd = from_guest(SOCK_STREAM);
        await_held();
        must(kill(world->broker, SIGSTOP));
        send_lingering(fd, "x", 1, 1, &deaf);
        world_kill(world);
        check_was_reset(fd);
        world_start(world);
        check(await(is_running()));
        expect_resets(1);
        check_served(SOCK_STREAM);
        fd_close(deaf);
        end();
}

TEST(a_holder_ends_with_the_last_vm) {
        begin(SOCK_STREAM);
        world_kill(world);
        pid_t pid = vm_holder();
        fake_guest_free(&guest);
        check_equal(await_child(pid), 0);
        world_start(world);
        check(!is_running());
        plug();
        check_served(SOCK_STREAM);
        pid = vm_holder();
        fake_guest_free(&guest);
        check_equal(await_child(pid), 0);
        end();
}
