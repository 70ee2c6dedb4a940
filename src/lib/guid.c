/* SPDX-License-Identifier: MIT */

/* The GUID calls of hvsock.h. Pure. */

#include "base/guid.h"

#include "lib/posix.h"
#include <string.h>

int hv_guid_parse(const char *text, GUID *ret_guid) {
        return posix_result(guid_parse(text, ret_guid));
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
                return posix_result(-EINVAL);
        *ret_service = HV_GUID_VSOCK_TEMPLATE;
        ret_service->Data1 = port;
        return 0;
}

int hv_service_to_port(const GUID *service, uint32_t *ret_port) {
        GUID template = *service;
        template.Data1 = 0;
        if (service->Data1 > HV_PORT_MAX || !guid_equal(&template, &HV_GUID_VSOCK_TEMPLATE))
                return posix_result(-EINVAL);
        *ret_port = service->Data1;
        return 0;
}
