/* SPDX-License-Identifier: MIT */
#pragma once

/*
 * Who held the loop up.
 *
 * Theory of operation. What may make the loop wait is not done on it, but for
 * two things that every connect needs: connecting a lent socket, and closing it.
 * Both are watched (watchdog.h), so each can hold the loop up for WATCHDOG_MS at
 * most, and neither happens by chance. A connect waits only if the lender made
 * the socket blocking meanwhile; from then on its lends are refused. A close
 * waits only for what the peer of a new channel queued in it, such as a socket
 * that lingers; from then on what this stranger lends is closed by discard()'s
 * threads, which is no more than slower if the machine was the reason after all.
 *
 * A penalty lasts PENALTY_MIN_MS, and twice as long as the last at each offence,
 * up to PENALTY_MAX_MS. It is forgotten once the stranger has behaved for as
 * long again as it lasted. So a stranger can hold the loop up by a share of the
 * time that soon is less than WATCHDOG_MS in PENALTY_MAX_MS.
 */

#include "daemon/stranger.h"

#define PENALTY_MIN_MS 1000
#define PENALTY_MAX_MS 64000
#define PENALTIES_MAX 256u /* remembered; the one that ends first makes room */

enum offence { OFFENCE_CONNECT, OFFENCE_CLOSE };

struct penalties {
        unsigned count;
        struct penalty {
                struct stranger stranger;
                enum offence offence;
                int64_t until_ms, length_ms;
        } entries[PENALTIES_MAX];
};

void penalty_impose(struct penalties *penalties, const struct stranger *stranger, enum offence offence, int64_t now_ms);
bool penalty_lasts(struct penalties *penalties, const struct stranger *stranger, enum offence offence, int64_t now_ms);
