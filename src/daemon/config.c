/* SPDX-License-Identifier: MIT */

/* hvsockd.conf. */

#include "daemon/config.h"
#include "broker/key_file.h"

static int take_quota(const struct key *key, const char *value, void *member, const void *context,
                      char ret_expected[TEXT_EXPECTED_SIZE]) {
        uint64_t number = 0;
        const char *digit = value;
        while (*digit >= '0' && *digit <= '9' && number <= QUOTA_MAX)
                number = number * 10 + (uint64_t)(*digit++ - '0');
        if (digit == value || *digit || number < 1 || number > QUOTA_MAX)
                return text_expected(ret_expected, "expected a number from 1 to %u after %s=, not \"%.40s\"", QUOTA_MAX,
                                     key->name, value);
        *(uint32_t *)member = (uint32_t)number;
        return 0;
}

#define QUOTA(name, member) {name, take_quota, offsetof(struct quotas, member), sizeof(uint32_t)}

static const struct key keys[] = {
        KEY_FORMAT,
        QUOTA("ListenersPerPartition", listeners_per_partition),
        QUOTA("ListenersPerUser", listeners_per_user),
        QUOTA("ChannelsPerPartition", channels_per_partition),
        QUOTA("ChannelsPerUser", channels_per_user),
        QUOTA("ChannelsPerListener", channels_per_listener),
        QUOTA("ClientsPerPartition", clients_per_partition),
        QUOTA("ClientsPerUser", clients_per_user),
};
#define KEY_COUNT (sizeof keys / sizeof *keys)
_Static_assert(KEY_COUNT <= KEYS_MAX, "a key has its line");

int config_parse(const char *text, size_t length, struct quotas *quotas, struct text_error *ret_error,
                 struct text_notes *ret_notes) {
        struct quotas read = *quotas;
        struct key_lines lines;
        int r = key_file_read(text, length, keys, KEY_COUNT, NULL, &read, &lines, ret_error, ret_notes);
        if (!r)
                *quotas = read;
        return r;
}
