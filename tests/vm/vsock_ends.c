/* SPDX-License-Identifier: MIT */

/* Half-closes, closes and messages; the header. */

#include "machine.h"

/* ---- ends ---- */

TEST(half_closes_pass_each_way_by_itself) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        check_equal(say(&peer, VSOCK_SHUTDOWN, 0, VSOCK_SHUT_SEND, NULL), VSOCK_SHUT);
        check_equal(connection->guest_shut, VSOCK_SHUT_SEND);
        check_equal(say(&peer, VSOCK_SHUTDOWN, 0, VSOCK_SHUT_SEND, NULL), VSOCK_NOTHING); /* again */
        vsock_ready(&vsock, connection);
        expect_wanted(connection);
        send_data(connection, 100, false);
        vsock_shut(&vsock, connection, VSOCK_SHUT_SEND);
        check_equal(expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_SEND);
        vsock_shut(&vsock, connection, VSOCK_SHUT_SEND);
        expect_nothing();
        check_equal(connection->state, VSOCK_CONNECTED);
        end();
}

TEST(what_a_guest_shut_is_sticky) {
        begin();
        struct peer peer = stream(5000, 22);
        connect_guest(&peer);
        check_equal(say(&peer, VSOCK_SHUTDOWN, 0, VSOCK_SHUT_SEND, NULL), VSOCK_SHUT);
        check_equal(say(&peer, VSOCK_SHUTDOWN, 0, VSOCK_SHUT_RECEIVE, NULL), VSOCK_CLOSED);
        expect(VSOCK_RST);
        end();
}

TEST(a_guest_that_said_it_would_not_send_and_does_is_reset) {
        begin();
        struct peer peer = stream(5000, 22);
        connect_guest(&peer);
        check_equal(say(&peer, VSOCK_SHUTDOWN, 0, VSOCK_SHUT_SEND, NULL), VSOCK_SHUT);
        check_equal(say(&peer, VSOCK_RW, 1, 0, NULL), VSOCK_RESET);
        expect(VSOCK_RST);
        end();
}

TEST(a_guest_that_will_not_receive_is_sent_nothing) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        vsock_ready(&vsock, connection);
        check_equal(say(&peer, VSOCK_SHUTDOWN, 0, VSOCK_SHUT_RECEIVE, NULL), VSOCK_SHUT);
        vsock_ready(&vsock, connection);
        expect_nothing();
        end();
}

TEST(a_guest_that_closes_gets_its_reset_at_once_and_the_ports_are_free) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer), *closed;
        check_equal(say(&peer, VSOCK_RW, 100, 0, NULL), VSOCK_DATA);
        check_equal(say(&peer, VSOCK_SHUTDOWN, 0, VSOCK_SHUT_BOTH, &closed), VSOCK_CLOSED);
        check(closed == connection);
        vsock_forward(&vsock, connection, 100); /* what it sent before still goes on */
        expect(VSOCK_RST);
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_ASKS);
        vsock_release(&vsock, connection);
        end();
}

TEST(the_host_closes_and_the_guest_s_reset_completes_it) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        vsock_close(&vsock, connection);
        check_equal(expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_BOTH);
        check_equal(vsock_deadline(&vsock), 1000 + VSOCK_CLOSE_MS);
        check_equal(say(&peer, VSOCK_RW, 100, 0, NULL), VSOCK_NOTHING); /* was on its way */
        check_equal(tell(&peer, VSOCK_RST), VSOCK_NOTHING);
        check_equal(vsock.count, 0);
        expect_nothing();
        check_equal(vsock_deadline(&vsock), 0); /* nobody is woken for what is over */
        end();
}

TEST(a_guest_that_does_not_answer_a_close_is_reset_after_a_while) {
        begin();
        struct peer peer = stream(5000, 22);
        vsock_close(&vsock, connect_guest(&peer));
        expect(VSOCK_SHUTDOWN);
        vsock_tick(&vsock, 1000 + VSOCK_CLOSE_MS - 1);
        expect_nothing();
        vsock_tick(&vsock, 1000 + VSOCK_CLOSE_MS);
        expect(VSOCK_RST);
        check_equal(vsock.count, 0);
        check_equal(vsock_deadline(&vsock), 0);
        end();
}

TEST(both_may_close_at_once) {
        begin();
        struct peer peer = stream(5000, 22);
        vsock_close(&vsock, connect_guest(&peer));
        check_equal(tell(&peer, VSOCK_SHUTDOWN), VSOCK_NOTHING);
        expect(VSOCK_RST);
        expect_nothing();
        check_equal(vsock.count, 0);
        end();
}

TEST(what_the_host_will_not_receive_takes_no_room) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        vsock_shut(&vsock, connection, VSOCK_SHUT_RECEIVE);
        check_equal(expect(VSOCK_SHUTDOWN).flags, VSOCK_SHUT_RECEIVE);
        for (unsigned i = 0; i < 100; i++)
                check_equal(say(&peer, VSOCK_RW, VSOCK_PAYLOAD_MAX, 0, NULL), VSOCK_NOTHING);
        check_equal(connection->received, connection->forwarded);
        end();
}

TEST(a_reset_that_is_shut_both_ways_by_the_host_is_an_orderly_end) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        vsock_shut(&vsock, connection, VSOCK_SHUT_BOTH);
        expect(VSOCK_SHUTDOWN);
        check_equal(tell(&peer, VSOCK_RST), VSOCK_CLOSED);
        vsock_release(&vsock, connection);
        end();
}

