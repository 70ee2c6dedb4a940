/* SPDX-License-Identifier: MIT */

/* Three files of a program: PARTs 1 and 2 define a GUID, and PART 3 declares it. They all have the same one. */

#if PART == 1
#include <initguid.h>
#endif
#include <windows.h>
#if PART == 2
#define INITGUID
#include <guiddef.h>
#endif

DEFINE_GUID(SERVICE, 0x3049197c, 0x9a4e, 0x4fbf, 0x93, 0x67, 0x97, 0xf7, 0x92, 0xf1, 0x69, 0x94);

#ifdef __cplusplus
#define REFERENCE(guid) guid
#else
#define REFERENCE(guid) &guid
#endif

EXTERN_C const GUID *other_service(void), *service_of_part_3(void);

#if PART == 1
int main(void) {
        WCHAR text[64];
        GUID read;
        if (other_service() != &SERVICE || service_of_part_3() != &SERVICE)
                return 1;
        if (StringFromGUID2(REFERENCE(SERVICE), text, ARRAYSIZE(text)) != 39 || CLSIDFromString(text, &read) != NOERROR)
                return 2;
        return !IsEqualGUID(REFERENCE(read), REFERENCE(SERVICE));
}
#elif PART == 2
const GUID *other_service(void) {
        return &SERVICE;
}
#else
const GUID *service_of_part_3(void) {
        return &SERVICE;
}
#endif
