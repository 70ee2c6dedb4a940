/* SPDX-License-Identifier: MIT */

/* <hvsocket.h> has the values of the Windows SDK's header, in C and in C++, before and after <sys/socket.h>. */

#include "base/guid.h"
#include "test.h"

typedef void unit(const GUID *ret_guids[8]);
unit unit_alone, unit_c99, unit_socket_first, unit_socket_last, unit_calls;
#ifdef HAVE_CXX
unit unit_cxx_alone, unit_cxx_socket_first, unit_cxx_socket_last, unit_cxx_calls;
#endif

static void expect_the_well_known(unit *get_guids) {
        static const char *const texts[8] = {
                "00000000-0000-0000-0000-000000000000", /* ZERO */
                "00000000-0000-0000-0000-000000000000", /* WILDCARD */
                "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF", /* BROADCAST */
                "90db8b89-0d35-4f79-8ce9-49ea0ac8b7cd", /* CHILDREN */
                "e0e16197-dd56-4a10-9195-5ee7a155a838", /* LOOPBACK */
                "a42e7cda-d03f-480c-9cc2-a4de20abb878", /* PARENT */
                "36bd0c5c-7276-4223-88ba-7d03b654c568", /* SILOHOST */
                "00000000-facb-11e6-bd58-64006a7986d3", /* VSOCK_TEMPLATE */
        };
        const GUID *guids[8];
        get_guids(guids);
        for (unsigned i = 0; i < 8; i++) {
                GUID expected;
                check_ok(guid_parse(texts[i], &expected));
                if (!guid_equal(guids[i], &expected))
                        test_fail(__FILE__, __LINE__, "constant %u is not %s", i, texts[i]);
        }
}

TEST(the_header_works_alone_in_c) {
        expect_the_well_known(unit_alone);
        expect_the_well_known(unit_c99);
}

TEST(the_header_works_with_sys_socket_h_in_c) {
        expect_the_well_known(unit_socket_first);
        expect_the_well_known(unit_socket_last);
}

TEST(both_headers_work_together_in_c) {
        expect_the_well_known(unit_calls);
}

#ifdef HAVE_CXX
TEST(the_header_works_alone_in_cxx) {
        expect_the_well_known(unit_cxx_alone);
}

TEST(the_header_works_with_sys_socket_h_in_cxx) {
        expect_the_well_known(unit_cxx_socket_first);
        expect_the_well_known(unit_cxx_socket_last);
}

TEST(both_headers_work_together_in_cxx) {
        expect_the_well_known(unit_cxx_calls);
}
#else
TEST(the_header_works_in_cxx) {
        test_skip("there is no C++ compiler");
}
#endif

TEST(the_address_is_laid_out_as_on_windows) {
        SOCKADDR_HV address = {.Family = AF_HYPERV, .VmId = HV_GUID_PARENT};
        check_ok(guid_parse("00112233-4455-6677-8899-aabbccddeeff", &address.ServiceId));
        static const uint8_t expected[36] = {
                0x22, 0x00, 0x00, 0x00, 0xda, 0x7c, 0x2e, 0xa4, 0x3f, 0xd0, 0x0c, 0x48, 0x9c, 0xc2, 0xa4, 0xde, 0x20, 0xab,
                0xb8, 0x78, 0x33, 0x22, 0x11, 0x00, 0x55, 0x44, 0x77, 0x66, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff};
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
        check(!memcmp(&address, expected, sizeof expected));
#else
        test_skip("this machine is not little-endian, as Windows is");
#endif
}
