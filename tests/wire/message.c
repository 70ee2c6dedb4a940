/* SPDX-License-Identifier: MIT */

/* Packets: what is written is read back, byte for byte as documented, and nothing else is read at all. */

#include "wire/message.h"

#include "base/guid.h"
#include "test.h"
#include <stdlib.h>
#include <sys/socket.h>

static const GUID VM = {0x01020304, 0x0506, 0x0708, {9, 10, 11, 12, 13, 14, 15, 16}};
static const GUID SERVICE = {0xa1a2a3a4, 0xb1b2, 0xc1c2, {1, 2, 3, 4, 5, 6, 7, 8}};

static const uint16_t REQUESTS[] = {WIRE_HELLO, WIRE_BIND,  WIRE_LISTEN,            WIRE_CONNECT,
                                    WIRE_CLOSED, WIRE_CHECK, WIRE_RESOLVE_PARTITION, WIRE_RESOLVE_SERVICE,
                                    WIRE_RING, WIRE_SUSPEND, WIRE_RESOLVE_CID};

#define for_each_type(variable) \
        for (const uint16_t *variable = REQUESTS; variable < REQUESTS + sizeof REQUESTS / sizeof *REQUESTS; variable++)

static bool is_answered(uint16_t type) {
        return type != WIRE_CLOSED && type != WIRE_RING;
}

static struct wire_header header_of(uint16_t type) {
        return (struct wire_header){.major = WIRE_MAJOR, .minor = WIRE_MINOR, .type = type, .serial = 0x11223344};
}

static struct wire_request request_of(uint16_t type) {
        struct wire_request request = {.header = header_of(type),
                                       .vm_id = VM,
                                       .service_id = SERVICE,
                                       .socket_type = SOCK_SEQPACKET,
                                       .flags = WIRE_CONNECT_PASSTHRU,
                                       .closed_count = 2,
                                       .closed = {VM, SERVICE},
                                       .cid = 7,
                                       .name = "web01/db"};
        return request;
}

static struct wire_reply reply_of(uint16_t type) {
        struct wire_reply reply = {.header = header_of(type | WIRE_REPLY),
                                   .vm_id = VM,
                                   .service_id = SERVICE,
                                   .parent_vm_id = SERVICE,
                                   .cid = 0xfffffffe,
                                   .kind = HV_PARTITION_VM,
                                   .label = "web01"};
        return reply;
}

static struct wire_reply refusal_of(uint16_t type) {
        struct wire_reply reply = {
                .header = header_of(type | WIRE_REPLY), .error = EACCES, .rule = 1, .text = "not registered"};
        return reply;
}

/* Of exactly this size, so that a sanitizer sees a read beyond it. */
static int decode_request(const uint8_t *packet, size_t length, struct wire_request *ret) {
        uint8_t *exact = malloc(length ? length : 1);
        check(exact);
        memcpy(exact, packet, length);
        int r = wire_decode_request(exact, length, ret);
        free(exact);
        return r;
}

static int decode_reply(const uint8_t *packet, size_t length, struct wire_reply *ret) {
        uint8_t *exact = malloc(length ? length : 1);
        check(exact);
        memcpy(exact, packet, length);
        int r = wire_decode_reply(exact, length, ret);
        free(exact);
        return r;
}

static void set_length(uint8_t *packet, size_t length) {
        packet[12] = (uint8_t)length;
        packet[13] = (uint8_t)(length >> 8);
}

static void check_request_is(const uint8_t *packet, size_t length, int expected) {
        struct wire_request request, before;
        memset(&request, 0x5a, sizeof request);
        before = request;
        check_equal(decode_request(packet, length, &request), expected);
        check(!memcmp(&request, &before, sizeof request));
}

static void check_reply_is(const uint8_t *packet, size_t length, int expected) {
        struct wire_reply reply, before;
        memset(&reply, 0x5a, sizeof reply);
        before = reply;
        check_equal(decode_reply(packet, length, &reply), expected);
        check(!memcmp(&reply, &before, sizeof reply));
}

TEST(a_connect_travels_byte_for_byte_as_documented) {
        static const uint8_t expected[] = {
                'h', 'v', 's', '1', 1, 0, WIRE_MINOR, 0, 4, 0, 0, 0, 84, 0, 0, 0, 0x44, 0x33, 0x22, 0x11, 0, 0, 0, 0,
                0x04, 0x03, 0x02, 0x01, 0x06, 0x05, 0x08, 0x07, 9, 10, 11, 12, 13, 14, 15, 16,
                0xa4, 0xa3, 0xa2, 0xa1, 0xb2, 0xb1, 0xc2, 0xc1, 1, 2, 3, 4, 5, 6, 7, 8,
                5, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0,
                0x04, 0x03, 0x02, 0x01, 0x06, 0x05, 0x08, 0x07, 9, 10, 11, 12, 13, 14, 15, 16,
        };
        struct wire_request request = request_of(WIRE_CONNECT);
        request.closed_count = 1;
        uint8_t packet[WIRE_PACKET_MAX];
        check_equal(wire_encode_request(&request, packet), sizeof expected);
        check(!memcmp(packet, expected, sizeof expected));
}

