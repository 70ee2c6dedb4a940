/* SPDX-License-Identifier: MIT */

/* Who may send how much, and what a guest may claim. */

#include "machine.h"

/* ---- credit that the guest has ---- */

TEST(all_that_guests_may_send_is_bounded) {
        begin();
        uint64_t total = 0;
        for (uint32_t port = 0; port < VSOCK_CONNECTIONS_MAX; port++) {
                struct peer peer = stream(port, 22);
                struct vsock_connection *connection;
                check_equal(say(&peer, VSOCK_REQUEST, 0, 0, &connection), VSOCK_ASKS);
                vsock_accept(&vsock, connection);
                check(connection->buffer >= VSOCK_BUFFER_MIN && connection->buffer <= VSOCK_BUFFER_MAX);
                total += connection->buffer;
        }
        check(total <= VSOCK_BUFFER_TOTAL);
        struct peer peer = seqpacket(1, 23);
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_NOTHING);
        end();
        begin();
        uint32_t port = 0;
        do
                peer = seqpacket(port++, 22);
        while (tell(&peer, VSOCK_REQUEST) == VSOCK_ASKS);
        check(vsock.promised > VSOCK_BUFFER_TOTAL / 2 && vsock.promised <= VSOCK_BUFFER_TOTAL);
        for (; vsock.count < VSOCK_CONNECTIONS_MAX; port++) { /* for streams there is always some */
                peer = stream(port, 22);
                check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_ASKS);
        }
        check(vsock.promised <= VSOCK_BUFFER_TOTAL);
        end();
}

TEST(a_guest_may_send_all_that_it_has_room_for_and_no_byte_more) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        for (unsigned i = 0; i < VSOCK_BUFFER_MAX / VSOCK_PAYLOAD_MAX; i++)
                check_equal(say(&peer, VSOCK_RW, VSOCK_PAYLOAD_MAX, 0, NULL), VSOCK_DATA);
        vsock_forward(&vsock, connection, 100);
        check_equal(say(&peer, VSOCK_RW, 100, 0, NULL), VSOCK_DATA);
        check_equal(say(&peer, VSOCK_RW, 1, 0, NULL), VSOCK_RESET);
        expect(VSOCK_RST);
        end();
}

TEST(room_is_told_when_a_quarter_of_it_is_free_again_or_when_asked) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        check_equal(say(&peer, VSOCK_RW, VSOCK_PAYLOAD_MAX, 0, NULL), VSOCK_DATA);
        vsock_forward(&vsock, connection, VSOCK_BUFFER_MAX / 4 - 1);
        expect_nothing();
        check_equal(tell(&peer, VSOCK_CREDIT_REQUEST), VSOCK_NOTHING);
        check_equal(expect(VSOCK_CREDIT_UPDATE).forwarded, VSOCK_BUFFER_MAX / 4 - 1);
        check_equal(say(&peer, VSOCK_RW, VSOCK_PAYLOAD_MAX, 0, NULL), VSOCK_DATA);
        vsock_forward(&vsock, connection, VSOCK_BUFFER_MAX / 4);
        check_equal(expect(VSOCK_CREDIT_UPDATE).forwarded, VSOCK_BUFFER_MAX / 2 - 1);
        expect_nothing();
        end();
}

TEST(data_tells_of_room_too) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        check_equal(say(&peer, VSOCK_RW, VSOCK_PAYLOAD_MAX, 0, NULL), VSOCK_DATA);
        vsock_ready(&vsock, connection);
        expect_wanted(connection);
        vsock_forward(&vsock, connection, VSOCK_PAYLOAD_MAX);
        struct vsock_packet packet;
        vsock_sent(&vsock, connection, 1, 0, false, &packet);
        check_equal(packet.forwarded, VSOCK_PAYLOAD_MAX);
        check_equal(packet.buffer_size, VSOCK_BUFFER_MAX);
        expect_nothing();
        end();
}

TEST(counts_of_bytes_go_round) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        for (unsigned i = 0; i < 70000; i++) { /* more than 4 GiB */
                check_equal(say(&peer, VSOCK_RW, VSOCK_PAYLOAD_MAX, 0, NULL), VSOCK_DATA);
                vsock_forward(&vsock, connection, VSOCK_PAYLOAD_MAX);
                check_equal(expect(VSOCK_CREDIT_UPDATE).forwarded, (i + 1) * VSOCK_PAYLOAD_MAX);
        }
        end();
}

/* ---- credit that the host has ---- */

TEST(the_host_sends_no_more_than_the_guest_has_room_for) {
        begin();
        struct peer peer = stream(5000, 22);
        peer.buffer = 5000;
        struct vsock_connection *connection = connect_guest(&peer);
        vsock_ready(&vsock, connection);
        struct vsock_wanted wanted = expect_wanted(connection);
        check_equal(wanted.room, ROOM - VSOCK_HEADER_SIZE);
        send_data(connection, wanted.room, true);
        wanted = expect_wanted(connection);
        check_equal(wanted.room, 5000 - (ROOM - VSOCK_HEADER_SIZE));
        send_data(connection, wanted.room, true);
        expect(VSOCK_CREDIT_REQUEST);
        expect_nothing();
        peer.forwarded = 100;
        check_equal(tell(&peer, VSOCK_CREDIT_UPDATE), VSOCK_NOTHING);
        check_equal(expect_wanted(connection).room, 100);
        end();
}

