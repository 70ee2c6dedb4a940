/* SPDX-License-Identifier: MIT */

/*
 * GUID, DEFINE_GUID and IsEqualGUID. DEFINE_GUID declares a constant, and defines it
 * where <initguid.h> was included before, or INITGUID is defined: in as many files
 * of a program as like, of which the linker takes one. [Windows]
 */

#include <windef.h>

#ifndef GUID_DEFINED
#define GUID_DEFINED
/* The same as in <hvsocket.h>. */
typedef struct _GUID {
        uint32_t Data1;
        uint16_t Data2;
        uint16_t Data3;
        uint8_t Data4[8];
} GUID;
#endif

/* Anew with each inclusion, since <initguid.h> may come after. */
#undef DEFINE_GUID
#ifdef INITGUID
#define DEFINE_GUID(name, l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8) \
        EXTERN_C const GUID name __attribute__((__weak__)); \
        const GUID name = {l, w1, w2, {b1, b2, b3, b4, b5, b6, b7, b8}}
#else
#define DEFINE_GUID(name, l, w1, w2, b1, b2, b3, b4, b5, b6, b7, b8) EXTERN_C const GUID name
#endif

#ifndef HVSOCK_WINSOCK_GUIDDEF_H
#define HVSOCK_WINSOCK_GUIDDEF_H

typedef GUID IID, CLSID, UUID, *LPGUID, *LPIID, *LPCLSID;
typedef const GUID *LPCGUID;

#ifdef __cplusplus
#define REFGUID const GUID &
#define REFIID const IID &
#define REFCLSID const CLSID &
inline int IsEqualGUID(REFGUID a, REFGUID b) {
        return !memcmp(&a, &b, sizeof(GUID));
}
inline bool operator==(REFGUID a, REFGUID b) {
        return IsEqualGUID(a, b);
}
inline bool operator!=(REFGUID a, REFGUID b) {
        return !IsEqualGUID(a, b);
}
#else
#define REFGUID const GUID *
#define REFIID const IID *
#define REFCLSID const CLSID *
#define IsEqualGUID(a, b) (!memcmp((a), (b), sizeof(GUID)))
#endif
#define InlineIsEqualGUID(a, b) IsEqualGUID(a, b)
#define IsEqualIID(a, b) IsEqualGUID(a, b)
#define IsEqualCLSID(a, b) IsEqualGUID(a, b)

#endif
