/* SPDX-License-Identifier: MIT */

/* Virtual machines through hvsockd: applications of the host, and a fake guest whose VMM attached it. */

#include "base/fd.h"
#include "pair.h"
#include "test.h"
#include "vm_world.h"
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#define GUEST_PORT 40000u

static void begin(void) {
        vm_world_open("", "");
        vm_plug("guest");
}

static void end(void) {
        fake_guest_free(&guest);
        vm_world_close();
}

/* ---- from the guest ---- */

static struct vsock_packet of_guest(uint16_t operation, enum vsock_type type) {
        return driver_packet(PORT, GUEST_PORT, operation, type);
}

static int listen_at(const GUID *listen_vm_id, int type) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = *listen_vm_id, .ServiceId = service_id};
        int fd = (int)must(hv_socket(AF_HYPERV, type, HV_PROTOCOL_RAW));
        must(hv_bind(fd, (struct sockaddr *)&address, sizeof address));
        must(hv_listen(fd, 8));
        return fd;
}

/* The guest connects, and the host's listener has it. */
static int accept_guest(int listener, enum vsock_type type, SOCKADDR_HV *ret_peer) {
        socklen_t length = sizeof *ret_peer;
        driver_send(of_guest(VSOCK_REQUEST, type), NULL, 0);
        int fd = (int)must(hv_accept(listener, (struct sockaddr *)ret_peer, &length));
        driver_expect(VSOCK_RESPONSE);
        return fd;
}

TEST(a_guest_reaches_a_listener_of_the_host_which_sees_its_vm_id) {
        char bytes[16];
        SOCKADDR_HV peer;
        begin();
        int listener = listen_at(&HV_GUID_CHILDREN, SOCK_STREAM), fd = accept_guest(listener, VSOCK_STREAM, &peer);
        check(!memcmp(&peer.VmId, &vm_id, sizeof vm_id));
        driver_send(of_guest(VSOCK_RW, VSOCK_STREAM), "hello", 5);
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 5);
        check_equal(must(hv_send(fd, "you!", 4, 0)), 4);
        check_equal(driver_receive(bytes, sizeof bytes).length, 4);
        check_equal(service_counter(world, &service_id, "channelsNow"), 1);
        must(hv_close(fd));
        check_equal(driver_expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_BOTH);
        check(await(service_counter(world, &service_id, "channelsNow") == 0));
        must(hv_close(listener));
        end();
}

TEST(what_asked_whether_a_channel_lives_is_closed_with_the_last_channel) {
        SOCKADDR_HV peer;
        begin();
        int listener = listen_at(&HV_GUID_CHILDREN, SOCK_STREAM), fd = accept_guest(listener, VSOCK_STREAM, &peer);
        struct json_object *channels = manage(world, "ListChannels", "{}"); /* asks after each */
        check_equal(length_at(channels, "/channels"), 1);
        json_object_put(channels);
        driver_send(of_guest(VSOCK_RST, VSOCK_STREAM), NULL, 0);
        check(await(service_counter(world, &service_id, "channelsNow") == 0));
        must(hv_close(fd));
        must(hv_close(listener));
        end(); /* counts the broker's descriptors */
}

TEST(a_guests_messages_stay_messages) {
        char bytes[16];
        SOCKADDR_HV peer;
        begin();
        int listener = listen_at(&HV_GUID_CHILDREN, SOCK_SEQPACKET), fd = accept_guest(listener, VSOCK_SEQPACKET, &peer);
        struct vsock_packet message = of_guest(VSOCK_RW, VSOCK_SEQPACKET);
        message.flags = VSOCK_END_OF_MESSAGE;
        driver_send(message, "ab", 2);
        driver_send(message, "cde", 3);
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 2);
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 3);
        check_equal(must(hv_send(fd, "xyz", 3, 0)), 3);
        check_equal(driver_receive(bytes, sizeof bytes).flags, VSOCK_END_OF_MESSAGE);
        must(hv_close(fd));
        must(hv_close(listener));
        end();
}

