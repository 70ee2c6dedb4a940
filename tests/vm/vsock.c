/* SPDX-License-Identifier: MIT */

/* Connecting through the vsock machine, and resets, with guests that keep the rules and guests that do not. */

#include "machine.h"

/* ---- connecting ---- */

TEST(a_guest_connects_and_is_accepted) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        check_equal(connection->state, VSOCK_CONNECTED);
        check_equal(connection->buffer, VSOCK_BUFFER_MAX);
        expect_nothing();
        end();
}

TEST(a_guest_that_is_refused_gets_a_reset) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection;
        check_equal(say(&peer, VSOCK_REQUEST, 0, 0, &connection), VSOCK_ASKS);
        expect_nothing(); /* until it is decided */
        vsock_reset(&vsock, connection);
        struct vsock_packet reset = expect(VSOCK_RST);
        check_equal(reset.source_port, 22);
        check_equal(reset.target_port, 5000);
        check_equal(vsock.count, 0);
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_ASKS); /* the ports can be used again */
        end();
}

TEST(a_request_that_is_being_decided_may_come_again) {
        begin();
        struct peer peer = stream(5000, 22);
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_ASKS);
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_NOTHING);
        check_equal(vsock.count, 1);
        expect_nothing();
        end();
}

TEST(a_guest_may_give_up_before_it_is_answered) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection;
        check_equal(say(&peer, VSOCK_REQUEST, 0, 0, &connection), VSOCK_ASKS);
        check_equal(tell(&peer, VSOCK_RST), VSOCK_RESET);
        vsock_accept(&vsock, connection); /* the answer that was on its way */
        vsock_release(&vsock, connection);
        check_equal(vsock.count, 0);
        expect_nothing();
        end();
}

TEST(the_host_dials_and_gives_no_room_before_it_is_ready) {
        begin();
        struct vsock_connection *connection;
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &connection));
        struct vsock_packet request = expect(VSOCK_REQUEST);
        check_equal(request.buffer_size, 0);
        check(request.source_port >= VSOCK_PORT_FIRST && request.source_port <= VSOCK_PORT_LAST);
        struct peer peer = stream(22, request.source_port);
        check_equal(tell(&peer, VSOCK_RESPONSE), VSOCK_ANSWERED);
        expect_nothing();
        vsock_open(&vsock, connection);
        check_equal(expect(VSOCK_CREDIT_UPDATE).buffer_size, VSOCK_BUFFER_MAX);
        check_equal(say(&peer, VSOCK_RW, VSOCK_PAYLOAD_MAX, 0, NULL), VSOCK_DATA);
        end();
}

TEST(a_guest_that_sends_before_it_is_given_room_is_reset) {
        begin();
        struct vsock_connection *connection;
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &connection));
        struct peer peer = stream(22, expect(VSOCK_REQUEST).source_port);
        check_equal(tell(&peer, VSOCK_RESPONSE), VSOCK_ANSWERED);
        check_equal(say(&peer, VSOCK_RW, 1, 0, NULL), VSOCK_RESET);
        expect(VSOCK_RST);
        end();
}

TEST(a_dial_that_the_guest_refuses_ends) {
        begin();
        struct vsock_connection *connection, *ended;
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, &vsock, &connection));
        struct peer peer = stream(22, expect(VSOCK_REQUEST).source_port);
        check_equal(say(&peer, VSOCK_RST, 0, 0, &ended), VSOCK_RESET);
        check(ended == connection && ended->owner == &vsock);
        vsock_release(&vsock, connection);
        expect_nothing();
        check_equal(vsock.count, 0);
        end();
}

TEST(before_its_answer_a_guest_can_only_answer) {
        const uint16_t operations[] = {
                VSOCK_REQUEST, VSOCK_RW, VSOCK_SHUTDOWN, VSOCK_CREDIT_UPDATE, VSOCK_CREDIT_REQUEST, 0, 8};
        for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
                begin();
                struct vsock_connection *connection;
                check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &connection));
                struct peer peer = stream(22, expect(VSOCK_REQUEST).source_port);
                check_equal(tell(&peer, operations[i]), VSOCK_RESET);
                expect(VSOCK_RST);
                end();
        }
}

