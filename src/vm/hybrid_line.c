/* SPDX-License-Identifier: MIT */

/* The lines of hybrid sockets. */

#include "vm/hybrid_line.h"

#include "base/guid.h"
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define PORT_PREFIX "vsock:"

static bool is_blank(char c) {
        return c == ' ' || c == '\t' || c == '\r';
}

/* A port or a GUID; `text` has room for the prefix before it. */
static int parse_service(const char *begin, const char *end, GUID *ret_service_id) {
        char text[sizeof PORT_PREFIX + HYBRID_LINE_MAX] = PORT_PREFIX;
        char *argument = text + strlen(PORT_PREFIX);
        memcpy(argument, begin, (size_t)(end - begin));
        if (strlen(argument) != (size_t)(end - begin))
                return -EINVAL;
        return guid_parse_service(text, ret_service_id) < 0 ? guid_parse(argument, ret_service_id) : 0;
}

static ssize_t parse(const char *word, const char *bytes, size_t size, GUID *ret_service_id) {
        size_t length = strlen(word), most = size < HYBRID_LINE_MAX ? size : HYBRID_LINE_MAX;
        if (strncasecmp(bytes, word, most < length ? most : length) || (most > length && !is_blank(bytes[length])))
                return -EINVAL;
        const char *newline = memchr(bytes, '\n', most);
        if (!newline)
                return most < HYBRID_LINE_MAX ? 0 : -EMSGSIZE;
        const char *begin = bytes + length, *end = newline;
        while (begin < end && is_blank(*begin))
                begin++;
        while (end > begin && is_blank(end[-1]))
                end--;
        return parse_service(begin, end, ret_service_id) < 0 ? -EINVAL : newline + 1 - bytes;
}

ssize_t hybrid_line_parse_connect(const char *bytes, size_t size, GUID *ret_service_id) {
        return parse("CONNECT", bytes, size, ret_service_id);
}

ssize_t hybrid_line_parse_ok(const char *bytes, size_t size) {
        GUID service_id;
        return parse("OK", bytes, size, &service_id);
}

size_t hybrid_line_format_connect(uint32_t port, char ret_line[HYBRID_LINE_MAX]) {
        return (size_t)snprintf(ret_line, HYBRID_LINE_MAX, "CONNECT %" PRIu32 "\n", port);
}

size_t hybrid_line_format_ok(uint16_t host_port, char ret_line[HYBRID_LINE_MAX]) {
        return (size_t)snprintf(ret_line, HYBRID_LINE_MAX, "OK %" PRIu16 "\n", host_port);
}
