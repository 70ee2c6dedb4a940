/* SPDX-License-Identifier: MIT */

/* GUIDs, ports and names, and who this process is. */

#include "base/guid.h"
#include "lib/control.h"
#include "lib/fail.h"
#include "lib/refusal.h"
#include <hvsock.h>

#include <stdlib.h>
#include <string.h>

int hv_guid_parse(const char *text, GUID *ret_guid) {
        int r = text && ret_guid ? guid_parse(text, ret_guid) : -EINVAL;
        return r ? fail(r) : 0;
}

char *hv_guid_format(const GUID *guid, char ret_text[HV_GUID_TEXT_SIZE]) {
        guid_format(guid, ret_text);
        return ret_text;
}

int hv_guid_equal(const GUID *a, const GUID *b) {
        return guid_equal(a, b);
}

int hv_service_from_port(uint32_t port, GUID *ret_service) {
        if (port > HV_PORT_MAX)
                return fail(-EINVAL);
        *ret_service = HV_GUID_VSOCK_TEMPLATE;
        ret_service->Data1 = port;
        return 0;
}

int hv_service_to_port(const GUID *service, uint32_t *ret_port) {
        GUID template = *service;
        template.Data1 = 0;
        if (service->Data1 > HV_PORT_MAX || !guid_equal(&template, &HV_GUID_VSOCK_TEMPLATE))
                return fail(-EINVAL);
        *ret_port = service->Data1;
        return 0;
}

static int resolve(enum wire_type type, const char *name, struct wire_reply *ret_reply) {
        struct wire_request request = {.header.type = (uint16_t)type};
        if (strlen(name) >= sizeof request.name)
                return -ENAMETOOLONG;
        strcpy(request.name, name);
        struct wire_reply reply;
        int r = control_call(&request, -1, control_now_ms() + HV_CONNECT_TIMEOUT_DEFAULT_MS, true, NULL, &reply);
        if (!r)
                r = refusal_keep(&reply);
        if (!r)
                *ret_reply = reply;
        return r;
}

int hv_partition_by_name(const char *name, GUID *ret_vm_id) {
        struct wire_reply reply;
        if (!name || !*name || !ret_vm_id)
                return fail(-EINVAL);
        const GUID *word = guid_by_word(name);
        if (word) {
                *ret_vm_id = *word;
                return 0;
        }
        if (!guid_parse(name, ret_vm_id))
                return 0;
        int r = resolve(WIRE_RESOLVE_PARTITION, name, &reply);
        if (r)
                return fail(r);
        *ret_vm_id = reply.vm_id;
        return 0;
}

/* "vsock:PORT", decimal or 0x. */
static int parse_port(const char *name, GUID *ret_service) {
        char *end;
        if (name[6] < '0' || name[6] > '9')
                return -EINVAL;
        errno = 0;
        unsigned long long port = strtoull(name + 6, &end, 0);
        if (*end || errno || port > HV_PORT_MAX)
                return -EINVAL;
        *ret_service = HV_GUID_VSOCK_TEMPLATE;
        ret_service->Data1 = (uint32_t)port;
        return 0;
}

int hv_service_by_name(const char *name, GUID *ret_service_id) {
        struct wire_reply reply;
        int r = name && *name && ret_service_id ? 0 : -EINVAL;
        if (!r && !strncmp(name, "vsock:", 6)) {
                r = parse_port(name, ret_service_id);
        } else if (!r && guid_parse(name, ret_service_id)) {
                r = resolve(WIRE_RESOLVE_SERVICE, name, &reply);
                if (!r)
                        *ret_service_id = reply.service_id;
        }
        return r ? fail(r) : 0;
}

int hv_self(struct hv_partition *ret_self) {
        struct hv_partition self;
        if (!ret_self || ret_self->struct_size < offsetof(struct hv_partition, label))
                return fail(-EINVAL);
        int r = control_self(&self);
        if (r)
                return fail(r);
        self.struct_size = ret_self->struct_size < sizeof self ? ret_self->struct_size : sizeof self;
        memcpy(ret_self, &self, self.struct_size);
        return 0;
}
