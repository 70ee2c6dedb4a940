/* SPDX-License-Identifier: MIT */

/* VMMs that mean harm to hvsockd, whose other clients notice nothing. */

#include "base/fd.h"
#include "deaf_file.h"
#include "lingering.h"
#include "pair.h"
#include "test.h"
#include "vm/vsock.h"
#include "vm/worker.h"
#include "vm_world.h"
#include <fcntl.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define VMMS 16u
#define HELD_UP 12u
#define DEAF_SIZE 65536u
#define PATIENCE_SECONDS 20

#define UNREAD_MAX 100000u /* requests whose replies fill any socket */
#define BUSY_PACKETS_MAX 4096u

static int deaf[VMMS]; /* the peers of lingering sockets, which never read */

static void check_answers(void) {
        alarm(PATIENCE_SECONDS);
        json_object_put(manage(world, "GetPartition", "{\"partition\": \"guest\"}"));
        alarm(0);
}

/* More of them than may wait for their turn, and all gone before hvsockd sees them. */
TEST(a_vmm_that_leaves_descriptors_whose_close_waits_holds_up_nobody) {
        vm_world_open("", "");
        must(kill(world->broker, SIGSTOP));
        for (unsigned i = 0; i < VMMS; i++) {
                cleanup(fd_closep) int vmm = vm_connect("guest");
                send_lingering(vmm, "x", 1, 1, &deaf[i]);
        }
        must(kill(world->broker, SIGCONT));
        for (unsigned i = 0; i < 2 * VMMS; i++)
                check_answers();
        for (unsigned i = 0; i < VMMS; i++)
                close(deaf[i]);
        world_end(world);
}

/* The memory of a guest that has none of its own: a file that nobody serves. */
static void share(struct deaf_file *file) {
        const uint64_t table[5] = {1, FAKE_BASE, DEAF_SIZE, FAKE_BASE + FAKE_USER_OFFSET, 0};
        fake_guest_init(&guest);
        guest.socket = vm_connect("guest");
        fake_realize(&guest);
        must(kill(world->broker, SIGSTOP));
        fake_message(&guest, VHOST_USER_SET_MEM_TABLE, VHOST_USER_NEED_REPLY, table, sizeof table, &file->fd, 1);
        deaf_file_stop(file);
        must(kill(world->broker, SIGCONT));
        for (uint32_t header[3] = {}; header[0] != VHOST_USER_SET_MEM_TABLE;) {
                char payload[VHOST_USER_PAYLOAD_MAX];
                await_readable(guest.socket);
                check_equal(must(recv(guest.socket, header, sizeof header, MSG_WAITALL)), sizeof header);
                if (header[2])
                        check_equal(must(recv(guest.socket, payload, header[2], MSG_WAITALL)), header[2]);
        }
}

/* What goes to the holder is closed; so are the copies in the process that becomes the holder, if it is not there yet. */
TEST(a_vmm_whose_memory_is_a_file_that_nobody_serves_holds_up_nobody) {
        struct deaf_file file;
        if (!deaf_file_open(&file, DEAF_SIZE))
                test_skip("no FUSE server may be started here");
        vm_world_open("", "");
        share(&file);
        check_answers();
        for (uint64_t ring = 0; ring < 2; ring++)
                fake_message(&guest, VHOST_USER_SET_VRING_CALL, 0, &ring, sizeof ring, &guest.call_fds[ring], 1);
        for (unsigned i = 0; i < 10; i++)
                check_answers();
        deaf_file_close(&file);
        fake_guest_free(&guest);
        world_end(world);
}

