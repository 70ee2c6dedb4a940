/* SPDX-License-Identifier: MIT */

/* GUIDs: text, byte orders, equality and the words for the well-known ones. */

#include "base/guid.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#define GUID_DASHED_LENGTH 36
#define GUID_HEX_LENGTH 32
#define PORT_PREFIX "vsock:"
#define PORT_DIGITS_MAX 10

static int digit_value(char digit) {
        if (digit >= '0' && digit <= '9')
                return digit - '0';
        if (digit >= 'a' && digit <= 'f')
                return digit - 'a' + 10;
        if (digit >= 'A' && digit <= 'F')
                return digit - 'A' + 10;
        return -1;
}

static bool dash_follows(unsigned digits) {
        return digits == 8 || digits == 12 || digits == 16 || digits == 20;
}

int guid_parse(const char *text, GUID *ret_guid) {
        size_t length = strlen(text);
        if (length == GUID_DASHED_LENGTH + 2 && text[0] == '{' && text[length - 1] == '}') {
                text++;
                length -= 2;
        }
        if (length != GUID_DASHED_LENGTH && length != GUID_HEX_LENGTH)
                return -EINVAL;

        uint8_t bytes[16];
        for (unsigned digits = 0; digits < GUID_HEX_LENGTH; digits += 2) {
                if (length == GUID_DASHED_LENGTH && dash_follows(digits) && *text++ != '-')
                        return -EINVAL;
                int high = digit_value(text[0]), low = high < 0 ? -1 : digit_value(text[1]);
                if (low < 0)
                        return -EINVAL;
                bytes[digits / 2] = (uint8_t)(high << 4 | low);
                text += 2;
        }
        guid_from_network(bytes, ret_guid);
        return 0;
}

int guid_parse_service(const char *text, GUID *ret_service_id) {
        if (strncmp(text, PORT_PREFIX, strlen(PORT_PREFIX)) != 0)
                return guid_parse(text, ret_service_id);
        const char *digits = text + strlen(PORT_PREFIX);
        size_t length = strspn(digits, "0123456789");
        unsigned long long port = strtoull(digits, NULL, 10);
        if (!length || length > PORT_DIGITS_MAX || digits[length] || port > HV_PORT_MAX)
                return -ERANGE;
        *ret_service_id = HV_GUID_VSOCK_TEMPLATE;
        ret_service_id->Data1 = (uint32_t)port;
        return 0;
}

int guid_port(const GUID *service_id, uint32_t *ret_port) {
        GUID template = HV_GUID_VSOCK_TEMPLATE;
        template.Data1 = service_id->Data1;
        if (service_id->Data1 > HV_PORT_MAX || !guid_equal(service_id, &template))
                return -EINVAL;
        *ret_port = service_id->Data1;
        return 0;
}

void guid_format(const GUID *guid, char ret_text[HV_GUID_TEXT_SIZE]) {
        const uint8_t *tail = guid->Data4;
        snprintf(ret_text, HV_GUID_TEXT_SIZE, "%08x-%04x-%04x-%02x%02x-%02x%02x%02x%02x%02x%02x", guid->Data1, guid->Data2,
                 guid->Data3, tail[0], tail[1], tail[2], tail[3], tail[4], tail[5], tail[6], tail[7]);
}

void guid_format_hex(const GUID *guid, char ret_text[GUID_HEX_SIZE]) {
        char dashed[HV_GUID_TEXT_SIZE];
        guid_format(guid, dashed);
        for (const char *from = dashed; *from; from++)
                if (*from != '-')
                        *ret_text++ = *from;
        *ret_text = 0;
}

/* GUID has no padding: 4 + 2 + 2 + 8. */
_Static_assert(sizeof(GUID) == 16, "a GUID is 16 bytes");

bool guid_equal(const GUID *a, const GUID *b) {
        return !memcmp(a, b, sizeof *a);
}

bool guid_is_zero(const GUID *guid) {
        return guid_equal(guid, &HV_GUID_ZERO);
}

int guid_new(GUID *ret_guid) {
        uint8_t bytes[16];
        ssize_t length;
        do
                length = getrandom(bytes, sizeof bytes, 0);
        while (length < 0 && errno == EINTR);
        if (length < 0)
                return -errno;
        bytes[6] = (uint8_t)((bytes[6] & 0x0f) | 0x40); /* version 4 */
        bytes[8] = (uint8_t)((bytes[8] & 0x3f) | 0x80); /* variant of RFC 4122 */
        guid_from_network(bytes, ret_guid);
        return 0;
}

void guid_to_windows(const GUID *guid, uint8_t ret_bytes[16]) {
        for (unsigned i = 0; i < 4; i++)
                ret_bytes[i] = (uint8_t)(guid->Data1 >> 8 * i);
        for (unsigned i = 0; i < 2; i++) {
                ret_bytes[4 + i] = (uint8_t)(guid->Data2 >> 8 * i);
                ret_bytes[6 + i] = (uint8_t)(guid->Data3 >> 8 * i);
        }
        memcpy(ret_bytes + 8, guid->Data4, 8);
}

void guid_from_windows(const uint8_t bytes[16], GUID *ret_guid) {
        GUID guid = {
                .Data1 = (uint32_t)bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 | (uint32_t)bytes[3] << 24,
                .Data2 = (uint16_t)(bytes[4] | bytes[5] << 8),
                .Data3 = (uint16_t)(bytes[6] | bytes[7] << 8),
        };
        memcpy(guid.Data4, bytes + 8, 8);
        *ret_guid = guid;
}

void guid_to_network(const GUID *guid, uint8_t ret_bytes[16]) {
        for (unsigned i = 0; i < 4; i++)
                ret_bytes[i] = (uint8_t)(guid->Data1 >> 8 * (3 - i));
        for (unsigned i = 0; i < 2; i++) {
                ret_bytes[4 + i] = (uint8_t)(guid->Data2 >> 8 * (1 - i));
                ret_bytes[6 + i] = (uint8_t)(guid->Data3 >> 8 * (1 - i));
        }
        memcpy(ret_bytes + 8, guid->Data4, 8);
}

void guid_from_network(const uint8_t bytes[16], GUID *ret_guid) {
        GUID guid = {
                .Data1 = (uint32_t)bytes[0] << 24 | (uint32_t)bytes[1] << 16 | (uint32_t)bytes[2] << 8 | (uint32_t)bytes[3],
                .Data2 = (uint16_t)(bytes[4] << 8 | bytes[5]),
                .Data3 = (uint16_t)(bytes[6] << 8 | bytes[7]),
        };
        memcpy(guid.Data4, bytes + 8, 8);
        *ret_guid = guid;
}

/* WILDCARD comes before ZERO: they are one GUID, and the first word is the one printed. */
static const struct {
        const char *word;
        const GUID *guid;
} words[] = {
        {"parent", &HV_GUID_PARENT},     {"loopback", &HV_GUID_LOOPBACK}, {"children", &HV_GUID_CHILDREN},
        {"wildcard", &HV_GUID_WILDCARD}, {"zero", &HV_GUID_ZERO},         {"broadcast", &HV_GUID_BROADCAST},
        {"silohost", &HV_GUID_SILOHOST},
};

const GUID *guid_by_word(const char *word) {
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (!strcmp(words[i].word, word))
                        return words[i].guid;
        return NULL;
}

const char *guid_word(const GUID *guid) {
        for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (guid_equal(words[i].guid, guid))
                        return words[i].word;
        return NULL;
}