TEST(a_guest_that_claims_the_impossible_is_sent_nothing) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        vsock_ready(&vsock, connection);
        expect_wanted(connection);
        send_data(connection, 1000, true);
        peer.forwarded = 1001; /* more than was sent */
        tell(&peer, VSOCK_CREDIT_UPDATE);
        expect(VSOCK_CREDIT_REQUEST);
        expect_nothing();
        peer.forwarded = 0;
        peer.buffer = 999; /* less than is under way */
        tell(&peer, VSOCK_CREDIT_UPDATE);
        expect_nothing();
        peer.buffer = 1001;
        tell(&peer, VSOCK_CREDIT_UPDATE);
        check_equal(expect_wanted(connection).room, 1);
        peer.forwarded = UINT32_MAX;
        peer.buffer = UINT32_MAX;
        tell(&peer, VSOCK_CREDIT_UPDATE);
        check(expect_wanted(connection).room <= ROOM - VSOCK_HEADER_SIZE);
        end();
}

TEST(small_packets_are_counted_and_then_wait_until_they_are_worthwhile) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        unsigned limit = BUFFER / VSOCK_PACKET_COST, sent = 0;
        vsock_ready(&vsock, connection);
        for (; sent < limit / 2; sent++) {
                check_equal(expect_wanted(connection).least, 1);
                send_data(connection, 1, true);
        }
        expect(VSOCK_CREDIT_REQUEST); /* in time */
        check_equal(expect_wanted(connection).least, VSOCK_WORTHWHILE);
        vsock_unready(&vsock, connection);
        expect_nothing();
        vsock_ready(&vsock, connection); /* more came: */
        expect_wanted(connection);
        for (; sent < limit; sent++) {
                send_data(connection, 1, true);
                if (sent + 1 < limit)
                        expect_wanted(connection);
        }
        expect_nothing(); /* not one packet more, though there is room for bytes */
        peer.forwarded = limit;
        tell(&peer, VSOCK_CREDIT_UPDATE);
        check_equal(expect_wanted(connection).least, 1);
        end();
}

TEST(held_back_data_goes_when_the_guest_has_read) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        vsock_ready(&vsock, connection);
        for (unsigned i = 0; i < BUFFER / VSOCK_PACKET_COST / 2; i++) {
                expect_wanted(connection);
                send_data(connection, 1, true);
        }
        expect(VSOCK_CREDIT_REQUEST);
        expect_wanted(connection);
        vsock_unready(&vsock, connection);
        expect_nothing();
        peer.forwarded = BUFFER / VSOCK_PACKET_COST / 2;
        tell(&peer, VSOCK_CREDIT_UPDATE);
        check_equal(expect_wanted(connection).least, 1); /* without another vsock_ready() */
        end();
}

TEST(a_guest_that_does_not_read_is_asked_ever_more_seldom) {
        begin();
        struct peer peer = stream(5000, 22);
        peer.buffer = 10;
        struct vsock_connection *connection = connect_guest(&peer);
        vsock_ready(&vsock, connection);
        expect_wanted(connection);
        send_data(connection, 10, true);
        expect(VSOCK_CREDIT_REQUEST);
        expect_nothing();
        int64_t now = 1000, delay = VSOCK_ASK_MIN_MS;
        for (unsigned i = 0; i < 12; i++) {
                check_equal(vsock_deadline(&vsock), now + delay);
                vsock_tick(&vsock, now + delay - 1);
                expect_nothing();
                vsock_tick(&vsock, now += delay);
                expect(VSOCK_CREDIT_REQUEST);
                delay = delay * 2 < VSOCK_ASK_MAX_MS ? delay * 2 : VSOCK_ASK_MAX_MS;
        }
        peer.forwarded = 10;
        tell(&peer, VSOCK_CREDIT_UPDATE);
        expect_wanted(connection);
        vsock_unready(&vsock, connection);
        vsock_tick(&vsock, now + VSOCK_ASK_MAX_MS);
        expect_nothing();
        check_equal(vsock_deadline(&vsock), 0); /* an idle machine is not woken */
        end();
}

TEST(messages_are_counted_too_and_never_wait_for_each_other) {
        begin();
        struct peer peer = seqpacket(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        vsock_ready(&vsock, connection);
        unsigned limit = BUFFER / VSOCK_PACKET_COST;
        for (unsigned i = 0; i < limit; i++) {
                struct vsock_packet packet;
                check_equal(expect_wanted(connection).least, 0);
                vsock_sent(&vsock, connection, 0, VSOCK_END_OF_MESSAGE, true, &packet);
                check_equal(packet.flags, VSOCK_END_OF_MESSAGE);
                if (i + 1 == limit / 2)
                        expect(VSOCK_CREDIT_REQUEST);
        }
        vsock_unready(&vsock, connection);
        check(!connection->is_held);
        vsock_ready(&vsock, connection);
        expect_nothing();
        end();
}

TEST(those_who_have_something_to_send_take_turns) {
        begin();
        struct peer first = stream(5000, 22), second = stream(5001, 22);
        struct vsock_connection *one = connect_guest(&first), *two = connect_guest(&second);
        vsock_ready(&vsock, one);
        vsock_ready(&vsock, two);
        for (unsigned i = 0; i < 5; i++) {
                expect_wanted(one);
                send_data(one, 10, true);
                expect_wanted(two);
                send_data(two, 10, true);
        }
        end();
}

TEST(a_buffer_without_room_for_a_header_or_for_data_is_not_used) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        struct vsock_packet packet;
        struct vsock_wanted wanted;
        vsock_ready(&vsock, connection);
        check_equal(vsock_next(&vsock, VSOCK_HEADER_SIZE - 1, &packet, &wanted), VSOCK_IDLE);
        check_equal(vsock_next(&vsock, VSOCK_HEADER_SIZE, &packet, &wanted), VSOCK_IDLE);
        check_equal(vsock_next(&vsock, VSOCK_HEADER_SIZE + 1, &packet, &wanted), VSOCK_DATA_WANTED);
        check_equal(wanted.room, 1);
        end();
}
