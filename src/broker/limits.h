/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Everything a stranger can push on in the broker, with its default.
 * hvsockd.conf can lower or raise the quotas; tests stand at each edge.
 */

#include <stdint.h>

#define PARTITIONS_MAX 16384u      /* in one world */
#define PARTITION_DEPTH_MAX 16u    /* host = 1 */
#define CID_LOCAL 1u               /* whoever says it */
#define CID_HOST 2u                /* the root's; and to any other partition its parent's */
#define CID_FIRST 3u               /* of the others: those below, and the last number, are reserved */
#define CID_LAST 0xfffffffeu
#define HYBRID_PATH_SIZE 97u       /* with its NUL; "_" and a port of ten digits behind it still fit in sun_path */
#define VMM_USER_SIZE 33u         /* a user's name, with its NUL */
#define SERVICES_MAX 16384u        /* registered in one world */
#define SERVICE_NAME_MAX 255u      /* bytes of an ElementName */
#define PRINCIPALS_MAX 16u         /* in one Bind= or Connect= */
#define SERVICE_FILE_MAX 65536u    /* bytes of one drop-in */
#define REG_FILE_MAX (16u << 20)   /* bytes of a .reg text */

struct quotas {
        uint32_t listeners_per_partition; /* 4096 */
        uint32_t listeners_per_user;      /* 4096 */
        uint32_t channels_per_partition;  /* 65536: opened from there */
        uint32_t channels_per_user;       /* 65536: opened by that user */
        uint32_t channels_per_listener;   /* 65536 */
        uint32_t clients_per_partition;   /* 4096: control connections */
        uint32_t clients_per_user;        /* 4096 */
};

#define QUOTAS_DEFAULT                                                                                 \
        ((struct quotas){.listeners_per_partition = 4096,                                              \
                         .listeners_per_user = 4096,                                                   \
                         .channels_per_partition = 65536,                                              \
                         .channels_per_user = 65536,                                                   \
                         .channels_per_listener = 65536,                                               \
                         .clients_per_partition = 4096,                                                \
                         .clients_per_user = 4096})