/* Its thread waits in the call that it asks for. */
static int hold_up(struct fake_guest *vmm, const char *label) {
        static const char bytes[65536];
        const uint64_t ring = VHOST_USER_RX;
        int ends[2];
        must(pipe2(ends, O_CLOEXEC | O_NONBLOCK));
        while (write(ends[1], bytes, sizeof bytes) > 0 || write(ends[1], bytes, 1) > 0)
                ;
        must(fcntl(ends[1], F_SETFL, 0));
        fake_guest_init(vmm);
        vmm->socket = vm_connect(label);
        fake_message(vmm, VHOST_USER_SET_VRING_CALL, 0, &ring, sizeof ring, &ends[1], 1);
        close(ends[1]);
        check(await(!vm_unheard(vmm)));
        return ends[0];
}

/* All of them at once: one after the other would take longer than anything is waited for here. */
TEST(threads_that_are_held_up_keep_hvsockd_from_ending_only_for_a_while) {
        static struct fake_guest vmms[HELD_UP];
        int readers[HELD_UP];
        char label[16], lines[64];
        check(HELD_UP * VM_STOP_MS > WORLD_WAIT_MS);
        world = world_new();
        for (unsigned i = 0; i < HELD_UP; i++) {
                snprintf(label, sizeof label, "guest%u", i);
                snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\n", FAKE_CID + i);
                world_define(world, label, "vm", lines);
        }
        world_start(world);
        for (unsigned i = 0; i < HELD_UP; i++) {
                snprintf(label, sizeof label, "guest%u", i);
                readers[i] = hold_up(&vmms[i], label);
        }
        world_pause_ms(50);
        world_stop(world);
        for (unsigned i = 0; i < HELD_UP; i++) {
                close(readers[i]);
                fake_guest_free(&vmms[i]);
        }
        world_end(world);
}

/* ---- beside a guest that works ---- */

/* A world in which `guest` runs and another VM's VMM is the test's to misuse. */
static void begin_beside(int *ret_vmm) {
        char lines[64];
        world = world_new();
        snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\n", FAKE_CID);
        world_define(world, "guest", "vm", lines);
        snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\n", FAKE_CID + 1);
        world_define(world, "other", "vm", lines);
        vm_id = *world_id(world, "guest");
        service_id = port_service(PORT);
        world_write_service(world, &service_id, "Port", "");
        world_start(world);
        world_enter(world, "host");
        vm_plug("guest");
        *ret_vmm = vm_connect("other");
}

static void end_beside(void) {
        fake_guest_free(&guest);
        vm_world_close();
}

static void check_serves(void) {
        char bytes[8];
        int listener = vm_listen(SOCK_STREAM), fd = vm_accept(listener, 40000, SOCK_STREAM);
        driver_send(driver_packet(PORT, 40000, VSOCK_RW, VSOCK_STREAM), "hello", 5);
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 5);
        check_equal(must(hv_send(fd, "you!", 4, 0)), 4);
        check_equal(driver_receive(bytes, sizeof bytes).length, 4);
        must(hv_close(fd));
        check_equal(driver_expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_BOTH);
        driver_send(driver_packet(PORT, 40000, VSOCK_RST, VSOCK_STREAM), NULL, 0);
        must(hv_close(listener));
        check_answers();
}

TEST(a_vmm_that_stops_in_the_middle_of_a_message_holds_up_nobody_and_may_go_on) {
        const uint32_t request[3] = {VHOST_USER_GET_FEATURES, 1, 0}; /* 1: the protocol's version */
        uint32_t reply[5];
        int vmm;
        begin_beside(&vmm);
        check_equal(must(send(vmm, request, sizeof request / 2, 0)), sizeof request / 2);
        check_serves();
        check_equal(must(send(vmm, (const uint8_t *)request + sizeof request / 2, sizeof request / 2, 0)), sizeof request / 2);
        check_equal(must(recv(vmm, reply, sizeof reply, MSG_WAITALL)), sizeof reply);
        check_equal(reply[0], VHOST_USER_GET_FEATURES);
        close(vmm);
        end_beside();
}