TEST(packets_have_the_documented_lengths) {
        static const size_t requests[] = {24, 64, 56, 100, 60, 56, 33, 33, 48, 48, 44},
                            replies[] = {132, 64, 32, 64, 0, 32, 48, 48, 0, 32, 52};
        uint8_t packet[WIRE_PACKET_MAX];
        for_each_type (type) {
                struct wire_request request = request_of(*type);
                struct wire_reply reply = reply_of(*type);
                check_equal(wire_encode_request(&request, packet), requests[type - REQUESTS]);
                if (is_answered(*type))
                        check_equal(wire_encode_reply(&reply, packet), replies[type - REQUESTS]);
        }
}

TEST(every_request_is_read_back_with_the_fields_of_its_type) {
        for_each_type (type) {
                struct wire_request sent = request_of(*type), got;
                uint8_t packet[WIRE_PACKET_MAX];
                check_ok(decode_request(packet, wire_encode_request(&sent, packet), &got));
                check_equal(got.header.type, *type);
                check_equal(got.header.serial, 0x11223344);
                bool addressed = *type >= WIRE_BIND && *type <= WIRE_CONNECT;
                bool is_at_vm = addressed || *type == WIRE_CHECK || *type == WIRE_RESOLVE_CID;
                check(guid_equal(&got.vm_id, is_at_vm ? &VM : &HV_GUID_ZERO));
                check_equal(got.cid, *type == WIRE_RESOLVE_CID ? 7 : 0);
                bool lends = *type == WIRE_BIND || *type == WIRE_CONNECT || *type == WIRE_RING;
                bool is_typed = lends || *type == WIRE_SUSPEND;
                check(guid_equal(&got.service_id, addressed || is_typed || *type == WIRE_CHECK ? &SERVICE : &HV_GUID_ZERO));
                check_equal(got.socket_type, is_typed ? SOCK_SEQPACKET : 0);
                check_equal(got.flags, is_typed ? WIRE_CONNECT_PASSTHRU : 0);
                check_equal(wire_request_descriptors(*type), lends ? 1 : 0);
                bool closes = *type == WIRE_CONNECT || *type == WIRE_CLOSED;
                check_equal(got.closed_count, closes ? 2 : 0);
                check(guid_equal(&got.closed[1], closes ? &SERVICE : &HV_GUID_ZERO));
                check_string(got.name, *type == WIRE_RESOLVE_PARTITION || *type == WIRE_RESOLVE_SERVICE ? "web01/db" : "");
        }
}

TEST(a_connect_says_whether_it_may_be_parked_and_survives_a_pause) {
        struct wire_request sent = request_of(WIRE_CONNECT), got;
        uint8_t packet[WIRE_PACKET_MAX];
        sent.flags = WIRE_CONNECT_MAY_PARK | WIRE_CONNECT_SURVIVES_PAUSE;
        check_ok(decode_request(packet, wire_encode_request(&sent, packet), &got));
        check_equal(got.flags, WIRE_CONNECT_MAY_PARK | WIRE_CONNECT_SURVIVES_PAUSE);
        sent.flags = WIRE_CONNECT_SURVIVES_PAUSE << 1;
        check_equal(decode_request(packet, wire_encode_request(&sent, packet), &got), -EPROTO);
}

TEST(every_reply_is_read_back_with_the_fields_of_its_type) {
        for_each_type (type) {
                if (!is_answered(*type))
                        continue;
                struct wire_reply sent = reply_of(*type), got;
                uint8_t packet[WIRE_PACKET_MAX];
                check_ok(decode_reply(packet, wire_encode_reply(&sent, packet), &got));
                check_equal(got.header.type, *type | WIRE_REPLY);
                check_equal(got.error, 0);
                bool hello = *type == WIRE_HELLO, pair = *type == WIRE_BIND || *type == WIRE_CONNECT;
                bool is_resolved = *type == WIRE_RESOLVE_PARTITION || *type == WIRE_RESOLVE_CID;
                check(guid_equal(&got.vm_id, hello || pair || is_resolved ? &VM : &HV_GUID_ZERO));
                check_equal(got.cid, *type == WIRE_RESOLVE_CID ? 0xfffffffe : 0);
                check(guid_equal(&got.service_id, pair || *type == WIRE_RESOLVE_SERVICE ? &SERVICE : &HV_GUID_ZERO));
                check(guid_equal(&got.parent_vm_id, hello ? &SERVICE : &HV_GUID_ZERO));
                check_equal(got.kind, hello ? HV_PARTITION_VM : 0);
                check_string(got.label, hello ? "web01" : "");
        }
}

