/* SPDX-License-Identifier: MIT */

/*
 * Windows' registry text: GuestCommunicationServices from and to a .reg file.
 *
 * Reads the version-5 and the REGEDIT4 form, in UTF-16LE with its mark or in
 * UTF-8. A key below GuestCommunicationServices whose name is a GUID is a
 * service, its ElementName the friendly name; every other key and value is
 * somebody else's and passed over.
 */

#include "base/guid.h"
#include "broker/internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SERVICES_KEY \
        "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion\\Virtualization\\GuestCommunicationServices\\"
#define REG_FILE_MAX (16u << 20) /* bytes */

__attribute__((format(printf, 3, 4))) static int expected(struct text_error *error, unsigned line, const char *format, ...) {
        va_list arguments;
        va_start(arguments, format);
        error->line = line;
        vsnprintf(error->expected, sizeof error->expected, format, arguments);
        va_end(arguments);
        return -EINVAL;
}

static void put_utf8(FILE *out, uint32_t point) {
        if (point < 0x80)
                fputc((int)point, out);
        else if (point < 0x800)
                fprintf(out, "%c%c", (int)(0xC0 | point >> 6), (int)(0x80 | (point & 0x3F)));
        else if (point < 0x10000)
                fprintf(out, "%c%c%c", (int)(0xE0 | point >> 12), (int)(0x80 | (point >> 6 & 0x3F)),
                        (int)(0x80 | (point & 0x3F)));
        else
                fprintf(out, "%c%c%c%c", (int)(0xF0 | point >> 18), (int)(0x80 | (point >> 12 & 0x3F)),
                        (int)(0x80 | (point >> 6 & 0x3F)), (int)(0x80 | (point & 0x3F)));
}

/* To UTF-8 without the mark. A lone surrogate or an odd byte at the end is not UTF-16. */
static int to_utf8(const char *text, size_t length, char **ret_text, struct text_error *error) {
        const uint8_t *bytes = (const uint8_t *)text;
        char *converted = NULL;
        size_t size;
        if (length < 2 || bytes[0] != 0xFF || bytes[1] != 0xFE) {
                size_t mark = length >= 3 && !memcmp(bytes, "\xEF\xBB\xBF", 3) ? 3 : 0;
                const char *nul = memchr(text, 0, length);
                if (nul)
                        return expected(error, 1, "expected text in UTF-8, or in UTF-16 with its byte-order mark");
                converted = strndup(text + mark, length - mark);
                if (!converted)
                        return -ENOMEM;
                *ret_text = converted;
                return 0;
        }
        FILE *out = open_memstream(&converted, &size);
        if (!out)
                return -ENOMEM;
        bool bad = length % 2;
        unsigned line = 1;
        for (size_t i = 2; i + 1 < length && !bad; i += 2) {
                uint32_t unit = bytes[i] | (uint32_t)bytes[i + 1] << 8;
                if (unit >= 0xD800 && unit < 0xDC00 && i + 3 < length) {
                        uint32_t low = bytes[i + 2] | (uint32_t)bytes[i + 3] << 8;
                        bad = low < 0xDC00 || low > 0xDFFF;
                        unit = 0x10000 + ((unit - 0xD800) << 10) + (low - 0xDC00);
                        i += 2;
                } else {
                        bad = !unit || (unit >= 0xD800 && unit < 0xE000);
                }
                if (!bad)
                        put_utf8(out, unit);
                line += unit == '\n';
        }
        if (fclose(out)) {
                free(converted);
                return -ENOMEM;
        }
        if (bad) {
                free(converted);
                return expected(error, line, "expected UTF-16 text");
        }
        *ret_text = converted;
        return 0;
}

static char *next_line(char **at) {
        char *line = *at;
        if (!*line)
                return NULL;
        size_t length = strcspn(line, "\n");
        *at = line + length + (line[length] != 0);
        line[length] = 0;
        if (length && line[length - 1] == '\r')
                line[length - 1] = 0;
        return line + strspn(line, " \t");
}

/* The GUID when `line` is a service's key. */
static bool is_service_key(const char *line, GUID *ret_guid) {
        char name[HV_GUID_TEXT_SIZE + 2];
        size_t prefix = strlen(SERVICES_KEY), length = strlen(line);
        if (length < prefix + 2 || strncasecmp(line + 1, SERVICES_KEY, prefix) || line[length - 1] != ']')
                return false;
        length -= prefix + 2;
        if (length >= sizeof name)
                return false;
        memcpy(name, line + 1 + prefix, length);
        name[length] = 0;
        return !guid_parse(name, ret_guid);
}

