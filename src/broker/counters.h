/* SPDX-License-Identifier: MIT */
#pragma once

/* What is counted, per service and per partition. Plain sums; nothing decides by them. */

#include "broker/verdict.h"
#include <stdint.h>

struct counters {
        uint64_t listeners_now;
        uint64_t listeners_total;
        uint64_t channels_now;
        uint64_t channels_total; /* opened by this broker: those that it found open are only in channels_now */
        uint64_t bytes[2];       /* per service, of channels in shared memory, by enum direction */
        uint64_t refused[RULE_COUNT]; /* binds, listens and connects refused, by rule */
};