TEST(a_vmm_that_reads_no_replies_is_let_go_and_holds_up_nobody) {
        const uint32_t request[3] = {VHOST_USER_GET_FEATURES, 1, 0};
        unsigned sent = 0;
        ssize_t r = 0;
        int vmm;
        begin_beside(&vmm);
        while (sent < UNREAD_MAX && (r = send(vmm, request, sizeof request, MSG_NOSIGNAL)) == sizeof request)
                sent++;
        check(r < 0 && (errno == EPIPE || errno == ECONNRESET));
        check_serves();
        close(vmm);
        vmm = vm_connect("other"); /* the next one is served */
        check_equal(must(send(vmm, request, sizeof request, 0)), sizeof request);
        check_equal(must(recv(vmm, &(uint32_t){0}, sizeof(uint32_t), MSG_WAITALL)), sizeof(uint32_t));
        close(vmm);
        end_beside();
}

/* ---- one channel beside another of the same guest ---- */

/* Until the guest resets it. */
static long send_without_end(void *argument) {
        static const char bytes[16384];
        while (hv_send(*(int *)argument, bytes, sizeof bytes, MSG_NOSIGNAL) == sizeof bytes)
                ;
        return errno == ECONNRESET || errno == EPIPE ? 0 : -1;
}

static void guest_passed_on(uint32_t forwarded) {
        struct vsock_packet update = driver_packet(PORT, 40000, VSOCK_CREDIT_UPDATE, VSOCK_STREAM);
        update.forwarded = forwarded;
        driver_send(update, NULL, 0);
}

TEST(a_channel_that_always_has_something_to_send_leaves_the_one_beside_it_its_turn) {
        static uint8_t payload[FAKE_RX_BUFFER];
        uint32_t busy_bytes = 0;
        unsigned packets = 0;
        int vmm;
        begin_beside(&vmm);
        int listener = vm_listen(SOCK_STREAM);
        int busy = vm_accept(listener, 40000, SOCK_STREAM), quiet = vm_accept(listener, 40001, SOCK_STREAM);
        struct thread *sender = thread_start(send_without_end, &busy);
        bool is_told = false;
        for (bool is_heard = false; !is_heard && packets < BUSY_PACKETS_MAX; packets++) {
                struct vsock_packet packet = driver_next(payload, sizeof payload);
                is_heard = packet.operation == VSOCK_RW && packet.target_port == 40001;
                if (packet.operation != VSOCK_RW || is_heard)
                        continue;
                guest_passed_on(busy_bytes += packet.length);
                if (!is_told && busy_bytes > 1u << 20) { /* now it is busy */
                        check_equal(must(hv_send(quiet, "x", 1, 0)), 1);
                        is_told = true;
                }
        }
        check(packets < BUSY_PACKETS_MAX);
        driver_send(driver_packet(PORT, 40000, VSOCK_RST, VSOCK_STREAM), NULL, 0);
        check_equal(thread_join(sender), 0);
        must(hv_close(busy));
        must(hv_close(quiet));
        must(hv_close(listener));
        close(vmm);
        end_beside();
}

TEST(a_channel_that_nobody_reads_leaves_the_one_beside_it_its_way) {
        static const char bytes[32768];
        char byte;
        int vmm;
        begin_beside(&vmm);
        int listener = vm_listen(SOCK_STREAM);
        int unread = vm_accept(listener, 40000, SOCK_STREAM), other = vm_accept(listener, 40001, SOCK_STREAM);
        for (unsigned i = 0; i < VSOCK_BUFFER_MAX / sizeof bytes; i++) /* all that it has credit for */
                driver_send(driver_packet(PORT, 40000, VSOCK_RW, VSOCK_STREAM), bytes, sizeof bytes);
        driver_send(driver_packet(PORT, 40001, VSOCK_RW, VSOCK_STREAM), "x", 1);
        check_equal(must(hv_recv(other, &byte, 1, 0)), 1);
        must(hv_close(unread));
        must(hv_close(other));
        must(hv_close(listener));
        close(vmm);
        end_beside();
}
