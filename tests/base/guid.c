/* SPDX-License-Identifier: MIT */
#include "base/guid.h"
#include "test.h"

TEST(a_guid_reads_in_any_case) {
        GUID guid;
        check_ok(guid_parse("A42E7CDA-d03f-480C-9cc2-a4de20abb878", &guid));
        check(guid_equal(&guid, &HV_GUID_PARENT));
}