TEST(a_dial_that_is_given_up_tells_the_guest_if_it_heard_of_it) {
        begin();
        struct vsock_connection *connection;
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &connection));
        vsock_reset(&vsock, connection);
        expect_nothing();
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &connection));
        expect(VSOCK_REQUEST);
        vsock_reset(&vsock, connection);
        expect(VSOCK_RST);
        check_equal(vsock.count, 0);
        end();
}

TEST(the_host_s_ports_differ_and_pass_over_those_in_use) {
        begin();
        struct vsock_connection *first, *second, *third;
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &first));
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &second));
        check(first->port != second->port);
        vsock.next_port = VSOCK_PORT_LAST;
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &third));
        check_equal(third->port, VSOCK_PORT_LAST);
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &third));
        check(third->port != first->port && third->port != second->port);
        end();
}

TEST(a_guest_s_port_is_not_taken_for_one_of_the_host_s) {
        begin();
        struct vsock_connection *dialled;
        check_ok(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &dialled));
        uint32_t port = expect(VSOCK_REQUEST).source_port;
        struct peer peer = stream(23, port); /* the guest dials that very port from another one */
        struct vsock_connection *accepted = connect_guest(&peer);
        check_equal(tell(&peer, VSOCK_RST), VSOCK_RESET);
        vsock_release(&vsock, accepted);
        struct peer answering = stream(22, port);
        check_equal(tell(&answering, VSOCK_RESPONSE), VSOCK_ANSWERED);
        end();
}

TEST(connections_to_other_virtual_machines_are_told_apart) {
        begin();
        struct peer host = stream(5000, 22), sibling = stream(5000, 22);
        sibling.cid = 43;
        struct vsock_connection *first = connect_guest(&host), *second = connect_guest(&sibling);
        check(first != second);
        check_equal(second->cid, 43);
        struct vsock_connection *third;
        check_equal(say(&sibling, VSOCK_RW, 10, 0, &third), VSOCK_DATA);
        check(third == second);
        end();
}

TEST(a_type_that_the_guest_cannot_have_is_refused) {
        begin();
        vsock.has_seqpacket = false;
        struct peer peer = seqpacket(5000, 22);
        struct vsock_connection *connection;
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_NOTHING);
        check_equal(expect(VSOCK_RST).type, VSOCK_SEQPACKET);
        check_equal(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_SEQPACKET, NULL, &connection), -EPROTONOSUPPORT);
        peer.type = 3;
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_NOTHING);
        check_equal(expect(VSOCK_RST).type, 3);
        end();
}

/* ---- resets ---- */

TEST(what_is_for_no_connection_is_reset_but_a_reset_never_is) {
        begin();
        struct peer peer = stream(5000, 22);
        check_equal(tell(&peer, VSOCK_RST), VSOCK_NOTHING);
        expect_nothing();
        const uint16_t operations[] = {
                VSOCK_RESPONSE, VSOCK_RW, VSOCK_SHUTDOWN, VSOCK_CREDIT_UPDATE, VSOCK_CREDIT_REQUEST, 0, 8};
        for (size_t i = 0; i < sizeof operations / sizeof operations[0]; i++) {
                check_equal(tell(&peer, operations[i]), VSOCK_NOTHING);
                struct vsock_packet reset = expect(VSOCK_RST);
                check_equal(reset.source_port, 22);
                check_equal(reset.target_port, 5000);
                check_equal(reset.buffer_size, 0);
                expect_nothing();
        }
        end();
}

TEST(replies_to_strangers_wait_in_bounded_room) {
        begin();
        for (uint32_t port = 0; port < 3 * VSOCK_STRAYS_MAX; port++)
                for (unsigned times = 0; times < 2; times++) {
                        struct peer peer = stream(port, 22);
                        check_equal(tell(&peer, VSOCK_RW), VSOCK_NOTHING);
                }
        for (uint32_t port = 0; port < VSOCK_STRAYS_MAX; port++)
                check_equal(expect(VSOCK_RST).target_port, port);
        expect_nothing();
        struct peer peer = stream(1, 22);
        check_equal(tell(&peer, VSOCK_RW), VSOCK_NOTHING);
        expect(VSOCK_RST);
        end();
}

