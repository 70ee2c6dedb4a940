/* SPDX-License-Identifier: MIT */

/*
 * Messages: encoding and decoding. Owns the order of the fields.
 *
 * Every packet starts with the header: magic 4, major 2, minor 2, type 2,
 * reserved 2 (zero), length 4, serial 4, features 4. Then, for each type:
 *
 *     type               request                                    reply, when error is 0
 *     HELLO              -                                          VmId 16, parent 16, kind 4, label 64
 *     BIND               VmId 16, ServiceId 16, type 4, flags 4     VmId 16, ServiceId 16
 *     LISTEN, CHECK      VmId 16, ServiceId 16                      -
 *     CONNECT            as BIND, count 4, closed 16 * count        VmId 16, ServiceId 16
 *     CLOSED             count 4, closed 16 * count                 none is sent
 *     RESOLVE_PARTITION  name, NUL-terminated                       VmId 16
 *     RESOLVE_SERVICE    name, NUL-terminated                       ServiceId 16
 *     RING               ServiceId 16, type 4, flags 4              none is sent
 *     SUSPEND            the same                                   nothing
 *     RESOLVE_CID        VmId 16, CID 4                             VmId 16, CID 4
 *
 * A reply has error 4 and rule 4 before these; when error is not 0, the refusal's
 * text, NUL-terminated, comes in their place. Names and texts end the packet,
 * their NUL is its last byte; a label is padded with NULs. Within a major no
 * layout changes: a newer minor adds types and bits.
 */

#include "wire/message.h"

#include "base/guid.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

_Static_assert(WIRE_HEADER_SIZE + 8 + WIRE_TEXT_SIZE <= WIRE_PACKET_MAX, "the longest reply fits");
_Static_assert(WIRE_HEADER_SIZE + 44 + 16 * WIRE_CLOSED_MAX <= WIRE_PACKET_MAX, "the longest request fits");

/* What a type carries, in both directions. */
enum body {
        BODY_EMPTY,
        BODY_ADDRESS,
        BODY_SOCKET, /* an address, a socket type and flags */
        BODY_CONNECT,
        BODY_CLOSED,
        BODY_NAME,
        BODY_RING,
        BODY_HELLO,
        BODY_VM_ID,
        BODY_SERVICE_ID,
        BODY_CID, /* a VmId and a CID */
};

static const struct {
        enum body request, reply;
        unsigned descriptors;
        uint32_t flags; /* that may be set */
} layouts[WIRE_TYPE_MAX + 1] = {
        [WIRE_HELLO] = {BODY_EMPTY, BODY_HELLO, 0},
        [WIRE_BIND] = {BODY_SOCKET, BODY_ADDRESS, 1, WIRE_BIND_PASSTHRU},
        [WIRE_LISTEN] = {BODY_ADDRESS, BODY_EMPTY, 0},
        [WIRE_CONNECT] = {BODY_CONNECT, BODY_ADDRESS, 1,
                          WIRE_CONNECT_PASSTHRU | WIRE_CONNECT_MAY_PARK | WIRE_CONNECT_SURVIVES_PAUSE},
        [WIRE_CLOSED] = {BODY_CLOSED, BODY_EMPTY, 0},
        [WIRE_CHECK] = {BODY_ADDRESS, BODY_EMPTY, 0},
        [WIRE_RESOLVE_PARTITION] = {BODY_NAME, BODY_VM_ID, 0},
        [WIRE_RESOLVE_SERVICE] = {BODY_NAME, BODY_SERVICE_ID, 0},
        [WIRE_RING] = {BODY_RING, BODY_EMPTY, 1, WIRE_RING_FROM_ACCEPTOR},
        [WIRE_SUSPEND] = {BODY_RING, BODY_EMPTY, 0, WIRE_SUSPEND_FROM_ACCEPTOR | WIRE_SUSPEND_SURVIVES},
        [WIRE_RESOLVE_CID] = {BODY_CID, BODY_CID, 0},
};

static bool type_is_known(uint16_t type) {
        return type >= WIRE_HELLO && type <= WIRE_TYPE_MAX;
}

unsigned wire_request_descriptors(uint16_t type) {
        return type_is_known(type) ? layouts[type].descriptors : 0;
}

/* The place in a packet where the next field goes. The packet holds WIRE_PACKET_MAX bytes: see the assertions above. */
struct writer {
        uint8_t *at;
};

static void put16(struct writer *writer, uint16_t value) {
        memcpy(writer->at, &(uint16_t){htole16(value)}, 2);
        writer->at += 2;
}

static void put32(struct writer *writer, uint32_t value) {
        memcpy(writer->at, &(uint32_t){htole32(value)}, 4);
        writer->at += 4;
}

static void put_guid(struct writer *writer, const GUID *guid) {
        guid_to_windows(guid, writer->at);
        writer->at += 16;
}

static void put_text(struct writer *writer, const char *text, size_t size) {
        size_t length = strnlen(text, size - 1);
        memcpy(writer->at, text, length);
        writer->at[length] = 0;
        writer->at += length + 1;
}

