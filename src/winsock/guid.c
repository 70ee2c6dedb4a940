/* SPDX-License-Identifier: MIT */

/* GUIDs from text and to it, in the forms that Windows' calls take and give. Pure. */

#include "winsock/winsock.h"

#include <stdlib.h>
#include <wchar.h>

#define BRACED_LENGTH 38
#define PLAIN_LENGTH 36

/* hv_guid_parse() takes more forms: only that of `length` characters will do. */
static bool parse(const char *text, size_t length, GUID *ret_guid) {
        return strnlen(text, length + 1) == length && hv_guid_parse(text, ret_guid) == 0;
}

static bool parse_wide(const WCHAR *text, size_t length, GUID *ret_guid) {
        char narrow[BRACED_LENGTH + 1] = "";
        if (wcsnlen(text, length + 1) != length)
                return false;
        for (size_t i = 0; i < length; i++)
                narrow[i] = text[i] > 0 && text[i] < 0x80 ? (char)text[i] : '?';
        return parse(narrow, length, ret_guid);
}

RPC_STATUS UuidFromStringA(RPC_CSTR text, UUID *ret_uuid) {
        if (!text)
                *ret_uuid = HV_GUID_ZERO;
        return !text || parse((const char *)text, PLAIN_LENGTH, ret_uuid) ? RPC_S_OK : RPC_S_INVALID_STRING_UUID;
}

RPC_STATUS UuidFromStringW(RPC_WSTR text, UUID *ret_uuid) {
        if (!text)
                *ret_uuid = HV_GUID_ZERO;
        return !text || parse_wide(text, PLAIN_LENGTH, ret_uuid) ? RPC_S_OK : RPC_S_INVALID_STRING_UUID;
}

int StringFromGUID2(REFGUID guid, LPOLESTR ret_text, int size) {
        const uint8_t *b = guid->Data4;
        if (size < BRACED_LENGTH + 1)
                return 0;
        return swprintf(ret_text, (size_t)size, L"{%08X-%04X-%04X-%02X%02X-%02X%02X%02X%02X%02X%02X}", guid->Data1,
                        guid->Data2, guid->Data3, b[0], b[1], b[2], b[3], b[4], b[5], b[6], b[7]) + 1;
}

HRESULT CLSIDFromString(LPCOLESTR text, LPCLSID ret_guid) {
        if (!ret_guid)
                return E_INVALIDARG;
        *ret_guid = HV_GUID_ZERO;
        return !text || parse_wide(text, BRACED_LENGTH, ret_guid) ? NOERROR : CO_E_CLASSSTRING;
}