TEST(a_refusal_carries_its_rule_and_text_and_nothing_else) {
        for_each_type (type) {
                struct wire_reply sent = reply_of(*type), got;
                sent.error = EACCES;
                sent.rule = 7;
                strcpy(sent.text, "why");
                uint8_t packet[WIRE_PACKET_MAX];
                check_ok(decode_reply(packet, wire_encode_reply(&sent, packet), &got));
                check_equal(got.error, EACCES);
                check_equal(got.rule, 7);
                check_string(got.text, "why");
                check(guid_is_zero(&got.vm_id) && guid_is_zero(&got.service_id));
        }
}

TEST(names_labels_and_texts_hold_exactly_what_their_arrays_hold) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_request request = request_of(WIRE_RESOLVE_SERVICE), request_got;
        memset(request.name, 'n', sizeof request.name);
        check_ok(decode_request(packet, wire_encode_request(&request, packet), &request_got));
        check_equal(strlen(request_got.name), WIRE_NAME_SIZE - 1);

        struct wire_reply reply = reply_of(WIRE_HELLO), reply_got;
        memset(reply.label, 'l', sizeof reply.label);
        check_ok(decode_reply(packet, wire_encode_reply(&reply, packet), &reply_got));
        check_equal(strlen(reply_got.label), WIRE_LABEL_SIZE - 1);

        reply = refusal_of(WIRE_CONNECT);
        memset(reply.text, 't', sizeof reply.text);
        size_t length = wire_encode_reply(&reply, packet);
        check_ok(decode_reply(packet, length, &reply_got));
        check_equal(strlen(reply_got.text), WIRE_TEXT_SIZE - 1);

        packet[length - 1] = 't';
        packet[length++] = 0;
        set_length(packet, length);
        check_reply_is(packet, length, -EPROTO);
}

TEST(a_packet_of_any_other_length_is_refused) {
        for_each_type (type) {
                uint8_t packet[WIRE_PACKET_MAX + 1] = {};
                struct wire_request request = request_of(*type);
                size_t length = wire_encode_request(&request, packet);
                for (size_t other = 0; other <= length + 20; other++) {
                        if (other == length)
                                continue;
                        check_request_is(packet, other, -EPROTO);
                        set_length(packet, other);
                        check_request_is(packet, other, -EPROTO);
                        set_length(packet, length);
                }
                check_request_is(packet, WIRE_PACKET_MAX + 1, -EPROTO);
        }
}

TEST(a_reply_of_any_other_length_is_refused) {
        for_each_type (type)
                for (int refused = *type == WIRE_CLOSED; refused < 2; refused++) {
                        uint8_t packet[WIRE_PACKET_MAX] = {};
                        struct wire_reply reply = refused ? refusal_of(*type) : reply_of(*type);
                        size_t length = wire_encode_reply(&reply, packet);
                        for (size_t other = 0; other <= length + 20; other++) {
                                if (other == length)
                                        continue;
                                set_length(packet, other);
                                check_reply_is(packet, other, -EPROTO);
                        }
                }
}

TEST(a_wrong_magic_or_reserved_field_is_refused) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_request request = request_of(WIRE_LISTEN);
        size_t length = wire_encode_request(&request, packet);
        static const unsigned offsets[] = {0, 1, 2, 3, 10, 11};
        for (unsigned i = 0; i < 6; i++) {
                packet[offsets[i]] ^= 1;
                check_request_is(packet, length, -EPROTO);
                packet[offsets[i]] ^= 1;
        }
}

TEST(another_major_is_told_apart_and_a_newer_minor_or_feature_is_taken) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_request request = request_of(WIRE_LISTEN), got;
        request.header.major = WIRE_MAJOR + 1;
        check_request_is(packet, wire_encode_request(&request, packet), -EPROTONOSUPPORT);
        request.header.major = WIRE_MAJOR;
        request.header.minor = WIRE_MINOR + 9;
        request.header.features = 0xffffffff;
        check_ok(decode_request(packet, wire_encode_request(&request, packet), &got));
        check_equal(got.header.minor, WIRE_MINOR + 9);
        check_equal(got.header.features, 0xffffffff);
}

