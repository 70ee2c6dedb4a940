/* SPDX-License-Identifier: MIT */

/* Names to GUIDs, and who one is: what can be told without the broker is; for the rest it is asked. */

#include "base/guid.h"
#include "lib/control.h"
#include "lib/posix.h"
#include <hvsock.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

static int resolve(uint16_t type, const char *name, struct wire_reply *ret_reply) {
        struct wire_request request = {.header.type = type};
        size_t length = strlen(name);
        if (!length || length >= sizeof request.name)
                return -EINVAL;
        memcpy(request.name, name, length);
        return control_ask(&request, -1, 0, ret_reply);
}

int hv_partition_by_name(const char *name, GUID *ret_vm_id) {
        struct wire_reply reply;
        const GUID *word = guid_by_word(name);
        if (word)
                *ret_vm_id = *word;
        if (word || guid_parse(name, ret_vm_id) == 0)
                return 0;
        int r = resolve(WIRE_RESOLVE_PARTITION, name, &reply);
        if (!r)
                *ret_vm_id = reply.vm_id;
        return posix_result(r);
}

int hv_service_by_name(const char *name, GUID *ret_service_id) {
        struct wire_reply reply;
        int r = guid_parse_service(name, ret_service_id);
        if (r == 0 || r == -ERANGE)
                return posix_result(r ? -EINVAL : 0);
        r = resolve(WIRE_RESOLVE_SERVICE, name, &reply);
        if (!r)
                *ret_service_id = reply.service_id;
        return posix_result(r);
}

_Static_assert(WIRE_LABEL_SIZE == HV_LABEL_SIZE, "a reply's label fits");

int hv_self(struct hv_partition *ret_partition) {
        struct wire_request request = {.header.type = WIRE_HELLO};
        struct wire_reply reply;
        if (ret_partition->struct_size < offsetof(struct hv_partition, label) + HV_LABEL_SIZE)
                return posix_result(-EINVAL);
        int r = control_ask(&request, -1, 0, &reply);
        if (r < 0)
                return posix_result(r);
        struct hv_partition partition = {.vm_id = reply.vm_id, .parent_vm_id = reply.parent_vm_id, .kind = (int)reply.kind};
        memcpy(partition.label, reply.label, sizeof partition.label);
        size_t size = ret_partition->struct_size < sizeof partition ? ret_partition->struct_size : sizeof partition;
        partition.struct_size = size;
        memcpy(ret_partition, &partition, size);
        return 0;
}
