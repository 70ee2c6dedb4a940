/* SPDX-License-Identifier: MIT */

/* hvsockd.conf. */

#include "daemon/config.h"
#include "daemon/key_file.h"
#include <string.h>

static const struct {
        const char *key;
        size_t offset;
} quota_keys[] = {
        {"ListenersPerPartition", offsetof(struct quotas, listeners_per_partition)},
        {"ListenersPerUser", offsetof(struct quotas, listeners_per_user)},
        {"ChannelsPerPartition", offsetof(struct quotas, channels_per_partition)},
        {"ChannelsPerUser", offsetof(struct quotas, channels_per_user)},
        {"ChannelsPerListener", offsetof(struct quotas, channels_per_listener)},
        {"ClientsPerPartition", offsetof(struct quotas, clients_per_partition)},
        {"ClientsPerUser", offsetof(struct quotas, clients_per_user)},
};

int config_parse(char *text, size_t length, struct quotas *quotas, struct text_error *ret_error) {
        struct quotas read = *quotas;
        struct key_file file;
        const char *key, *value;
        int r = key_file_begin(text, length, &file, ret_error);
        if (r < 0)
                return r;
        while ((r = key_file_next(&file, &key, &value, ret_error)) > 0)
                for (size_t i = 0; i < sizeof quota_keys / sizeof quota_keys[0]; i++) {
                        if (strcmp(key, quota_keys[i].key))
                                continue;
                        uint32_t *quota = (uint32_t *)((char *)&read + quota_keys[i].offset);
                        r = key_file_number(&file, key, value, 1, QUOTA_MAX, quota, ret_error);
                        if (r < 0)
                                return r;
                }
        if (r < 0)
                return r;
        *quotas = read;
        return 0;
}