TEST(a_storm_of_resets_and_requests_leaves_nothing_behind) {
        begin();
        struct peer peer = stream(5000, 22);
        for (unsigned i = 0; i < 10000; i++) {
                struct vsock_connection *connection;
                check_equal(say(&peer, VSOCK_REQUEST, 0, 0, &connection), VSOCK_ASKS);
                check_equal(tell(&peer, VSOCK_RST), VSOCK_RESET);
                check_equal(tell(&peer, VSOCK_RST), VSOCK_NOTHING);
                vsock_release(&vsock, connection);
        }
        check_equal(vsock.count, 0);
        expect_nothing();
        end();
}

TEST(the_guest_s_reset_ends_a_connection_for_its_owner) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer), *ended;
        check_equal(say(&peer, VSOCK_RST, 0, 0, &ended), VSOCK_RESET);
        check(ended == connection);
        check_equal(connection->state, VSOCK_ENDED);
        vsock_forward(&vsock, connection, 10); /* what the owner does before it hears of it, or after, does no harm */
        vsock_ready(&vsock, connection);
        vsock_shut(&vsock, connection, VSOCK_SHUT_SEND);
        expect_nothing();
        vsock_close(&vsock, connection);
        check_equal(vsock.count, 0);
        end();
}

TEST(a_new_request_on_the_ports_of_an_old_connection_resets_both) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer);
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_RESET);
        vsock_release(&vsock, connection);
        check_equal(expect(VSOCK_RST).buffer_size, 0);
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_ASKS);
        end();
}

TEST(a_packet_of_another_type_is_reset_and_the_connection_goes_on) {
        begin();
        struct peer peer = stream(5000, 22), other = seqpacket(5000, 22);
        connect_guest(&peer);
        check_equal(say(&other, VSOCK_RW, 5, 0, NULL), VSOCK_NOTHING);
        check_equal(expect(VSOCK_RST).type, VSOCK_SEQPACKET);
        check_equal(say(&peer, VSOCK_RW, 5, 0, NULL), VSOCK_DATA);
        end();
}

TEST(what_another_cid_seems_to_send_is_nothing) {
        begin();
        struct vsock_connection *none;
        struct vsock_packet packet = {
                .source_cid = CID + 1, .target_cid = VSOCK_CID_HOST, .type = VSOCK_STREAM, .operation = VSOCK_REQUEST};
        check_equal(vsock_receive(&vsock, &packet, 0, &none), VSOCK_NOTHING);
        packet.source_cid = VSOCK_CID_HOST;
        check_equal(vsock_receive(&vsock, &packet, 0, &none), VSOCK_NOTHING);
        expect_nothing();
        end();
}

TEST(a_packet_that_says_it_is_longer_than_it_is_is_nothing) {
        begin();
        struct peer peer = stream(5000, 22);
        struct vsock_connection *connection = connect_guest(&peer), *none;
        struct vsock_packet packet = {.source_cid = CID,
                                      .target_cid = VSOCK_CID_HOST,
                                      .source_port = 5000,
                                      .target_port = 22,
                                      .type = VSOCK_STREAM,
                                      .operation = VSOCK_RW,
                                      .length = 101,
                                      .buffer_size = BUFFER};
        check_equal(vsock_receive(&vsock, &packet, 100, &none), VSOCK_NOTHING);
        packet.length = UINT32_MAX;
        check_equal(vsock_receive(&vsock, &packet, 100, &none), VSOCK_NOTHING);
        packet.length = VSOCK_PAYLOAD_MAX + 1;
        check_equal(vsock_receive(&vsock, &packet, VSOCK_PAYLOAD_MAX + 1, &none), VSOCK_NOTHING);
        check_equal(connection->received, 0);
        end();
}

TEST(there_are_at_most_as_many_connections_as_were_promised) {
        begin();
        for (uint32_t port = 0; port < VSOCK_CONNECTIONS_MAX; port++) {
                struct peer peer = stream(port, 22);
                check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_ASKS);
        }
        struct peer peer = stream(VSOCK_CONNECTIONS_MAX, 22);
        struct vsock_connection *connection;
        check_equal(tell(&peer, VSOCK_REQUEST), VSOCK_NOTHING);
        expect(VSOCK_RST);
        check_equal(vsock_dial(&vsock, VSOCK_CID_HOST, 22, VSOCK_STREAM, NULL, &connection), -ENOSPC);
        end();
}