static uint8_t message[HV_SEQPACKET_MAX + 1], heard[HV_SEQPACKET_MAX + 1];

/* What an application sent, in as many packets as it takes. */
static void guest_hears(const void *expected, size_t size) {
        struct vsock_packet packet;
        size_t length = 0;
        do {
                packet = driver_receive(heard + length, sizeof heard - length);
                check_equal(packet.operation, VSOCK_RW);
                length += packet.length;
        } while (!(packet.flags & VSOCK_END_OF_MESSAGE));
        check_equal(length, size);
        check(!memcmp(heard, expected, size));
}

TEST(messages_of_64_kib_pass_both_ways_and_a_longer_one_is_emsgsize) {
        const int least = 1;
        const uint32_t half = HV_SEQPACKET_MAX / 2;
        uint64_t position = 0;
        SOCKADDR_HV peer;
        begin();
        int listener = listen_at(&HV_GUID_CHILDREN, SOCK_SEQPACKET), fd = accept_guest(listener, VSOCK_SEQPACKET, &peer);
        must(hv_setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &least, sizeof least));
        for (unsigned i = 0; i < 3; i++) { /* the last in rings, where it may */
                struct vsock_packet part = of_guest(VSOCK_RW, VSOCK_SEQPACKET);
                fill_sequence(&position, message, HV_SEQPACKET_MAX);
                driver_send(part, message, half);
                part.flags = VSOCK_END_OF_MESSAGE;
                driver_send(part, message + half, half);
                check_equal(must(hv_recv(fd, heard, sizeof heard, 0)), HV_SEQPACKET_MAX);
                check(!memcmp(heard, message, HV_SEQPACKET_MAX));
                check_equal(must(hv_send(fd, message, HV_SEQPACKET_MAX, 0)), HV_SEQPACKET_MAX);
                guest_hears(message, HV_SEQPACKET_MAX);
        }
        check_errno(hv_send(fd, message, HV_SEQPACKET_MAX + 1, 0), EMSGSIZE);
        check_equal(must(hv_send(fd, "xyz", 3, 0)), 3);
        guest_hears("xyz", 3);
        must(hv_close(fd));
        must(hv_close(listener));
        end();
}

static void resets_message(uint32_t guest_buffer, size_t size) {
        begin();
        int listener = listen_at(&HV_GUID_CHILDREN, SOCK_SEQPACKET);
        struct vsock_packet request = of_guest(VSOCK_REQUEST, VSOCK_SEQPACKET);
        request.buffer_size = guest_buffer;
        driver_send(request, NULL, 0);
        int fd = (int)must(hv_accept(listener, NULL, NULL));
        driver_expect(VSOCK_RESPONSE);
        check_equal(must(hv_send(fd, message, size, 0)), size);
        driver_expect(VSOCK_RST);
        check_errno(hv_recv(fd, heard, 1, 0), ECONNRESET);
        must(hv_close(fd));
        must(hv_close(listener));
        end();
}

TEST(a_message_longer_than_any_of_a_guest_is_a_reset_and_none_that_is_cut) {
        resets_message(4 * HV_SEQPACKET_MAX, HV_SEQPACKET_MAX + 1);
}

TEST(a_message_that_the_guest_never_has_room_for_is_a_reset_and_no_hang) {
        resets_message(4096, 4097);
}