/* A quoted string at *at, with \" and \\ in it. The rest of the line must be empty when it is a value. */
static int unquote(const char **at, char *ret_text, size_t size) {
        const char *from = *at;
        size_t length = 0;
        if (*from++ != '"')
                return -EINVAL;
        while (*from && *from != '"') {
                if (*from == '\\' && from[1])
                        from++;
                if (length + 1 >= size)
                        return -E2BIG;
                ret_text[length++] = *from++;
        }
        if (*from != '"')
                return -EINVAL;
        ret_text[length] = 0;
        *at = from + 1;
        return 0;
}

struct import {
        registry_import_each each;
        void *userdata;
        struct text_error *error;
        struct service_definition definition;
        unsigned key_line; /* of the service's key; 0 outside of one */
};

/* The service whose key ends here. */
static int finish_key(struct import *import) {
        if (!import->key_line)
                return 0;
        if (!*import->definition.name)
                return expected(import->error, import->key_line, "expected \"ElementName\" below this service's key");
        import->key_line = 0;
        return import->each(&import->definition, import->userdata);
}

static int read_value(struct import *import, const char *line, unsigned number) {
        char name[32];
        const char *at = line;
        if (unquote(&at, name, sizeof name) || strcasecmp(name, "ElementName"))
                return 0;
        at += strspn(at, " \t");
        if (*at++ != '=')
                return expected(import->error, number, "expected \"ElementName\"=\"a name\"");
        at += strspn(at, " \t");
        int r = unquote(&at, import->definition.name, sizeof import->definition.name);
        if (r == -E2BIG)
                return expected(import->error, number, "expected a name of at most %u bytes", SERVICE_NAME_MAX);
        if (r || at[strspn(at, " \t")])
                return expected(import->error, number, "expected \"ElementName\"=\"a name\"");
        if (!*import->definition.name || !service_name_is_valid(import->definition.name))
                return expected(import->error, number, "expected a printable name after \"ElementName\"=");
        return 0;
}

static int read_lines(struct import *import, char *text) {
        bool versioned = false, continued = false;
        unsigned number = 0;
        int r;
        for (char *line; (line = next_line(&text));) {
                number++;
                size_t length = strlen(line);
                bool is_continuation = continued;
                continued = length && line[length - 1] == '\\';
                if (is_continuation || !*line || *line == ';')
                        continue;
                if (!versioned) {
                        if (strcmp(line, "Windows Registry Editor Version 5.00") && strcmp(line, "REGEDIT4"))
                                return expected(import->error, number, "expected Windows Registry Editor Version 5.00");
                        versioned = true;
                } else if (*line == '[') {
                        GUID guid;
                        r = finish_key(import);
                        if (r)
                                return r;
                        if (is_service_key(line, &guid)) {
                                import->definition = (struct service_definition){.service_id = guid,
                                                                                 .enabled = true,
                                                                                 .wildcard_binds = true,
                                                                                 .bind.is_default = true,
                                                                                 .connect.is_default = true};
                                import->key_line = number;
                        }
                } else if (import->key_line) {
                        r = read_value(import, line, number);
                        if (r)
                                return r;
                }
        }
        if (!versioned)
                return expected(import->error, number + 1, "expected Windows Registry Editor Version 5.00");
        return finish_key(import);
}

int reg_import(const char *text, size_t length, registry_import_each each, void *userdata, struct text_error *ret_error) {
        struct import import = {.each = each, .userdata = userdata, .error = ret_error};
        char *converted = NULL;
        if (length > REG_FILE_MAX) {
                expected(ret_error, 1, "expected at most %u bytes", REG_FILE_MAX);
                return -E2BIG;
        }
        int r = to_utf8(text, length, &converted, ret_error);
        if (r)
                return r;
        r = read_lines(&import, converted);
        free(converted);
        return r;
}

int reg_export(const struct broker *broker, char **ret_text) {
        char *text = NULL;
        size_t size;
        FILE *out = open_memstream(&text, &size);
        if (!out)
                return -ENOMEM;
        fputs("Windows Registry Editor Version 5.00\r\n", out);
        for (const struct service *service = NULL; (service = registry_next(broker, service));) {
                char guid[HV_GUID_TEXT_SIZE];
                guid_format(&service->definition.service_id, guid);
                fprintf(out, "\r\n[%s%s]\r\n\"ElementName\"=\"", SERVICES_KEY, guid);
                for (const char *at = service->definition.name; *at; at++) {
                        if (*at == '"' || *at == '\\')
                                fputc('\\', out);
                        fputc(*at, out);
                }
                fputs("\"\r\n", out);
        }
        if (fclose(out)) {
                free(text);
                return -ENOMEM;
        }
        *ret_text = text;
        return 0;
}