static void put_label(struct writer *writer, const char label[WIRE_LABEL_SIZE]) {
        size_t length = strnlen(label, WIRE_LABEL_SIZE - 1);
        memcpy(writer->at, label, length);
        memset(writer->at + length, 0, WIRE_LABEL_SIZE - length);
        writer->at += WIRE_LABEL_SIZE;
}

/* The length is filled in by finish(). */
static void put_header(struct writer *writer, const struct wire_header *header) {
        put32(writer, WIRE_MAGIC);
        put16(writer, header->major);
        put16(writer, header->minor);
        put16(writer, header->type);
        put16(writer, 0);
        put32(writer, 0);
        put32(writer, header->serial);
        put32(writer, header->features);
}

static size_t finish(const struct writer *writer, uint8_t packet[WIRE_PACKET_MAX]) {
        size_t length = (size_t)(writer->at - packet);
        put32(&(struct writer){packet + 12}, (uint32_t)length);
        return length;
}

static void put_closed(struct writer *writer, const struct wire_request *request) {
        uint32_t count = request->closed_count < WIRE_CLOSED_MAX ? request->closed_count : WIRE_CLOSED_MAX;
        put32(writer, count);
        for (uint32_t i = 0; i < count; i++)
                put_guid(writer, &request->closed[i]);
}

static void put_cid(struct writer *writer, const GUID *vm_id, uint32_t cid) {
        put_guid(writer, vm_id);
        put32(writer, cid);
}

size_t wire_encode_request(const struct wire_request *request, uint8_t packet[WIRE_PACKET_MAX]) {
        struct writer writer = {packet};
        enum body body = type_is_known(request->header.type) ? layouts[request->header.type].request : BODY_EMPTY;
        put_header(&writer, &request->header);
        if (body == BODY_ADDRESS || body == BODY_SOCKET || body == BODY_CONNECT) {
                put_guid(&writer, &request->vm_id);
                put_guid(&writer, &request->service_id);
        }
        if (body == BODY_RING)
                put_guid(&writer, &request->service_id);
        if (body == BODY_SOCKET || body == BODY_CONNECT || body == BODY_RING) {
                put32(&writer, request->socket_type);
                put32(&writer, request->flags);
        }
        if (body == BODY_CONNECT || body == BODY_CLOSED)
                put_closed(&writer, request);
        if (body == BODY_NAME)
                put_text(&writer, request->name, sizeof request->name);
        if (body == BODY_CID)
                put_cid(&writer, &request->vm_id, request->cid);
        return finish(&writer, packet);
}

size_t wire_encode_reply(const struct wire_reply *reply, uint8_t packet[WIRE_PACKET_MAX]) {
        struct writer writer = {packet};
        uint16_t type = reply->header.type & (uint16_t)~WIRE_REPLY;
        enum body body = type_is_known(type) ? layouts[type].reply : BODY_EMPTY;
        put_header(&writer, &reply->header);
        put32(&writer, reply->error);
        put32(&writer, reply->error ? reply->rule : 0);
        if (reply->error) {
                put_text(&writer, reply->text, sizeof reply->text);
                return finish(&writer, packet);
        }
        if (body == BODY_HELLO) {
                put_guid(&writer, &reply->vm_id);
                put_guid(&writer, &reply->parent_vm_id);
                put32(&writer, reply->kind);
                put_label(&writer, reply->label);
        }
        if (body == BODY_ADDRESS || body == BODY_VM_ID)
                put_guid(&writer, &reply->vm_id);
        if (body == BODY_ADDRESS || body == BODY_SERVICE_ID)
                put_guid(&writer, &reply->service_id);
        if (body == BODY_CID)
                put_cid(&writer, &reply->vm_id, reply->cid);
        return finish(&writer, packet);
}

/* What is left to read. A read past the end sets `failed` and gives zeros; so does what may not be: one check at the
 * end is enough. */
struct reader {
        const uint8_t *at;
        size_t left;
        bool failed;
};

static void require(struct reader *reader, bool condition) {
        reader->failed |= !condition;
}

static void take(struct reader *reader, void *ret_bytes, size_t size) {
        if (reader->left < size) {
                reader->failed = true;
                memset(ret_bytes, 0, size);
                return;
        }
        memcpy(ret_bytes, reader->at, size);
        reader->at += size;
        reader->left -= size;
}

static uint16_t get16(struct reader *reader) {
        uint16_t value;
        take(reader, &value, 2);
        return le16toh(value);
}

static uint32_t get32(struct reader *reader) {
        uint32_t value;
        take(reader, &value, 4);
        return le32toh(value);
}

static GUID get_guid(struct reader *reader) {
        uint8_t bytes[16];
        GUID guid;
        take(reader, bytes, sizeof bytes);
        guid_from_windows(bytes, &guid);
        return guid;
}