TEST(a_guest_that_nobody_listens_for_gets_a_reset) {
        begin();
        driver_send(of_guest(VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        driver_expect(VSOCK_RST);
        check_equal(service_counter(world, &service_id, "refused/no-listener"), 1);
        end();
}

TEST(a_guest_that_may_not_connect_gets_a_reset) {
        vm_world_open("", "Connect=nobody\n");
        vm_plug("guest");
        int listener = listen_at(&HV_GUID_CHILDREN, SOCK_STREAM);
        driver_send(of_guest(VSOCK_REQUEST, VSOCK_STREAM), NULL, 0);
        driver_expect(VSOCK_RST);
        check_equal(service_counter(world, &service_id, "refused/connect-denied"), 1);
        must(hv_close(listener));
        end();
}

TEST(a_guest_that_asks_for_a_cid_of_nobody_gets_a_reset) {
        begin();
        struct vsock_packet request = of_guest(VSOCK_REQUEST, VSOCK_STREAM);
        request.target_cid = 77;
        driver_send(request, NULL, 0);
        driver_expect(VSOCK_RST);
        end();
}

TEST(a_listener_that_is_full_is_a_reset_for_the_guest) {
        begin();
        int listener = listen_at(&HV_GUID_CHILDREN, SOCK_STREAM);
        must(hv_listen(listener, 0));
        struct vsock_packet request = of_guest(VSOCK_REQUEST, VSOCK_STREAM);
        bool is_refused = false;
        for (unsigned i = 0; i < 8 && !is_refused; i++) {
                request.source_port++;
                driver_send(request, NULL, 0);
                is_refused = driver_receive(NULL, 0).operation == VSOCK_RST;
        }
        check(is_refused);
        must(hv_close(listener));
        end();
}

/* ---- to the guest ---- */

struct connecting {
        int fd, type;
        uint32_t timeout_ms;
        int survives; /* HVSOCKET_CONNECTED_SUSPEND */
};

static long connect_to_guest(void *argument) {
        struct connecting *connecting = argument;
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = vm_id, .ServiceId = service_id};
        connecting->fd = (int)must(hv_socket(AF_HYPERV, connecting->type, HV_PROTOCOL_RAW));
        if (connecting->timeout_ms)
                must(hv_setsockopt(connecting->fd, SOL_HVSOCKET, HVSOCKET_CONNECT_TIMEOUT, &connecting->timeout_ms,
                                   sizeof connecting->timeout_ms));
        must(hv_setsockopt(connecting->fd, SOL_HVSOCKET, HVSOCKET_CONNECTED_SUSPEND, &connecting->survives, sizeof(int)));
        return hv_connect(connecting->fd, (struct sockaddr *)&address, sizeof address);
}

static struct vsock_packet answer(const struct vsock_packet *request, uint16_t operation) {
        return driver_packet(request->source_port, request->target_port, operation, request->type);
}

/* An application connects, and the guest accepts. */
static int connect_accepted(int type, struct vsock_packet *ret_request) {
        struct connecting connecting = {.type = type};
        struct thread *thread = thread_start(connect_to_guest, &connecting);
        *ret_request = driver_expect(VSOCK_REQUEST);
        check_equal(ret_request->source_cid, VSOCK_CID_HOST);
        check_equal(ret_request->target_port, PORT);
        driver_send(answer(ret_request, VSOCK_RESPONSE), NULL, 0);
        check_equal(thread_join(thread), 0);
        return connecting.fd;
}

TEST(an_application_reaches_a_guests_listener_whose_address_is_its_peer) {
        char bytes[16];
        SOCKADDR_HV peer;
        socklen_t length = sizeof peer;
        struct vsock_packet request;
        begin();
        int fd = connect_accepted(SOCK_STREAM, &request);
        must(hv_getpeername(fd, (struct sockaddr *)&peer, &length));
        check(!memcmp(&peer.VmId, &vm_id, sizeof vm_id));
        check(!memcmp(&peer.ServiceId, &service_id, sizeof service_id));
        check_equal(must(hv_send(fd, "hello", 5, 0)), 5);
        check_equal(driver_receive(bytes, sizeof bytes).length, 5);
        driver_send(answer(&request, VSOCK_RW), "you!", 4);
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 4);
        struct vsock_packet shutdown = answer(&request, VSOCK_SHUTDOWN);
        shutdown.flags = VSOCK_SHUT_BOTH;
        driver_send(shutdown, NULL, 0);
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 0);
        driver_expect(VSOCK_RST);
        must(hv_close(fd));
        end();
}

