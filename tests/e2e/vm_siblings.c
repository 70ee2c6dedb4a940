/* SPDX-License-Identifier: MIT */

/* From one VM's guest to another's, where the administrator lets siblings see each other. */

#include "base/fd.h"
#include "test.h"
#include "vm_world.h"

#define GUEST_PORT 40000u
#define OTHER_CID 43u

static struct fake_guest first, second;

/* The driver's functions act on one guest at a time. */
static struct fake_guest *acting;

static void act(struct fake_guest *as) {
        if (acting)
                *acting = guest;
        acting = as;
        guest = *as;
        under_way = 0;
}

static void plug(struct fake_guest *which, const char *name) {
        act(which);
        vm_plug(name);
}

static void begin(const char *siblings) {
        char lines[64];
        world = world_new();
        snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\nSiblings=%s\n", FAKE_CID, siblings);
        world_define(world, "first", "vm", lines);
        snprintf(lines, sizeof lines, "Reach=vm\nCid=%u\nSiblings=%s\n", OTHER_CID, siblings);
        world_define(world, "second", "vm", lines);
        service_id = port_service(PORT);
        world_write_service(world, &service_id, "Port", "");
        world_start(world);
        plug(&second, "second");
        plug(&first, "first");
}

static void end(void) {
        act(&first);
        fake_guest_free(&guest);
        act(&second);
        fake_guest_free(&guest);
        check(await(!partition_is_running(world, "first") && !partition_is_running(world, "second")));
        world_end(world);
}

/* What the first guest says to the second, and what the second, to an asker's port, says to the first. */
static struct vsock_packet to_second(uint16_t operation, enum vsock_type type) {
        struct vsock_packet packet = driver_packet(PORT, GUEST_PORT, operation, type);
        packet.target_cid = OTHER_CID;
        return packet;
}

static struct vsock_packet to_first(const struct vsock_packet *request, uint16_t operation) {
        struct vsock_packet packet = driver_packet(request->source_port, PORT, operation, request->type);
        packet.source_cid = OTHER_CID;
        packet.target_cid = FAKE_CID;
        return packet;
}

static struct vsock_packet connect_guests(enum vsock_type type) {
        act(&first);
        driver_send(to_second(VSOCK_REQUEST, type), NULL, 0);
        act(&second);
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        check_equal(request.source_cid, FAKE_CID);
        check_equal(request.target_cid, OTHER_CID);
        driver_send(to_first(&request, VSOCK_RESPONSE), NULL, 0);
        act(&first);
        struct vsock_packet response = driver_expect(VSOCK_RESPONSE);
        check_equal(response.source_cid, OTHER_CID);
        return request;
}

TEST(guests_of_two_vms_talk_both_ways) {
        char bytes[16];
        begin("yes");
        struct vsock_packet request = connect_guests(VSOCK_STREAM);
        driver_send(to_second(VSOCK_RW, VSOCK_STREAM), "hello", 5);
        act(&second);
        check_equal(driver_receive(bytes, sizeof bytes).length, 5);
        driver_send(to_first(&request, VSOCK_RW), "you!", 4);
        act(&first);
        check_equal(driver_receive(bytes, sizeof bytes).length, 4);
        struct vsock_packet shutdown = to_second(VSOCK_SHUTDOWN, VSOCK_STREAM);
        shutdown.flags = VSOCK_SHUT_BOTH;
        driver_send(shutdown, NULL, 0);
        driver_expect(VSOCK_RST);
        act(&second);
        check_equal(driver_expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_BOTH);
        driver_send(to_first(&request, VSOCK_RST), NULL, 0);
        end();
}

TEST(messages_between_guests_stay_messages_empty_ones_too) {
        char bytes[16];
        begin("yes");
        connect_guests(VSOCK_SEQPACKET);
        struct vsock_packet message = to_second(VSOCK_RW, VSOCK_SEQPACKET);
        message.flags = VSOCK_END_OF_MESSAGE;
        driver_send(message, "ab", 2);
        driver_send(message, NULL, 0);
        message.flags |= VSOCK_END_OF_RECORD;
        driver_send(message, "c", 1);
        act(&second);
        struct vsock_packet received = driver_receive(bytes, sizeof bytes);
        check_equal(received.length, 2);
        check_equal(received.flags, VSOCK_END_OF_MESSAGE);
        received = driver_receive(bytes, sizeof bytes);
        check_equal(received.length, 0);
        check_equal(received.flags, VSOCK_END_OF_MESSAGE);
        received = driver_receive(bytes, sizeof bytes);
        check_equal(received.length, 1);
        check_equal(received.flags, VSOCK_END_OF_MESSAGE | VSOCK_END_OF_RECORD);
        end();
}

TEST(a_message_that_fills_the_last_buffer_comes_whole) {
        static char bytes[FAKE_RX_BUFFER], received[FAKE_RX_BUFFER];
        const uint32_t room = FAKE_RX_BUFFER - VSOCK_HEADER_SIZE;
        begin("yes");
        connect_guests(VSOCK_SEQPACKET);
        struct vsock_packet message = to_second(VSOCK_RW, VSOCK_SEQPACKET);
        message.flags = VSOCK_END_OF_MESSAGE | VSOCK_END_OF_RECORD;
        memset(bytes, 'x', sizeof bytes);
        driver_send(message, bytes, room);
        act(&second);
        struct vsock_packet whole = driver_receive(received, sizeof received);
        check_equal(whole.length, room);
        check_equal(whole.flags, VSOCK_END_OF_MESSAGE | VSOCK_END_OF_RECORD);
        check(!memcmp(bytes, received, room));
        end();
}

TEST(a_guest_that_refuses_another_resets_it) {
        begin("yes");
        act(&first);
        driver_send(to_second(VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        act(&second);
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        driver_send(to_first(&request, VSOCK_RST), NULL, 0);
        act(&first);
        driver_expect(VSOCK_RST);
        check_equal(service_counter(world, &service_id, "refused/no-listener"), 1);
        end();
}

TEST(siblings_that_may_not_see_each_other_are_reset) {
        begin("no");
        act(&first);
        driver_send(to_second(VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        driver_expect(VSOCK_RST);
        end();
}

TEST(a_guest_that_goes_resets_the_others_end) {
        begin("yes");
        connect_guests(VSOCK_STREAM);
        act(&second);
        guest.socket = fd_close(guest.socket);
        act(&first);
        driver_expect(VSOCK_RST);
        end();
}

TEST(a_guest_that_goes_while_another_is_asked_for_it_leaves_nothing) {
        begin("yes");
        act(&first);
        driver_send(to_second(VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        act(&second);
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        act(&first);
        guest.socket = fd_close(guest.socket);
        check(await(!partition_is_running(world, "first")));
        act(&second);
        driver_expect(VSOCK_RST);
        driver_send(to_first(&request, VSOCK_RESPONSE), NULL, 0);
        driver_expect(VSOCK_RST);
        end();
}
