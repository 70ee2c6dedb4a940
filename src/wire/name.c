/* SPDX-License-Identifier: MIT */

/* The kernel names of connectors and listeners: see name.h. */

#include "wire/name.h"

#include "base/guid.h"

#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define CONNECTOR_VERSION 1u
#define PATH_OFFSET offsetof(struct sockaddr_un, sun_path)

/* Where each field of a connector's name lies. */
enum {
        AT_PREFIX = 0,
        AT_VERSION = 2,
        AT_FLAGS = 3,
        AT_DIAL_BACK = 4,
        AT_EPHEMERAL = 20,
        AT_DIALLED = 36,
        AT_PID = 52,
        AT_UID = 56,
        AT_GID = 60,
        AT_TAG = 64,
        AT_RESERVED = 72,
};
_Static_assert(AT_RESERVED + 4 == CONNECTOR_NAME_SIZE, "the fields fill the name");
_Static_assert(3 * GUID_HEX_SIZE + 1 + 7 == LISTENER_NAME_MAX, "three GUIDs and dots, the type and a pid fill the name");
_Static_assert(1 + CONNECTOR_NAME_SIZE <= sizeof((struct sockaddr_un *)0)->sun_path, "the name fits an address");

static void put32(uint8_t *at, uint32_t value) {
        memcpy(at, &(uint32_t){htole32(value)}, 4);
}

static uint32_t get32(const uint8_t *at) {
        uint32_t value;
        memcpy(&value, at, 4);
        return le32toh(value);
}

static void put_connector(const struct connector_name *name, uint8_t bytes[CONNECTOR_NAME_SIZE]) {
        memcpy(bytes + AT_PREFIX, "hv", 2);
        bytes[AT_VERSION] = CONNECTOR_VERSION;
        bytes[AT_FLAGS] = name->flags;
        guid_to_windows(&name->dial_back_vm_id, bytes + AT_DIAL_BACK);
        guid_to_windows(&name->ephemeral_id, bytes + AT_EPHEMERAL);
        guid_to_windows(&name->dialled_vm_id, bytes + AT_DIALLED);
        put32(bytes + AT_PID, name->pid);
        put32(bytes + AT_UID, name->uid);
        put32(bytes + AT_GID, name->gid);
        memcpy(bytes + AT_TAG, &(uint64_t){htole64(name->tag)}, 8);
        put32(bytes + AT_RESERVED, 0);
}

socklen_t connector_name_encode(const struct connector_name *name, struct sockaddr_un *ret_address) {
        *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
        put_connector(name, (uint8_t *)ret_address->sun_path + 1);
        return PATH_OFFSET + 1 + CONNECTOR_NAME_SIZE;
}

int connector_name_decode(const struct sockaddr_un *address, socklen_t length, struct connector_name *ret) {
        const uint8_t *bytes = (const uint8_t *)address->sun_path + 1;
        if (length != PATH_OFFSET + 1 + CONNECTOR_NAME_SIZE || address->sun_family != AF_UNIX || address->sun_path[0] ||
            memcmp(bytes + AT_PREFIX, "hv", 2) || bytes[AT_VERSION] != CONNECTOR_VERSION || bytes[AT_FLAGS] & ~CONNECTOR_ENDED ||
            get32(bytes + AT_RESERVED))
                return -EINVAL;
        uint64_t tag;
        memcpy(&tag, bytes + AT_TAG, 8);
        ret->flags = bytes[AT_FLAGS];
        guid_from_windows(bytes + AT_DIAL_BACK, &ret->dial_back_vm_id);
        guid_from_windows(bytes + AT_EPHEMERAL, &ret->ephemeral_id);
        guid_from_windows(bytes + AT_DIALLED, &ret->dialled_vm_id);
        ret->pid = get32(bytes + AT_PID);
        ret->uid = get32(bytes + AT_UID);
        ret->gid = get32(bytes + AT_GID);
        ret->tag = le64toh(tag);
        return 0;
}

void connector_name_tagged_bytes(const struct connector_name *name, const GUID *partition_id,
                                 uint8_t ret_bytes[CONNECTOR_TAGGED_SIZE]) {
        uint8_t bytes[CONNECTOR_NAME_SIZE];
        put_connector(name, bytes);
        memcpy(ret_bytes, bytes, AT_TAG);
        memcpy(ret_bytes + AT_TAG, bytes + AT_RESERVED, CONNECTOR_NAME_SIZE - AT_RESERVED);
        guid_to_windows(partition_id, ret_bytes + CONNECTOR_TAGGED_SIZE - 16);
}

socklen_t listener_name_encode(const struct listener_name *name, struct sockaddr_un *ret_address) {
        char partition[GUID_HEX_SIZE], vm[GUID_HEX_SIZE], service[GUID_HEX_SIZE];
        guid_format_hex(&name->partition_id, partition);
        guid_format_hex(&name->vm_id, vm);
        guid_format_hex(&name->service_id, service);
        *ret_address = (struct sockaddr_un){.sun_family = AF_UNIX};
        uint32_t pid = name->pid <= LISTENER_PID_MAX ? name->pid : 0;
        int length = snprintf(ret_address->sun_path, sizeof ret_address->sun_path, "%s.%s.%s.%c%" PRIu32, partition, vm,
                              service, name->socket_type == SOCK_SEQPACKET ? 'q' : 's', pid);
        return (socklen_t)(PATH_OFFSET + (size_t)length + 1);
}

/* 32 digits and a dot. */
static int get_hex_guid(const char **at, GUID *ret_guid) {
        char text[GUID_HEX_SIZE];
        if (strnlen(*at, GUID_HEX_SIZE) < GUID_HEX_SIZE || (*at)[GUID_HEX_SIZE - 1] != '.')
                return -EINVAL;
        memcpy(text, *at, GUID_HEX_SIZE - 1);
        text[GUID_HEX_SIZE - 1] = 0;
        *at += GUID_HEX_SIZE;
        return guid_parse(text, ret_guid);
}

int listener_name_parse(const char *file_name, struct listener_name *ret) {
        struct listener_name name;
        struct sockaddr_un canonical;
        const char *at = file_name;
        if (strnlen(file_name, LISTENER_NAME_MAX + 1) > LISTENER_NAME_MAX)
                return -EINVAL;
        if (get_hex_guid(&at, &name.partition_id) || get_hex_guid(&at, &name.vm_id) || get_hex_guid(&at, &name.service_id))
                return -EINVAL;
        name.socket_type = *at == 'q' ? SOCK_SEQPACKET : SOCK_STREAM;
        name.pid = (uint32_t)strtoul(at + (*at != 0), NULL, 10);
        /* One address has one name: whatever does not come out again is none. */
        listener_name_encode(&name, &canonical);
        if (strcmp(canonical.sun_path, file_name))
                return -EINVAL;
        *ret = name;
        return 0;
}

int listener_name_decode(const struct sockaddr_un *address, socklen_t length, struct listener_name *ret) {
        /* The kernel's lengths count the NUL. */
        size_t size = length > PATH_OFFSET ? length - PATH_OFFSET : 0;
        if (!size || size > sizeof address->sun_path || address->sun_family != AF_UNIX ||
            strnlen(address->sun_path, size) != size - 1)
                return -EINVAL;
        return listener_name_parse(address->sun_path, ret);
}