TEST(a_guest_that_refuses_is_econnrefused_and_the_socket_can_be_used_again) {
        struct connecting connecting = {.type = SOCK_STREAM};
        begin();
        struct thread *thread = thread_start(connect_to_guest, &connecting);
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        driver_send(answer(&request, VSOCK_RST), NULL, 0);
        check_equal(thread_join(thread), -1);
        check_equal(errno, ECONNREFUSED);
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_LOOPBACK, .ServiceId = service_id};
        int listener = listen_at(&HV_GUID_LOOPBACK, SOCK_STREAM);
        must(hv_connect(connecting.fd, (struct sockaddr *)&address, sizeof address));
        must(hv_close(connecting.fd));
        must(hv_close(listener));
        end();
}

TEST(a_connect_that_timed_out_is_a_reset_for_the_guest) {
        struct connecting connecting = {.type = SOCK_STREAM, .timeout_ms = 50};
        begin();
        struct thread *thread = thread_start(connect_to_guest, &connecting);
        driver_expect(VSOCK_REQUEST);
        check_equal(thread_join(thread), -1);
        check_equal(errno, ETIMEDOUT);
        driver_expect(VSOCK_RST);
        must(hv_close(connecting.fd));
        end();
}

TEST(a_vm_that_does_not_run_is_ehostunreach) {
        struct connecting connecting = {.type = SOCK_STREAM};
        vm_world_open("", "");
        check_equal(connect_to_guest(&connecting), -1);
        check_equal(errno, EHOSTUNREACH);
        must(hv_close(connecting.fd));
        world_end(world);
}

TEST(a_guest_that_goes_while_it_is_asked_is_ehostunreach) {
        struct connecting connecting = {.type = SOCK_STREAM};
        begin();
        struct thread *thread = thread_start(connect_to_guest, &connecting);
        driver_expect(VSOCK_REQUEST);
        guest.socket = fd_close(guest.socket);
        check_equal(thread_join(thread), -1);
        check_equal(errno, EHOSTUNREACH);
        must(hv_close(connecting.fd));
        end();
}

TEST(a_vm_whose_vmm_goes_resets_its_channels) {
        char byte;
        struct vsock_packet request;
        begin();
        int fd = connect_accepted(SOCK_STREAM, &request);
        guest.socket = fd_close(guest.socket);
        check_equal(hv_recv(fd, &byte, 1, 0), -1);
        check_equal(errno, ECONNRESET);
        must(hv_close(fd));
        end();
}

TEST(a_megabyte_goes_both_ways) {
        static uint8_t sent[65536], bytes[65536];
        struct vsock_packet request;
        uint64_t to_guest = 0, at_guest = 0, from_guest = 0, at_host = 0;
        begin();
        int fd = connect_accepted(SOCK_STREAM, &request);
        uint32_t forwarded = 0;
        while (at_guest < 1u << 20) {
                if (to_guest - at_guest < 131072) {
                        fill_sequence(&to_guest, sent, 4096);
                        check_equal(must(hv_send(fd, sent, 4096, 0)), 4096);
                }
                struct vsock_packet packet = driver_receive(bytes, sizeof bytes);
                check_sequence(&at_guest, bytes, packet.length);
                forwarded += packet.length;
                struct vsock_packet update = answer(&request, VSOCK_CREDIT_UPDATE);
                update.forwarded = forwarded;
                driver_send(update, NULL, 0);
        }
        while (at_host < 1u << 20) {
                if (from_guest - at_host < 65536) {
                        fill_sequence(&from_guest, sent, 16384);
                        struct vsock_packet data = answer(&request, VSOCK_RW);
                        data.forwarded = forwarded;
                        driver_send(data, sent, 16384);
                }
                ssize_t length = must(hv_recv(fd, bytes, sizeof bytes, 0));
                check_sequence(&at_host, bytes, (size_t)length);
        }
        must(hv_close(fd));
        end();
}

