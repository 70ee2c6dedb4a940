/* SPDX-License-Identifier: MIT */

/* A line is judged the same however much of it came at first, and no byte beyond what came is read. */

#include "vm/hybrid_line.h"

#include "base/guid.h"
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

/* Of the first `size` bytes alone. */
static ssize_t parse(const uint8_t *bytes, size_t size, GUID *ret_service_id) {
        char *exact = malloc(size ? size : 1);
        require(exact);
        memcpy(exact, bytes, size);
        ssize_t length = hybrid_line_parse_connect(exact, size, ret_service_id);
        require(hybrid_line_parse_ok(exact, size) < 0 || length < 0 || !size); /* it is never both */
        free(exact);
        return length;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        GUID service_id, again;
        ssize_t whole = parse(bytes, size, &service_id);
        require(whole <= (ssize_t)size && whole <= (ssize_t)HYBRID_LINE_MAX);
        for (size_t first = 0; first < size && first <= HYBRID_LINE_MAX; first++) {
                ssize_t length = parse(bytes, first, &again);
                if (whole > 0 && first >= (size_t)whole)
                        require(length == whole && guid_equal(&again, &service_id));
                else
                        require(whole < 0 ? length <= 0 : !length);
        }
        return 0;
}