TEST(the_reset_of_an_owned_connection_is_sent_though_nobody_gives_buffers_for_long) {
        begin();
        struct vsock_connection *connections[VSOCK_STRAYS_MAX * 2];
        for (uint32_t i = 0; i < VSOCK_STRAYS_MAX * 2; i++) {
                struct peer peer = stream(i, 22);
                connections[i] = connect_guest(&peer);
        }
        for (uint32_t i = 0; i < VSOCK_STRAYS_MAX * 2; i++)
                vsock_reset(&vsock, connections[i]);
        check_equal(vsock.count, VSOCK_STRAYS_MAX * 2);
        for (uint32_t i = 0; i < VSOCK_STRAYS_MAX * 2; i++)
                check_equal(expect(VSOCK_RST).target_port, i);
        check_equal(vsock.count, 0);
        end();
}

TEST(a_guest_that_shuts_one_direction_after_the_other_while_the_host_closes_is_done) {
        begin();
        struct peer peer = stream(5000, 22);
        vsock_close(&vsock, connect_guest(&peer));
        expect(VSOCK_SHUTDOWN);
        say(&peer, VSOCK_SHUTDOWN, 0, VSOCK_SHUT_SEND, NULL);
        expect_nothing();
        say(&peer, VSOCK_SHUTDOWN, 0, VSOCK_SHUT_RECEIVE, NULL);
        expect(VSOCK_RST);
        check_equal(vsock.count, 0);
        end();
}

TEST(connections_of_a_predecessor_are_reset_for_the_guest) {
        begin();
        for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++)
                check_ok(vsock_disclaim(&vsock, VSOCK_CID_HOST, 22, i, VSOCK_STREAM));
        check_equal(vsock_disclaim(&vsock, VSOCK_CID_HOST, 22, VSOCK_CONNECTIONS_MAX, VSOCK_STREAM), -ENOSPC);
        for (uint32_t i = 0; i < VSOCK_CONNECTIONS_MAX; i++) {
                struct vsock_packet reset = expect(VSOCK_RST);
                check_equal(reset.source_port, 22);
                check_equal(reset.target_port, i);
        }
        check_equal(vsock.count, 0);
        struct peer peer = stream(5000, 22);
        connect_guest(&peer);
        check_equal(vsock_disclaim(&vsock, VSOCK_CID_HOST, 22, 5000, VSOCK_STREAM), -EEXIST);
        end();
}

/* ---- messages ---- */

TEST(messages_of_any_length_up_to_the_longest_come_in_parts) {
        begin();
        struct peer peer = seqpacket(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        check_equal(connection->buffer, VSOCK_MESSAGE_MAX);
        for (unsigned i = 0; i < 3; i++) {
                check_equal(say(&peer, VSOCK_RW, VSOCK_MESSAGE_MAX / 2, 0, NULL), VSOCK_DATA);
                check_equal(say(&peer, VSOCK_RW, VSOCK_MESSAGE_MAX / 2, VSOCK_END_OF_MESSAGE, NULL), VSOCK_DATA);
                vsock_forward(&vsock, connection, VSOCK_MESSAGE_MAX);
                expect(VSOCK_CREDIT_UPDATE);
        }
        check_equal(say(&peer, VSOCK_RW, 0, VSOCK_END_OF_MESSAGE, NULL), VSOCK_DATA);
        end();
}

TEST(a_message_that_is_too_long_resets) {
        begin();
        struct peer peer = seqpacket(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        check_equal(say(&peer, VSOCK_RW, VSOCK_MESSAGE_MAX, 0, NULL), VSOCK_DATA);
        vsock_forward(&vsock, connection, VSOCK_MESSAGE_MAX); /* though there were room */
        expect(VSOCK_CREDIT_UPDATE);
        check_equal(say(&peer, VSOCK_RW, 1, VSOCK_END_OF_MESSAGE, NULL), VSOCK_RESET);
        end();
}

/* ---- the header ---- */

TEST(a_header_is_as_the_specification_has_it) {
        const uint8_t bytes[VSOCK_HEADER_SIZE] = {
                3, 0, 0, 0, 0, 0, 0, 0,  2, 0, 0, 0, 0, 0, 0, 0x80,  0x10, 0x27, 0, 0,  22, 0, 0, 0,
                0, 1, 0, 0,  1, 0,  5, 0,  0, 0, 0, 1,  0, 0, 4, 0,  0xff, 0xff, 0xff, 0xff};
        uint8_t again[VSOCK_HEADER_SIZE];
        struct vsock_packet packet;
        vsock_packet_decode(bytes, &packet);
        check_equal(packet.source_cid, 3);
        check(packet.target_cid == UINT64_C(0x8000000000000002));
        check_equal(packet.source_port, 10000);
        check_equal(packet.target_port, 22);
        check_equal(packet.length, 256);
        check_equal(packet.type, VSOCK_STREAM);
        check_equal(packet.operation, VSOCK_RW);
        check_equal(packet.flags, 1u << 24);
        check_equal(packet.buffer_size, 262144);
        check_equal(packet.forwarded, UINT32_MAX);
        vsock_packet_encode(&packet, again);
        check(memcmp(bytes, again, sizeof again) == 0);
}