TEST(a_disabled_services_channels_with_a_guest_end_on_both_sides) {
        char byte;
        struct vsock_packet request;
        begin();
        int fd = connect_accepted(SOCK_STREAM, &request);
        char id[HV_GUID_TEXT_SIZE];
        json_object_put(manage(world, "SetServiceEnabled", "{\"service\": \"%s\", \"enabled\": false}", hv_guid_format(&service_id, id)));
        driver_expect(VSOCK_RST);
        check_equal(hv_recv(fd, &byte, 1, 0), -1);
        must(hv_close(fd));
        end();
}

/* ---- pauses ---- */

static void survive(int fd, int survives) {
        must(hv_setsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECTED_SUSPEND, &survives, sizeof survives));
}

static void pause_guest(void) {
        fake_driver_stops(&guest);
        check(await(!is_running()));
        driver_resume(guest.queues[VHOST_USER_RX].used[1], guest.queues[VHOST_USER_TX].used[1]); /* as GET_VRING_BASE said */
        check(await(is_running()));
}

static void check_open(int fd, const struct vsock_packet *of_guests) {
        char bytes[8];
        driver_send(*of_guests, "still", 5);
        check_equal(must(hv_recv(fd, bytes, sizeof bytes, 0)), 5);
}

static void check_reset(int fd) {
        char byte;
        check_equal(hv_recv(fd, &byte, 1, 0), -1);
        check_equal(errno, ECONNRESET);
}

TEST(a_pause_resets_a_channel_unless_its_application_wanted_it_to_survive) {
        struct vsock_packet first, second;
        begin();
        int lost = connect_accepted(SOCK_STREAM, &first), kept = connect_accepted(SOCK_STREAM, &second);
        survive(kept, 1);
        pause_guest();
        check_reset(lost);
        check_equal(driver_expect(VSOCK_RST).target_port, first.target_port);
        struct vsock_packet data = answer(&second, VSOCK_RW);
        check_open(kept, &data);
        survive(kept, 0);
        pause_guest();
        check_reset(kept);
        must(hv_close(lost));
        must(hv_close(kept));
        end();
}

TEST(what_a_socket_was_told_before_it_connected_counts) {
        struct connecting connecting = {.type = SOCK_STREAM, .survives = true};
        begin();
        struct thread *thread = thread_start(connect_to_guest, &connecting);
        struct vsock_packet request = driver_expect(VSOCK_REQUEST);
        driver_send(answer(&request, VSOCK_RESPONSE), NULL, 0);
        check_equal(thread_join(thread), 0);
        pause_guest();
        struct vsock_packet data = answer(&request, VSOCK_RW);
        check_open(connecting.fd, &data);
        must(hv_close(connecting.fd));
        end();
}

TEST(what_a_listener_was_told_counts_for_what_it_accepts) {
        SOCKADDR_HV peer;
        int survives;
        socklen_t length = sizeof survives;
        begin();
        int listener = listen_at(&HV_GUID_CHILDREN, SOCK_STREAM);
        survive(listener, 1);
        int fd = accept_guest(listener, VSOCK_STREAM, &peer);
        must(hv_getsockopt(fd, SOL_HVSOCKET, HVSOCKET_CONNECTED_SUSPEND, &survives, &length));
        check_equal(survives, 1);
        pause_guest();
        struct vsock_packet data = of_guest(VSOCK_RW, VSOCK_STREAM);
        check_open(fd, &data);
        must(hv_close(fd));
        must(hv_close(listener));
        end();
}

TEST(a_reboot_resets_what_would_survive_a_pause) {
        struct vsock_packet request;
        begin();
        int fd = connect_accepted(SOCK_STREAM, &request);
        survive(fd, 1);
        fake_driver_stops(&guest);
        check(await(!is_running()));
        fake_queue_make(&guest, VHOST_USER_RX, FAKE_QUEUE_SIZE);
        fake_queue_make(&guest, VHOST_USER_TX, FAKE_QUEUE_SIZE);
        driver_start();
        check_reset(fd);
        must(hv_close(fd));
        check(await(is_running()));
        must(hv_close(connect_accepted(SOCK_STREAM, &request)));
        end();
}
