/* SPDX-License-Identifier: MIT */

/* Who held the loop up: see penalty.h. */

#include "daemon/penalty.h"

static bool is_forgotten(const struct penalty *penalty, int64_t now_ms) {
        return now_ms >= penalty->until_ms + penalty->length_ms;
}

static struct penalty *find(struct penalties *penalties, const struct stranger *stranger, enum offence offence) {
        for (unsigned i = 0; i < penalties->count; i++)
                if (penalties->entries[i].offence == offence && stranger_equal(&penalties->entries[i].stranger, stranger))
                        return &penalties->entries[i];
        return NULL;
}

static struct penalty *make_room(struct penalties *penalties, int64_t now_ms) {
        for (unsigned i = 0; i < penalties->count;)
                if (is_forgotten(&penalties->entries[i], now_ms))
                        penalties->entries[i] = penalties->entries[--penalties->count];
                else
                        i++;
        if (penalties->count < PENALTIES_MAX)
                return &penalties->entries[penalties->count++];
        struct penalty *first = &penalties->entries[0];
        for (unsigned i = 1; i < PENALTIES_MAX; i++)
                if (penalties->entries[i].until_ms < first->until_ms)
                        first = &penalties->entries[i];
        return first;
}

void penalty_impose(struct penalties *penalties, const struct stranger *stranger, enum offence offence, int64_t now_ms) {
        struct penalty *penalty = find(penalties, stranger, offence);
        int64_t length_ms = PENALTY_MIN_MS;
        if (!penalty)
                penalty = make_room(penalties, now_ms);
        else if (!is_forgotten(penalty, now_ms))
                length_ms = penalty->length_ms * 2 < PENALTY_MAX_MS ? penalty->length_ms * 2 : PENALTY_MAX_MS;
        *penalty = (struct penalty){
                .stranger = *stranger, .offence = offence, .until_ms = now_ms + length_ms, .length_ms = length_ms};
}

bool penalty_lasts(struct penalties *penalties, const struct stranger *stranger, enum offence offence, int64_t now_ms) {
        const struct penalty *penalty = find(penalties, stranger, offence);
        return penalty && now_ms < penalty->until_ms;
}