TEST(an_unknown_request_tells_its_header_so_that_it_can_be_answered) {
        static const uint16_t unknown[] = {0, WIRE_TYPE_MAX + 1, 0x7fff};
        for (unsigned i = 0; i < 3; i++) {
                uint8_t packet[WIRE_PACKET_MAX];
                struct wire_request request = request_of(unknown[i]), got = {};
                check_equal(decode_request(packet, wire_encode_request(&request, packet), &got), -ENOSYS);
                check_equal(got.header.type, unknown[i]);
                check_equal(got.header.serial, 0x11223344);
                check_equal(wire_request_descriptors(unknown[i]), 0);

                struct wire_reply refusal = refusal_of(unknown[i]), refused;
                check_ok(decode_reply(packet, wire_encode_reply(&refusal, packet), &refused));
                check_equal(refused.header.type, unknown[i] | WIRE_REPLY);
        }
}

TEST(a_request_is_no_reply_and_a_reply_no_request) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_reply reply = reply_of(WIRE_LISTEN);
        check_request_is(packet, wire_encode_reply(&reply, packet), -EPROTO);
        reply.header.type = WIRE_LISTEN;
        check_reply_is(packet, wire_encode_reply(&reply, packet), -EPROTO);
}

TEST(fields_out_of_their_range_are_refused) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_request request = request_of(WIRE_CONNECT);
        size_t length = wire_encode_request(&request, packet);
        static const struct {
                unsigned offset;
                uint8_t value;
        } wrong[] = {{56, SOCK_DGRAM}, {56, 0}, {57, 1}, {60, 8}, {63, 0x80}, {64, 1}, {64, 3}, {64, WIRE_CLOSED_MAX + 1}, {67, 1}};
        for (unsigned i = 0; i < sizeof wrong / sizeof *wrong; i++) {
                uint8_t before = packet[wrong[i].offset];
                packet[wrong[i].offset] = wrong[i].value;
                check_request_is(packet, length, -EPROTO);
                packet[wrong[i].offset] = before;
        }
}

TEST(sixteen_closed_channels_travel_and_seventeen_do_not) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_request request = request_of(WIRE_CLOSED), got;
        request.closed_count = WIRE_CLOSED_MAX;
        request.closed[WIRE_CLOSED_MAX - 1] = SERVICE;
        size_t length = wire_encode_request(&request, packet);
        check_equal(length, 284);
        check_ok(decode_request(packet, length, &got));
        check_equal(got.closed_count, 16);
        check(guid_equal(&got.closed[15], &SERVICE));

        memset(packet + length, 0, 16);
        length += 16;
        set_length(packet, length);
        packet[24] = WIRE_CLOSED_MAX + 1;
        check_request_is(packet, length, -EPROTO);

        request.closed_count = 0;
        check_request_is(packet, wire_encode_request(&request, packet), -EPROTO);
}

TEST(a_name_ends_in_its_only_nul_and_is_not_empty) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_request request = request_of(WIRE_RESOLVE_PARTITION);
        size_t length = wire_encode_request(&request, packet);
        packet[length - 1] = 'x';
        check_request_is(packet, length, -EPROTO);
        packet[length - 1] = 0;
        packet[length - 3] = 0;
        check_request_is(packet, length, -EPROTO);
        request.name[0] = 0;
        check_request_is(packet, wire_encode_request(&request, packet), -EPROTO);
}

TEST(a_reply_that_contradicts_itself_is_refused) {
        uint8_t packet[WIRE_PACKET_MAX];
        struct wire_reply reply = reply_of(WIRE_LISTEN);
        size_t length = wire_encode_reply(&reply, packet);
        packet[28] = 1; /* allowed, by a rule that refuses */
        check_reply_is(packet, length, -EPROTO);

        reply = reply_of(WIRE_CLOSED); /* nobody asked */
        check_reply_is(packet, wire_encode_reply(&reply, packet), -EPROTO);

        reply = reply_of(WIRE_HELLO);
        reply.kind = 0;
        check_reply_is(packet, wire_encode_reply(&reply, packet), -EPROTO);
        reply.kind = HV_PARTITION_CONTAINER + 1;
        check_reply_is(packet, wire_encode_reply(&reply, packet), -EPROTO);

        reply = reply_of(WIRE_HELLO);
        length = wire_encode_reply(&reply, packet);
        packet[length - 1] = 'x'; /* after the label's end */
        check_reply_is(packet, length, -EPROTO);

        reply = refusal_of(WIRE_CONNECT);
        reply.error = WIRE_ERROR_MAX + 1;
        check_reply_is(packet, wire_encode_reply(&reply, packet), -EPROTO);
}
