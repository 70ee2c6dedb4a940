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
#include "base/utf16.h"
#include "broker/text.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define VERSION_5 "Windows Registry Editor Version 5.00"
#define VERSION_4 "REGEDIT4"
#define SERVICES_KEY                                                         \
        "HKEY_LOCAL_MACHINE\\SOFTWARE\\Microsoft\\Windows NT\\CurrentVersion" \
        "\\Virtualization\\GuestCommunicationServices\\"

#define BLANKS " \t"

static char *next_line(char **at) {
        char *line = text_next_line(at);
        if (!line)
                return NULL;
        size_t length = strlen(line);
        if (length && line[length - 1] == '\r')
                line[length - 1] = 0;
        return line + strspn(line, BLANKS);
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

/* A quoted string at *at, with \" and \\ in it; *at is then behind it. */
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
        struct text_error *error; /* its line is the one that is read */
        struct service_definition definition;
        unsigned key_line; /* of the service's key; 0 outside of one */
};

/* The service whose key ends here. */
static int finish_key(struct import *import) {
        if (!import->key_line)
                return 0;
        if (!*import->definition.name) {
                import->error->line = import->key_line;
                return text_expected(import->error->expected, "expected \"ElementName\" below this service's key");
        }
        import->key_line = 0;
        return import->each(&import->definition, import->userdata);
}

static int read_key(struct import *import, const char *line) {
        GUID guid;
        int r = finish_key(import);
        if (r || !is_service_key(line, &guid))
                return r;
        import->definition = (struct service_definition){.service_id = guid,
                                                         .enabled = true,
                                                         .wildcard_binds = true,
                                                         .bind.is_default = true,
                                                         .connect.is_default = true};
        import->key_line = import->error->line;
        return 0;
}

static int read_value(struct import *import, const char *line) {
        char name[32], *expected = import->error->expected;
        const char *at = line;
        if (unquote(&at, name, sizeof name) || strcasecmp(name, "ElementName"))
                return 0;
        at += strspn(at, BLANKS);
        if (*at++ != '=')
                return text_expected(expected, "expected \"ElementName\"=\"a name\"");
        at += strspn(at, BLANKS);
        int r = unquote(&at, import->definition.name, sizeof import->definition.name);
        if (r == -E2BIG)
                return text_expected(expected, "expected a name of at most %u bytes", SERVICE_NAME_MAX);
        if (r || at[strspn(at, BLANKS)])
                return text_expected(expected, "expected \"ElementName\"=\"a name\"");
        const char *service_name = import->definition.name;
        if (!service_name[strspn(service_name, BLANKS)] || !service_name_is_valid(service_name))
                return text_expected(expected, "expected a printable name after \"ElementName\"=");
        return 0;
}

static int read_lines(struct import *import, char *text) {
        bool versioned = false, continued = false;
        int r = 0;
        import->error->line = 1;
        for (char *line; !r && (line = next_line(&text)); import->error->line += !r) {
                if (!*line || *line == ';')
                        continue;
                /* A long value goes on in the next line after a backslash; whatever that is, it is no key. */
                bool is_continuation = continued && *line != '[';
                continued = *line != '[' && line[strlen(line) - 1] == '\\';
                if (is_continuation)
                        continue;
                if (!versioned) {
                        if (strcmp(line, VERSION_5) && strcmp(line, VERSION_4))
                                break;
                        versioned = true;
                } else if (*line == '[') {
                        r = read_key(import, line);
                } else if (import->key_line) {
                        r = read_value(import, line);
                }
        }
        if (r)
                return r;
        return versioned ? finish_key(import) : text_expected(import->error->expected, "expected " VERSION_5);
}

int reg_import(const char *text, size_t length, registry_import_each each, void *userdata,
               struct text_error *ret_error) {
        struct import import = {.each = each, .userdata = userdata, .error = ret_error};
        char *converted = NULL;
        if (length > REG_FILE_MAX) {
                ret_error->line = 1;
                text_expected(ret_error->expected, "expected at most %u bytes", REG_FILE_MAX);
                return -E2BIG;
        }
        int r = utf8_from_file(text, length, &converted, &ret_error->line);
        if (r == -EINVAL)
                return text_expected(ret_error->expected, "expected text in UTF-8, or in UTF-16 with its byte-order mark");
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
        fputs(VERSION_5 "\r\n", out);
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
