/* SPDX-License-Identifier: MIT */

/* Whatever guid_parse() accepts, it and what is printed of it are the same GUID, in every form and byte order. */

#include "base/guid.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size);

#define require(condition) \
        do { if (!(condition)) abort(); } while (0)

/* The hexadecimal digits of `text`, in lower case, and nothing else. */
static void only_digits(const char *text, char ret_digits[64]) {
        size_t count = 0;
        for (; *text; text++)
                if (isxdigit((unsigned char)*text)) {
                        require(count < 63);
                        ret_digits[count++] = (char)tolower((unsigned char)*text);
                }
        ret_digits[count] = 0;
}

static void check_accepted(const char *text, const GUID *guid) {
        size_t length = strlen(text);
        require(length == 32 || length == 36 || length == 38);

        GUID again;
        char printed[HV_GUID_TEXT_SIZE], hex[GUID_HEX_SIZE], digits[64];
        guid_format(guid, printed);
        guid_format_hex(guid, hex);
        only_digits(text, digits);
        require(!strcmp(digits, hex));
        require(!guid_parse(printed, &again) && guid_equal(guid, &again));
        require(!guid_parse(hex, &again) && guid_equal(guid, &again));

        uint8_t order[16];
        guid_to_windows(guid, order);
        guid_from_windows(order, &again);
        require(guid_equal(guid, &again));
        guid_to_network(guid, order);
        guid_from_network(order, &again);
        require(guid_equal(guid, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size) {
        char *text = strndup((const char *)bytes, size); /* of its exact size, so that reading beyond it is found */
        require(text);
        GUID before, guid;
        memset(&before, 0xa5, sizeof before);
        guid = before;
        if (!guid_parse(text, &guid))
                check_accepted(text, &guid);
        else
                require(guid_equal(&guid, &before));
        free(text);
        return 0;
}
