/* SPDX-License-Identifier: MIT */

/* GUIDs in the forms of Windows' calls. */

#include <initguid.h>
#include <windows.h>
#include <hvsocket.h>

#include "test.h"
#include <wchar.h>

#define SERVICE_TEXT "3049197c-9a4e-4fbf-9367-97f792f16994"
DEFINE_GUID(SERVICE, 0x3049197c, 0x9a4e, 0x4fbf, 0x93, 0x67, 0x97, 0xf7, 0x92, 0xf1, 0x69, 0x94);

TEST(uuidfromstring_takes_36_characters_and_no_other_form) {
        UUID id = HV_GUID_BROADCAST;
        check_equal(UuidFromStringA((RPC_CSTR)SERVICE_TEXT, &id), RPC_S_OK);
        check(IsEqualGUID(&id, &SERVICE));
        check_equal(UuidFromStringW((RPC_WSTR)L"3049197C-9A4E-4FBF-9367-97F792F16994", &id), RPC_S_OK);
        check(IsEqualGUID(&id, &SERVICE));
        check_equal(UuidFromString(NULL, &id), RPC_S_OK);
        check(IsEqualGUID(&id, &HV_GUID_ZERO));

        static const char *const wrong[] = {"", "{" SERVICE_TEXT "}", "3049197c9a4e4fbf936797f792f16994", SERVICE_TEXT "0",
                                            "3049197c-9a4e-4fbf-9367-97f792f1699", "3049197g-9a4e-4fbf-9367-97f792f16994"};
        for (size_t i = 0; i < ARRAYSIZE(wrong); i++)
                check_equal(UuidFromStringA((RPC_CSTR)wrong[i], &id), RPC_S_INVALID_STRING_UUID);
        check_equal(UuidFromStringW((RPC_WSTR)L"\x133" L"49197c-9a4e-4fbf-9367-97f792f16994", &id), RPC_S_INVALID_STRING_UUID);
        check(IsEqualGUID(&id, &HV_GUID_ZERO));
}

TEST(stringfromguid2_needs_39_characters) {
        OLECHAR text[39] = L"untouched";
        check_equal(StringFromGUID2(&SERVICE, text, 38), 0);
        check(!wcscmp(text, L"untouched"));
        check_equal(StringFromGUID2(&SERVICE, text, 39), 39);
        check(!wcscmp(text, L"{3049197C-9A4E-4FBF-9367-97F792F16994}"));
}

TEST(clsidfromstring_needs_braces) {
        CLSID id;
        check_equal(CLSIDFromString(L"{3049197c-9a4e-4fbf-9367-97F792F16994}", &id), NOERROR);
        check(IsEqualGUID(&id, &SERVICE));
        check(SUCCEEDED(CLSIDFromString(NULL, &id)));
        check(IsEqualGUID(&id, &HV_GUID_ZERO));
        check_equal(CLSIDFromString(L"3049197c-9a4e-4fbf-9367-97f792f16994", &id), CO_E_CLASSSTRING);
        check_equal(CLSIDFromString(L"{3049197c-9a4e-4fbf-9367-97f792f16994", &id), CO_E_CLASSSTRING);
        check_equal(CLSIDFromString(L"Word.Document", &id), CO_E_CLASSSTRING);
        check(FAILED(CLSIDFromString(L"", NULL)));
}