/* Text that ends the packet: one NUL, and that is the last byte. */
static void get_text(struct reader *reader, char *text, size_t size) {
        const uint8_t *end = memchr(reader->at, 0, reader->left);
        size_t length = reader->left;
        if (!length || length > size || end != reader->at + length - 1)
                reader->failed = true;
        else
                take(reader, text, length);
}

/* Padded with NULs, at least one. */
static void get_label(struct reader *reader, char label[WIRE_LABEL_SIZE]) {
        take(reader, label, WIRE_LABEL_SIZE);
        for (size_t i = strnlen(label, WIRE_LABEL_SIZE - 1); i < WIRE_LABEL_SIZE; i++)
                require(reader, !label[i]);
}

static void get_closed(struct reader *reader, struct wire_request *request) {
        request->closed_count = get32(reader);
        require(reader, request->closed_count <= WIRE_CLOSED_MAX);
        for (uint32_t i = 0; !reader->failed && i < request->closed_count; i++)
                request->closed[i] = get_guid(reader);
}

static int get_header(struct reader *reader, size_t length, struct wire_header *ret_header) {
        struct wire_header header;
        if (length > WIRE_PACKET_MAX || get32(reader) != WIRE_MAGIC)
                return -EPROTO;
        header.major = get16(reader);
        header.minor = get16(reader);
        header.type = get16(reader);
        uint16_t reserved = get16(reader);
        header.length = get32(reader);
        header.serial = get32(reader);
        header.features = get32(reader);
        if (reader->failed || reserved || header.length != length)
                return -EPROTO;
        if (header.major != WIRE_MAJOR)
                return -EPROTONOSUPPORT;
        *ret_header = header;
        return 0;
}

int wire_decode_request(const uint8_t *packet, size_t length, struct wire_request *ret) {
        struct reader reader = {packet, length, false};
        struct wire_request request = {};
        int r = get_header(&reader, length, &request.header);
        if (r)
                return r;
        if (request.header.type & WIRE_REPLY)
                return -EPROTO;
        if (!type_is_known(request.header.type)) {
                ret->header = request.header;
                return -ENOSYS;
        }
        enum body body = layouts[request.header.type].request;
        if (body == BODY_ADDRESS || body == BODY_SOCKET || body == BODY_CONNECT) {
                request.vm_id = get_guid(&reader);
                request.service_id = get_guid(&reader);
        }
        if (body == BODY_RING)
                request.service_id = get_guid(&reader);
        if (body == BODY_SOCKET || body == BODY_CONNECT || body == BODY_RING) {
                request.socket_type = get32(&reader);
                request.flags = get32(&reader);
                require(&reader, request.socket_type == SOCK_STREAM || request.socket_type == SOCK_SEQPACKET);
                require(&reader, !(request.flags & ~layouts[request.header.type].flags));
        }
        if (body == BODY_CONNECT || body == BODY_CLOSED)
                get_closed(&reader, &request);
        if (body == BODY_CLOSED)
                require(&reader, request.closed_count > 0);
        if (body == BODY_NAME) {
                get_text(&reader, request.name, sizeof request.name);
                require(&reader, request.name[0] != 0);
        }
        if (body == BODY_CID) {
                request.vm_id = get_guid(&reader);
                request.cid = get32(&reader);
        }
        if (reader.failed || reader.left)
                return -EPROTO;
        *ret = request;
        return 0;
}

int wire_decode_reply(const uint8_t *packet, size_t length, struct wire_reply *ret) {
        struct reader reader = {packet, length, false};
        struct wire_reply reply = {};
        int r = get_header(&reader, length, &reply.header);
        if (r)
                return r;
        if (!(reply.header.type & WIRE_REPLY))
                return -EPROTO;
        uint16_t type = reply.header.type & (uint16_t)~WIRE_REPLY;
        reply.error = get32(&reader);
        reply.rule = get32(&reader);
        require(&reader, reply.error <= WIRE_ERROR_MAX);
        if (reply.error) {
                get_text(&reader, reply.text, sizeof reply.text);
        } else if (!type_is_known(type)) {
                ret->header = reply.header;
                return -ENOSYS;
        } else {
                enum body body = layouts[type].reply;
                require(&reader, !reply.rule && type != WIRE_CLOSED && type != WIRE_RING);
                if (body == BODY_HELLO) {
                        reply.vm_id = get_guid(&reader);
                        reply.parent_vm_id = get_guid(&reader);
                        reply.kind = get32(&reader);
                        require(&reader, reply.kind >= HV_PARTITION_HOST && reply.kind <= HV_PARTITION_CONTAINER);
                        get_label(&reader, reply.label);
                }
                if (body == BODY_ADDRESS || body == BODY_VM_ID)
                        reply.vm_id = get_guid(&reader);
                if (body == BODY_ADDRESS || body == BODY_SERVICE_ID)
                        reply.service_id = get_guid(&reader);
                if (body == BODY_CID) {
                        reply.vm_id = get_guid(&reader);
                        reply.cid = get32(&reader);
                }
        }
        if (reader.failed || reader.left)
                return -EPROTO;
        *ret = reply;
        return 0;
}
