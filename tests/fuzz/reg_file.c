/* SPDX-License-Identifier: MIT */

/*
 * Whatever services reg_import() finds, they are the same after an export and another import, in either encoding.
 * Whatever it refuses, it says where and why in printable text.
 */

#include "base/guid.h"
#include "base/utf16.h"
#include "broker/broker.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

static int put(const struct service_definition *definition, void *userdata) {
        require(*definition->name && service_name_is_valid(definition->name));
        return registry_put(userdata, definition, NULL);
}

static unsigned count;

static int compare(const struct service_definition *definition, void *userdata) {
        const struct service *service = registry_by_id(userdata, &definition->service_id);
        require(service && !strcmp(service->definition.name, definition->name));
        count++;
        return 0;
}

static void check_read_back(struct broker *broker, const char *text, size_t length) {
        struct text_error error;
        unsigned services = 0;
        count = 0;
        require(!reg_import(text, length, compare, broker, &error));
        for (const struct service *at = NULL; (at = registry_next(broker, at));)
                services++;
        require(count == services);
}

static void check_exported(struct broker *broker) {
        char *text;
        void *wide;
        size_t length;
        require(!reg_export(broker, &text));
        check_read_back(broker, text, strlen(text));
        require(!utf16_from_utf8(text, &wide, &length));
        check_read_back(broker, wide, length);
        free(wide);
        free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        static const uint8_t key[16];
        char *text = malloc(size ? size : 1); /* of its exact size, so that reading beyond it is found */
        struct text_error error = {};
        struct broker *broker;
        require(text);
        memcpy(text, bytes, size);
        require(!broker_new(key, &(struct owner){}, &QUOTAS_DEFAULT, &broker));
        int r = reg_import(text, size, put, broker, &error);
        if (r) {
                unsigned lines = 1;
                for (size_t i = 0; i < size; i++)
                        lines += bytes[i] == '\n';
                require(error.line >= 1 && error.line <= lines + 1);
                require(*error.expected && service_name_is_valid(error.expected));
        }
        check_exported(broker);
        broker_free(broker);
        free(text);
        return 0;
}
